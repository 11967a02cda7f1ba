//! The networks against PyTorch: logits, loss, gradients, and the state after one Adam step.
//!
//! `reference_cases/` holds the cases, the script that made them (`make_cases.py`) and the networks in PyTorch. With
//! `TRAINYARD_CASES` set to a folder, the cases there are checked instead. Every tensor must agree within a relative
//! error `‖a − b‖/‖b‖` of 1e-4; where the reference is zero, it must be exactly zero.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use candle_core::Device;
use trainyard_gpu_emulator::Emulator;
use trainyard_worker::doctor::cases::{Case, Tolerance, flat};
use trainyard_worker::kernels::blocked::Isa;
use trainyard_worker::networks::functional::cross_entropy;
use trainyard_worker::networks::{CardNetwork, ColourizationNetwork, FastNetwork, ReadableNetwork};

/// The logits in training mode, which only the readable network gives, and their loss.
fn check_train_logits(case: &Case<'_>) -> Vec<String> {
    let mut network = ReadableNetwork::new(&case.config().unwrap(), &Device::Cpu).unwrap();
    let start = case.start(&network.layout().parameters).unwrap();
    network.load_parameters(&start).unwrap();
    let mut report = case.report(Tolerance::FP32);
    let (x, y) = case.input().unwrap();
    let logits = network.train_logits(&x).unwrap();
    report.compare(case, "train_logits", &flat(&logits).unwrap()).unwrap();
    report.compare(case, "loss", &flat(&cross_entropy(&logits, &y).unwrap()).unwrap()).unwrap();
    report.failures
}

/// Runs one training step as the script did and returns what does not agree.
fn check(case: &Case<'_>, implementation: &str, mut network: Box<dyn ColourizationNetwork>) -> Vec<String> {
    let layout = network.layout().clone();
    let report = case.check(network.as_mut(), Tolerance::FP32).unwrap();
    assert_eq!(report.compared, 2 + 2 * layout.parameters.entries().len() + layout.buffers.entries().len());
    println!("{} {implementation}: worst relative error {:.1e} in {}", case.name, report.worst, report.tensor);
    report.failures.into_iter().map(|failure| format!("{implementation}: {failure}")).collect()
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
        let (name, bytes) = (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap());
        let case = Case { name: &name, bytes: &bytes };
        let config = case.config().unwrap();
        failures.extend(check_train_logits(&case));
        failures.extend(check(&case, "readable", Box::new(ReadableNetwork::new(&config, &Device::Cpu).unwrap())));
        for isa in Isa::available() {
            let fast = FastNetwork::with_isa(&config, isa).unwrap();
            failures.extend(check(&case, &format!("fast on {isa}"), Box::new(fast)));
        }
        let card = CardNetwork::new(&config, Emulator::new()).unwrap();
        failures.extend(check(&case, "the GPU's kernels, emulated", Box::new(card)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
