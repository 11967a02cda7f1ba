//! Behaviour of the three networks; `tests/reference_cases.rs` holds their values.

use super::*;
use crate::kernels::testing::{assert_near, assert_same_bits_on_any_threads, random};
use crate::networks::{evaluate, state_dict};
use crate::optimizers::OptimizerConfig;

const KINDS: [NetworkKind; 3] = [NetworkKind::PoolUpsample, NetworkKind::ConvTranspose, NetworkKind::UNet];

fn network(kind: NetworkKind, kernel: usize) -> ReadableNetwork {
    let config = NetworkConfig { kind, kernel, num_filters: 4, num_colours: 5, in_channels: 2, seed: 3 };
    ReadableNetwork::new(&config, &Device::Cpu).unwrap()
}

fn batch(images: usize, height: usize, width: usize) -> (Tensor, Tensor) {
    let grey = Tensor::from_vec(random(7, images * 2 * height * width), (images, 2, height, width), &Device::Cpu);
    let classes: Vec<u8> = (0..images * height * width).map(|i| (i * 13 % 5) as u8).collect();
    (grey.unwrap(), Tensor::from_vec(classes, (images, height, width), &Device::Cpu).unwrap())
}

fn gradient(network: &mut ReadableNetwork, grey: &Tensor, classes: &Tensor) -> Vec<f32> {
    let loss = network.loss(grey, classes).unwrap();
    loss.backward().unwrap().get(network.parameters()).unwrap().to_vec1().unwrap()
}

#[test]
fn every_kernel_gives_logits_of_the_image_size() {
    for kind in KINDS {
        for kernel in 1..=MAX_KERNEL {
            let mut network = network(kind, kernel);
            for (height, width) in [(4, 8), (16, 12)] {
                let (grey, _) = batch(2, height, width);
                assert_eq!(network.logits(&grey).unwrap().dims(), [2, 5, height, width]);
                assert_eq!(network.train_logits(&grey).unwrap().dims(), [2, 5, height, width]);
            }
        }
    }
}

#[test]
fn the_gradient_of_the_whole_network_agrees_with_finite_differences() {
    for (kind, kernel) in KINDS.into_iter().flat_map(|kind| [(kind, 2), (kind, 3)]) {
        let mut network = network(kind, kernel);
        let (grey, classes) = batch(8, 16, 16);
        let gradient = gradient(&mut network, &grey, &classes);
        let start: Vec<f32> = network.parameters().to_vec1().unwrap();
        for entry in network.layout().parameters.entries().to_vec() {
            // Along the gradient of one tensor the loss changes most, so that f32 noise matters least.
            let slope = gradient[entry.range()].iter().map(|g| g * g).sum::<f32>().sqrt();
            let mut loss_at = |h: f32| {
                let mut moved = start.clone();
                for (w, g) in moved[entry.range()].iter_mut().zip(&gradient[entry.range()]) {
                    *w += h * g / slope.max(f32::MIN_POSITIVE);
                }
                network.load_parameters(&moved).unwrap();
                network.loss(&grey, &classes).unwrap().to_scalar::<f32>().unwrap()
            };
            let h = 3e-3;
            let numeric = (loss_at(h) - loss_at(-h)) / (2.0 * h);
            assert!((numeric - slope).abs() < 0.02 * slope + 2e-4, "{kind:?} {}: {numeric} {slope}", entry.name);
        }
    }
}

#[test]
fn biases_before_batch_norm_get_exactly_zero_and_nothing_else_does() {
    for kind in KINDS {
        let mut network = network(kind, 3);
        let (grey, classes) = batch(3, 8, 8);
        let gradient = gradient(&mut network, &grey, &classes);
        for entry in network.layout().parameters.entries() {
            let zero = gradient[entry.range()].iter().all(|&g| g == 0.0);
            assert_eq!(zero, entry.name.ends_with(".0.bias"), "{}", entry.name);
        }
    }
}

