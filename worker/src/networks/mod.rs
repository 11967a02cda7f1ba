//! The colourization networks: grey images in, one logit per pixel and palette colour out.
//!
//! [`ColourizationNetwork`] is the seam between the trainer and an implementation of a network. Behind it every network
//! keeps its weights in **one** flat candle variable (a [`ParameterLayout`] names the pieces), so that an optimizer
//! updates one slice, a checkpoint saves one slice, and an implementation is free to compute its loss in one operation.
//! [`ReadableNetwork`] is `layer1` … in a `forward`, on [`layers`] in PyTorch's words, whose gradients come from
//! [`functional`] and the kernels below it. [`FastNetwork`] computes the same in one operation on the CPU; [`build`] makes
//! it where it can.
//!
//! Parameter names, shapes, padding rules and initial values are those of the same networks written in PyTorch, so a
//! [`state_dict`] travels between the two unchanged.

pub mod card;
pub mod conv_transpose;
pub mod device;
mod error;
pub mod evaluate;
mod fast;
pub mod functional;
mod initial;
pub mod layers;
pub mod layout;
pub mod pool_upsample;
mod readable;
pub mod state_dict;
pub mod unet;

use candle_core::{Device, Tensor, Var};

use crate::kernels::cross_entropy::Score;

pub use card::CardNetwork;
pub use device::{DeviceChoice, Found};
pub use error::NetworkError;
pub use evaluate::{Evaluation, evaluate};
pub use fast::FastNetwork;
pub use layout::{Entry, NetworkLayout, ParameterLayout};
pub use readable::ReadableNetwork;

/// What the functions of this module return.
pub type Result<T> = std::result::Result<T, NetworkError>;

/// The largest kernel the networks take; the smallest is 1.
pub const MAX_KERNEL: usize = 7;

/// Height and width of an image must be multiples of this, because every network halves them twice.
pub const SIZE_MULTIPLE: usize = 4;

/// Which of the three networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkKind {
    /// Convolutions with max pooling on the way down and nearest upsampling on the way up.
    PoolUpsample,
    /// Strided convolutions on the way down and transposed convolutions on the way up.
    ConvTranspose,
    /// As [`NetworkKind::ConvTranspose`], with skip connections from `layer1` and from the input.
    UNet,
}

/// All that defines a network before training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Which network.
    pub kind: NetworkKind,
    /// Side of every convolution kernel, 1 to [`MAX_KERNEL`].
    pub kernel: usize,
    /// Channels of `layer1` (`layer2` has twice as many), at least 1.
    pub num_filters: usize,
    /// Colours of the palette: channels of the output, 1 to 256 where classes are bytes.
    pub num_colours: usize,
    /// Channels of the input, at least 1.
    pub in_channels: usize,
    /// Seed of the initial weights.
    pub seed: u64,
}

/// Running statistics of all batch norms of a network, in layer order: what a state dict holds beside the parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Buffers {
    /// `running_mean` and `running_var` of each batch norm, flat; [`NetworkLayout::buffers`] names the pieces.
    pub running: Vec<f32>,
    /// Training batches seen; PyTorch stores it once per batch norm, and all of them count the same batches.
    pub num_batches_tracked: u64,
}

/// One implementation of a colourization network, in training or evaluation.
///
/// Shapes: `grey` is f32 `[N, in_channels, H, W]`, `classes` is u8 or u32 `[N, H, W]` with values below `num_colours`,
/// logits are f32 `[N, num_colours, H, W]`; H and W are multiples of [`SIZE_MULTIPLE`]. Results are the same bits for
/// any number of threads. Values that are not finite pass through (as NaN) and never panic.
pub trait ColourizationNetwork: Send {
    /// The configuration it was built from.
    fn config(&self) -> &NetworkConfig;

    /// Names, shapes and offsets of the parameters and of the running statistics.
    fn layout(&self) -> &NetworkLayout;

    /// All parameters, f32 `[layout().parameters.len()]`; optimizers set it, `loss(..)?.backward()?` holds its gradient.
    fn parameters(&self) -> &Var;

    /// Cross-entropy averaged over the pixels of one training batch, a scalar tensor. Batch norm uses the batch's own
    /// statistics, and the running ones move. The gradient of a bias that batch norm cancels is exactly zero.
    ///
    /// # Errors
    /// [`NetworkError::Input`] where shapes, types or class values do not fit.
    fn loss(&mut self, grey: &Tensor, classes: &Tensor) -> Result<Tensor>;

    /// Logits in evaluation mode (running statistics, nothing changes, no gradient).
    ///
    /// # Errors
    /// [`NetworkError::Input`] where the shape or the type does not fit.
    fn logits(&self, grey: &Tensor) -> Result<Tensor>;

    /// Loss and hits of a batch in evaluation mode.
    ///
    /// # Errors
    /// [`NetworkError::Input`] where shapes, types or class values do not fit.
    fn score(&self, grey: &Tensor, classes: &Tensor) -> Result<Score> {
        evaluate::score_logits(&self.logits(grey)?, classes)
    }

    /// The running statistics, for a checkpoint or a state dict.
    fn buffers(&self) -> Buffers;

    /// Sets the running statistics.
    ///
    /// # Errors
    /// [`NetworkError::State`] where the length does not fit; nothing is changed then.
    fn load_buffers(&mut self, buffers: &Buffers) -> Result<()>;

    /// Sets all parameters from a flat slice in layout order.
    ///
    /// # Errors
    /// [`NetworkError::State`] where the length does not fit; nothing is changed then.
    fn load_parameters(&mut self, values: &[f32]) -> Result<()> {
        let expected = self.layout().parameters.len();
        if values.len() != expected {
            return Err(NetworkError::State(format!("{} parameter values for a network of {expected}", values.len())));
        }
        let device = self.parameters().device().clone();
        let values = Tensor::from_slice(values, expected, &device)?;
        Ok(self.parameters().set(&values)?)
    }
}

/// Builds a network with PyTorch's default initial weights, drawn from `config.seed` in layer order: the fast
/// implementation on the CPU, the readable one elsewhere.
///
/// # Errors
/// [`NetworkError::Config`] where a size is out of range.
pub fn build(config: &NetworkConfig, device: &Device) -> Result<Box<dyn ColourizationNetwork>> {
    if device.is_cpu() { Ok(Box::new(FastNetwork::new(config)?)) } else { build_readable(config, device) }
}

/// As [`build`], always the readable implementation.
///
/// # Errors
/// As for [`build`].
pub fn build_readable(config: &NetworkConfig, device: &Device) -> Result<Box<dyn ColourizationNetwork>> {
    Ok(Box::new(ReadableNetwork::new(config, device)?))
}
