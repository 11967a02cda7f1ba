//! The fast networks against the readable ones.

use candle_core::{Device, Tensor};
use candle_nn::Optimizer as _;

use super::super::{NetworkKind, evaluate, state_dict};
use super::*;
use crate::kernels::testing::{assert_near, random};
use crate::optimizers::OptimizerConfig;
use crate::optimizers::candle::{VarOptimizer, VarOptimizerConfig};

const KINDS: [NetworkKind; 3] = [NetworkKind::PoolUpsample, NetworkKind::ConvTranspose, NetworkKind::UNet];

fn config(kind: NetworkKind, kernel: usize) -> NetworkConfig {
    NetworkConfig { kind, kernel, num_filters: 6, num_colours: 5, in_channels: 1, seed: 3 }
}

fn batch(images: usize, channels: usize, height: usize, width: usize, colours: usize) -> (Tensor, Tensor) {
    let grey = random(images as u64, images * channels * height * width);
    let classes = (0..images * height * width).map(|i| (i * 7 % 11 % colours) as u8).collect();
    (
        Tensor::from_vec(grey, (images, channels, height, width), &Device::Cpu).unwrap(),
        Tensor::from_vec(classes, (images, height, width), &Device::Cpu).unwrap(),
    )
}

fn step(network: &mut dyn ColourizationNetwork, (grey, classes): &(Tensor, Tensor)) -> (f32, Vec<f32>) {
    let loss = network.loss(grey, classes).unwrap();
    let gradients = loss.backward().unwrap();
    let gradient = gradients.get(network.parameters()).unwrap().to_vec1().unwrap();
    (loss.to_scalar().unwrap(), gradient)
}

/// `‖a − b‖/‖b‖`.
fn relative_distance(a: &[f32], b: &[f32]) -> f64 {
    let difference: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let scale: f64 = b.iter().map(|b| f64::from(*b).powi(2)).sum();
    (difference / scale).sqrt()
}

#[test]
fn losses_gradients_and_logits_agree_with_the_readable_network_on_many_shapes() {
    let shapes = [(1, 8, 8), (17, 4, 12), (3, 16, 8), (5, 20, 28)];
    for kind in KINDS {
        for kernel in 1..=7 {
            let (images, height, width) = shapes[kernel % 4];
            let config = NetworkConfig { in_channels: 1 + kernel % 3, ..config(kind, kernel) };
            let batch = batch(images, config.in_channels, height, width, 5);
            let mut fast = FastNetwork::new(&config).unwrap();
            let mut readable = ReadableNetwork::new(&config, &Device::Cpu).unwrap();
            let ((a, own), (b, reference)) = (step(&mut fast, &batch), step(&mut readable, &batch));
            assert!((a - b).abs() <= 1e-5 * b.abs(), "{kind:?} {kernel}: {a} {b}");
            assert_near(&own, &reference, 1e-4);
            assert_near(&fast.buffers().running, &readable.buffers().running, 1e-5);
            let logits =
                |network: &dyn ColourizationNetwork| network.logits(&batch.0).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_near(&logits(&fast), &logits(&readable), 1e-4);
            let (a, b) = (evaluate(&fast, &batch.0, &batch.1, 2).unwrap(), evaluate(&readable, &batch.0, &batch.1, 2).unwrap());
            assert!((a.loss - b.loss).abs() < 1e-5 * b.loss && (a.accuracy - b.accuracy).abs() < 0.01, "{a:?} {b:?}");
        }
    }
}

/// Where a rectifier or a pooling window is within rounding of a tie, the gradient jumps, and two implementations may stand on
/// two sides of it. There the fast gradient has to be the readable one of a state no further away than rounding.
#[test]
fn gradients_agree_at_fifty_states_along_training_runs_on_every_instruction_set() {
    for (num_filters, num_colours, seed) in [(6, 5, 0), (6, 5, 3), (16, 16, 2)] {
        for (kind, isa) in KINDS.into_iter().flat_map(|kind| Isa::available().into_iter().map(move |isa| (kind, isa))) {
            let config = NetworkConfig { seed, num_filters, num_colours, ..config(kind, 3) };
            let mut fast = FastNetwork::with_isa(&config, isa).unwrap();
            let mut readable = ReadableNetwork::new(&config, &Device::Cpu).unwrap();
            let adam = OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
            let adam = VarOptimizerConfig { optimizer: adam, learning_rate: 1e-2 };
            // The states are those of the readable network, so that all instruction sets meet the same ones.
            let mut adam = VarOptimizer::new(vec![readable.parameters().clone()], adam).unwrap();
            let batch = batch(19, 1, 8, 8, num_colours);
            for state in 0..50 {
                let values = readable.parameters().to_vec1::<f32>().unwrap();
                fast.load_parameters(&values).unwrap();
                let (_, own) = step(&mut fast, &batch);
                let gradients = readable.loss(&batch.0, &batch.1).unwrap().backward().unwrap();
                let reference = gradients.get(readable.parameters()).unwrap().to_vec1::<f32>().unwrap();
                let distance = relative_distance(&own, &reference);
                if distance > 1e-4 {
                    let across_a_tie = (0..32).any(|draw| {
                        let beside: Vec<f32> = values.iter().zip(random(draw, values.len())).map(|(value, d)| value + 1e-6 * d).collect();
                        readable.load_parameters(&beside).unwrap();
                        relative_distance(&own, &step(&mut readable, &batch).1) <= 1e-4
                    });
                    assert!(across_a_tie, "{kind:?} {num_filters} {isa}, state {state}: {distance}");
                    readable.load_parameters(&values).unwrap();
                }
                adam.step(&gradients).unwrap();
            }
        }
    }
}

