//! Layers in PyTorch's words: `new` declares a layer's tensors, `forward` applies it.
//!
//! A layer holds only the names and places of its tensors. Their values come with each [`Pass`], which is one trip
//! through the network, in training or in evaluation.

use candle_core::{Result, Tensor, Var};

use super::functional::{self as f, Convolution};
use super::initial::Builder;
use super::layout::Entry;

/// Added to the variance before its root, as PyTorch's `BatchNorm2d`.
pub const BATCH_NORM_EPSILON: f64 = 1e-5;

/// Weight of the newest batch in the running statistics, as PyTorch's `BatchNorm2d`.
pub const BATCH_NORM_MOMENTUM: f32 = 0.1;

/// Where batch norm takes its statistics from.
pub enum Mode<'a> {
    /// From the batch; the running statistics move towards it.
    Training {
        /// All running statistics, flat.
        running: &'a mut [f32],
    },
    /// From the running statistics; no gradients are recorded.
    Evaluation {
        /// All running statistics, flat.
        running: &'a [f32],
    },
}

/// One trip through a network.
pub struct Pass<'a> {
    /// All parameters, flat.
    pub parameters: &'a Var,
    /// Training or evaluation.
    pub mode: Mode<'a>,
}

impl Pass<'_> {
    /// A named view into the parameters; in training, gradients flow back into the flat variable.
    fn parameter(&self, entry: &Entry) -> Result<Tensor> {
        match self.mode {
            Mode::Training { .. } => view(self.parameters, entry),
            Mode::Evaluation { .. } => self.constant(entry),
        }
    }

    /// As [`Pass::parameter`], without a gradient.
    fn constant(&self, entry: &Entry) -> Result<Tensor> {
        view(&self.parameters.as_detached_tensor(), entry)
    }
}

fn view(flat: &Tensor, entry: &Entry) -> Result<Tensor> {
    flat.narrow(0, entry.offset, entry.len())?.reshape(entry.shape.as_slice())
}

/// Stride-1 convolution that keeps height and width; an even kernel pads one more pixel at the bottom and right.
#[must_use]
pub fn same(kernel: usize) -> Convolution {
    Convolution { kernel, stride: 1, padding: (kernel - 1) / 2, padding_after: kernel / 2, output_padding: 0 }
}

/// Stride-2 convolution that halves even height and width.
#[must_use]
pub fn down(kernel: usize) -> Convolution {
    let padding = if kernel.is_multiple_of(2) { kernel / 2 - 1 } else { kernel / 2 };
    Convolution { kernel, stride: 2, padding, padding_after: padding, output_padding: 0 }
}

/// Stride-2 transposed convolution that doubles height and width.
#[must_use]
pub fn up(kernel: usize) -> Convolution {
    Convolution { output_padding: kernel % 2, ..down(kernel) }
}

/// What follows a convolution, which decides whether its bias has a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// By batch norm, maybe after pooling or upsampling: a constant added to a channel cancels, so the gradient of the
    /// bias is exactly zero. Computed in floating point it would be noise, which Adam would blow up to full steps.
    ByBatchNorm,
    /// By nothing that cancels the bias.
    ByOutput,
}

/// `torch.nn.Conv2d`.
pub struct Conv2d {
    weight: Entry,
    bias: Entry,
    convolution: Convolution,
    followed: Followed,
}

impl Conv2d {
    /// Declares `{name}.weight` `[out_channels, in_channels, K, K]` and `{name}.bias`.
    pub fn new(
        builder: &mut Builder,
        name: &str,
        in_channels: usize,
        out_channels: usize,
        convolution: Convolution,
        followed: Followed,
    ) -> Self {
        let k = convolution.kernel;
        let fan_in = in_channels * k * k;
        let weight = builder.uniform(format!("{name}.weight"), &[out_channels, in_channels, k, k], fan_in);
        let bias = builder.uniform(format!("{name}.bias"), &[out_channels], fan_in);
        Self { weight, bias, convolution, followed }
    }

    /// `[N, in_channels, H, W]` → `[N, out_channels, H', W']`.
    ///
    /// # Errors
    /// Where the input does not fit.
    pub fn forward(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        f::conv2d(x, &pass.parameter(&self.weight)?, &bias(pass, &self.bias, self.followed)?, self.convolution)
    }
}

/// `torch.nn.ConvTranspose2d`.
pub struct ConvTranspose2d {
    weight: Entry,
    bias: Entry,
    convolution: Convolution,
    followed: Followed,
}

impl ConvTranspose2d {
    /// Declares `{name}.weight` `[in_channels, out_channels, K, K]` and `{name}.bias`. Its fan-in, as PyTorch counts it,
    /// is `out_channels·K²`.
    pub fn new(
        builder: &mut Builder,
        name: &str,
        in_channels: usize,
        out_channels: usize,
        convolution: Convolution,
        followed: Followed,
    ) -> Self {
        let k = convolution.kernel;
        let fan_in = out_channels * k * k;
        let weight = builder.uniform(format!("{name}.weight"), &[in_channels, out_channels, k, k], fan_in);
        let bias = builder.uniform(format!("{name}.bias"), &[out_channels], fan_in);
        Self { weight, bias, convolution, followed }
    }

