//! What the tests of kernels and networks share.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Uniform values in [−1, 1) from a seed.
pub(crate) fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| (generator.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0).collect()
}

/// Asserts `‖a − b‖ ≤ tolerance·max(‖b‖, 1e-6)`.
#[track_caller]
pub(crate) fn assert_near(a: &[f32], b: &[f32], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    let scale = norm(&mut b.iter().map(|&b| f64::from(b))).max(1e-6);
    assert!(difference <= tolerance * scale, "relative difference {} of {a:?} and {b:?}", difference / scale);
}

/// Runs `f` on pools of 1, 2 and 3 threads and asserts that the bits agree.
#[track_caller]
pub(crate) fn assert_same_bits_on_any_threads(f: impl Fn() -> Vec<f32> + Sync) {
    let results: Vec<Vec<u32>> = [1, 2, 3]
        .map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(&f).into_iter().map(f32::to_bits).collect()
        })
        .into();
    assert!(results[0] == results[1] && results[0] == results[2], "results depend on the number of threads");
}

/// Asserts that `gradient` is that of `Σ weights·f(x)` at `x`, by central differences with the step `h` in each
/// coordinate (sampled where there are many).
#[track_caller]
pub(crate) fn assert_gradient(x: &[f32], weights: &[f32], gradient: &[f32], h: f32, f: impl Fn(&[f32]) -> Vec<f32>) {
    assert_eq!(x.len(), gradient.len());
    let value = |x: &[f32]| f(x).iter().zip(weights).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum::<f64>();
    let stride = x.len().div_ceil(64);
    let (mut numeric, mut analytic) = (Vec::new(), Vec::new());
    for i in (0..x.len()).step_by(stride) {
        let (mut above, mut below) = (x.to_vec(), x.to_vec());
        above[i] += h;
        below[i] -= h;
        numeric.push(((value(&above) - value(&below)) / f64::from(above[i] - below[i])) as f32);
        analytic.push(gradient[i]);
    }
    assert_near(&analytic, &numeric, 5e-3);
}
