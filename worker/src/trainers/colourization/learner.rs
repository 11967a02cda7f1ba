//! What learns: a network with its optimizer, on the CPU or on a GPU.
//!
//! On a GPU everything lies on the card, and the network and the optimizer of the CPU are a copy that is brought up to date when someone
//! asks for the state. Checkpoints and models are made from that copy, so they are the same files for both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use candle_nn::Optimizer as _;
use trainyard_gpu::{BURST, Engine, GpuError, Optimizer, Precision, Rates, Reading};
use trainyard_wire::run::LogLevel;
use trainyard_wire::spec::ColourizationSpec;

use super::super::card::{Card, Sets};
use super::super::optimizer::optimizer_config;
use super::super::session::Session;
use super::super::{TrainError, Workshop};
use super::position::{Trainee, Validation};
use super::{batches, model, samples};
use crate::data::Prepared;
use crate::networks::{self, Buffers, ColourizationNetwork, card};
use crate::optimizers::candle::{VarOptimizer, VarOptimizerConfig};
use crate::optimizers::{OptimizerConfig, OptimizerState};

/// Time that a GPU works without a look at whether to stop.
const WITHOUT_A_LOOK: Duration = Duration::from_millis(20);

/// The CPU's, or a copy of the card's.
struct Host {
    network: Box<dyn ColourizationNetwork>,
    optimizer: VarOptimizer,
}

/// A network on the card.
struct OnCard {
    engine: Engine,
    sets: Arc<Sets>,
    config: OptimizerConfig,
    optimizer: Optimizer,
    /// The optimizer's state lies under these names.
    slots: Vec<String>,
    /// Steps done, which are also the batches that batch norm has seen.
    steps: u64,
    tracked: u64,
    /// The host's copy is older.
    ahead: bool,
    at_a_time: usize,
}

enum Place {
    Cpu { device: Device, val: (Tensor, Tensor) },
    Card(Box<OnCard>),
}

/// See the module.
pub(super) struct Learner {
    host: Host,
    place: Place,
    /// The card, where it is on one.
    card: Option<Arc<Card>>,
    prepared: Arc<Prepared>,
    batch: usize,
}

/// Images of a sample picture.
pub(super) fn samples(spec: &ColourizationSpec, prepared: &Prepared) -> usize {
    usize::try_from(spec.sample_images).unwrap_or(usize::MAX).min(prepared.val_count())
}