    /// `[N, in_channels, H, W]` → `[N, out_channels, H', W']`.
    ///
    /// # Errors
    /// Where the input does not fit.
    pub fn forward(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let bias = bias(pass, &self.bias, self.followed)?;
        f::conv_transpose2d(x, &pass.parameter(&self.weight)?, &bias, self.convolution)
    }
}

fn bias(pass: &Pass<'_>, entry: &Entry, followed: Followed) -> Result<Tensor> {
    match followed {
        Followed::ByBatchNorm => pass.constant(entry),
        Followed::ByOutput => pass.parameter(entry),
    }
}

/// `torch.nn.BatchNorm2d`.
pub struct BatchNorm2d {
    weight: Entry,
    bias: Entry,
    running_mean: Entry,
    running_var: Entry,
}

impl BatchNorm2d {
    /// Declares `{name}.weight`, `{name}.bias` and the running statistics, each `[channels]`.
    pub fn new(builder: &mut Builder, name: &str, channels: usize) -> Self {
        builder.counter(format!("{name}.num_batches_tracked"));
        Self {
            weight: builder.constant(format!("{name}.weight"), &[channels], 1.0),
            bias: builder.constant(format!("{name}.bias"), &[channels], 0.0),
            running_mean: builder.buffer(format!("{name}.running_mean"), &[channels], 0.0),
            running_var: builder.buffer(format!("{name}.running_var"), &[channels], 1.0),
        }
    }

    /// Normalizes each channel of `[N, channels, H, W]`.
    ///
    /// # Errors
    /// Where the input does not fit, or has one value per channel in training.
    pub fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let (weight, bias) = (pass.parameter(&self.weight)?, pass.parameter(&self.bias)?);
        match &mut pass.mode {
            Mode::Training { running } => {
                let (y, batch) = f::batch_norm_train(x, &weight, &bias, BATCH_NORM_EPSILON)?;
                let unbiased = batch.count as f32 / (batch.count - 1) as f32;
                let mut follow = |entry: &Entry, values: &[f32], factor: f32| {
                    for (r, &value) in running[entry.range()].iter_mut().zip(values) {
                        *r = (1.0 - BATCH_NORM_MOMENTUM) * *r + BATCH_NORM_MOMENTUM * (value * factor);
                    }
                };
                follow(&self.running_mean, &batch.mean, 1.0);
                follow(&self.running_var, &batch.variance, unbiased);
                Ok(y)
            }
            Mode::Evaluation { running } => {
                let (mean, variance) = (&running[self.running_mean.range()], &running[self.running_var.range()]);
                f::batch_norm_eval(x, &weight, &bias, mean, variance, BATCH_NORM_EPSILON)
            }
        }
    }
}

enum AnyConvolution {
    Conv2d(Conv2d),
    ConvTranspose2d(ConvTranspose2d),
}

/// What stands between the convolution and the batch norm of a [`Block`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resample {
    /// Nothing.
    None,
    /// `torch.nn.MaxPool2d(2)`.
    MaxPool2d,
    /// `torch.nn.Upsample(scale_factor=2)`.
    Upsample,
}

/// `torch.nn.Sequential` of a convolution, maybe a resampling, batch norm and the rectifier.
pub struct Block {
    convolution: AnyConvolution,
    resample: Resample,
    batch_norm: BatchNorm2d,
}

impl Block {
    /// With a `Conv2d`.
    pub fn conv2d(
        builder: &mut Builder,
        name: &str,
        in_channels: usize,
        out_channels: usize,
        convolution: Convolution,
        resample: Resample,
    ) -> Self {
        let first = format!("{name}.0");
        let layer = Conv2d::new(builder, &first, in_channels, out_channels, convolution, Followed::ByBatchNorm);
        Self::new(builder, name, out_channels, AnyConvolution::Conv2d(layer), resample)
    }

    /// With a `ConvTranspose2d`.
    pub fn conv_transpose2d(builder: &mut Builder, name: &str, in_channels: usize, out_channels: usize, convolution: Convolution) -> Self {
        let first = format!("{name}.0");
        let layer = ConvTranspose2d::new(builder, &first, in_channels, out_channels, convolution, Followed::ByBatchNorm);
        Self::new(builder, name, out_channels, AnyConvolution::ConvTranspose2d(layer), Resample::None)
    }

    /// Batch norm's index in the sequence is 1, or 2 after a resampling.
    fn new(builder: &mut Builder, name: &str, channels: usize, convolution: AnyConvolution, resample: Resample) -> Self {
        let index = if resample == Resample::None { 1 } else { 2 };
        let batch_norm = BatchNorm2d::new(builder, &format!("{name}.{index}"), channels);
        Self { convolution, resample, batch_norm }
    }

    /// Applies the sequence.
    ///
    /// # Errors
    /// Where the input does not fit.
    pub fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let x = match &self.convolution {
            AnyConvolution::Conv2d(layer) => layer.forward(x, pass)?,
            AnyConvolution::ConvTranspose2d(layer) => layer.forward(x, pass)?,
        };
        let x = match self.resample {
            Resample::None => x,
            Resample::MaxPool2d => f::max_pool2d(&x)?,
            Resample::Upsample => f::upsample_nearest2d(&x)?,
        };
        f::relu(&self.batch_norm.forward(&x, pass)?)
    }
}
