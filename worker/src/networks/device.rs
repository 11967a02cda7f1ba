//! Where networks are trained: `--device auto|cpu|cuda`, `--gpu-precision fp32|tf32`, and what is there at run time.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use trainyard_gpu::monitor::{CardMonitor, Monitor};
use trainyard_gpu::{Driver, Precision, cuda};

use super::{NetworkError, Result};

/// What the worker was asked to train on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// An NVIDIA GPU where this machine has one that can be used, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first NVIDIA GPU, or an error.
    Cuda,
    /// Candle's own CUDA device under the readable networks, for comparison: only in builds with the feature `candle-cuda`.
    CandleCuda,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where candle's tensors live.
    pub device: Device,
    /// The GPU.
    pub driver: Option<Arc<dyn Driver>>,
    /// What measures it, where that can be had.
    pub monitor: Option<Arc<dyn Monitor>>,
    /// Its limits, for comparison.
    pub card: Option<cuda::Card>,
    /// Both in words, with the reason where a GPU was looked for and cannot be used.
    pub text: String,
}

impl DeviceChoice {
    /// Opens the device; compiled kernels are kept in `kernels`. The precision is a GPU's: the CPU and a GPU that lacks it have FP32.
    ///
    /// # Errors
    /// [`NetworkError::Device`] where a GPU was asked for and none can be used.
    pub fn find(self, kernels: &Path, precision: Precision) -> Result<Found> {
        let cpu = |text: String| Found { device: Device::Cpu, driver: None, monitor: None, card: None, text };
        match self {
            Self::Cpu => Ok(cpu("cpu".to_owned())),
            Self::Auto => Ok(card(kernels, precision).unwrap_or_else(|error| cpu(format!("cpu ({error})")))),
            Self::Cuda => card(kernels, precision).map_err(unusable),
            Self::CandleCuda => {
                let device = Device::new_cuda(0)
                    .map_err(|error| NetworkError::Device(format!("candle opens no GPU ({error}); use --device cpu, or auto")))?;
                Ok(Found { device, driver: None, monitor: None, card: None, text: "candle's cuda:0".to_owned() })
            }
        }
    }

    /// Whether [`DeviceChoice::find`] may succeed, as far as can be told without taking memory on a GPU.
    ///
    /// # Errors
    /// As there.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Cpu | Self::Auto => Ok(()),
            Self::Cuda => cuda::look().map_err(unusable),
            Self::CandleCuda if candle_core::utils::cuda_is_available() => Ok(()),
            Self::CandleCuda => {
                Err(NetworkError::Device("this build is without the feature candle-cuda; use --device cpu, or auto".to_owned()))
            }
        }
    }
}

fn unusable(error: trainyard_gpu::GpuError) -> NetworkError {
    NetworkError::Device(format!("{error}; use --device cpu, or auto"))
}

fn card(kernels: &Path, wanted: Precision) -> std::result::Result<Found, trainyard_gpu::GpuError> {
    let device = cuda::find(kernels, wanted)?;
    let card = device.card().clone();
    let monitor = CardMonitor::new(&card.uuid).map(|monitor| Arc::new(monitor) as Arc<dyn Monitor>);
    let text = describe(&card, wanted);
    Ok(Found { device: Device::Cpu, driver: Some(device), monitor, text, card: Some(card) })
}

/// A card in words, which also say what of the wishes it cannot fulfil.
fn describe(card: &cuda::Card, wanted: Precision) -> String {
    let lacks = if card.precision == wanted { "" } else { ", FP32 (TF32 takes compute capability 8.0 or later)" };
    format!("cuda: {card}{lacks}")
}

impl std::str::FromStr for DeviceChoice {
    type Err = NetworkError;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            "candle-cuda" => Ok(Self::CandleCuda),
            _ => Err(NetworkError::Device(format!("`{word}` is none of auto, cpu, cuda"))),
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::CandleCuda => "candle-cuda",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_and_cpu_always_open_and_auto_says_why_it_is_the_cpu() {
        let kernels = tempfile::tempdir().unwrap();
        assert_eq!(DeviceChoice::Cpu.find(kernels.path(), Precision::Tf32).unwrap().text, "cpu");
        let found = DeviceChoice::Auto.find(kernels.path(), Precision::Tf32).unwrap();
        assert!(found.driver.is_some() || found.text.starts_with("cpu (no "), "{}", found.text);
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_that_says_what_to_do() {
        let kernels = tempfile::tempdir().unwrap();
        for choice in [DeviceChoice::Cuda, DeviceChoice::CandleCuda] {
            if let Err(error) = choice.check() {
                assert!(error.to_string().contains("--device cpu"), "{error}");
                let error = choice.find(kernels.path(), Precision::Tf32).unwrap_err().to_string();
                assert!(error.contains("--device cpu"), "{error}");
            }
        }
    }

    #[test]
    fn a_card_without_tf32_says_what_it_would_take() {
        let card = |capability| cuda::Card {
            name: "NVIDIA T4".to_owned(),
            uuid: String::new(),
            capability,
            memory: 16 << 30,
            multiprocessors: 40,
            clock_khz: 1_590_000,
            l2_bytes: 4 << 20,
            memory_bus: (5_001_000, 256),
            driver: 13_000,
            compiler: (13, 0),
            precision: Precision::Tf32.on(capability),
        };
        let (old, new) = (describe(&card((7, 5)), Precision::Tf32), describe(&card((8, 0)), Precision::Tf32));
        assert!(old.ends_with("NVRTC 13.0, FP32 (TF32 takes compute capability 8.0 or later)"), "{old}");
        assert!(new.ends_with("NVRTC 13.0, TF32"), "{new}");
    }

    #[test]
    fn words_parse_and_print_alike() {
        for word in ["auto", "cpu", "cuda", "candle-cuda"] {
            assert_eq!(word.parse::<DeviceChoice>().unwrap().to_string(), word);
        }
        assert!("gpu".parse::<DeviceChoice>().is_err());
    }
}
