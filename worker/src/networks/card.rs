//! The implementation on a GPU, behind the same seam as the others: parameters and gradient are candle tensors on the CPU, and each
//! loss is one trip to the card and back.
//!
//! This is how tests and `doctor` hold the card's kernels to PyTorch's cases. A run does not go this way: its
//! [`Engine`] keeps everything on the card (`trainers/colourization/learner`).

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor, Var, bail};
use trainyard_gpu::{DataSet, Driver, Engine, GpuError, NetworkShape, NormPlaces, StagePlaces};

use super::functional::class_indices;
use super::{
    Buffers, ColourizationNetwork, NetworkConfig, NetworkError, NetworkKind, NetworkLayout, ReadableNetwork, Result, SIZE_MULTIPLE,
};
use crate::kernels::cross_entropy::Score;

impl From<GpuError> for NetworkError {
    fn from(error: GpuError) -> Self {
        match error {
            GpuError::Input(reason) => Self::Input(reason),
            error => Self::Device(error.to_string()),
        }
    }
}

/// The network of a configuration for the card, with the places of a layout.
///
/// # Errors
/// [`NetworkError::State`] where the layout lacks a name, which no layout of a network does.
pub fn shape(config: &NetworkConfig, layout: &NetworkLayout) -> Result<NetworkShape> {
    let find = |layout: &super::ParameterLayout, name: String| match layout.get(&name) {
        Some(entry) => Ok(entry.offset),
        None => Err(NetworkError::State(format!("the network has no `{name}`"))),
    };
    let parameter = |name| find(&layout.parameters, name);
    let running = |name| find(&layout.buffers, name);
    let norm = if config.kind == NetworkKind::PoolUpsample { 2 } else { 1 };
    let mut places = Vec::new();
    for layer in 1..=4 {
        places.push(StagePlaces {
            weight: parameter(format!("layer{layer}.0.weight"))?,
            bias: parameter(format!("layer{layer}.0.bias"))?,
            norm: Some(NormPlaces {
                weight: parameter(format!("layer{layer}.{norm}.weight"))?,
                bias: parameter(format!("layer{layer}.{norm}.bias"))?,
                running_mean: running(format!("layer{layer}.{norm}.running_mean"))?,
                running_var: running(format!("layer{layer}.{norm}.running_var"))?,
            }),
        });
    }
    let (kind, last) = match config.kind {
        NetworkKind::PoolUpsample => (trainyard_gpu::NetworkKind::PoolUpsample, "layerFinal"),
        NetworkKind::ConvTranspose => (trainyard_gpu::NetworkKind::ConvTranspose, "layerFinal"),
        NetworkKind::UNet => (trainyard_gpu::NetworkKind::UNet, "layer5"),
    };
    places.push(StagePlaces { weight: parameter(format!("{last}.weight"))?, bias: parameter(format!("{last}.bias"))?, norm: None });
    Ok(NetworkShape {
        kind,
        kernel: config.kernel,
        num_filters: config.num_filters,
        num_colours: config.num_colours,
        in_channels: config.in_channels,
        places,
        parameters: layout.parameters.len(),
        running: layout.buffers.len(),
    })
}

/// An engine with room for the batch it was given last.
struct Loaded {
    engine: Engine,
    data: DataSet,
    /// The images of the batch: all of them.
    batch: Vec<u32>,
    /// Counts losses; a gradient belongs to one of them.
    generation: u64,
}

/// A colourization network on a card.
pub struct CardNetwork {
    readable: ReadableNetwork,
    shape: NetworkShape,
    buffers: Buffers,
    driver: Arc<dyn Driver>,
    loaded: Arc<Mutex<Option<Loaded>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CardNetwork {
    /// With PyTorch's default initial weights, the same as the readable network's, drawn from `config.seed`.
    ///
    /// # Errors
    /// [`NetworkError::Config`] where a size is out of range.
    pub fn new(config: &NetworkConfig, driver: Arc<dyn Driver>) -> Result<Self> {
        let readable = ReadableNetwork::new(config, &Device::Cpu)?;
        let shape = shape(config, readable.layout())?;
        Ok(Self { buffers: readable.buffers(), shape, readable, driver, loaded: Arc::default() })
    }

    /// The engine with the batch on the card; classes are all 0 where there are none.
    fn load<'a>(&self, loaded: &'a mut Option<Loaded>, grey: &Tensor, classes: Option<&Tensor>) -> Result<&'a mut Loaded> {
        let (images, channels, height, width) = self.readable.check_grey(grey)?;
        let classes = match classes {
            Some(classes) => class_indices(&[images, self.shape.num_colours, height, width], classes)
                .map_err(|error| NetworkError::Input(error.to_string()))?
                .into_iter()
                .map(|class| class as u8)
                .collect(),
            None => vec![0; images * height * width],
        };
        let fits = |loaded: &Loaded| loaded.engine.size() == (height, width) && images <= loaded.engine.most_images();
        let (kept, generation) = match loaded.take() {
            Some(loaded) => (Some(loaded).filter(fits), 1),
            None => (None, 0),
        };
        let new = || -> Result<Loaded> {
            let engine = Engine::new(Arc::clone(&self.driver), &self.shape, (height, width), images)?;
            let data = DataSet::empty(&*self.driver, images, channels, (height, width))?;
            Ok(Loaded { engine, data, batch: Vec::new(), generation })
        };
        let loaded = loaded.insert(match kept {
            Some(kept) => kept,
            None => new()?,
        });
        loaded.data.fill(&*self.driver, &grey.flatten_all()?.to_vec1::<f32>()?, &classes)?;
        loaded.batch = (0..images as u32).collect();
        loaded.engine.set_running(&self.buffers.running)?;
        Ok(loaded)
    }
}

