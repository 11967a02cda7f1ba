//! The networks against PyTorch: logits, loss, gradients, and the state after one Adam step.
//!
//! `reference_cases/` holds the cases, the script that made them (`make_cases.py`) and the networks in PyTorch. With
//! `TRAINYARD_CASES` set to a folder, the cases there are checked instead. Every tensor must agree within a relative
//! error `‖a − b‖/‖b‖` of 1e-4; where the reference is zero, it must be exactly zero.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use candle_nn::Optimizer as _;
use safetensors::SafeTensors;
use trainyard_gpu_emulator::Emulator;
use trainyard_worker::kernels::blocked::Isa;
use trainyard_worker::networks::functional::cross_entropy;
use trainyard_worker::networks::layout::{NetworkLayout, ParameterLayout};
use trainyard_worker::networks::{Buffers, CardNetwork, ColourizationNetwork, FastNetwork, NetworkConfig, NetworkKind, ReadableNetwork};
use trainyard_worker::optimizers::OptimizerConfig;
use trainyard_worker::optimizers::candle::{VarOptimizer, VarOptimizerConfig};

const TOLERANCE: f64 = 1e-4;

/// A case file in memory.
struct Case {
    name: String,
    bytes: Vec<u8>,
}

impl Case {
    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    fn f32(&self, name: &str) -> Vec<f32> {
        let file = self.tensors();
        let view = file.tensor(name).unwrap_or_else(|error| panic!("{}: {name}: {error}", self.name));
        assert_eq!(view.dtype(), safetensors::Dtype::F32, "{}: {name}", self.name);
        view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    /// The values of all pieces of a layout, under a prefix.
    fn flat(&self, prefix: &str, layout: &ParameterLayout) -> Vec<f32> {
        layout.entries().iter().flat_map(|entry| self.f32(&format!("{prefix}{}", entry.name))).collect()
    }

    fn config(&self) -> NetworkConfig {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).unwrap();
        let metadata = metadata.metadata().clone().unwrap();
        let number = |key: &str| metadata[key].parse().unwrap();
        NetworkConfig {
            kind: match metadata["kind"].as_str() {
                "pool_upsample" => NetworkKind::PoolUpsample,
                "conv_transpose" => NetworkKind::ConvTranspose,
                "unet" => NetworkKind::UNet,
                kind => panic!("{}: unknown kind {kind}", self.name),
            },
            kernel: number("kernel"),
            num_filters: number("num_filters"),
            num_colours: number("num_colours"),
            in_channels: number("in_channels"),
            seed: 0,
        }
    }

    fn input(&self) -> (Tensor, Tensor) {
        let file = self.tensors();
        let x = Tensor::from_vec(self.f32("x"), file.tensor("x").unwrap().shape(), &Device::Cpu).unwrap();
        let y = file.tensor("y").unwrap();
        assert_eq!(y.dtype(), safetensors::Dtype::U8);
        (x, Tensor::from_slice(y.data(), y.shape(), &Device::Cpu).unwrap())
    }
}

/// Relative errors of one case's tensors; the worst is reported, those over the tolerance fail the test.
struct Comparison<'a> {
    case: &'a Case,
    worst: (f64, String),
    compared: usize,
    failures: Vec<String>,
}

impl Comparison<'_> {
    fn compare(&mut self, name: &str, ours: &[f32]) {
        let reference = self.case.f32(name);
        assert_eq!(ours.len(), reference.len(), "{}: {name}", self.case.name);
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let difference = norm(&mut ours.iter().zip(&reference).map(|(&a, &b)| f64::from(a) - f64::from(b)));
        let scale = norm(&mut reference.iter().map(|&b| f64::from(b)));
        let error = if difference == 0.0 { 0.0 } else { difference / scale };
        if error > TOLERANCE || error.is_nan() {
            self.failures.push(format!("{}: {name} is off by {error:.2e}", self.case.name));
        }
        if error > self.worst.0 {
            self.worst = (error, name.to_owned());
        }
        self.compared += 1;
    }

    fn compare_all(&mut self, prefix: &str, layout: &ParameterLayout, flat: &[f32]) {
        for entry in layout.entries() {
            self.compare(&format!("{prefix}{}", entry.name), &flat[entry.range()]);
        }
    }
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The logits in training mode, which only the readable network gives, and their loss.
fn check_train_logits(case: &Case) -> Vec<String> {
    let mut network = ReadableNetwork::new(&case.config(), &Device::Cpu).unwrap();
    let start = case.flat("before.", &network.layout().parameters);
    network.load_parameters(&start).unwrap();
    let mut comparison = Comparison { case, worst: (0.0, "nothing".into()), compared: 0, failures: Vec::new() };
    let (x, y) = case.input();
    let logits = network.train_logits(&x).unwrap();
    comparison.compare("train_logits", &flat(&logits));
    comparison.compare("loss", &flat(&cross_entropy(&logits, &y).unwrap()));
    comparison.failures
}

/// Runs one training step as the script did and returns what does not agree.
fn check(case: &Case, implementation: &str, mut network: Box<dyn ColourizationNetwork>) -> Vec<String> {
    let NetworkLayout { parameters, buffers, .. } = network.layout().clone();
    let (x, y) = case.input();
    let start = case.flat("before.", &parameters);
    network.load_parameters(&start).unwrap();
    let mut comparison = Comparison { case, worst: (0.0, "nothing".into()), compared: 0, failures: Vec::new() };

    let loss = network.loss(&x, &y).unwrap();
    comparison.compare("loss", &flat(&loss));
    let gradients = loss.backward().unwrap();
    comparison.compare_all("grad.", &parameters, &flat(gradients.get(network.parameters()).unwrap()));

    let adam = OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    let config = VarOptimizerConfig { optimizer: adam, learning_rate: 1e-3 };
    let mut adam = VarOptimizer::new(vec![network.parameters().clone()], config).unwrap();
    adam.step(&gradients).unwrap();
    comparison.compare_all("after.", &parameters, &flat(network.parameters()));
    let Buffers { running, num_batches_tracked } = network.buffers();
    assert_eq!(num_batches_tracked, 1);
    comparison.compare_all("after.", &buffers, &running);
    comparison.compare("eval_logits_after", &flat(&network.logits(&x).unwrap()));

    let expected = 2 + 2 * parameters.entries().len() + buffers.entries().len();
    assert_eq!(comparison.compared, expected);
    println!("{} {implementation}: worst relative error {:.1e} in {}", case.name, comparison.worst.0, comparison.worst.1);
    comparison.failures.into_iter().map(|failure| format!("{implementation}: {failure}")).collect()
}

#[test]
fn reference_cases() {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference_cases");
    let folder = std::env::var_os("TRAINYARD_CASES").map_or(own, PathBuf::from);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    assert!(!paths.is_empty(), "no *.safetensors in {}", folder.display());
    let mut failures = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let case = Case { name, bytes: std::fs::read(&path).unwrap() };
        failures.extend(check_train_logits(&case));
        let readable = ReadableNetwork::new(&case.config(), &Device::Cpu).unwrap();
        failures.extend(check(&case, "readable", Box::new(readable)));
        for isa in Isa::available() {
            let fast = FastNetwork::with_isa(&case.config(), isa).unwrap();
            failures.extend(check(&case, &format!("fast on {isa}"), Box::new(fast)));
        }
        let card = CardNetwork::new(&case.config(), Emulator::new()).unwrap();
        failures.extend(check(&case, "the GPU's kernels, emulated", Box::new(card)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
