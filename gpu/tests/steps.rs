//! Many steps: the same bits in any order that a program allows, after a restart, and beside other runs.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use support::{KINDS, Network, images};
use trainyard_gpu::{DataSet, Driver, Engine, GpuError, NetworkKind, Optimizer, Rates};
use trainyard_gpu_emulator::Emulator;

const ADAM: Optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
const SIZE: (usize, usize) = (8, 12);
const COLOURS: usize = 5;

fn engine(driver: &Arc<Emulator>, network: &Network) -> (Engine, DataSet) {
    let (grey, classes) = images(11, 1, SIZE.0 * SIZE.1, COLOURS);
    let data = DataSet::new(&**driver, &grey, &classes, 1, SIZE).unwrap();
    let mut engine = Engine::new(Arc::clone(driver) as Arc<dyn Driver>, &network.shape, SIZE, 4).unwrap();
    let (parameters, running) = network.start();
    engine.set_parameters(&parameters).unwrap();
    engine.set_running(&running).unwrap();
    (engine, data)
}

fn network(kind: NetworkKind) -> Network {
    Network::new(kind, 3, 5, COLOURS, 1)
}

/// Batches of 4, 4 and 3 images.
fn batches() -> Vec<Vec<u32>> {
    vec![vec![0, 1, 2, 3], vec![7, 6, 5, 4], vec![10, 9, 8]]
}

fn rates(steps: std::ops::RangeInclusive<u64>) -> Vec<Rates> {
    steps.map(|step| ADAM.rates(step, 1e-2, 1.0)).collect()
}

/// All that a run has come to.
fn state(engine: &mut Engine) -> Vec<u32> {
    let mut all = engine.parameters().unwrap();
    all.extend(engine.running().unwrap());
    all.extend(engine.slot(0).unwrap());
    all.extend(engine.slot(1).unwrap());
    all.into_iter().map(f32::to_bits).collect()
}

#[test]
fn any_order_of_launches_blocks_and_threads_comes_to_the_same_bits() {
    let drivers: [fn(u64) -> Arc<Emulator>; 2] = [Emulator::shuffled, Emulator::tf32];
    for (kind, driver) in KINDS.into_iter().flat_map(|kind| drivers.map(|driver| (kind, driver))) {
        let run = |driver: Arc<Emulator>| {
            let (mut engine, data) = engine(&driver, &network(kind));
            let losses = engine.train(&data, &batches(), &rates(1..=3), Some(ADAM)).unwrap();
            (losses, state(&mut engine), engine.predict(&data, &[3, 5]).unwrap())
        };
        let expected = run(driver(0));
        assert!(expected.0.iter().all(|score| score.loss().is_finite()));
        for seed in 1..4 {
            assert!(run(driver(seed)) == expected, "{kind:?} in order {seed}");
        }
    }
}

#[test]
fn a_run_taken_to_another_engine_goes_on_to_the_same_bits() {
    for kind in KINDS {
        let network = network(kind);
        let (mut whole, data) = engine(&Emulator::new(), &network);
        let losses = whole.train(&data, &batches(), &rates(1..=3), Some(ADAM)).unwrap();
        let (mut first, data) = engine(&Emulator::new(), &network);
        let mut parts = first.train(&data, &batches()[..1], &rates(1..=1), Some(ADAM)).unwrap();
        let (mut second, data) = engine(&Emulator::new(), &network);
        second.set_parameters(&first.parameters().unwrap()).unwrap();
        second.set_running(&first.running().unwrap()).unwrap();
        for slot in 0..2 {
            second.set_slot(slot, &first.slot(slot).unwrap()).unwrap();
        }
        parts.extend(second.train(&data, &batches()[1..], &rates(2..=3), Some(ADAM)).unwrap());
        assert_eq!(parts, losses);
        assert!(state(&mut second) == state(&mut whole), "{kind:?}");
    }
}

