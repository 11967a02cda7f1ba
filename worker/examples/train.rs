//! The bare training loop on CIFAR-10 records, without a service around it: what speed is measured on.
//!
//! `train NETWORK [--data FOLDER] [--epochs 3] [--steps 50] [--batch 100] [--evaluate 1000] [--threads 2]
//! [--kernel 3] [--filters 32] [--side 32] [--implementation fast|readable] [--isa portable|avx2+fma|avx512f]` prints one line
//! an epoch. Without `--data` the images are noise, which takes as long and may have any side.

use std::path::PathBuf;
use std::time::Instant;

use candle_core::{Device, Tensor};
use candle_nn::Optimizer as _;
use trainyard_worker::kernels::blocked::Isa;
use trainyard_worker::networks::{ColourizationNetwork, FastNetwork, NetworkConfig, NetworkKind, ReadableNetwork, evaluate};
use trainyard_worker::optimizers::OptimizerConfig;
use trainyard_worker::optimizers::candle::{VarOptimizer, VarOptimizerConfig};

/// Side of CIFAR-10's images.
const SIDE: usize = 32;
const COLOURS: usize = 24;

type Failure = Box<dyn std::error::Error>;

/// The value of `--name`, else the default.
fn option(name: &str, default: &str) -> String {
    let mut words = std::env::args().skip_while(|word| word != &format!("--{name}"));
    words.nth(1).unwrap_or_else(|| default.to_owned())
}

/// Square grey images and classes, from the horses of CIFAR-10 where a folder is given. A class here is the brightness in equal
/// steps: the arithmetic of a step does not depend on what the classes mean.
fn images(folder: Option<PathBuf>, count: usize, side: usize) -> Result<(Tensor, Tensor), Failure> {
    let (side, mut grey, mut classes) = (if folder.is_some() { SIDE } else { side }, Vec::new(), Vec::new());
    let plane = side * side;
    let records = match folder {
        Some(folder) => std::fs::read(folder.join("data_batch_1.bin"))?,
        None => (0..count * (1 + 3 * plane)).map(|i| ((i * 2_654_435_761) >> 7) as u8).collect(),
    };
    for record in records.chunks_exact(1 + 3 * plane).take(count) {
        for pixel in 0..plane {
            let sum: u32 = (0..3).map(|channel| u32::from(record[1 + channel * plane + pixel])).sum();
            grey.push(sum as f32 / 768.0);
            classes.push((sum as usize * COLOURS / 766) as u8);
        }
    }
    let count = grey.len() / plane;
    let grey = Tensor::from_vec(grey, (count, 1, side, side), &Device::Cpu)?;
    Ok((grey, Tensor::from_vec(classes, (count, side, side), &Device::Cpu)?))
}

/// The instruction set of that name, the best one where none is named.
fn isa(name: &str) -> Result<Isa, Failure> {
    match name {
        "" => Ok(Isa::detect()),
        name => Isa::available().into_iter().find(|isa| isa.to_string() == name).ok_or_else(|| format!("no {name} here").into()),
    }
}

/// Peak resident memory of this process in MB, where the system tells.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

fn main() -> Result<(), Failure> {
    let kind = match std::env::args().nth(1).as_deref() {
        Some("pool_upsample") => NetworkKind::PoolUpsample,
        Some("conv_transpose") => NetworkKind::ConvTranspose,
        Some("unet") => NetworkKind::UNet,
        _ => return Err("name a network: pool_upsample, conv_transpose or unet".into()),
    };
    let (epochs, steps): (usize, usize) = (option("epochs", "3").parse()?, option("steps", "50").parse()?);
    let batch: usize = option("batch", "100").parse()?;
    let folder = Some(option("data", "")).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    rayon::ThreadPoolBuilder::new().num_threads(option("threads", "2").parse()?).build_global()?;
    let config = NetworkConfig {
        kind,
        kernel: option("kernel", "3").parse()?,
        num_filters: option("filters", "32").parse()?,
        num_colours: COLOURS,
        in_channels: 1,
        seed: 0,
    };
    let mut network: Box<dyn ColourizationNetwork> = match option("implementation", "fast").as_str() {
        "readable" => Box::new(ReadableNetwork::new(&config, &Device::Cpu)?),
        _ => Box::new(FastNetwork::with_isa(&config, isa(&option("isa", ""))?)?),
    };
    let (grey, classes) = images(folder, steps * batch, option("side", "32").parse()?)?;
    let adam = OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    let adam = VarOptimizerConfig { optimizer: adam, learning_rate: 1e-3 };
    let mut adam = VarOptimizer::new(vec![network.parameters().clone()], adam)?;
    let steps = grey.dim(0)? / batch;
    for epoch in 1..=epochs {
        let (start, mut total, mut fastest) = (Instant::now(), 0.0, f64::INFINITY);
        for step in 0..steps {
            let step_start = Instant::now();
            let grey = grey.narrow(0, step * batch, batch)?;
            let loss = network.loss(&grey, &classes.narrow(0, step * batch, batch)?)?;
            adam.step(&loss.backward()?)?;
            total += loss.to_scalar::<f32>()?;
            fastest = fastest.min(step_start.elapsed().as_secs_f64() * 1e3);
        }
        let ms = start.elapsed().as_secs_f64() * 1e3 / steps as f64;
        let start = Instant::now();
        let count = option("evaluate", "1000").parse::<usize>()?.clamp(batch, grey.dim(0)?);
        let score = evaluate(&*network, &grey.narrow(0, 0, count)?, &classes.narrow(0, 0, count)?, batch)?;
        println!(
            "epoch {epoch} train_loss {:.4} accuracy {:.4} ms_per_step {ms:.2} fastest_step_ms {fastest:.2} evaluation_ms {:.1} peak_mb {:.0}",
            total / steps as f32,
            score.accuracy,
            start.elapsed().as_secs_f64() * 1e3,
            peak_memory()
        );
    }
    Ok(())
}