impl ColourizationNetwork for CardNetwork {
    fn config(&self) -> &NetworkConfig {
        self.readable.config()
    }

    fn layout(&self) -> &NetworkLayout {
        self.readable.layout()
    }

    fn parameters(&self) -> &Var {
        self.readable.parameters()
    }

    fn loss(&mut self, grey: &Tensor, classes: &Tensor) -> Result<Tensor> {
        let shared = Arc::clone(&self.loaded);
        let generation = {
            let mut guard = lock(&shared);
            let loaded = self.load(&mut guard, grey, Some(classes))?;
            let (height, width) = loaded.engine.size();
            if loaded.batch.len() * height * width / (SIZE_MULTIPLE * SIZE_MULTIPLE) < 2 {
                return Err(NetworkError::Input("one image of 4×4 pixels is too little for batch norm in training".into()));
            }
            loaded.generation += 1;
            loaded.generation
        };
        let operation = Loss { loaded: Arc::clone(&shared), generation, gradient: OnceLock::new() };
        let loss = self.parameters().as_tensor().apply_op1(operation)?;
        if let Some(loaded) = &mut *lock(&shared) {
            self.buffers.running = loaded.engine.running()?;
            self.buffers.num_batches_tracked += 1;
        }
        Ok(loss)
    }

    fn logits(&self, grey: &Tensor) -> Result<Tensor> {
        let parameters = self.parameters().to_vec1::<f32>()?;
        let mut guard = lock(&self.loaded);
        let Loaded { engine, data, batch, .. } = self.load(&mut guard, grey, None)?;
        engine.set_parameters(&parameters)?;
        let logits = engine.logits(data, batch)?;
        let (images, _, height, width) = grey.dims4()?;
        Ok(Tensor::from_vec(logits, (images, self.shape.num_colours, height, width), &Device::Cpu)?)
    }

    fn score(&self, grey: &Tensor, classes: &Tensor) -> Result<Score> {
        let parameters = self.parameters().to_vec1::<f32>()?;
        let mut guard = lock(&self.loaded);
        let Loaded { engine, data, batch, .. } = self.load(&mut guard, grey, Some(classes))?;
        engine.set_parameters(&parameters)?;
        let mut total = Score::default();
        for score in engine.score(data, std::slice::from_ref(batch))? {
            total += Score { loss_sum: score.loss_sum, hits: score.hits, pixels: score.pixels };
        }
        Ok(total)
    }

    fn buffers(&self) -> Buffers {
        self.buffers.clone()
    }

    fn load_buffers(&mut self, buffers: &Buffers) -> Result<()> {
        self.readable.load_buffers(buffers)?;
        self.buffers = buffers.clone();
        Ok(())
    }
}

/// The loss of the batch that was loaded last, as a candle operation on the flat parameters.
struct Loss {
    loaded: Arc<Mutex<Option<Loaded>>>,
    generation: u64,
    gradient: OnceLock<Tensor>,
}

fn failed(error: GpuError) -> candle_core::Error {
    candle_core::Error::Msg(error.to_string())
}

impl CustomOp1 for Loss {
    fn name(&self) -> &'static str {
        "colourization_loss_on_card"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("the flat parameters are strided") };
        let mut guard = lock(&self.loaded);
        let Some(Loaded { engine, data, batch, .. }) = &mut *guard else { bail!("{}: no batch was loaded", self.name()) };
        engine.set_parameters(&storage.as_slice::<f32>()?[start..end]).map_err(failed)?;
        let scores = engine.train(data, std::slice::from_ref(batch), &[], None).map_err(failed)?;
        let loss = scores.first().map_or(f64::NAN, trainyard_gpu::BatchScore::loss);
        Ok((CpuStorage::F32(vec![loss as f32]), Shape::from(())))
    }

    fn bwd(&self, parameters: &Tensor, _loss: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let own = match self.gradient.get() {
            Some(own) => own.clone(),
            None => {
                let mut guard = lock(&self.loaded);
                let Some(loaded) = guard.as_mut().filter(|loaded| loaded.generation == self.generation) else {
                    bail!("{}: backward of a loss that is not the network's newest", self.name());
                };
                let own = Tensor::from_vec(loaded.engine.gradient().map_err(failed)?, parameters.shape(), &Device::Cpu)?;
                self.gradient.get_or_init(|| own).clone()
            }
        };
        own.affine(f64::from(gradient.to_scalar::<f32>()?), 0.0).map(Some)
    }
}

#[cfg(test)]
mod tests;