#[test]
fn an_evaluation_changes_nothing_and_does_not_depend_on_how_images_are_batched() {
    for kind in KINDS {
        let (mut engine, data) = engine(&Emulator::new(), &network(kind));
        engine.train(&data, &batches(), &rates(1..=3), Some(ADAM)).unwrap();
        let before = state(&mut engine);
        let total = |scores: Vec<trainyard_gpu::BatchScore>| {
            scores.iter().fold((0.0, 0, 0), |t, score| (t.0 + score.loss_sum, t.1 + score.hits, t.2 + score.pixels))
        };
        let together = total(engine.score(&data, &batches()).unwrap());
        let single: Vec<Vec<u32>> = (0..11).map(|image| vec![image]).collect();
        let alone = total(engine.score(&data, &single).unwrap());
        assert_eq!((together.1, together.2), (alone.1, alone.2), "{kind:?}");
        assert!((together.0 - alone.0).abs() < 1e-6 * together.0, "{together:?} {alone:?}");
        let classes = engine.predict(&data, &[2, 9]).unwrap();
        assert_eq!(classes[..96], engine.predict(&data, &[2]).unwrap());
        assert_eq!(classes[96..], engine.predict(&data, &[9]).unwrap());
        assert!(state(&mut engine) == before, "{kind:?}");
    }
}

#[test]
fn training_lowers_the_loss_with_every_optimizer() {
    let (momentum, rms) = (Optimizer::Momentum { beta: 0.9 }, Optimizer::RmsProp { beta: 0.9, epsilon: 1e-8 });
    for (optimizer, rate) in [(Optimizer::Descent, 0.5), (momentum, 0.1), (rms, 0.01), (ADAM, 0.02)] {
        let (mut engine, data) = engine(&Emulator::new(), &network(NetworkKind::UNet));
        let batch = vec![vec![0, 1, 2, 3]; 12];
        let rates: Vec<Rates> = (1..=12).map(|step| optimizer.rates(step, rate, 1.0)).collect();
        let losses = engine.train(&data, &batch, &rates, Some(optimizer)).unwrap();
        assert!(losses[11].loss() < 0.9 * losses[0].loss(), "{optimizer:?}: {losses:?}");
    }
}

#[test]
fn a_loss_that_is_not_finite_is_told_and_breaks_nothing() {
    let driver = Emulator::new();
    let network = network(NetworkKind::PoolUpsample);
    let (mut engine, _) = engine(&driver, &network);
    let (mut grey, classes) = images(4, 1, SIZE.0 * SIZE.1, COLOURS);
    grey[50] = f32::NAN;
    let data = DataSet::new(&*driver, &grey, &classes, 1, SIZE).unwrap();
    let losses = engine.train(&data, &[vec![0, 1, 2, 3]], &rates(1..=1), Some(ADAM)).unwrap();
    assert!(losses[0].loss().is_nan());
    assert!(engine.gradient().unwrap().iter().any(|g| g.is_nan()));
}

#[test]
fn what_does_not_fit_is_refused_and_what_fails_is_an_error() {
    let network = network(NetworkKind::ConvTranspose);
    let (mut refusing, data) = engine(&Emulator::new(), &network);
    assert!(matches!(refusing.train(&data, &[vec![0; 5]], &rates(1..=1), Some(ADAM)), Err(GpuError::Input(_))));
    assert!(matches!(refusing.score(&data, &[vec![11]]), Err(GpuError::Input(_))));
    assert!(matches!(refusing.set_parameters(&[0.0]), Err(GpuError::Input(_))));
    let small = Emulator::with_memory(1 << 12) as Arc<dyn Driver>;
    assert!(matches!(Engine::new(small, &network.shape, SIZE, 4), Err(GpuError::Memory { .. })));
    let (mut lost, data) = engine(&Emulator::failing_at(1), &network);
    lost.train(&data, &batches()[..1], &rates(1..=1), Some(ADAM)).unwrap();
    assert!(matches!(lost.train(&data, &batches()[..1], &rates(2..=2), Some(ADAM)), Err(GpuError::Device(_))));
}