#[test]
fn a_training_step_is_the_same_bits_on_any_number_of_threads() {
    for kind in KINDS {
        let (grey, classes) = batch(40, 8, 8);
        assert_same_bits_on_any_threads(|| {
            let mut network = network(kind, 3);
            let mut weights: Vec<f32> = network.parameters().to_vec1().unwrap();
            let adam = OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
            let mut adam = adam.build::<f32>(weights.len());
            for _ in 0..2 {
                let gradient = gradient(&mut network, &grey, &classes);
                adam.step(&mut weights, &gradient, 1e-3);
                network.load_parameters(&weights).unwrap();
            }
            let logits = network.logits(&grey).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            [weights, network.buffers().running, logits].concat()
        });
    }
}

#[test]
fn evaluation_changes_nothing_and_does_not_depend_on_the_batch_size() {
    let mut network = network(NetworkKind::UNet, 3);
    let (grey, classes) = batch(7, 8, 8);
    network.loss(&grey, &classes).unwrap();
    let before = network.buffers();
    let whole = evaluate(&network, &grey, &classes, 7).unwrap();
    let parts = evaluate(&network, &grey, &classes, 3).unwrap();
    assert!((whole.loss - parts.loss).abs() < 1e-9 && whole.accuracy == parts.accuracy);
    assert_eq!(network.buffers(), before);
    assert!(!network.logits(&grey).unwrap().track_op());
    let untrained = 1.0 / 5.0;
    assert!((whole.accuracy - untrained).abs() < 0.15 && (whole.loss - 5f64.ln()).abs() < 0.5, "{whole:?}");
}

#[test]
fn initial_weights_are_uniform_within_pytorchs_bounds_and_depend_on_the_seed() {
    let network = network(NetworkKind::ConvTranspose, 3);
    let weights: Vec<f32> = network.parameters().to_vec1().unwrap();
    let bounds = [
        ("layer1.0.weight", 2 * 9),
        ("layer2.0.weight", 4 * 9),
        ("layer3.0.weight", 4 * 9),
        ("layer4.0.weight", 5 * 9),
        ("layer4.0.bias", 5 * 9),
        ("layerFinal.weight", 5 * 9),
    ];
    for (name, fan_in) in bounds {
        let entry = network.layout().parameters.get(name).unwrap();
        let largest = weights[entry.range()].iter().fold(0.0f32, |m, w| m.max(w.abs())) * (fan_in as f32).sqrt();
        let least = if entry.len() > 50 { 0.9 } else { 0.3 };
        assert!((least..=1.0).contains(&largest), "{name}: {largest}");
    }
    assert!(weights[network.layout().parameters.get("layer4.1.weight").unwrap().range()].iter().all(|&w| w == 1.0));
    let again = super::ReadableNetwork::new(network.config(), &Device::Cpu).unwrap();
    let other = NetworkConfig { seed: 4, ..network.config().clone() };
    let other = super::ReadableNetwork::new(&other, &Device::Cpu).unwrap();
    assert_eq!(again.parameters().to_vec1::<f32>().unwrap(), weights);
    assert_ne!(other.parameters().to_vec1::<f32>().unwrap(), weights);
}

#[test]
fn parameters_are_as_many_as_in_the_published_networks() {
    for (kind, expected) in KINDS.into_iter().zip([49_728, 49_728, 56_856]) {
        let config = NetworkConfig { kind, kernel: 3, num_filters: 32, num_colours: 24, in_channels: 1, seed: 0 };
        let network = ReadableNetwork::new(&config, &Device::Cpu).unwrap();
        assert_eq!(network.layout().parameters.len(), expected);
    }
}

