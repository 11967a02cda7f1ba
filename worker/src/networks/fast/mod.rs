//! The fast implementation on the CPU: the whole network with its loss as one candle operation on the one flat variable.
//!
//! A [`plan`](plan::Plan) says which convolutions run between which maps, a [`workspace`](workspace::Workspace) holds all
//! of their memory, [`forward`] and [`backward`] go through the plan on the kernels of [`crate::kernels::blocked`]. The
//! readable network stays inside: it declares parameters and running statistics, and it is the oracle of the tests.
//!
//! Bits are the same for any number of threads: tasks and the order of sums follow from shapes alone.

mod backward;
mod blocks;
mod forward;
mod last;
mod operation;
mod path;
mod plan;
#[cfg(test)]
mod tests;
mod workspace;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Device, Layout, Storage, Tensor, Var};
use rayon::prelude::*;

use self::forward::{Finish, forward};
use self::plan::Plan;
use self::workspace::Workspace;
use super::functional::class_indices;
use super::layers::BATCH_NORM_MOMENTUM;
use super::{Buffers, ColourizationNetwork, NetworkConfig, NetworkError, NetworkLayout, ReadableNetwork, Result, SIZE_MULTIPLE};
use crate::kernels::blocked::transfer::{load_classes, load_images};
use crate::kernels::blocked::{Isa, LANES};
use crate::kernels::cross_entropy::Score;

/// A plan for an image size with the memory to run it.
struct Engine {
    plan: Plan,
    workspace: Workspace,
}

/// A colourization network on the blocked kernels.
pub struct FastNetwork {
    readable: ReadableNetwork,
    buffers: Buffers,
    isa: Isa,
    training: Arc<Mutex<Option<Engine>>>,
    evaluation: Mutex<Option<Engine>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic inside a pass leaves numbers that the next pass writes anew.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The values of a contiguous tensor, which must be on the CPU.
fn on_cpu<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    match storage {
        Storage::Cpu(storage) => Ok(operation::values(storage, layout)?),
        _ => Err(NetworkError::Input("the fast network works on the CPU, and a tensor is elsewhere".into())),
    }
}

impl FastNetwork {
    /// With PyTorch's default initial weights, the same as the readable network's, drawn from `config.seed`.
    ///
    /// # Errors
    /// [`NetworkError::Config`] where a size is out of range.
    pub fn new(config: &NetworkConfig) -> Result<Self> {
        Self::with_isa(config, Isa::detect())
    }

    /// As [`FastNetwork::new`], with one of the processor's instruction sets.
    ///
    /// # Errors
    /// As for [`FastNetwork::new`].
    pub fn with_isa(config: &NetworkConfig, isa: Isa) -> Result<Self> {
        let readable = ReadableNetwork::new(config, &Device::Cpu)?;
        let buffers = readable.buffers();
        Ok(Self { readable, buffers, isa, training: Arc::default(), evaluation: Mutex::default() })
    }

