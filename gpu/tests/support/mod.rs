//! Networks and PyTorch's cases for the tests of this crate.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use safetensors::SafeTensors;
use trainyard_gpu::{DataSet, Driver, Engine, NetworkKind, NetworkShape, NormPlaces, Optimizer, StagePlaces};
use trainyard_gpu_emulator::Emulator;

pub const KINDS: [NetworkKind; 3] = [NetworkKind::PoolUpsample, NetworkKind::ConvTranspose, NetworkKind::UNet];

/// A network with the names of its pieces: parameters and running statistics, in order.
pub struct Network {
    pub shape: NetworkShape,
    pub parameters: Vec<(String, usize)>,
    pub running: Vec<(String, usize)>,
}

impl Network {
    pub fn new(kind: NetworkKind, kernel: usize, num_filters: usize, num_colours: usize, in_channels: usize) -> Self {
        let (nf, nc, ni) = (num_filters, num_colours, in_channels);
        let pools = kind == NetworkKind::PoolUpsample;
        let skip = if kind == NetworkKind::UNet { 2 * nf } else { nf };
        let pairs = [(ni, nf), (nf, 2 * nf), (2 * nf, nf), (skip, nc)];
        let (mut parameters, mut running, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let (mut at, mut at_running) = (0, 0);
        let push = |list: &mut Vec<(String, usize)>, at: &mut usize, name: String, len: usize| {
            list.push((name, len));
            *at += len;
            *at - len
        };
        let norm = if pools { 2 } else { 1 };
        for (layer, (inputs, outputs)) in (1..).zip(pairs) {
            places.push(StagePlaces {
                weight: push(&mut parameters, &mut at, format!("layer{layer}.0.weight"), inputs * outputs * kernel * kernel),
                bias: push(&mut parameters, &mut at, format!("layer{layer}.0.bias"), outputs),
                norm: Some(NormPlaces {
                    weight: push(&mut parameters, &mut at, format!("layer{layer}.{norm}.weight"), outputs),
                    bias: push(&mut parameters, &mut at, format!("layer{layer}.{norm}.bias"), outputs),
                    running_mean: push(&mut running, &mut at_running, format!("layer{layer}.{norm}.running_mean"), outputs),
                    running_var: push(&mut running, &mut at_running, format!("layer{layer}.{norm}.running_var"), outputs),
                }),
            });
        }
        let (last, inputs) = if kind == NetworkKind::UNet { ("layer5", nc + ni) } else { ("layerFinal", nc) };
        places.push(StagePlaces {
            weight: push(&mut parameters, &mut at, format!("{last}.weight"), inputs * nc * kernel * kernel),
            bias: push(&mut parameters, &mut at, format!("{last}.bias"), nc),
            norm: None,
        });
        let shape = NetworkShape { kind, kernel, num_filters, num_colours, in_channels, places, parameters: at, running: at_running };
        Self { shape, parameters, running }
    }

    /// Parameters of ordinary size, and the running statistics of a new network.
    pub fn start(&self) -> (Vec<f32>, Vec<f32>) {
        let mut random = Random(7);
        let mut parameters = Vec::new();
        for (name, len) in &self.parameters {
            let norm =
                name.split('.').nth(1).is_some_and(|index| index != "0" && name.starts_with("layer") && name.matches('.').count() == 2);
            let of = |value: f32| if norm && name.ends_with("weight") { 1.0 + 0.2 * value } else { 0.3 * value };
            parameters.extend((0..*len).map(|_| of(random.next())));
        }
        let running = self.running.iter().flat_map(|(name, len)| vec![if name.ends_with("mean") { 0.0 } else { 1.0 }; *len]);
        (parameters, running.collect())
    }
}

/// Numbers in [−1, 1).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32) / (1u64 << 23) as f32 - 1.0
    }
}

/// Images and classes.
pub fn images(count: usize, channels: usize, pixels: usize, colours: usize) -> (Vec<f32>, Vec<u8>) {
    let mut random = Random(3);
    let grey = (0..count * channels * pixels).map(|_| 0.5 + 0.5 * random.next()).collect();
    (grey, (0..count * pixels).map(|i| (i * 7 % 11 % colours) as u8).collect())
}

