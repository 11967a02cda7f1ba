//! The readable implementation: a [`Module`] with its parameters, running statistics and checks.

use candle_core::{DType, Device, Tensor, Var};

use super::conv_transpose::ConvTransposeNet;
use super::functional::{class_indices, cross_entropy};
use super::initial::Builder;
use super::layers::{Mode, Pass};
use super::pool_upsample::PoolUpsampleNet;
use super::unet::UNet;
use super::{Buffers, ColourizationNetwork, MAX_KERNEL, NetworkConfig, NetworkError, NetworkKind, NetworkLayout, Result, SIZE_MULTIPLE};

/// Layers and the way through them.
pub(super) trait Module: Send + Sync {
    /// Grey images `[N, in_channels, H, W]` → logits `[N, num_colours, H, W]`.
    ///
    /// # Errors
    /// Where the input does not fit.
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> candle_core::Result<Tensor>;
}

/// A network of layers with candle's automatic differentiation between them.
pub struct ReadableNetwork {
    config: NetworkConfig,
    layout: NetworkLayout,
    parameters: Var,
    buffers: Buffers,
    module: Box<dyn Module>,
}

/// Bounds that keep every size computed from a configuration far inside 64 bits.
const MAX_CHANNELS: usize = 1 << 16;

fn check(config: &NetworkConfig) -> Result<()> {
    let bounds = [
        ("kernel", config.kernel, MAX_KERNEL),
        ("num_filters", config.num_filters, MAX_CHANNELS),
        ("num_colours", config.num_colours, MAX_CHANNELS),
        ("in_channels", config.in_channels, MAX_CHANNELS),
    ];
    for (name, value, max) in bounds {
        if value == 0 || value > max {
            return Err(NetworkError::Config(format!("{name} is {value}, not within 1 to {max}")));
        }
    }
    Ok(())
}

impl ReadableNetwork {
    /// With PyTorch's default initial weights, drawn from `config.seed` in layer order.
    ///
    /// # Errors
    /// [`NetworkError::Config`] where a size is out of range.
    pub fn new(config: &NetworkConfig, device: &Device) -> Result<Self> {
        check(config)?;
        let mut builder = Builder::new(config.seed);
        let module: Box<dyn Module> = match config.kind {
            NetworkKind::PoolUpsample => Box::new(PoolUpsampleNet::new(&mut builder, config)),
            NetworkKind::ConvTranspose => Box::new(ConvTransposeNet::new(&mut builder, config)),
            NetworkKind::UNet => Box::new(UNet::new(&mut builder, config)),
        };
        let (layout, parameters, running) = builder.finish();
        Ok(Self {
            config: config.clone(),
            parameters: Var::from_vec(parameters, layout.parameters.len(), device)?,
            layout,
            buffers: Buffers { running, num_batches_tracked: 0 },
            module,
        })
    }

    /// Logits of a training batch, with the graph behind them; the running statistics move.
    ///
    /// # Errors
    /// [`NetworkError::Input`] where the shape or the type does not fit.
    pub fn train_logits(&mut self, grey: &Tensor) -> Result<Tensor> {
        let (images, _, height, width) = self.check_grey(grey)?;
        // layer2 leaves a sixteenth of the pixels, and batch norm needs two values per channel.
        if images * height * width / (SIZE_MULTIPLE * SIZE_MULTIPLE) < 2 {
            return Err(NetworkError::Input("one image of 4×4 pixels is too little for batch norm in training".into()));
        }
        let mode = Mode::Training { running: &mut self.buffers.running };
        let mut pass = Pass { parameters: &self.parameters, mode };
        let logits = self.module.forward(grey, &mut pass)?;
        self.buffers.num_batches_tracked += 1;
        Ok(logits)
    }

    pub(super) fn check_grey(&self, grey: &Tensor) -> Result<(usize, usize, usize, usize)> {
        let channels = self.config.in_channels;
        let fits = grey.dtype() == DType::F32
            && matches!(*grey.dims(), [n, c, h, w] if n > 0 && c == channels && h > 0 && w > 0
                && h.is_multiple_of(SIZE_MULTIPLE) && w.is_multiple_of(SIZE_MULTIPLE));
        if !fits {
            return Err(NetworkError::Input(format!(
                "grey images {:?} {:?} are not F32 [N, {channels}, H, W] with H and W multiples of {SIZE_MULTIPLE}",
                grey.dtype(),
                grey.dims(),
            )));
        }
        Ok(grey.dims4()?)
    }
}

impl ColourizationNetwork for ReadableNetwork {
    fn config(&self) -> &NetworkConfig {
        &self.config
    }

    fn layout(&self) -> &NetworkLayout {
        &self.layout
    }

    fn parameters(&self) -> &Var {
        &self.parameters
    }

    fn loss(&mut self, grey: &Tensor, classes: &Tensor) -> Result<Tensor> {
        let (images, _, height, width) = self.check_grey(grey)?;
        class_indices(&[images, self.config.num_colours, height, width], classes)
            .map_err(|error| NetworkError::Input(error.to_string()))?;
        Ok(cross_entropy(&self.train_logits(grey)?, classes)?)
    }

    fn logits(&self, grey: &Tensor) -> Result<Tensor> {
        self.check_grey(grey)?;
        let mode = Mode::Evaluation { running: &self.buffers.running };
        Ok(self.module.forward(grey, &mut Pass { parameters: &self.parameters, mode })?)
    }

    fn buffers(&self) -> Buffers {
        self.buffers.clone()
    }

    fn load_buffers(&mut self, buffers: &Buffers) -> Result<()> {
        let expected = self.layout.buffers.len();
        if buffers.running.len() != expected {
            return Err(NetworkError::State(format!("{} running statistics for a network of {expected}", buffers.running.len())));
        }
        self.buffers = buffers.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
