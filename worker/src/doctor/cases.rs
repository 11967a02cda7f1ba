//! PyTorch's one-step cases, and a network held to them: loss, gradients, the state after one Adam step, logits in evaluation.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::Optimizer as _;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use trainyard_gpu::Precision;

use super::DoctorError;
use crate::networks::layout::{NetworkLayout, ParameterLayout};
use crate::networks::{Buffers, ColourizationNetwork, NetworkConfig, NetworkKind};
use crate::optimizers::OptimizerConfig;
use crate::optimizers::candle::{VarOptimizer, VarOptimizerConfig};

/// The largest relative errors `‖a − b‖/‖b‖` of tensors; where the reference is zero, a tensor must be exactly zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tolerance {
    /// Of the loss, of running statistics and of logits.
    pub values: f64,
    /// Of gradients.
    pub gradients: f64,
    /// Of parameters after the step.
    pub parameters: f64,
    /// Of every tensor of the best of the nine cases.
    pub best_case: f64,
}

impl Tolerance {
    /// In FP32, where only the order of sums differs from PyTorch's.
    pub const FP32: Self = Self { values: 1e-4, gradients: 1e-4, parameters: 1e-4, best_case: 1e-4 };

    /// In TF32. A factor is rounded by at most 2⁻¹¹ of itself, 2⁻¹¹/√3 on average over many; two of them, added up over five convolutions,
    /// come to √10·2⁻¹¹/√3 ≈ 9e-4 of a value, and twice that is allowed. A gradient is of that accuracy too as long as no rectifier and no
    /// pooling window is within the rounding of a tie: one that decides otherwise sends its pixel's gradient elsewhere, which is a lot among
    /// the 48 to 768 pixels of a channel in these cases. So gradients are only held to what no wrong gradient meets, and those of the case
    /// that ties touch least, in full, to their accuracy. Adam's first step is the gradient's sign, so that a small gradient matters there.
    pub const TF32: Self = Self { values: 2e-3, gradients: 0.5, parameters: 2e-2, best_case: 5e-3 };

    /// What a GPU that makes products so is held to.
    #[must_use]
    pub fn of(precision: Precision) -> Self {
        match precision {
            Precision::Fp32 => Self::FP32,
            Precision::Tf32 => Self::TF32,
        }
    }

    fn of_tensor(&self, name: &str) -> f64 {
        match name.split_once('.') {
            Some(("grad", _)) => self.gradients,
            Some(("after", name)) if !name.contains("running") => self.parameters,
            _ => self.values,
        }
    }
}

macro_rules! cases {
    ($($name:literal),+) => {
        /// The nine cases: three networks, kernels 3, 4 and 5. `worker/tests/reference_cases` has the script that made them.
        pub const CASES: [(&str, &[u8]); 9] =
            [$(($name, include_bytes!(concat!("../../tests/reference_cases/", $name, ".safetensors")))),+];
    };
}

cases!(
    "conv_transpose_k3",
    "conv_transpose_k4",
    "conv_transpose_k5",
    "pool_upsample_k3",
    "pool_upsample_k4",
    "pool_upsample_k5",
    "unet_k3",
    "unet_k4",
    "unet_k5"
);

/// A case file in memory.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Its name, for people.
    pub name: &'a str,
    /// The safetensors file.
    pub bytes: &'a [u8],
}

/// How near a network came to a case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// The case.
    pub name: String,
    /// The largest relative error, and of which tensor it is.
    pub worst: f64,
    /// See `worst`.
    pub tensor: String,
    /// Tensors that were compared.
    pub compared: usize,
    /// The largest relative errors that are right.
    #[serde(skip)]
    pub tolerance: Tolerance,
    /// A sentence for each tensor that is off by more.
    pub failures: Vec<String>,
}

impl CaseReport {
    fn new(case: &Case<'_>, tolerance: Tolerance) -> Self {
        Self { name: case.name.to_owned(), worst: 0.0, tensor: "nothing".to_owned(), compared: 0, tolerance, failures: Vec::new() }
    }

    /// Compares one tensor with the case's of that name.
    ///
    /// # Errors
    /// Where the case has none of that length.
    pub fn compare(&mut self, case: &Case<'_>, name: &str, ours: &[f32]) -> Result<(), DoctorError> {
        let reference = case.f32(name)?;
        if ours.len() != reference.len() {
            return Err(DoctorError::Case(format!("{}: {name} has {} values, ours {}", case.name, reference.len(), ours.len())));
        }
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let difference = norm(&mut ours.iter().zip(&reference).map(|(&a, &b)| f64::from(a) - f64::from(b)));
        let scale = norm(&mut reference.iter().map(|&b| f64::from(b)));
        let error = if difference == 0.0 { 0.0 } else { difference / scale };
        if error > self.tolerance.of_tensor(name) || error.is_nan() {
            self.failures.push(format!("{}: {name} is off by {error:.2e}", case.name));
        }
        if error > self.worst {
            (self.worst, self.tensor) = (error, name.to_owned());
        }
        self.compared += 1;
        Ok(())
    }

