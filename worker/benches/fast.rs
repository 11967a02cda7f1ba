//! The fast networks' operations and whole steps: `cargo bench -p trainyard-worker`.

use std::hint::black_box;

use candle_core::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trainyard_worker::kernels::blocked::convolve::{Convolution, Start, convolve};
use trainyard_worker::kernels::blocked::softmax::cross_entropy;
use trainyard_worker::kernels::blocked::taps::Taps;
use trainyard_worker::kernels::blocked::weight_gradient::{by_channel, by_image};
use trainyard_worker::kernels::blocked::{Geometry, Isa, LANES, Lanes, View};
use trainyard_worker::networks::{ColourizationNetwork as _, FastNetwork, NetworkConfig, NetworkKind};

const SIDE: usize = 32;

fn view(channels: usize) -> View {
    View::whole(Geometry { height: SIDE, width: SIDE, channels, halo: 1 })
}

fn block(channels: usize) -> Vec<Lanes> {
    vec![Lanes::splat(0.5); view(channels).geometry.block_len()]
}

/// One block of sixteen 32×32 images on one core, with each instruction set; throughput counts multiply-adds.
fn operations(c: &mut Criterion) {
    for isa in Isa::available() {
        operations_on(c, isa);
    }
}

fn operations_on(c: &mut Criterion, isa: Isa) {
    let mut group = c.benchmark_group(format!("operations on {isa}"));
    for channels in [24, 32, 64] {
        let convolution = Convolution::square(&Taps::same(3), channels, channels);
        let (input, mut output) = (block(channels), block(channels));
        let weights = vec![0.01; convolution.matrices() * channels * channels];
        group.throughput(Throughput::Elements((LANES * SIDE * SIDE * weights.len()) as u64));
        group.bench_function(BenchmarkId::new("convolution", channels), |b| {
            b.iter(|| {
                let view = view(channels);
                convolve(isa, &convolution, &input, view, &weights, Start::Zero, 0..SIDE, &mut output, view);
                black_box(&output);
            });
        });
        let operand = (&input[..], view(channels));
        let gradient = by_image::WeightGradient::new(&convolution);
        let mut sums = vec![Lanes::ZERO; gradient.sums(0..gradient.groups())];
        group.bench_function(BenchmarkId::new("weight gradient, images in the lanes", channels), |b| {
            b.iter(|| {
                gradient.add_block(isa, 0..gradient.groups(), 0..SIDE, operand, operand, true, &mut sums);
                black_box(&sums);
            });
        });
        let gradient = by_channel::WeightGradient::new(&convolution);
        let mut memory = vec![Lanes::ZERO; gradient.scratch_len()];
        group.bench_function(BenchmarkId::new("weight gradient, channels in the lanes", channels), |b| {
            b.iter(|| {
                gradient.add_block(isa, 0..SIDE, operand, operand, LANES, true, &mut memory);
                black_box(&memory);
            });
        });
    }
    let (mut logits, classes) = (block(24), vec![Lanes::splat(3.0); SIDE * SIDE]);
    group.throughput(Throughput::Elements((LANES * SIDE * SIDE) as u64));
    group.bench_function("cross-entropy and its gradient", |b| {
        b.iter(|| black_box(cross_entropy(isa, (&mut logits, view(24)), &classes, SIDE, LANES, Some(1.0))));
    });
    group.finish();
}

/// Forward and backward pass of 100 images.
fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("training step");
    group.sample_size(20).throughput(Throughput::Elements(100));
    for kind in [NetworkKind::PoolUpsample, NetworkKind::ConvTranspose, NetworkKind::UNet] {
        let config = NetworkConfig { kind, kernel: 3, num_filters: 32, num_colours: 24, in_channels: 1, seed: 0 };
        let batch = Tensor::rand(0f32, 1.0, (100, 1, SIDE, SIDE), &Device::Cpu)
            .and_then(|grey| Ok((grey, Tensor::zeros((100, SIDE, SIDE), candle_core::DType::U8, &Device::Cpu)?)));
        let (Ok((grey, classes)), Ok(mut network)) = (batch, FastNetwork::new(&config)) else { continue };
        group.bench_function(format!("{kind:?}"), |b| {
            b.iter(|| black_box(network.loss(&grey, &classes).map(|loss| loss.backward())));
        });
    }
    group.finish();
}

criterion_group!(benches, operations, steps);
criterion_main!(benches);