    /// The engine for a batch, with the images loaded.
    fn load<'a>(&self, engine: &'a mut Option<Engine>, grey: &Tensor, training: bool) -> Result<&'a mut Engine> {
        let (images, channels, height, width) = self.readable.check_grey(grey)?;
        let kept = engine.take().filter(|engine| (engine.plan.height, engine.plan.width) == (height, width));
        let engine = engine.insert(kept.unwrap_or_else(|| Engine {
            plan: Plan::new(self.isa, self.config(), self.layout(), height, width),
            workspace: Workspace::new(self.isa, training),
        }));
        let Engine { plan, workspace } = engine;
        workspace.prepare(plan, images);
        let grey = grey.flatten_all()?;
        let (storage, layout) = grey.storage_and_layout();
        let values = on_cpu(&storage, layout)?;
        let isa = self.isa;
        let view = plan.grey.view;
        let map = workspace.maps.get_mut(plan.grey);
        map.par_chunks_mut(view.geometry.block_len())
            .zip(values.par_chunks(LANES * channels * height * width))
            .for_each(|(block, images)| load_images(isa, images, block, view));
        Ok(engine)
    }

    /// Loads classes beside the images.
    fn load_classes(&self, engine: &mut Engine, grey: &Tensor, classes: &Tensor) -> Result<()> {
        let (images, _, height, width) = grey.dims4()?;
        let classes = class_indices(&[images, self.config().num_colours, height, width], classes)
            .map_err(|error| NetworkError::Input(error.to_string()))?;
        let pixels = height * width;
        engine
            .workspace
            .classes
            .par_chunks_mut(pixels)
            .zip(classes.par_chunks(LANES * pixels))
            .for_each(|(block, classes)| load_classes(classes, block));
        Ok(())
    }

    /// The forward pass of a training step, which leaves what the backward pass needs.
    fn train(&mut self, grey: &Tensor, classes: &Tensor) -> Result<Tensor> {
        let shared = Arc::clone(&self.training);
        let generation = {
            let mut guard = lock(&shared);
            let engine = self.load(&mut guard, grey, true)?;
            self.load_classes(engine, grey, classes)?;
            let plan = &engine.plan;
            if engine.workspace.images * plan.height * plan.width / (SIZE_MULTIPLE * SIZE_MULTIPLE) < 2 {
                return Err(NetworkError::Input("one image of 4×4 pixels is too little for batch norm in training".into()));
            }
            engine.workspace.generation
        };
        let loss = operation::loss(self.parameters(), Arc::clone(&shared), generation)?;
        if let Some(engine) = &*lock(&shared) {
            self.follow(engine);
        }
        Ok(loss)
    }

    /// The forward pass with running statistics.
    fn evaluate(&self, plan: &Plan, workspace: &mut Workspace, finish: Finish<'_>) -> Result<Score> {
        let (storage, layout) = self.parameters().storage_and_layout();
        Ok(forward(plan, workspace, on_cpu(&storage, layout)?, Some(&self.buffers.running), finish))
    }

    /// Moves the running statistics towards the batch's.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn follow(&mut self, engine: &Engine) {
        for (stage, state) in engine.plan.stages.iter().zip(&engine.workspace.stages) {
            let Some(norm) = &stage.normalization else { continue };
            let geometry = stage.normalized().view.geometry;
            let count = (engine.workspace.images * geometry.height * geometry.width * norm.copies) as f32;
            let unbiased = count / (count - 1.0);
            let mut follow = |index: usize, value: f32| {
                let running = &mut self.buffers.running[index];
                *running = (1.0 - BATCH_NORM_MOMENTUM) * *running + BATCH_NORM_MOMENTUM * value;
            };
            for (c, &(mean, variance)) in state.statistics.iter().enumerate() {
                follow(norm.running_mean.start + c, mean as f32);
                follow(norm.running_var.start + c, variance as f32 * unbiased);
            }
        }
        self.buffers.num_batches_tracked += 1;
    }
}

impl ColourizationNetwork for FastNetwork {
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
        // Inside the pool, where one parallel loop after another starts without waking a thread: so all of them below.
        rayon::scope(|_| self.train(grey, classes))
    }

    fn logits(&self, grey: &Tensor) -> Result<Tensor> {
        rayon::scope(|_| {
            let mut guard = lock(&self.evaluation);
            let Engine { plan, workspace } = self.load(&mut guard, grey, false)?;
            let view = plan.logits();
            let (images, _, height, width) = grey.dims4()?;
            let mut logits = vec![0.0f32; images * view.channels * height * width];
            self.evaluate(plan, workspace, Finish::Logits(&mut logits))?;
            Ok(Tensor::from_vec(logits, (images, view.channels, height, width), &Device::Cpu)?)
        })
    }

    fn score(&self, grey: &Tensor, classes: &Tensor) -> Result<Score> {
        rayon::scope(|_| {
            let mut guard = lock(&self.evaluation);
            let engine = self.load(&mut guard, grey, false)?;
            self.load_classes(engine, grey, classes)?;
            self.evaluate(&engine.plan, &mut engine.workspace, Finish::Score)
        })
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
