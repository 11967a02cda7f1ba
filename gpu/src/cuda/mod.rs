//! CUDA behind the seam: the driver and the compiler are looked for at run time, so that one binary starts everywhere.
//!
//! [`find`] says what there is; it is the only function that may be called without a card. Nothing else here is tested without one,
//! which is why it is thin: memory, streams, and graphs of the launches that everything above has put together.

mod compile;
mod device;
mod graph;
mod libraries;

use std::path::Path;
use std::sync::Arc;

pub use compile::{Compiler, Image};
pub use device::CudaDevice;

use crate::{Precision, Result};

/// What a card is, for logs and reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// Its name, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Its UUID, as NVML writes it.
    pub uuid: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Bytes of memory.
    pub memory: usize,
    /// Multiprocessors.
    pub multiprocessors: i32,
    /// Clock of the multiprocessors in kHz.
    pub clock_khz: i32,
    /// Bytes of the second-level cache.
    pub l2_bytes: i32,
    /// Memory's clock in kHz and width in bits.
    pub memory_bus: (i32, i32),
    /// The newest CUDA version that the driver runs, such as 13000.
    pub driver: i32,
    /// NVRTC's version.
    pub compiler: (i32, i32),
    /// How it makes products here: as was wanted where its units can.
    pub precision: Precision,
}

impl Card {
    /// Products and sums a second that its units could do, in its precision.
    #[must_use]
    pub fn flops(&self) -> f64 {
        // FP32: 128 units a multiprocessor since 8.6 and on 9.0 and later; 64 on 7.x and 8.0. TF32: what its tensor cores do of dense
        // matrices; of 8.6, 8.9 and 12.0 those of workstations, GeForce cards do half of it.
        let units = match (self.precision, self.capability) {
            (Precision::Fp32, (7, _) | (8, 0)) => 64.0,
            (Precision::Fp32, _) => 128.0,
            (Precision::Tf32, (8, 0)) => 512.0,
            (Precision::Tf32, (9, _)) => 1024.0,
            (Precision::Tf32, (10, _)) => 2048.0,
            (Precision::Tf32, _) => 256.0,
        };
        2.0 * units * f64::from(self.multiprocessors) * f64::from(self.clock_khz) * 1e3
    }

    /// Bytes a second that its memory could move.
    #[must_use]
    pub fn bandwidth(&self) -> f64 {
        2.0 * f64::from(self.memory_bus.0) * 1e3 * f64::from(self.memory_bus.1) / 8.0
    }
}

impl std::fmt::Display for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor) = self.capability;
        let gib = self.memory as f64 / f64::from(1 << 30);
        let (driver, nvrtc) = ((self.driver / 1000, self.driver % 1000 / 10), self.compiler);
        write!(
            f,
            "{}, {gib:.0} GiB, sm_{major}{minor}, driver for CUDA {}.{}, NVRTC {}.{}",
            self.name, driver.0, driver.1, nvrtc.0, nvrtc.1
        )?;
        // What computed a run is told apart by these words, so they name what is not usual.
        match self.precision {
            Precision::Fp32 => Ok(()),
            Precision::Tf32 => f.write_str(", TF32"),
        }
    }
}

/// Whether there are a driver, a card and a compiler; takes no memory on the card.
///
/// # Errors
/// [`crate::GpuError::Unavailable`] with a sentence about what was looked for and not found.
pub fn look() -> Result<()> {
    libraries::driver()?;
    device::count()?;
    libraries::compiler()
}

/// Opens the first card, with compiled kernels kept in `cache`. It makes products in the precision that is wanted where it can, else in
/// FP32: see [`Card::precision`].
///
/// # Errors
/// [`crate::GpuError::Unavailable`] with a sentence about what was looked for and not found.
pub fn find(cache: &Path, precision: Precision) -> Result<Arc<CudaDevice>> {
    look()?;
    CudaDevice::open(0, Compiler::new(cache)?, precision)
}

/// NVRTC alone, which needs no card: for checking that all kernels compile.
///
/// # Errors
/// [`crate::GpuError::Unavailable`] where it is not found.
pub fn compiler(cache: &Path) -> Result<Compiler> {
    libraries::compiler()?;
    Compiler::new(cache)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_tf32_and_its_limit_is_that_of_its_precision() {
        let card = |precision, capability| Card {
            name: "NVIDIA H100 80GB HBM3".to_owned(),
            uuid: String::new(),
            capability,
            memory: 80 << 30,
            multiprocessors: 132,
            clock_khz: 1_980_000,
            l2_bytes: 50 << 20,
            memory_bus: (2_619_000, 5120),
            driver: 13_000,
            compiler: (13, 0),
            precision,
        };
        let (fp32, tf32) = (card(Precision::Fp32, (9, 0)), card(Precision::Tf32, (9, 0)));
        assert!(!fp32.to_string().contains("32,") && tf32.to_string() == format!("{fp32}, TF32"), "{fp32}; {tf32}");
        assert!((fp32.flops() / 66.9e12 - 1.0).abs() < 0.01 && (tf32.flops() / fp32.flops() - 8.0).abs() < 1e-9);
        assert!((card(Precision::Tf32, (8, 0)).flops() / card(Precision::Fp32, (8, 0)).flops() - 8.0).abs() < 1e-9);
    }
}
