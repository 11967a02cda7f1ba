//! The most multiply-adds this machine does: `peak THREADS` prints GFLOP/s of independent fused multiply-adds in
//! registers, in AVX-512 where the processor has it.

use std::hint::black_box;
use std::time::Instant;

const CHAINS: usize = 24;
const ROUNDS: u64 = 20_000_000;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(rounds: u64) -> f32 {
    use std::arch::x86_64::{_mm512_add_ps, _mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps, _mm512_setzero_ps};
    let mut sums = [_mm512_set1_ps(1.0); CHAINS];
    let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, a, b);
        }
        // Keeps the compiler from computing many rounds at once.
        black_box(());
    }
    _mm512_reduce_add_ps(sums.into_iter().fold(_mm512_setzero_ps(), |a, b| _mm512_add_ps(a, b)))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(rounds: u64) -> f32 {
    use std::arch::x86_64::{_mm256_add_ps, _mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps};
    const FEWER: usize = CHAINS / 2;
    let mut sums = [_mm256_set1_ps(1.0); FEWER];
    let (a, b) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, a, b);
        }
        black_box(());
    }
    _mm256_cvtss_f32(sums.into_iter().fold(_mm256_setzero_ps(), |a, b| _mm256_add_ps(a, b)))
}

/// Runs on one thread; returns the floating-point operations done.
#[allow(unsafe_code)]
fn run() -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512F.
        black_box(unsafe { avx512(ROUNDS) });
        return ROUNDS * CHAINS as u64 * 32;
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has AVX2 and FMA.
        black_box(unsafe { avx2(ROUNDS) });
        return ROUNDS * CHAINS as u64 / 2 * 16;
    }
    let mut sums = [1.0f32; CHAINS];
    for _ in 0..ROUNDS {
        sums.iter_mut().for_each(|sum| *sum = *sum * 0.999 + 0.001);
        black_box(&sums);
    }
    ROUNDS * CHAINS as u64 * 2
}

fn main() {
    let threads: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    let start = Instant::now();
    let operations: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
    });
    println!("{:.0}", operations as f64 / start.elapsed().as_secs_f64() / 1e9);
}
