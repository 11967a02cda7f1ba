//! Compiles every kernel that the networks launch, by NVRTC, for some kinds of card: `compile_kernels [80 90 …]`. Needs no card.
//!
//! The networks are those of PyTorch's one-step cases and those of the usual spec (32×32 images, batch 100, kernel 3, 32 filters,
//! 24 colours), each for every pass.

use std::process::ExitCode;
use std::time::Instant;

use trainyard_gpu::sources::instances;
use trainyard_gpu::{DataSet, Driver, Engine, Optimizer, cuda};
use trainyard_gpu_emulator::Emulator;

#[path = "../tests/support/mod.rs"]
mod support;

use support::{KINDS, Network};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let wanted: Vec<i32> = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let wanted = if wanted.is_empty() { vec![80, 90, 100] } else { wanted };
    let cache = tempfile::tempdir()?;
    let compiler = cuda::compiler(cache.path())?;
    println!("NVRTC {}.{}, cards {:?}", compiler.version().0, compiler.version().1, compiler.architectures());
    let cases = KINDS.into_iter().flat_map(|kind| [(kind, 3, 8, 3, 16), (kind, 4, 8, 3, 16), (kind, 5, 8, 3, 16), (kind, 3, 32, 100, 32)]);
    for (kind, kernel, num_filters, images, size) in cases {
        let network = Network::new(kind, kernel, num_filters, 24, 1);
        let driver = Emulator::new();
        let data = DataSet::empty(&*driver, images, 1, (size, size))?;
        let mut engine = Engine::new(driver as std::sync::Arc<dyn Driver>, &network.shape, (size, size), images)?;
        let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        let mut launches = engine.launches(&data, images, Some(adam))?;
        launches.extend(engine.launches(&data, images, None)?);
        let all = instances(&launches);
        for &capability in wanted.iter().filter(|capability| compiler.architectures().contains(capability)) {
            let begun = Instant::now();
            let image = compiler.compile(&all, capability)?;
            let (kernels, bytes, seconds) = (all.len(), image.bytes.len(), begun.elapsed().as_secs_f64());
            println!(
                "{kind:?} K={kernel} NF={num_filters} {size}×{size} sm_{capability}: {kernels} kernels, {bytes} bytes, {seconds:.1} s"
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
