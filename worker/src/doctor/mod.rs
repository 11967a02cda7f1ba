//! `trainyard doctor`: whether this machine trains as it should, and how fast.
//!
//! Everything is looked at where runs are trained: [`cases`] through the seam of the networks, the rest by training small runs on
//! built-in images as a worker does, with a [`Session`](crate::trainers::Session) that keeps what they say.

pub mod cases;
mod watcher;

use std::path::Path;

use serde::Serialize;
use serde_json::json;
use trainyard_gpu::Precision;
use trainyard_theory::network::{Architecture, NetworkConfig as Counted};
use trainyard_wire::Spec;

use crate::networks::{self, CardNetwork, ColourizationNetwork, DeviceChoice, Found, NetworkConfig, NetworkError};
use crate::trainers::{Assignment, Card, Ended, Stop, TrainError, Workshop, train};
use cases::{CASES, Case, CaseReport, Tolerance};
use watcher::Watcher;

/// The networks by the names of specs.
const NETWORKS: [(&str, Architecture); 3] =
    [("pool_upsample", Architecture::PoolUpsample), ("conv_transpose", Architecture::ConvTranspose), ("unet", Architecture::Unet)];

/// The usual spec: images of 32×32 pixels, 100 a batch, kernel 3, 32 filters, 24 colours.
const SIZE: u64 = 32;
const BATCH: u64 = 100;
const FILTERS: u64 = 32;
const COLOURS: u64 = 24;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// The device cannot be had, or a network not be run there.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A run does not come to its end.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// A case file cannot be read.
    #[error(transparent)]
    File(#[from] safetensors::SafeTensorError),
    /// A case does not fit its network.
    #[error("{0}")]
    Case(String),
    /// A spec of the doctor's own is refused.
    #[error("{0}")]
    Spec(String),
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What is trained on, in words.
    pub device: String,
    /// Whether that is a GPU.
    pub gpu: bool,
    /// How products of FP32 numbers are made: `fp32` or `tf32`.
    pub precision: String,
    /// What the cases are held to.
    pub tolerance: Tolerance,
    /// The nine cases.
    pub cases: Vec<CaseReport>,
    /// Of each network, in the order of [`Report::steps`]: whether the same run comes to the same model twice.
    pub deterministic: Vec<bool>,
    /// Whether a run that stops in the middle and goes on comes to the same model.
    pub resumes: Vec<bool>,
    /// Time of steps of the usual spec.
    pub steps: Vec<StepReport>,
    /// What the GPU says of itself after that.
    pub readings: Vec<(&'static str, f64)>,
    /// Whether everything is as it should be. Times are not judged.
    pub ok: bool,
}

/// The speed of one network.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// Its name.
    pub network: &'static str,
    /// The median time of a step with 100 images, in ms.
    pub step_ms: f64,
    /// Images a second at that.
    pub images_per_second: f64,
    /// Multiply-adds a second, counting those of the network as it is written: thrice the forward ones.
    pub multiply_adds_per_second: f64,
    /// The share of the GPU's limit in its precision that these are.
    pub of_limit: Option<f64>,
}

/// Looks at everything. `say` hears what is being looked at.
///
/// # Errors
/// [`DoctorError`] where the device cannot be had or a run cannot be trained; wrong numbers are in the report.
pub fn examine(choice: DeviceChoice, precision: Precision, kernels: &Path, say: impl Fn(&str)) -> Result<Report, DoctorError> {
    let found = choice.find(kernels, precision)?;
    examine_found(&found, say)
}

fn examine_found(found: &Found, say: impl Fn(&str)) -> Result<Report, DoctorError> {
    let mut workshop = Workshop::new(found.device.clone());
    if let Some(driver) = &found.driver {
        workshop = workshop.with_card(Card::new(std::sync::Arc::clone(driver), true).with_monitor(found.monitor.clone()));
    }
    let precision = found.driver.as_ref().map_or(Precision::Fp32, |driver| driver.precision());
    let tolerance = Tolerance::of(precision);
    let mut report = Report {
        device: found.text.clone(),
        gpu: found.driver.is_some(),
        precision: precision.to_string(),
        tolerance,
        cases: Vec::new(),
        deterministic: Vec::new(),
        resumes: Vec::new(),
        steps: Vec::new(),
        readings: Vec::new(),
        ok: false,
    };
    for (name, bytes) in CASES {
        say(&format!("PyTorch's case {name}"));
        let case = Case { name, bytes };
        report.cases.push(case.check(network(found, &case.config()?)?.as_mut(), tolerance)?);
    }
    for (name, _) in NETWORKS {
        say(&format!("{name}: the same bits twice, and after a stop"));
        let (same, resumes) = repeats(name, &workshop)?;
        report.deterministic.push(same);
        report.resumes.push(resumes);
    }
    let limit = found.card.as_ref().map(|card| card.flops() / 2.0);
    for (name, architecture) in NETWORKS {
        say(&format!("{name}: the time of a step"));
        report.steps.push(step_time(name, architecture, &workshop, limit)?);
    }
    report.readings = found.monitor.iter().flat_map(|monitor| monitor.read().values()).collect();
    let right = report.cases.iter().all(|case| case.failures.is_empty());
    let right = right && report.cases.iter().any(|case| case.worst <= tolerance.best_case);
    report.ok = right && report.deterministic.iter().chain(&report.resumes).all(|&holds| holds);
    Ok(report)
}

