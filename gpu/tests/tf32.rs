//! Tensor cores, emulated: PyTorch's steps without TF32's rounding as near as in FP32, with it as near as the rounding allows.

mod support;

use trainyard_gpu_emulator::Emulator;

#[test]
fn tensor_cores_that_do_not_round_make_pytorchs_steps() {
    support::check_cases(Emulator::exact_tf32, |_| 1e-4);
}

/// What is allowed is argued for at `Tolerance::TF32` of the worker's `doctor::cases`.
#[test]
fn steps_in_tf32_are_pytorchs_up_to_its_rounding() {
    let tolerance = |name: &str| match name.split_once('.') {
        Some(("grad", _)) => 0.5,
        Some(("after", name)) if !name.contains("running") => 2e-2,
        _ => 2e-3,
    };
    let worst = support::check_cases(|| Emulator::tf32(0), tolerance);
    assert!(worst.iter().any(|&worst| worst < 2e-3), "ties touch every case: {worst:?}");
}