impl Learner {
    /// On the workshop's card where it has one with room for the run, else on the CPU. No batch has more than `batch` images.
    ///
    /// # Errors
    /// Where the network cannot be built, or a card that is required has no room.
    pub(super) fn new(
        spec: &ColourizationSpec,
        prepared: &Arc<Prepared>,
        workshop: &Workshop,
        session: &dyn Session,
        batch: usize,
    ) -> Result<Self, TrainError> {
        let config = model::config(spec)?;
        let rule = optimizer_config(&spec.optimizer);
        let wanted = |device: &Device, readable: bool| -> Result<Host, TrainError> {
            let network = if readable { networks::build_readable(&config, device)? } else { networks::build(&config, device)? };
            let config = VarOptimizerConfig { optimizer: rule, learning_rate: spec.optimizer.learning_rate };
            let optimizer = VarOptimizer::new(vec![network.parameters().clone()], config)?;
            Ok(Host { network, optimizer })
        };
        if let Some(card) = &workshop.card {
            let host = wanted(&Device::Cpu, true)?;
            match OnCard::new(card, &host, rule, prepared, batch, samples(spec, prepared)) {
                Ok(on_card) => {
                    let (place, card) = (Place::Card(Box::new(on_card)), Some(Arc::clone(card)));
                    return Ok(Self { host, place, card, prepared: Arc::clone(prepared), batch });
                }
                Err(TrainError::Gpu(error)) if !card.is_required() => {
                    if matches!(error, GpuError::Device(_)) {
                        card.lose(&error);
                    }
                    session.log(LogLevel::Warn, format!("trains on the CPU: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        let val = batches::tensors(prepared, &prepared.val, 0..prepared.val_count(), &workshop.device)?;
        let place = Place::Cpu { device: workshop.device.clone(), val };
        Ok(Self { host: wanted(&workshop.device, false)?, place, card: None, prepared: Arc::clone(prepared), batch })
    }

    pub(super) fn device(&self) -> Trainee {
        match self.place {
            Place::Cpu { .. } => Trainee::Cpu,
            Place::Card(ref card) => match card.engine.driver().precision() {
                Precision::Fp32 => Trainee::Gpu,
                Precision::Tf32 => Trainee::GpuTf32,
            },
        }
    }

    /// What the card says of itself, where there is one.
    pub(super) fn reading(&self) -> Reading {
        self.card.as_ref().map(|card| card.reading()).unwrap_or_default()
    }

    /// Steps to make at a time: between them somebody looks whether to stop.
    pub(super) fn at_a_time(&self) -> u64 {
        match &self.place {
            Place::Cpu { .. } => 1,
            Place::Card(card) => card.at_a_time as u64,
        }
    }

    /// One optimizer step for each batch, at its rate; returns the losses before them.
    ///
    /// # Errors
    /// Where the network cannot be run.
    pub(super) fn train(&mut self, batches: &[Vec<usize>], rates: &[f64]) -> Result<Vec<f64>, TrainError> {
        let Place::Cpu { device, .. } = &self.place else { return self.on_card()?.train(batches, rates) };
        let Host { network, optimizer } = &mut self.host;
        let mut losses = Vec::with_capacity(batches.len());
        for (images, rate) in batches.iter().zip(rates) {
            let (grey, classes) = batches::tensors(&self.prepared, &self.prepared.train, images.iter().copied(), device)?;
            let loss = network.loss(&grey, &classes)?;
            losses.push(f64::from(loss.to_scalar::<f32>()?));
            let gradients = loss.backward()?;
            optimizer.set_learning_rate(*rate);
            optimizer.step(&gradients)?;
        }
        Ok(losses)
    }

    fn on_card(&mut self) -> Result<&mut OnCard, TrainError> {
        match &mut self.place {
            Place::Card(card) => Ok(card),
            Place::Cpu { .. } => Err(TrainError::Spec("this run is not on a GPU".to_owned())),
        }
    }

    /// Measures of all validation images.
    ///
    /// # Errors
    /// Where the network cannot be run.
    pub(super) fn evaluate(&mut self) -> Result<Validation, TrainError> {
        let batch = self.batch;
        match &mut self.place {
            Place::Cpu { val, .. } => {
                let evaluation = networks::evaluate(self.host.network.as_ref(), &val.0, &val.1, batch)?;
                Ok(Validation { loss: evaluation.loss, accuracy: evaluation.accuracy })
            }
            Place::Card(card) => card.evaluate(batch),
        }
    }

    /// The most likely class of each pixel of the first `count` validation images.
    ///
    /// # Errors
    /// Where the network cannot be run.
    pub(super) fn predict(&mut self, count: usize) -> Result<Vec<u8>, TrainError> {
        let batch = self.batch;
        match &mut self.place {
            Place::Cpu { val, .. } => samples::predict(self.host.network.as_ref(), &val.0.narrow(0, 0, count)?, batch),
            Place::Card(card) => {
                let mut classes = Vec::new();
                for images in in_batches(count, batch) {
                    classes.extend(card.engine.predict(&card.sets.val, &images)?);
                }
                Ok(classes)
            }
        }
    }

    /// Network and optimizer as they are now.
    ///
    /// # Errors
    /// Where the card fails.
    pub(super) fn state(&mut self) -> Result<(&dyn ColourizationNetwork, &VarOptimizer), TrainError> {
        if let Place::Card(card) = &mut self.place {
            card.bring_to(&mut self.host)?;
        }
        Ok((self.host.network.as_ref(), &self.host.optimizer))
    }

    /// Lets `change` set network and optimizer.
    ///
    /// # Errors
    /// Those of `change`, or where the card fails.
    pub(super) fn restore<T>(
        &mut self,
        change: impl FnOnce(&mut dyn ColourizationNetwork, &mut VarOptimizer) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        let changed = change(self.host.network.as_mut(), &mut self.host.optimizer)?;
        if let Place::Card(card) = &mut self.place {
            card.take_from(&self.host)?;
        }
        Ok(changed)
    }
}

/// The images `0..count`, `batch` at a time.
fn in_batches(count: usize, batch: usize) -> Vec<Vec<u32>> {
    let all: Vec<u32> = (0..u32::try_from(count).unwrap_or(u32::MAX)).collect();
    all.chunks(batch.max(1)).map(<[u32]>::to_vec).collect()
}

/// The sizes of `count` images in batches: full ones, and the last.
fn sizes(count: usize, batch: usize) -> [usize; 2] {
    [batch.min(count), count % batch.max(1)]
}

impl OnCard {
    fn new(
        card: &Card,
        host: &Host,
        config: OptimizerConfig,
        prepared: &Arc<Prepared>,
        batch: usize,
        samples: usize,
    ) -> Result<Self, TrainError> {
        let optimizer = match config {
            OptimizerConfig::GradientDescent { .. } => Optimizer::Descent,
            OptimizerConfig::Momentum { beta, .. } => Optimizer::Momentum { beta },
            OptimizerConfig::RmsProp { beta, epsilon, .. } => Optimizer::RmsProp { beta, epsilon },
            OptimizerConfig::Adam { beta1, beta2, epsilon } | OptimizerConfig::AdamW { beta1, beta2, epsilon, .. } => {
                Optimizer::Adam { beta1, beta2, epsilon }
            }
        };
        let shape = card::shape(host.network.config(), host.network.layout())?;
        let sets = card.sets(prepared)?;
        let driver = Arc::clone(card.driver()?);
        let engine = Engine::new(driver, &shape, (prepared.height, prepared.width), batch)?;
        let slots = host.optimizer.state().slots.into_iter().map(|(name, _)| name).collect();
        let mut on_card = Self { engine, sets, config, optimizer, slots, steps: 0, tracked: 0, ahead: false, at_a_time: 1 };
        on_card.take_from(host)?;
        // All memory and all kernels now: what does not fit is known before the first step.
        let Self { engine, sets, .. } = &mut on_card;
        engine.prepare_training(&sets.train, &sizes(prepared.train_count(), batch), optimizer)?;
        engine.prepare_scores(&sets.val, &sizes(prepared.val_count(), batch))?;
        engine.prepare_predictions(&sets.val, &sizes(samples, batch))?;
        engine.prepare_predictions(&sets.val, &sizes(prepared.val_count(), batch))?;
        Ok(on_card)
    }

    /// Puts the host's state on the card.
    fn take_from(&mut self, host: &Host) -> Result<(), TrainError> {
        let Buffers { running, num_batches_tracked } = host.network.buffers();
        self.engine.set_parameters(&host.network.parameters().to_vec1::<f32>()?)?;
        self.engine.set_running(&running)?;
        let state = host.optimizer.state();
        for (slot, (_, values)) in state.slots.iter().enumerate() {
            self.engine.set_slot(slot, values)?;
        }
        (self.steps, self.tracked, self.ahead) = (state.steps, num_batches_tracked, false);
        Ok(())
    }

    /// Puts the card's state into the host's copy.
    fn bring_to(&mut self, host: &mut Host) -> Result<(), TrainError> {
        if !self.ahead {
            return Ok(());
        }
        host.network.load_parameters(&self.engine.parameters()?)?;
        host.network.load_buffers(&Buffers { running: self.engine.running()?, num_batches_tracked: self.tracked })?;
        let slots = self.slots.iter().enumerate().map(|(slot, name)| Ok((name.clone(), self.engine.slot(slot)?)));
        let slots = slots.collect::<Result<_, GpuError>>()?;
        host.optimizer.load_state(&OptimizerState { steps: self.steps, slots })?;
        self.ahead = false;
        Ok(())
    }

    fn train(&mut self, batches: &[Vec<usize>], rates: &[f64]) -> Result<Vec<f64>, TrainError> {
        let begun = Instant::now();
        let batches: Vec<Vec<u32>> = batches.iter().map(|images| images.iter().map(|&image| image as u32).collect()).collect();
        let of_step = |(step, rate): (u64, &f64)| self.optimizer.rates(step, *rate, self.kept(*rate));
        let rates: Vec<Rates> = (self.steps + 1..).zip(rates).map(of_step).collect();
        self.ahead = true;
        let scores = self.engine.train(&self.sets.train, &batches, &rates, Some(self.optimizer))?;
        self.steps += scores.len() as u64;
        self.tracked += scores.len() as u64;
        let of_one = begun.elapsed().as_secs_f64() / batches.len().max(1) as f64;
        self.at_a_time = ((WITHOUT_A_LOOK.as_secs_f64() / of_one) as usize).clamp(1, BURST);
        // As on the CPU, where a loss is a tensor of f32.
        Ok(scores.iter().map(|score| f64::from(score.loss() as f32)).collect())
    }

    /// What decay leaves of a weight at a step.
    fn kept(&self, rate: f64) -> f64 {
        match self.config {
            OptimizerConfig::GradientDescent { weight_decay }
            | OptimizerConfig::Momentum { weight_decay, .. }
            | OptimizerConfig::RmsProp { weight_decay, .. } => 1.0 - weight_decay,
            OptimizerConfig::Adam { .. } => 1.0,
            OptimizerConfig::AdamW { weight_decay, .. } => 1.0 - rate * weight_decay,
        }
    }

    fn evaluate(&mut self, batch: usize) -> Result<Validation, TrainError> {
        let batches = in_batches(self.sets.val.count(), batch);
        let (mut loss_sum, mut hits, mut pixels) = (0.0, 0, 0);
        for score in self.engine.score(&self.sets.val, &batches)? {
            loss_sum += score.loss_sum;
            hits += score.hits;
            pixels += score.pixels;
        }
        Ok(Validation { loss: loss_sum / pixels as f64, accuracy: hits as f64 / pixels as f64 })
    }
}
