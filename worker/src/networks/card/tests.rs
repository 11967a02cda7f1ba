//! The GPU's kernels, emulated, against the readable networks.

use candle_core::{Device, Tensor};
use trainyard_gpu_emulator::Emulator;

use super::super::{evaluate, state_dict};
use super::*;
use crate::kernels::testing::{assert_near, random};

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
    (loss.to_scalar().unwrap(), gradients.get(network.parameters()).unwrap().to_vec1().unwrap())
}

/// `‖a − b‖/‖b‖`.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (difference / b.iter().map(|b| f64::from(*b).powi(2)).sum::<f64>()).sqrt()
}

/// Whether all agree. Where a rectifier or a pooling window is within rounding of a tie, the two may decide differently, and one pixel's
/// gradient takes another way: that is rare, and other weights show that it was that.
fn agree(config: &NetworkConfig, batch: &(Tensor, Tensor), emulator: Arc<Emulator>) -> bool {
    let mut card = CardNetwork::new(config, emulator).unwrap();
    let mut readable = ReadableNetwork::new(config, &Device::Cpu).unwrap();
    let ((a, own), (b, reference)) = (step(&mut card, batch), step(&mut readable, batch));
    assert!((a - b).abs() <= 1e-5 * b.abs(), "{config:?}: {a} {b}");
    assert_near(&card.buffers().running, &readable.buffers().running, 1e-5);
    let logits = |network: &dyn ColourizationNetwork| network.logits(&batch.0).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_near(&logits(&card), &logits(&readable), 1e-4);
    let (a, b) = (evaluate(&card, &batch.0, &batch.1, 2).unwrap(), evaluate(&readable, &batch.0, &batch.1, 2).unwrap());
    assert!((a.loss - b.loss).abs() < 1e-5 * b.loss && (a.accuracy - b.accuracy).abs() < 0.01, "{a:?} {b:?}");
    let distance = distance(&own, &reference);
    assert!(distance < 0.05, "{config:?}: {distance}");
    distance < 1e-4
}

fn compare(config: &NetworkConfig, batch: &(Tensor, Tensor)) {
    for emulator in [Emulator::new, Emulator::exact_tf32] {
        let agrees = (3..6).any(|seed| agree(&NetworkConfig { seed, ..config.clone() }, batch, emulator()));
        assert!(agrees, "{config:?}: no weights have the readable network's gradient");
    }
}

#[test]
fn losses_gradients_and_logits_agree_with_the_readable_network_on_many_shapes() {
    let shapes = [(1, 8, 8), (5, 4, 12), (3, 16, 8), (2, 20, 28)];
    for kind in KINDS {
        for kernel in 1..=7 {
            let (images, height, width) = shapes[kernel % 4];
            let config = NetworkConfig { in_channels: 1 + kernel % 3, ..config(kind, kernel) };
            compare(&config, &batch(images, config.in_channels, height, width, 5));
        }
    }
}

#[test]
fn many_channels_many_colours_and_wide_images_are_cut_into_tiles() {
    for (kind, num_filters, num_colours, height, width) in [
        (NetworkKind::PoolUpsample, 34, 7, 8, 4),
        (NetworkKind::ConvTranspose, 66, 5, 4, 4),
        (NetworkKind::UNet, 2, 256, 4, 4),
        (NetworkKind::PoolUpsample, 2, 70, 4, 4),
        (NetworkKind::UNet, 2, 3, 4, 132),
    ] {
        let config = NetworkConfig { num_filters, num_colours, ..config(kind, 3) };
        compare(&config, &batch(2, 1, height, width, num_colours.min(11)));
    }
}

#[test]
fn a_bias_before_batch_norm_has_a_gradient_of_exactly_zero() {
    for kind in KINDS {
        let mut network = CardNetwork::new(&config(kind, 3), Emulator::new()).unwrap();
        let (_, gradient) = step(&mut network, &batch(4, 1, 8, 8, 5));
        for layer in 1..=4 {
            let entry = network.layout().parameters.get(&format!("layer{layer}.0.bias")).unwrap();
            assert!(gradient[entry.range()].iter().all(|&g| g == 0.0), "{kind:?} layer{layer}");
        }
    }
}

#[test]
fn only_the_newest_loss_has_a_backward_pass_and_inputs_that_do_not_fit_are_refused() {
    let mut network = CardNetwork::new(&config(NetworkKind::UNet, 3), Emulator::new()).unwrap();
    let (grey, classes) = batch(3, 1, 8, 8, 5);
    let old = network.loss(&grey, &classes).unwrap();
    network.loss(&grey, &classes).unwrap();
    assert!(old.backward().is_err());
    let (grey, classes) = batch(2, 1, 8, 8, 9);
    assert!(matches!(network.loss(&grey, &classes), Err(NetworkError::Input(_))));
    assert!(network.logits(&grey.narrow(2, 0, 6).unwrap()).is_err());
    let (grey, classes) = batch(1, 1, 4, 4, 5);
    assert!(matches!(network.loss(&grey, &classes), Err(NetworkError::Input(_))));
}

#[test]
fn a_state_dict_moves_from_one_implementation_to_the_other() {
    let mut card = CardNetwork::new(&config(NetworkKind::UNet, 4), Emulator::new()).unwrap();
    step(&mut card, &batch(4, 1, 8, 8, 5));
    let mut readable = ReadableNetwork::new(&NetworkConfig { seed: 9, ..config(NetworkKind::UNet, 4) }, &Device::Cpu).unwrap();
    let bytes = state_dict::to_safetensors(&card).unwrap();
    state_dict::load_safetensors(&mut readable, &bytes).unwrap();
    assert_eq!(state_dict::to_safetensors(&readable).unwrap(), bytes);
}
