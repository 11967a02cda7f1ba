//! What can go wrong on a card.

/// An error of a card, or of what it is asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GpuError {
    /// There is no card, driver or compiler that can be used; the sentence says what was looked for.
    #[error("{0}")]
    Unavailable(String),
    /// The card has too little memory left.
    #[error("the GPU has no room for another {bytes} bytes")]
    Memory {
        /// What was asked for.
        bytes: usize,
    },
    /// The compiler refuses a kernel.
    #[error("a kernel does not compile: {0}")]
    Compile(String),
    /// The card takes no such launch, now or at all; it works on otherwise.
    #[error("the GPU refuses a program: {0}")]
    Refused(String),
    /// The card stopped: what it was doing is lost.
    #[error("the GPU failed: {0}")]
    Device(String),
    /// Lengths or values that do not fit.
    #[error("{0}")]
    Input(String),
}

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, GpuError>;
