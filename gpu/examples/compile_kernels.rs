//! Compiles every kernel that the networks launch, by NVRTC, for some kinds of card: `compile_kernels [--verbose] [80 90 …]`. Needs no card.
//!
//! The networks are those of PyTorch's one-step cases and those of the usual spec (32×32 images, batch 100, kernel 3, 32 filters,
//! 24 colours), each for every pass, in FP32 and, on cards that have it, in TF32. What is said of them ends with the most registers of a
//! kernel's threads and the bytes that do not fit into registers, of all kernels together.

use std::process::ExitCode;
use std::time::Instant;

use trainyard_gpu::driver::Kernel;
use trainyard_gpu::sources::{Instance, instances};
use trainyard_gpu::{DataSet, Driver, Engine, Optimizer, Precision, cuda};
use trainyard_gpu_emulator::Emulator;

#[path = "../tests/support/mod.rs"]
mod support;

use support::{KINDS, Network};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let verbose = std::env::args().any(|word| word == "--verbose");
    let wanted: Vec<i32> =
        std::env::args().skip(1).filter(|word| word != "--verbose").map(|word| word.parse()).collect::<Result<_, _>>()?;
    let wanted = if wanted.is_empty() { vec![90] } else { wanted };
    let cache = tempfile::tempdir()?;
    let compiler = cuda::compiler(cache.path())?;
    println!("NVRTC {}.{}, cards {:?}", compiler.version().0, compiler.version().1, compiler.architectures());
    let cases = KINDS.into_iter().flat_map(|kind| [(kind, 3, 8, 3, 16), (kind, 4, 8, 3, 16), (kind, 5, 8, 3, 16), (kind, 3, 32, 100, 32)]);
    let only = std::env::var("TRAINYARD_NUM_FILTERS").ok().and_then(|value| value.parse::<usize>().ok());
    let cases = cases.filter(|case| only.is_none_or(|only| case.2 == only));
    for ((kind, kernel, num_filters, images, size), precision) in cases.flat_map(|case| [(case, Precision::Fp32), (case, Precision::Tf32)])
    {
        let network = Network::new(kind, kernel, num_filters, 24, 1);
        let driver = if precision == Precision::Tf32 { Emulator::tf32(0) } else { Emulator::new() };
        let data = DataSet::empty(&*driver, images, 1, (size, size))?;
        let mut engine = Engine::new(driver as std::sync::Arc<dyn Driver>, &network.shape, (size, size), images)?;
        let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        let mut launches = engine.launches(&data, images, Some(adam))?;
        launches.extend(engine.launches(&data, images, None)?);
        let mut all = instances(&launches);
        all.extend([Kernel::Residual, Kernel::Slope].map(|kernel| Instance { kernel, threads: 256 }));
        let known = |capability: &&i32| {
            compiler.architectures().contains(capability) && precision.on((**capability / 10, **capability % 10)) == precision
        };
        for &capability in wanted.iter().filter(known) {
            let begun = Instant::now();
            let images = compiler.compile_all(&all, capability)?;
            let (kernels, seconds) = (all.len(), begun.elapsed().as_secs_f64());
            let bytes: usize = images.iter().map(|image| image.bytes.len()).sum();
            let logs = || images.iter().map(|image| image.log.as_str());
            let registers = logs().filter_map(|log| number_before(log, " registers")).max().unwrap_or(0);
            let spilled: u64 = logs().filter_map(|log| number_before(log, " bytes spill stores")).sum();
            println!(
                "{kind:?} K={kernel} NF={num_filters} {size}×{size} {precision} sm_{capability}: {kernels} kernels, {bytes} bytes, \
                 {seconds:.1} s; at most {registers} registers, {spilled} bytes spilled"
            );
            for (instance, image) in all.iter().zip(&images).filter(|_| verbose) {
                let Instance { kernel, threads } = instance;
                println!("{} {threads} threads {:?}\n{}", kernel.function(), kernel.shape(), image.log);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The number that stands before some words of the compiler's.
fn number_before(log: &str, words: &str) -> Option<u64> {
    log[..log.find(words)?].rsplit(' ').next()?.parse().ok()
}
