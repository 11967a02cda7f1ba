//! The seam between what is computed and what computes it: memory, queues, and programs of launches.
//!
//! [`crate::cuda`] implements it on a card, the emulator of the tests on the CPU. Everything above it, which is all but a thin layer, is
//! the same for both. A [`Launch`] names the launches it must come after; whatever order keeps to that comes to the same bits.

use std::fmt::Debug;
use std::sync::Arc;

use crate::Result;
use crate::shapes::{ConvolveShape, CorrelateShape};

/// How products are made. Sums are those of FP32, or of f64, either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// All in FP32.
    #[default]
    Fp32,
    /// Convolutions and their gradients on tensor cores, with operands rounded to TF32: 8 bits of exponent as FP32, 10 of mantissa.
    Tf32,
}

impl Precision {
    /// This one on cards of a compute capability that has it, which for TF32 is 8.0 and later; FP32 on others.
    #[must_use]
    pub fn on(self, capability: (i32, i32)) -> Self {
        match self {
            Self::Tf32 if capability >= (8, 0) => Self::Tf32,
            _ => Self::Fp32,
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = crate::GpuError;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "fp32" => Ok(Self::Fp32),
            "tf32" => Ok(Self::Tf32),
            _ => Err(crate::GpuError::Input(format!("`{word}` is none of fp32, tf32"))),
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
        })
    }
}

/// A kernel, specialized for a shape where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// `convolve.cu`
    Convolve(ConvolveShape),
    /// `correlate.cu`
    Correlate(CorrelateShape),
    /// `update.cu`: weights into the form that convolutions read
    Pack,
    /// `update.cu`: batch norm from the running statistics
    EvaluationCoefficients,
    /// `update.cu`: sums of the weight gradients, and the optimizer
    Finish,
    /// `regression.cu`
    Residual,
    /// `regression.cu`
    Slope,
}

impl Kernel {
    /// The function in the sources.
    #[must_use]
    pub fn function(&self) -> &'static str {
        match self {
            Self::Convolve(_) => "convolve",
            Self::Correlate(shape) if shape.wm > 0 => "correlate_tf32",
            Self::Correlate(_) => "correlate",
            Self::Pack => "pack",
            Self::EvaluationCoefficients => "evaluation_coefficients",
            Self::Finish => "finish",
            Self::Residual => "residual",
            Self::Slope => "slope",
        }
    }

    /// The members of its shape, in the order of the sources.
    #[must_use]
    pub fn shape(&self) -> Vec<i32> {
        match self {
            Self::Convolve(shape) => shape.members().into_iter().map(|(_, value)| value).collect(),
            Self::Correlate(shape) => shape.members().into_iter().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        }
    }
}

/// One launch of a kernel. Only this crate makes them: its arguments hold addresses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Launch {
    /// What is launched.
    pub kernel: Kernel,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared: u32,
    /// The kernel's one argument, a structure of the sources, in whole words.
    pub arguments: Vec<u64>,
    /// Launches of the same program that come before it, by their indices, which are smaller than its own.
    pub after: Vec<usize>,
}

/// A piece of a device's memory, given back when it is dropped.
pub trait Memory: Debug + Send + Sync {
    /// Where it begins, for the device.
    fn address(&self) -> u64;
    /// Its length.
    fn bytes(&self) -> usize;
}

/// Launches that can be run again and again.
pub trait Program: Debug + Send {
    /// For the driver that made it.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// Work in order. Several queues of a device work at the same time.
pub trait Queue: Debug + Send {
    /// Copies to the device, after all that was asked for before.
    ///
    /// # Errors
    /// Where it does not fit, or the device fails.
    fn upload(&mut self, to: &dyn Memory, offset: usize, bytes: &[u8]) -> Result<()>;

    /// Copies from the device, once all that was asked for before is done; waits for it.
    ///
    /// # Errors
    /// Where it does not fit, or the device fails, also in what was asked for before.
    fn download(&mut self, from: &dyn Memory, offset: usize, bytes: &mut [u8]) -> Result<()>;

    /// Runs a program some times, one after another.
    ///
    /// # Errors
    /// Where the device fails.
    fn run(&mut self, program: &dyn Program, times: usize) -> Result<()>;

    /// Waits for all that was asked for.
    ///
    /// # Errors
    /// Where the device fails.
    fn wait(&mut self) -> Result<()>;
}

/// A device.
pub trait Driver: Debug + Send + Sync {
    /// Its name, for people.
    fn name(&self) -> String;

    /// How it makes products.
    fn precision(&self) -> Precision;

    /// Memory of any content.
    ///
    /// # Errors
    /// [`crate::GpuError::Memory`] where there is not enough.
    fn allocate(&self, bytes: usize) -> Result<Arc<dyn Memory>>;

    /// A queue of its own.
    ///
    /// # Errors
    /// Where the device fails.
    fn queue(&self) -> Result<Box<dyn Queue>>;

    /// Prepares launches, compiling what is not compiled yet. `memory` is all that they touch; the program keeps it.
    ///
    /// # Errors
    /// Where a kernel does not compile, or the device fails.
    fn program(&self, launches: &[Launch], memory: &[Arc<dyn Memory>]) -> Result<Box<dyn Program>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_without_tensor_cores_for_tf32_computes_in_fp32() {
        for (capability, precision) in
            [((7, 5), Precision::Fp32), ((8, 0), Precision::Tf32), ((8, 9), Precision::Tf32), ((12, 0), Precision::Tf32)]
        {
            assert_eq!((Precision::Tf32.on(capability), Precision::Fp32.on(capability)), (precision, Precision::Fp32));
        }
    }

    #[test]
    fn words_parse_and_print_alike() {
        for word in ["fp32", "tf32"] {
            assert_eq!(word.parse::<Precision>().unwrap().to_string(), word);
        }
        assert!("TF32".parse::<Precision>().is_err());
    }
}
