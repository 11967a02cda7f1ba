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

use crate::Result;

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
}

impl Card {
    /// Products and sums of FP32 a second that its units could do, where the number of units is known.
    #[must_use]
    pub fn flops(&self) -> f64 {
        // 128 FP32 units a multiprocessor since 8.6 and on 9.0 and later; 64 on 7.x and 8.0.
        let units = match self.capability {
            (7, _) | (8, 0) => 64.0,
            _ => 128.0,
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
        )
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

/// Opens the first card, with compiled kernels kept in `cache`.
///
/// # Errors
/// [`crate::GpuError::Unavailable`] with a sentence about what was looked for and not found.
pub fn find(cache: &Path) -> Result<Arc<CudaDevice>> {
    look()?;
    CudaDevice::open(0, Compiler::new(cache)?)
}

/// NVRTC alone, which needs no card: for checking that all kernels compile.
///
/// # Errors
/// [`crate::GpuError::Unavailable`] where it is not found.
pub fn compiler(cache: &Path) -> Result<Compiler> {
    libraries::compiler()?;
    Compiler::new(cache)
}