fn network(found: &Found, config: &NetworkConfig) -> Result<Box<dyn ColourizationNetwork>, NetworkError> {
    match &found.driver {
        Some(driver) => Ok(Box::new(CardNetwork::new(config, std::sync::Arc::clone(driver))?)),
        None => networks::build(config, &found.device),
    }
}

fn assignment(spec: serde_json::Value) -> Result<Assignment, DoctorError> {
    let spec = Spec::from_value(spec, "").map_err(|error| DoctorError::Spec(format!("{error:?}")))?;
    Ok(Assignment { spec, dataset: None, checkpoint: None, picture: None })
}

fn completed(assignment: &Assignment, workshop: &Workshop, session: &Watcher) -> Result<(), DoctorError> {
    match train(assignment, workshop, session)? {
        Ended::Succeeded { .. } => Ok(()),
        ended => Err(DoctorError::Spec(format!("the run ends before its end: {ended:?}; {}", session.log()))),
    }
}

/// Whether a small run comes to the same model twice, and after a stop.
fn repeats(network: &str, workshop: &Workshop) -> Result<(bool, bool), DoctorError> {
    let run = assignment(json!({
        "kind": "colourization",
        "dataset": {"name": "synthetic", "train_images": 70, "val_images": 10, "size": 16},
        "network": {"name": network, "num_filters": 8},
        "num_colours": COLOURS,
        "optimizer": {"name": "adam", "learning_rate": 0.003},
        "batch_size": 16,
        "epochs": 3,
        "sample_every": 0,
    }))?;
    let model = |run: &Assignment| -> Result<Vec<u8>, DoctorError> {
        let session = Watcher::default();
        completed(run, workshop, &session)?;
        Ok(session.artifact("model.safetensors"))
    };
    let once = model(&run)?;
    let same = model(&run)? == once;
    let stopped = Watcher::stopping_after(2);
    let ended = train(&run, workshop, &stopped)?;
    if ended != Ended::Stopped(Stop::Release) {
        return Err(DoctorError::Spec(format!("the run does not stop: {ended:?}; {}", stopped.log())));
    }
    let rest = Assignment { checkpoint: stopped.checkpoint(), ..run };
    Ok((same, !once.is_empty() && model(&rest)? == once))
}

/// Trains three epochs of 20 batches; the median of the steps after the first epoch counts.
fn step_time(
    network: &'static str,
    architecture: Architecture,
    workshop: &Workshop,
    limit: Option<f64>,
) -> Result<StepReport, DoctorError> {
    const STEPS_OF_AN_EPOCH: u64 = 20;
    let run = assignment(json!({
        "kind": "colourization",
        "dataset": {"name": "synthetic", "train_images": STEPS_OF_AN_EPOCH * BATCH, "val_images": 10, "size": SIZE},
        "network": {"name": network, "num_filters": FILTERS},
        "num_colours": COLOURS,
        "optimizer": {"name": "adam", "learning_rate": 0.001},
        "batch_size": BATCH,
        "epochs": 3,
        "sample_every": 0,
    }))?;
    let session = Watcher::default();
    completed(&run, workshop, &session)?;
    let step_ms = session.median("step_ms", STEPS_OF_AN_EPOCH);
    let counted = Counted {
        architecture,
        kernel: 3,
        dilation: 1,
        num_filters: FILTERS,
        in_channels: 1,
        num_colours: COLOURS,
        height: SIZE,
        width: SIZE,
    };
    let forward = counted.accounting().map_err(|error| DoctorError::Spec(error.to_string()))?.multiply_accumulates;
    let images_per_second = BATCH as f64 / (1e-3 * step_ms);
    let multiply_adds_per_second = 3.0 * forward as f64 * images_per_second;
    let of_limit = limit.map(|limit| multiply_adds_per_second / limit);
    Ok(StepReport { network, step_ms, images_per_second, multiply_adds_per_second, of_limit })
}

#[cfg(test)]
mod tests {
    use trainyard_gpu_emulator::Emulator;

    use super::*;

    #[test]
    fn runs_repeat_on_the_cpu_and_on_a_card() {
        let card = Workshop::new(candle_core::Device::Cpu).with_card(Card::new(Emulator::new(), true));
        assert_eq!(repeats("unet", &Workshop::new(candle_core::Device::Cpu)).unwrap(), (true, true));
        let small = |network: &str| {
            let mut run = assignment(json!({
                "kind": "colourization",
                "dataset": {"name": "synthetic", "train_images": 4, "val_images": 2, "size": 8},
                "network": {"name": network, "num_filters": 2},
                "num_colours": 4,
                "optimizer": {"name": "adam", "learning_rate": 0.003},
                "batch_size": 2,
                "epochs": 1,
            }))
            .unwrap();
            let session = Watcher::default();
            completed(&run, &card, &session).unwrap();
            run.checkpoint = session.checkpoint();
            session.artifact("model.safetensors")
        };
        assert_eq!(small("unet"), small("unet"));
    }

    #[test]
    fn the_time_of_a_step_is_a_median_and_its_share_is_of_the_limit() {
        let session = Watcher::default();
        for (step, ms) in [(10, 900.0), (30, 5.0), (40, 2.0), (50, 3.0)] {
            crate::trainers::Session::metric(&session, "step_ms", step, ms);
        }
        assert_eq!(session.median("step_ms", 20), 3.0);
    }
}
