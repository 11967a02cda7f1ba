use proptest::prelude::*;

use super::*;

const ALL: [OptimizerConfig; 5] = [
    OptimizerConfig::GradientDescent { weight_decay: 0.01 },
    OptimizerConfig::Momentum { beta: 0.9, weight_decay: 0.01 },
    OptimizerConfig::RmsProp { beta: 0.9, epsilon: 1e-8, weight_decay: 0.01 },
    OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    OptimizerConfig::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 },
];

/// Two steps from `w = 1` with the gradients 0.5 and −0.25, η = 0.1, in f64.
fn two_steps(config: OptimizerConfig) -> f64 {
    let mut weights = [1.0f64];
    let mut optimizer = config.build::<f64>(1);
    optimizer.step(&mut weights, &[0.5], 0.1);
    optimizer.step(&mut weights, &[-0.25], 0.1);
    weights[0]
}

#[track_caller]
fn assert_close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-14, "{a} != {b}");
}

#[test]
fn gradient_descent_shrinks_the_weight_by_lambda_whatever_the_rate() {
    let first = 0.99 * 1.0 - 0.1 * 0.5;
    assert_close(two_steps(ALL[0]), 0.99 * first + 0.1 * 0.25);
}

#[test]
fn momentum_adds_up_gradients_in_its_velocity() {
    let first = 0.99 * 1.0 - 0.1 * 0.5;
    assert_close(two_steps(ALL[1]), 0.99 * first - 0.1 * (0.9 * 0.5 - 0.25));
}

#[test]
fn rmsprop_has_epsilon_inside_the_root_and_no_bias_correction() {
    let config = OptimizerConfig::RmsProp { beta: 0.9, epsilon: 0.01, weight_decay: 0.0 };
    let v1 = 0.1 * 0.25;
    let v2 = 0.9 * v1 + 0.1 * 0.0625;
    let expected = 1.0 - 0.1 * 0.5 / (v1 + 0.01f64).sqrt() + 0.1 * 0.25 / (v2 + 0.01f64).sqrt();
    assert_close(two_steps(config), expected);
}

// torch.optim.Adam([w], lr=0.1) and torch.optim.AdamW([w], lr=0.1, weight_decay=0.01) in float64 with the same gradients.
#[test]
fn adam_and_adamw_agree_with_pytorch() {
    assert_close(two_steps(ALL[3]), PYTORCH_ADAM);
    assert_close(two_steps(ALL[4]), PYTORCH_ADAMW);
}
const PYTORCH_ADAM: f64 = 0.8733662987078463;
const PYTORCH_ADAMW: f64 = 0.8714672987058463;

#[test]
fn a_zero_gradient_leaves_adam_where_it_is() {
    let mut weights = [0.3f32, -0.7];
    let mut adam = ALL[3].build::<f32>(2);
    for _ in 0..3 {
        adam.step(&mut weights, &[0.0, 0.0], 1e-3);
    }
    assert_eq!(weights, [0.3, -0.7]);
}

#[test]
fn rmsprop_in_f64_ends_off_the_minimum_norm_solution() {
    // X = [[2, 1]], t = [2], cosine schedule over 20,000 steps from 0.01: the two coordinates move alike.
    let mut weights = [0.0f64; 2];
    let mut rmsprop = OptimizerConfig::RmsProp { beta: 0.9, epsilon: 1e-8, weight_decay: 0.0 }.build::<f64>(2);
    for step in 0..20_000 {
        let residual = 2.0 * weights[0] + weights[1] - 2.0;
        let rate = 0.005 * (1.0 + (std::f64::consts::PI * f64::from(step) / 20_000.0).cos());
        rmsprop.step(&mut weights, &[4.0 * residual, 2.0 * residual], rate);
    }
    for w in weights {
        assert!((w - 2.0 / 3.0).abs() < 1e-6, "{weights:?}");
    }
}

#[test]
fn a_state_of_another_optimizer_or_length_is_refused_and_changes_nothing() {
    let mut adam = ALL[3].build::<f32>(2);
    adam.step(&mut [0.0, 0.0], &[1.0, 2.0], 0.1);
    let before = adam.state();
    assert!(matches!(adam.load_state(&ALL[1].build(2).state()), Err(StateError::Slots { .. })));
    assert!(matches!(adam.load_state(&ALL[3].build(3).state()), Err(StateError::Length { .. })));
    assert_eq!(adam.state(), before);
}

proptest! {
    #[test]
    fn a_restored_state_continues_bit_for_bit(
        which in 0..ALL.len(),
        gradients in proptest::collection::vec(proptest::collection::vec(-10f32..10.0, 3), 2..8),
        cut in 0usize..8,
    ) {
        let cut = cut.min(gradients.len());
        let mut whole = [0.1f32, 0.2, 0.3];
        let mut parts = whole;
        let mut straight = ALL[which].build::<f32>(3);
        for g in &gradients {
            straight.step(&mut whole, g, 0.01);
        }
        let mut first = ALL[which].build::<f32>(3);
        for g in &gradients[..cut] {
            first.step(&mut parts, g, 0.01);
        }
        let mut second = ALL[which].build::<f32>(3);
        second.load_state(&first.state()).unwrap();
        for g in &gradients[cut..] {
            second.step(&mut parts, g, 0.01);
        }
        prop_assert_eq!(whole.map(f32::to_bits), parts.map(f32::to_bits));
        prop_assert_eq!(straight.state(), second.state());
    }
}
