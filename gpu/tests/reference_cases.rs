//! One step of each network against PyTorch: loss, gradients, the parameters after Adam, running statistics, logits in evaluation.

#![allow(clippy::unwrap_used)]

mod support;

use support::Case;
use trainyard_gpu::{DataSet, Driver, Engine, Optimizer};
use trainyard_gpu_emulator::Emulator;

const TOLERANCE: f64 = 1e-4;

/// `‖a − b‖/‖b‖`, 0 where both are zero.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let scale: f64 = b.iter().map(|b| f64::from(*b).powi(2)).sum();
    if difference == 0.0 { 0.0 } else { (difference / scale).sqrt() }
}

#[test]
fn a_step_of_every_case_is_pytorchs() {
    let mut failures = Vec::new();
    for case in Case::all() {
        let network = case.network();
        let driver = Emulator::new();
        let [images, channels, height, width] = case.shape("x")[..] else { panic!("four dimensions") };
        let data = DataSet::new(&*driver, &case.f32("x"), &case.u8("y"), channels, (height, width)).unwrap();
        let mut engine = Engine::new(driver as std::sync::Arc<dyn Driver>, &network.shape, (height, width), images).unwrap();
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
            if error > TOLERANCE || error.is_nan() {
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
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
