//! What can go wrong in a network.

/// An error of building, running, saving or loading a network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The configuration is out of range.
    #[error("network configuration: {0}")]
    Config(String),
    /// A tensor given to a network has the wrong shape, type or values.
    #[error("network input: {0}")]
    Input(String),
    /// Saved state does not fit the network: a missing or unknown name, a wrong shape, type or length.
    #[error("network state: {0}")]
    State(String),
    /// The wanted device is not there.
    #[error("device: {0}")]
    Device(String),
    /// The bytes are not a safetensors file.
    #[error("safetensors: {0}")]
    SafeTensors(#[from] safetensors::SafeTensorError),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
