//! Gradients through candle's backward pass, against finite differences. The kernels' own tests hold the values.

use candle_core::{Device, Tensor, Var};

use super::*;
use crate::kernels::testing::{assert_gradient, random};

fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

fn var(seed: u64, shape: &[usize]) -> Var {
    Var::from_tensor(&tensor(&random(seed, shape.iter().product()), shape)).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts the gradients of `f` for each of its arguments.
#[track_caller]
fn check(f: impl Fn(&[Tensor]) -> Tensor, arguments: &[Var], h: f32) {
    let tensors: Vec<Tensor> = arguments.iter().map(|argument| argument.as_tensor().clone()).collect();
    let output = f(&tensors);
    let weights = random(99, output.elem_count());
    let value = (&output * tensor(&weights, output.dims())).unwrap().sum_all().unwrap();
    let gradients = value.backward().unwrap();
    for (i, argument) in arguments.iter().enumerate() {
        let gradient = flat(gradients.get(argument).unwrap());
        assert_gradient(&flat(argument), &weights, &gradient, h, |values| {
            let mut moved = tensors.clone();
            moved[i] = tensor(values, argument.dims());
            flat(&f(&moved))
        });
    }
}

#[test]
fn relu_flows() {
    check(|x| relu(&x[0]).unwrap(), &[var(1, &[4, 5])], 1e-4);
}

#[test]
fn resampling_flows() {
    check(|x| max_pool2d(&x[0]).unwrap(), &[var(1, &[2, 3, 4, 6])], 1e-4);
    check(|x| upsample_nearest2d(&x[0]).unwrap(), &[var(1, &[2, 3, 4, 6])], 1e-2);
}

#[test]
fn upsampling_adds_to_other_gradients_of_its_input() {
    let x = Var::new(&[[[[1f32]]]], &Device::Cpu).unwrap();
    let sum = (upsample_nearest2d(&x).unwrap().sum_all().unwrap() + x.sum_all().unwrap()).unwrap();
    assert_eq!(flat(sum.backward().unwrap().get(&x).unwrap()), [5.0]);
}

#[test]
fn convolutions_flow() {
    let odd = Convolution { kernel: 3, stride: 2, padding: 1, padding_after: 1, output_padding: 1 };
    let even = Convolution { kernel: 4, stride: 1, padding: 1, padding_after: 2, output_padding: 0 };
    for convolution in [odd, even] {
        let k = convolution.kernel;
        check(|x| conv2d(&x[0], &x[1], &x[2], convolution).unwrap(), &[var(1, &[2, 3, 6, 4]), var(2, &[5, 3, k, k]), var(3, &[5])], 1e-2);
        check(
            |x| conv_transpose2d(&x[0], &x[1], &x[2], convolution).unwrap(),
            &[var(1, &[2, 3, 3, 4]), var(2, &[3, 5, k, k]), var(3, &[5])],
            1e-2,
        );
    }
}

#[test]
fn strided_operands_are_taken() {
    let x = var(1, &[3, 2, 4, 4]);
    let (weight, bias) = (var(2, &[1, 3, 3, 3]), var(3, &[1]));
    let convolution = Convolution { kernel: 3, stride: 1, padding: 1, padding_after: 1, output_padding: 0 };
    check(|x| conv2d(&relu(&x[0].transpose(0, 1).unwrap()).unwrap(), &x[1], &x[2], convolution).unwrap(), &[x, weight, bias], 1e-3);
}

#[test]
fn batch_norm_flows() {
    check(|x| batch_norm_train(&x[0], &x[1], &x[2], 1e-5).unwrap().0, &[var(1, &[3, 2, 2, 4]), var(2, &[2]), var(3, &[2])], 1e-2);
}

#[test]
fn batch_norm_in_training_needs_two_values_per_channel() {
    let (weight, bias) = (var(1, &[3]), var(2, &[3]));
    assert!(batch_norm_train(&var(3, &[1, 3, 1, 1]), &weight, &bias, 1e-5).is_err());
}

#[test]
fn cross_entropy_flows_and_scales() {
    let classes = Tensor::new(&[[[0u8, 1], [2, 0]]], &Device::Cpu).unwrap();
    let loss = |x: &[Tensor]| (cross_entropy(&x[0], &classes).unwrap() * 3.0).unwrap();
    check(loss, &[var(1, &[1, 3, 2, 2])], 1e-2);
}

#[test]
fn cross_entropy_refuses_classes_that_do_not_fit() {
    let logits = var(1, &[1, 3, 2, 2]);
    let too_large = Tensor::new(&[[[0u8, 1], [3, 0]]], &Device::Cpu).unwrap();
    let too_few = Tensor::new(&[[[0u8, 1]]], &Device::Cpu).unwrap();
    let floats = Tensor::new(&[[[0f32, 1.0], [2.0, 0.0]]], &Device::Cpu).unwrap();
    for classes in [too_large, too_few, floats] {
        assert!(cross_entropy(&logits, &classes).is_err());
    }
}

#[test]
fn a_detached_bias_gets_no_gradient() {
    let (x, weight, bias) = (var(1, &[1, 1, 2, 2]), var(2, &[1, 1, 1, 1]), var(3, &[1]));
    let convolution = Convolution { kernel: 1, stride: 1, padding: 0, padding_after: 0, output_padding: 0 };
    let y = conv2d(&x, &weight, &bias.detach(), convolution).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&weight).is_some() && gradients.get(&bias).is_none());
}
