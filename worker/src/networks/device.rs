//! Where tensors live: `--device auto|cpu|cuda`.

use candle_core::{Device, utils};

use super::{NetworkError, Result};

/// What the worker was asked to train on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A CUDA GPU where this build and this machine have one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first CUDA GPU, or an error.
    Cuda,
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`NetworkError::Device`] where `Cuda` was asked for and this build or this machine has none.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok(if utils::cuda_is_available() { Device::new_cuda(0).unwrap_or(Device::Cpu) } else { Device::Cpu }),
            Self::Cuda if !utils::cuda_is_available() => {
                Err(NetworkError::Device("this build has no CUDA support; use --device cpu, or auto".into()))
            }
            Self::Cuda => Device::new_cuda(0)
                .map_err(|error| NetworkError::Device(format!("no CUDA GPU could be opened ({error}); use --device cpu, or auto"))),
        }
    }
}

impl std::str::FromStr for DeviceChoice {
    type Err = NetworkError;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_and_cpu_always_open() {
        assert!(DeviceChoice::Cpu.open().unwrap().is_cpu());
        assert!(DeviceChoice::Auto.open().is_ok());
    }

    #[test]
    fn cuda_without_a_gpu_says_what_to_do() {
        if !utils::cuda_is_available() {
            let message = DeviceChoice::Cuda.open().unwrap_err().to_string();
            assert!(message.contains("--device cpu"), "{message}");
        }
    }

    #[test]
    fn words_parse_and_print_alike() {
        for word in ["auto", "cpu", "cuda"] {
            assert_eq!(word.parse::<DeviceChoice>().unwrap().to_string(), word);
        }
        assert!("gpu".parse::<DeviceChoice>().is_err());
    }
}