#[test]
fn a_state_dict_restores_the_network_and_is_the_same_bytes_each_time() {
    for kind in KINDS {
        let mut trained = network(kind, 3);
        let (grey, classes) = batch(2, 8, 8);
        trained.loss(&grey, &classes).unwrap();
        let bytes = state_dict::to_safetensors(&trained).unwrap();
        let config = NetworkConfig { seed: 99, ..trained.config().clone() };
        let mut restored = ReadableNetwork::new(&config, &Device::Cpu).unwrap();
        state_dict::load_safetensors(&mut restored, &bytes).unwrap();
        assert_eq!(restored.buffers(), trained.buffers());
        assert_eq!(restored.buffers().num_batches_tracked, 1);
        assert_eq!(state_dict::to_safetensors(&restored).unwrap(), bytes);
        let logits = |network: &ReadableNetwork| network.logits(&grey).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(logits(&restored), logits(&trained));
    }
}

#[test]
fn a_state_dict_of_another_network_is_refused_and_changes_nothing() {
    let mut unet = network(NetworkKind::UNet, 3);
    let before = state_dict::to_safetensors(&unet).unwrap();
    for other in [network(NetworkKind::ConvTranspose, 3), network(NetworkKind::UNet, 4)] {
        let bytes = state_dict::to_safetensors(&other).unwrap();
        assert!(matches!(state_dict::load_safetensors(&mut unet, &bytes), Err(NetworkError::State(_))));
    }
    assert!(matches!(state_dict::load_safetensors(&mut unet, b"not it"), Err(NetworkError::SafeTensors(_))));
    assert_eq!(state_dict::to_safetensors(&unet).unwrap(), before);
}

#[test]
fn inputs_that_do_not_fit_are_refused_and_leave_the_running_statistics_alone() {
    let mut network = network(NetworkKind::PoolUpsample, 3);
    let (grey, classes) = batch(2, 8, 8);
    let before = network.buffers();
    let too_large = (&classes + 1.0).unwrap();
    let odd_size = grey.narrow(2, 0, 6).unwrap();
    let doubles = grey.to_dtype(DType::F64).unwrap();
    let one_channel = grey.narrow(1, 0, 1).unwrap();
    let (tiny, tiny_classes) = batch(1, 4, 4);
    assert!(matches!(network.loss(&grey, &too_large), Err(NetworkError::Input(_))));
    assert!(matches!(network.loss(&tiny, &tiny_classes), Err(NetworkError::Input(_))));
    for grey in [odd_size, doubles, one_channel] {
        assert!(matches!(network.loss(&grey, &classes), Err(NetworkError::Input(_))));
        assert!(matches!(network.logits(&grey), Err(NetworkError::Input(_))));
    }
    assert_eq!(network.buffers(), before);
}

#[test]
fn a_weight_that_is_not_finite_shows_in_the_loss() {
    for kind in KINDS {
        let mut network = network(kind, 3);
        let (grey, classes) = batch(2, 8, 8);
        let mut weights: Vec<f32> = network.parameters().to_vec1().unwrap();
        weights[0] = f32::NAN;
        network.load_parameters(&weights).unwrap();
        assert!(network.loss(&grey, &classes).unwrap().to_scalar::<f32>().unwrap().is_nan());
    }
}

#[test]
fn configurations_out_of_range_are_refused() {
    let good = network(NetworkKind::UNet, 3).config().clone();
    for bad in [
        NetworkConfig { kernel: 0, ..good.clone() },
        NetworkConfig { kernel: 8, ..good.clone() },
        NetworkConfig { num_filters: 0, ..good.clone() },
        NetworkConfig { num_colours: usize::MAX, ..good.clone() },
        NetworkConfig { in_channels: 0, ..good },
    ] {
        assert!(matches!(ReadableNetwork::new(&bad, &Device::Cpu), Err(NetworkError::Config(_))));
    }
}

#[test]
fn training_and_evaluation_agree_once_the_running_statistics_have_settled() {
    let mut network = network(NetworkKind::ConvTranspose, 3);
    let (grey, _) = batch(20, 16, 16);
    let mut trained = network.train_logits(&grey).unwrap();
    for _ in 0..200 {
        trained = network.train_logits(&grey).unwrap();
    }
    let flat = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_near(&flat(network.logits(&grey).unwrap()), &flat(trained), 5e-3);
}
