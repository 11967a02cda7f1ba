//! One step of each network against PyTorch: loss, gradients, the parameters after Adam, running statistics, logits in evaluation.

mod support;

use trainyard_gpu_emulator::Emulator;

#[test]
fn a_step_of_every_case_is_pytorchs() {
    support::check_cases(Emulator::new, |_| 1e-4);
}