#[test]
fn the_loss_curve_of_a_training_run_is_that_of_the_readable_network() {
    for kind in KINDS {
        let config = config(kind, 3);
        let batch = batch(19, 1, 8, 8, 5);
        let curve = |network: &mut dyn ColourizationNetwork| {
            let adam = OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
            let adam = VarOptimizerConfig { optimizer: adam, learning_rate: 1e-3 };
            let mut adam = VarOptimizer::new(vec![network.parameters().clone()], adam).unwrap();
            let losses = (0..50).map(|_| {
                let loss = network.loss(&batch.0, &batch.1).unwrap();
                adam.step(&loss.backward().unwrap()).unwrap();
                loss.to_scalar::<f32>().unwrap()
            });
            losses.collect::<Vec<f32>>()
        };
        let own = curve(&mut FastNetwork::new(&config).unwrap());
        let reference = curve(&mut ReadableNetwork::new(&config, &Device::Cpu).unwrap());
        assert!(reference[49] < 0.98 * reference[0], "{kind:?} does not learn: {reference:?}");
        for (step, (own, reference)) in own.iter().zip(&reference).enumerate() {
            assert!((own - reference).abs() <= 1e-3 * reference, "{kind:?} step {step}: {own} {reference}");
        }
    }
}

#[test]
fn bits_are_the_same_for_any_number_of_threads_and_after_batches_of_other_sizes() {
    for kind in KINDS {
        let batch_of = |images| batch(images, 1, 16, 16, 5);
        let run = |threads: usize, images: usize, before: &[usize]| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut network = FastNetwork::new(&config(kind, 3)).unwrap();
                for &images in before {
                    step(&mut network, &batch_of(images));
                }
                let fresh = FastNetwork::new(&config(kind, 3)).unwrap();
                network.load_buffers(&fresh.buffers()).unwrap();
                let (loss, mut values) = step(&mut network, &batch_of(images));
                values.push(loss);
                values.extend(network.buffers().running);
                values.extend(network.logits(&batch_of(5).0).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap());
                values.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
            })
        };
        for images in [37, 70] {
            let expected = run(1, images, &[]);
            for (threads, before) in [(2, &[][..]), (3, &[]), (8, &[]), (2, &[50, 3]), (2, &[100])] {
                assert!(run(threads, images, before) == expected, "{kind:?} {images} on {threads} threads after {before:?}");
            }
        }
    }
}

#[test]
fn a_bias_before_batch_norm_has_a_gradient_of_exactly_zero() {
    for kind in KINDS {
        let mut network = FastNetwork::new(&config(kind, 3)).unwrap();
        let (_, gradient) = step(&mut network, &batch(4, 1, 8, 8, 5));
        for layer in 1..=4 {
            let entry = network.layout().parameters.get(&format!("layer{layer}.0.bias")).unwrap();
            assert!(gradient[entry.range()].iter().all(|&g| g == 0.0), "{kind:?} layer{layer}");
        }
    }
}

#[test]
fn values_that_are_not_finite_make_the_loss_nan_and_never_panic() {
    for (kind, value) in KINDS.into_iter().zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY]) {
        let mut network = FastNetwork::new(&config(kind, 3)).unwrap();
        let (grey, classes) = batch(4, 1, 8, 8, 5);
        let mut values = grey.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values[70] = value;
        let grey = Tensor::from_vec(values, grey.shape(), &Device::Cpu).unwrap();
        let (loss, gradient) = step(&mut network, &(grey, classes));
        assert!(loss.is_nan() && gradient.iter().any(|g| g.is_nan()), "{kind:?}");
    }
}

#[test]
fn only_the_newest_loss_has_a_backward_pass_and_it_may_be_asked_twice() {
    let mut network = FastNetwork::new(&config(NetworkKind::UNet, 3)).unwrap();
    let (grey, classes) = batch(3, 1, 8, 8, 5);
    let old = network.loss(&grey, &classes).unwrap();
    let new = network.loss(&grey, &classes).unwrap();
    assert!(old.backward().is_err());
    let gradient = |loss: &Tensor| loss.backward().unwrap().get(network.parameters()).unwrap().to_vec1::<f32>().unwrap();
    let (once, twice) = (gradient(&new), gradient(&new));
    assert_eq!(once, twice);
    let doubled = gradient(&(&new * 2.0).unwrap());
    assert!(once.iter().zip(doubled).all(|(once, doubled)| 2.0 * once == doubled));
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let mut network = FastNetwork::new(&config(NetworkKind::ConvTranspose, 3)).unwrap();
    let (grey, classes) = batch(2, 1, 8, 8, 9);
    assert!(matches!(network.loss(&grey, &classes), Err(NetworkError::Input(_))));
    assert!(network.logits(&grey.narrow(2, 0, 6).unwrap()).is_err());
    let (grey, classes) = batch(1, 1, 4, 4, 5);
    assert!(matches!(network.loss(&grey, &classes), Err(NetworkError::Input(_))));
    assert!(FastNetwork::new(&NetworkConfig { kernel: 8, ..config(NetworkKind::UNet, 3) }).is_err());
}

#[test]
fn a_state_dict_moves_from_one_implementation_to_the_other() {
    let mut fast = FastNetwork::new(&config(NetworkKind::UNet, 4)).unwrap();
    step(&mut fast, &batch(4, 1, 8, 8, 5));
    let mut readable = ReadableNetwork::new(&NetworkConfig { seed: 9, ..config(NetworkKind::UNet, 4) }, &Device::Cpu).unwrap();
    let bytes = state_dict::to_safetensors(&fast).unwrap();
    state_dict::load_safetensors(&mut readable, &bytes).unwrap();
    assert_eq!(state_dict::to_safetensors(&readable).unwrap(), bytes);
}