/// A case file in memory.
pub struct Case {
    pub name: String,
    bytes: Vec<u8>,
}

impl Case {
    pub fn all() -> Vec<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../worker/tests/reference_cases");
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
        paths.sort();
        let case =
            |path: &PathBuf| Self { name: path.file_stem().unwrap().to_string_lossy().into_owned(), bytes: std::fs::read(path).unwrap() };
        paths.iter().map(case).collect()
    }

    pub fn network(&self) -> Network {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).unwrap();
        let metadata = metadata.metadata().clone().unwrap();
        let number = |key: &str| metadata[key].parse().unwrap();
        let kind = match metadata["kind"].as_str() {
            "pool_upsample" => NetworkKind::PoolUpsample,
            "conv_transpose" => NetworkKind::ConvTranspose,
            "unet" => NetworkKind::UNet,
            kind => panic!("{kind}"),
        };
        Network::new(kind, number("kernel"), number("num_filters"), number("num_colours"), number("in_channels"))
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        SafeTensors::deserialize(&self.bytes).unwrap().tensor(name).unwrap().shape().to_vec()
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        file.tensor(name).unwrap().data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    pub fn u8(&self, name: &str) -> Vec<u8> {
        SafeTensors::deserialize(&self.bytes).unwrap().tensor(name).unwrap().data().to_vec()
    }

    /// All pieces of a list, under a prefix.
    pub fn flat(&self, prefix: &str, pieces: &[(String, usize)]) -> Vec<f32> {
        pieces.iter().flat_map(|(name, _)| self.f32(&format!("{prefix}{name}"))).collect()
    }
}

/// `‖a − b‖/‖b‖`, 0 where both are zero.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let scale: f64 = b.iter().map(|b| f64::from(*b).powi(2)).sum();
    if difference == 0.0 { 0.0 } else { (difference / scale).sqrt() }
}

/// Makes the step of every case; a tensor that is off by more than its tolerance is a failure. Returns the worst errors of the cases.
pub fn check_cases(driver: impl Fn() -> Arc<Emulator>, tolerance: impl Fn(&str) -> f64) -> Vec<f64> {
    let (mut failures, mut worsts) = (Vec::new(), Vec::new());
    for case in Case::all() {
        let network = case.network();
        let driver = driver();
        let [images, channels, height, width] = case.shape("x")[..] else { panic!("four dimensions") };
        let data = DataSet::new(&*driver, &case.f32("x"), &case.u8("y"), channels, (height, width)).unwrap();
        let mut engine = Engine::new(driver as Arc<dyn Driver>, &network.shape, (height, width), images).unwrap();
        engine.set_parameters(&case.flat("before.", &network.parameters)).unwrap();
        let running: Vec<f32> = network.start().1;
        engine.set_running(&running).unwrap();
        let batch: Vec<u32> = (0..images as u32).collect();
        let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        let scores = engine.train(&data, std::slice::from_ref(&batch), &[adam.rates(1, 1e-3, 1.0)], Some(adam)).unwrap();
        let mut worst = 0.0f64;
        let mut compare = |name: &str, ours: &[f32]| {
            let error = distance(ours, &case.f32(name));
            worst = worst.max(error);
            if error > tolerance(name) || error.is_nan() {
                failures.push(format!("{}: {name} is off by {error:.2e}", case.name));
            }
        };
        compare("loss", &[scores[0].loss() as f32]);
        for (prefix, pieces, flat) in [
            ("grad.", &network.parameters, engine.gradient().unwrap()),
            ("after.", &network.parameters, engine.parameters().unwrap()),
            ("after.", &network.running, engine.running().unwrap()),
        ] {
            let mut at = 0;
            for (name, len) in pieces {
                compare(&format!("{prefix}{name}"), &flat[at..at + len]);
                at += len;
            }
        }
        compare("eval_logits_after", &engine.logits(&data, &batch).unwrap());
        println!("{}: worst relative error {worst:.1e}", case.name);
        worsts.push(worst);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    worsts
}