    fn compare_all(&mut self, case: &Case<'_>, prefix: &str, layout: &ParameterLayout, flat: &[f32]) -> Result<(), DoctorError> {
        layout.entries().iter().try_for_each(|entry| self.compare(case, &format!("{prefix}{}", entry.name), &flat[entry.range()]))
    }
}

impl Case<'_> {
    fn tensors(&self) -> Result<SafeTensors<'_>, DoctorError> {
        Ok(SafeTensors::deserialize(self.bytes)?)
    }

    fn f32(&self, name: &str) -> Result<Vec<f32>, DoctorError> {
        let file = self.tensors()?;
        let view = file.tensor(name)?;
        if view.dtype() != Dtype::F32 {
            return Err(DoctorError::Case(format!("{}: {name} is {:?}", self.name, view.dtype())));
        }
        Ok(view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// The values before the step, of all pieces of a layout.
    ///
    /// # Errors
    /// Where the case lacks one.
    pub fn start(&self, layout: &ParameterLayout) -> Result<Vec<f32>, DoctorError> {
        let pieces = layout.entries().iter().map(|entry| self.f32(&format!("before.{}", entry.name)));
        Ok(pieces.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// The network that it is a step of.
    ///
    /// # Errors
    /// Where the file does not say.
    pub fn config(&self) -> Result<NetworkConfig, DoctorError> {
        let (_, metadata) = SafeTensors::read_metadata(self.bytes)?;
        let metadata: HashMap<String, String> = metadata.metadata().clone().unwrap_or_default();
        let missing = |key: &str| DoctorError::Case(format!("{}: no {key}", self.name));
        let number = |key: &str| metadata.get(key).and_then(|value| value.parse().ok()).ok_or_else(|| missing(key));
        Ok(NetworkConfig {
            kind: match metadata.get("kind").map(String::as_str) {
                Some("pool_upsample") => NetworkKind::PoolUpsample,
                Some("conv_transpose") => NetworkKind::ConvTranspose,
                Some("unet") => NetworkKind::UNet,
                _ => return Err(missing("kind")),
            },
            kernel: number("kernel")?,
            num_filters: number("num_filters")?,
            num_colours: number("num_colours")?,
            in_channels: number("in_channels")?,
            seed: 0,
        })
    }

    /// Images and classes.
    ///
    /// # Errors
    /// Where the case has none.
    pub fn input(&self) -> Result<(Tensor, Tensor), DoctorError> {
        let file = self.tensors()?;
        let x = Tensor::from_vec(self.f32("x")?, file.tensor("x")?.shape(), &Device::Cpu)?;
        let y = file.tensor("y")?;
        Ok((x, Tensor::from_slice(y.data(), y.shape(), &Device::Cpu)?))
    }

    /// An empty report on it.
    #[must_use]
    pub fn report(&self, tolerance: Tolerance) -> CaseReport {
        CaseReport::new(self, tolerance)
    }

    /// Lets a network make the step that PyTorch made.
    ///
    /// # Errors
    /// Where the network cannot be run, or the case is not one of its kind.
    pub fn check(&self, network: &mut dyn ColourizationNetwork, tolerance: Tolerance) -> Result<CaseReport, DoctorError> {
        let NetworkLayout { parameters, buffers, .. } = network.layout().clone();
        let (x, y) = self.input()?;
        network.load_parameters(&self.start(&parameters)?)?;
        let mut report = self.report(tolerance);
        let loss = network.loss(&x, &y)?;
        report.compare(self, "loss", &flat(&loss)?)?;
        let gradients = loss.backward()?;
        let Some(gradient) = gradients.get(network.parameters()) else {
            return Err(DoctorError::Case("the loss has no gradient".to_owned()));
        };
        report.compare_all(self, "grad.", &parameters, &flat(gradient)?)?;
        let adam = OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        let config = VarOptimizerConfig { optimizer: adam, learning_rate: 1e-3 };
        let mut adam = VarOptimizer::new(vec![network.parameters().clone()], config)?;
        adam.step(&gradients)?;
        report.compare_all(self, "after.", &parameters, &flat(network.parameters())?)?;
        let Buffers { running, num_batches_tracked } = network.buffers();
        if num_batches_tracked != 1 {
            report.failures.push(format!("{}: {num_batches_tracked} batches tracked", self.name));
        }
        report.compare_all(self, "after.", &buffers, &running)?;
        report.compare(self, "eval_logits_after", &flat(&network.logits(&x)?)?)?;
        Ok(report)
    }
}

/// All values of a tensor.
///
/// # Errors
/// Where they cannot be brought here.
pub fn flat(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}
