//! What a run takes, counted before it is queued.
//!
//! All counts saturate: one that does not fit into 64 bits is over every limit. They are upper estimates made of the terms that grow, not measurements; the
//! formulas stand beside the code.

use trainyard_theory::log_schedule::LogSchedule;
use trainyard_theory::network::{Architecture, NetworkConfig};
use trainyard_theory::regression::spectrum_cost;
use trainyard_wire::Spec;
use trainyard_wire::job::Estimate;
use trainyard_wire::spec::colourization::NetworkName;
use trainyard_wire::spec::hypergradient::Method;
use trainyard_wire::spec::optimizer::OptimizerName;
use trainyard_wire::spec::regression::Record;
use trainyard_wire::spec::{ColourizationSpec, HypergradientSpec, RegressionSpec, RegularizationPairSpec};

/// Bytes of a metric's point in the database, with its index.
const POINT_BYTES: u64 = 48;
/// Metrics that every regression records at a step. With a penalty the mean squared error is apart from the loss, and there is a ridge solution to be
/// far from; gradient descent has an exact loss.
const REGRESSION_METRICS: u64 = 6;
const PENALTY_METRICS: u64 = 2;
const DESCENT_METRICS: u64 = 1;
/// Metrics that a regularization pair records at a step.
const PAIR_METRICS: u64 = 3;
/// Metrics that a hypergradient records at a step of its outer loop: the rate, the loss after the inner steps and their derivative.
const HYPERGRADIENT_METRICS: u64 = 3;
/// Rates at which a hypergradient's curve is computed, and numbers of steps at which held bytes are measured, at most.
const CURVE_POINTS: u64 = 101;
const HELD_POINTS: u64 = 20;
/// The held bytes of fewer inner steps are measured up to this many, so that their growth shows.
const LEAST_COMPARED_STEPS: u64 = 10;
/// Bytes of a hypergradient's drawings and tables.
const DRAWING_BYTES: u64 = 1 << 16;
/// Metrics that a colourization records at a step or at an epoch, at most.
const COLOURIZATION_METRICS: u64 = 6;
/// Rounds of k-means that make the palette.
const PALETTE_ROUNDS: u64 = 50;
/// Pictures in a row of a sample: grey, truth, prediction, error.
const SAMPLE_PICTURES: u64 = 4;
/// Bytes a training pixel: three colours, of which grey (f32) and class are made.
const TRAIN_PIXEL_BYTES: u64 = 8;
/// Bytes a validation pixel: three colours, grey and class, and these two once more as tensors, made in vectors that grow by doubling.
const VAL_PIXEL_BYTES: u64 = 18;
/// Threads that may each sum a weight's gradient over a part of the batch.
const MOST_PARTIAL_SUMS: u64 = 32;
/// Copies of the parameters beside those of a step: the best model, the last one, and a checkpoint that is written and sent.
const MODEL_COPIES: u64 = 4;

/// Copies of a model's parameters for colouring: their file as it came, read, as the network's, and packed.
const COLOURING_COPIES: u64 = 4;
/// Bytes a pixel of a picture that is coloured: decoded (up to 16 bits a channel) and made to bytes, its planes, grey, classes, and the
/// pictures that are made of it, plain and encoded.
const PICTURE_PIXEL_BYTES: u64 = 64;

/// How large a run's data are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// n rows and d columns.
    Problem { n: u64, d: u64 },
    /// Training and validation images, square with this side.
    Images { train: u64, val: u64, side: u64 },
}

/// The estimate of a run whose data have this size.
pub(crate) fn estimate(spec: &Spec, size: Size) -> Estimate {
    match (spec, size) {
        (Spec::Regression(spec), Size::Problem { n, d }) => regression(spec, n, d),
        (Spec::RegularizationPair(spec), Size::Problem { n, d }) => regularization_pair(spec, n, d),
        (Spec::Hypergradient(spec), Size::Problem { n, d }) => hypergradient(spec, n, d),
        (Spec::Colourization(spec), Size::Images { train, val, side }) => colourization(spec, train, val, side),
        // Sizes of other things; what is not submitted has none.
        _ => nothing_fits(),
    }
}

/// Numbers of the optimizer's state beside each weight.
fn optimizer_slots(name: OptimizerName) -> u64 {
    match name {
        OptimizerName::Gd | OptimizerName::Sgd => 0,
        OptimizerName::Momentum | OptimizerName::RmsProp => 1,
        OptimizerName::Adam | OptimizerName::AdamW => 2,
    }
}

/// Bytes of a run's checkpoint: the weights and the optimizer's state, in f64 on a problem and f32 for a colourization; the points of its outer loop for a
/// hypergradient. No artifact is larger, as a model is the weights alone.
pub(super) fn checkpoint_bytes(spec: &Spec, estimate: &Estimate) -> u64 {
    let (number, optimizer) = match spec {
        Spec::Regression(spec) => (8, spec.optimizer.name),
        Spec::RegularizationPair(spec) => (8, spec.optimizer.name),
        Spec::Hypergradient(spec) => return product(&[8, HYPERGRADIENT_METRICS, spec.outer_steps.saturating_add(1)]),
        Spec::Colourization(spec) => (4, spec.optimizer.name),
        Spec::External(_) | Spec::Picture(_) => return 0,
    };
    product(&[number, estimate.parameters, optimizer_slots(optimizer).saturating_add(1)])
}

/// A step on b rows takes 2·b·d multiply-adds (Xw and Xᵀr), a recorded one 4·n·d more (the whole loss and gradient, and the projection on the row space). Memory
/// holds X twice, the decomposition's U and V, t, and the weights with the optimizer's state.
fn regression(spec: &RegressionSpec, n: u64, d: u64) -> Estimate {
    let recorded = recorded_steps(spec.record, spec.steps);
    let penalty = if spec.l2 == 0.0 { 0 } else { PENALTY_METRICS };
    let descent = if spec.optimizer.name == OptimizerName::Gd { DESCENT_METRICS } else { 0 };
    let metrics = REGRESSION_METRICS + penalty + descent;
    let batch = spec.optimizer.batch_size.unwrap_or(n);
    let slots = optimizer_slots(spec.optimizer.name);
    let side = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
    let steps = product(&[2, spec.steps, batch, d]);
    let records = product(&[4, recorded, n, d]);
    let factors = product(&[2, n.saturating_add(d), n.min(d)]);
    let numbers = sum(&[product(&[2, n, d]), factors, n, product(&[d, slots.saturating_add(4)])]);
    Estimate {
        steps: spec.steps,
        parameters: d,
        memory_bytes: product(&[8, numbers]),
        multiply_adds: sum(&[steps, records, spectrum_cost(side(n), side(d))]),
        disk_bytes: sum(&[product(&[recorded, metrics, POINT_BYTES]), product(&[8, d, slots.saturating_add(2)])]),
    }
}

fn recorded_steps(record: Record, steps: u64) -> u64 {
    match record {
        Record::Every => steps.saturating_add(1),
        Record::Logarithmic => LogSchedule::new(steps).steps().count() as u64,
    }
}

/// Everything that a regression's optimizer does, twice: a step on b rows takes 2·b·d multiply-adds for each of the two runs, a recorded one 2·n·d more, and
/// their distance and norms 3·d. Memory holds X twice, t, and for each run the weights, the gradient, the optimizer's state and a checkpoint.
fn regularization_pair(spec: &RegularizationPairSpec, n: u64, d: u64) -> Estimate {
    let recorded = recorded_steps(spec.record(), spec.steps);
    let batch = spec.optimizer.batch_size.unwrap_or(n);
    let parameters = product(&[2, d]);
    let numbers = optimizer_slots(spec.optimizer.name).saturating_add(1);
    let steps = product(&[spec.steps, d, product(&[4, batch]).saturating_add(3)]);
    let copies = product(&[parameters, product(&[3, numbers]).saturating_add(2)]);
    Estimate {
        steps: spec.steps,
        parameters,
        memory_bytes: product(&[8, sum(&[product(&[2, n, d]), n, copies])]),
        multiply_adds: sum(&[steps, product(&[4, recorded, n, d])]),
        disk_bytes: sum(&[product(&[recorded, PAIR_METRICS, POINT_BYTES]), product(&[8, parameters, numbers.saturating_add(1)])]),
    }
}

/// An unrolled step takes 4·n·d multiply-adds forward, 6 in reverse and 8 by autograd. The outer loop takes the run's method `outer_steps` + 1 times; after it
/// come the curve (2·n·d a step at each of its rates), the held bytes of all methods at the numbers of steps up to k, and the comparison of the methods.
/// Memory holds X three times (theory's, and candle's two ways round) with as many gradients of it as candle's backward makes for constants, the decomposition's
/// U and V, and what reverse and autograd hold of every step.
fn hypergradient(spec: &HypergradientSpec, n: u64, d: u64) -> Estimate {
    let side = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
    let method = match spec.method {
        Method::Forward => 4,
        Method::Reverse => 6,
        Method::Autograd => 8,
    };
    let outer = product(&[method, spec.outer_steps.saturating_add(1)]);
    let after = product(&[2, CURVE_POINTS]) + product(&[18, HELD_POINTS + 2]);
    let compared = spec.inner_steps.max(LEAST_COMPARED_STEPS);
    let steps = product(&[sum(&[product(&[outer, spec.inner_steps]), product(&[after, compared])]), n, d]);
    let factors = product(&[2, n.saturating_add(d), n.min(d)]);
    let held = product(&[compared, sum(&[product(&[3, n]), product(&[6, d])])]);
    let points = product(&[HYPERGRADIENT_METRICS, spec.outer_steps.saturating_add(1)]).saturating_add(3 * HELD_POINTS);
    Estimate {
        steps: spec.outer_steps,
        parameters: 1,
        memory_bytes: product(&[8, sum(&[product(&[8, n, d]), factors, held])]),
        multiply_adds: sum(&[steps, spectrum_cost(side(n), side(d))]),
        disk_bytes: sum(&[product(&[points, POINT_BYTES]), DRAWING_BYTES, product(&[8, HYPERGRADIENT_METRICS, spec.outer_steps])]),
    }
}

/// An epoch takes three times the network's multiply-adds for each training image (forward, and twice that backward) and once for each validation image;
/// making the palette 3·colours for each pixel a round. Memory is that of theory's accounting for one batch, with the partial sums of the
/// largest layer's weight gradient, the copies of the model that are kept and sent, and both data sets. On disk remain the model and the best one, a checkpoint, the sample pictures and the metrics.
fn colourization(spec: &ColourizationSpec, train: u64, val: u64, side: u64) -> Estimate {
    let config = network(spec, side);
    let slots = optimizer_slots(spec.optimizer.name);
    let batch = spec.batch_size.min(train);
    let (Ok(accounting), Ok(training)) = (config.accounting(), config.training_memory(batch, slots)) else { return nothing_fits() };
    let steps = product(&[spec.epochs, train.div_ceil(spec.batch_size.max(1))]);
    let pixels = sum(&[product(&[TRAIN_PIXEL_BYTES, train]), product(&[VAL_PIXEL_BYTES, val])]);
    let images = product(&[pixels, side, side]);
    let largest_layer = accounting.layers.iter().map(|layer| layer.weights).max().unwrap_or(0);
    let partial_sums = product(&[4, largest_layer, batch.min(MOST_PARTIAL_SUMS)]);
    let copies = product(&[4, accounting.weights, MODEL_COPIES]);
    let epoch = product(&[accounting.multiply_accumulates, product(&[3, train]).saturating_add(val)]);
    let palette = product(&[3, PALETTE_ROUNDS, spec.num_colours, train, side, side]);
    let samples = spec.epochs.checked_div(spec.sample_every).map_or(0, |count| count.saturating_add(1));
    let pictures = product(&[samples, spec.sample_images.min(val), SAMPLE_PICTURES, 3, side, side]);
    let models = product(&[4, accounting.weights, slots.saturating_add(4)]);
    let points = product(&[COLOURIZATION_METRICS, steps.saturating_add(spec.epochs)]);
    Estimate {
        steps,
        parameters: accounting.weights,
        memory_bytes: sum(&[training, partial_sums, copies, images]),
        multiply_adds: sum(&[product(&[spec.epochs, epoch]), palette]),
        disk_bytes: sum(&[models, pictures, product(&[points, POINT_BYTES])]),
    }
}

/// Bytes that a worker takes for colouring a picture of `width`×`height` pixels with the model that `spec` trained: windows of it in the network,
/// the weights as they lie in their file, the network and packed for it, and the picture in all its forms.
pub(crate) fn picture_memory(spec: &ColourizationSpec, width: u64, height: u64) -> u64 {
    let padded = |side: u64| side.checked_next_multiple_of(4).unwrap_or(u64::MAX);
    let config = NetworkConfig { width: padded(width), height: padded(height), ..network(spec, 4) };
    let (Ok(tiling), Ok(accounting)) = (config.tiling(), config.accounting()) else { return u64::MAX };
    sum(&[tiling.bytes, product(&[4, COLOURING_COPIES, accounting.weights]), product(&[PICTURE_PIXEL_BYTES, width, height])])
}

fn network(spec: &ColourizationSpec, side: u64) -> NetworkConfig {
    NetworkConfig {
        architecture: architecture(spec.network.name),
        kernel: spec.network.kernel,
        dilation: 1,
        num_filters: spec.network.num_filters,
        in_channels: 1,
        num_colours: spec.num_colours,
        height: side,
        width: side,
    }
}

/// The theory's name of a network.
pub(crate) fn architecture(name: NetworkName) -> Architecture {
    match name {
        NetworkName::PoolUpsample => Architecture::PoolUpsample,
        NetworkName::ConvTranspose => Architecture::ConvTranspose,
        NetworkName::Unet => Architecture::Unet,
    }
}

fn nothing_fits() -> Estimate {
    Estimate { steps: u64::MAX, parameters: u64::MAX, memory_bytes: u64::MAX, multiply_adds: u64::MAX, disk_bytes: u64::MAX }
}

fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product: u64, factor| product.saturating_mul(*factor))
}

fn sum(terms: &[u64]) -> u64 {
    terms.iter().fold(0, |sum: u64, term| sum.saturating_add(*term))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trainyard_wire::Spec;

    use super::{Size, estimate};

    fn colourization(changes: serde_json::Value) -> Spec {
        let mut spec = json!({"kind": "colourization", "dataset": {"name": "synthetic"}, "network": {"name": "unet"},
            "optimizer": {"name": "adam", "learning_rate": 0.001}});
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Spec::from_value(spec, "/spec").unwrap()
    }

    #[test]
    fn the_usual_colourization_counts_as_known() {
        let size = Size::Images { train: 5000, val: 1000, side: 32 };
        let counted = estimate(&colourization(json!({})), size);
        assert_eq!((counted.steps, counted.parameters), (25 * 50, 56_856));
        assert!(counted.memory_bytes < 1 << 30, "{counted:?}");
        let epoch = estimate(&colourization(json!({"epochs": 1})), size).multiply_adds;
        let two = estimate(&colourization(json!({"epochs": 2})), size).multiply_adds;
        assert_eq!(counted.multiply_adds - two, 23 * (two - epoch));
    }

    #[test]
    fn counts_that_do_not_fit_saturate() {
        let huge = Size::Images { train: u64::MAX, val: u64::MAX, side: 512 };
        let counted = estimate(&colourization(json!({"epochs": 10_000})), huge);
        assert_eq!((counted.steps, counted.multiply_adds, counted.memory_bytes), (u64::MAX, u64::MAX, u64::MAX));
    }

    #[test]
    fn memory_counts_the_sums_of_each_thread_and_both_image_sets() {
        let memory = |batch: u64, train, val| {
            let spec = colourization(json!({"batch_size": batch}));
            estimate(&spec, Size::Images { train, val, side: 32 }).memory_bytes
        };
        assert_eq!(memory(100, 5001, 1000) - memory(100, 5000, 1000), 8 * 1024);
        assert_eq!(memory(100, 5000, 1001) - memory(100, 5000, 1000), 18 * 1024);
        // The largest layer, layer2.0 or layer3.0, joins 32 and 64 channels; the most biases are 64. One more sum up to 32 images a batch.
        let (below, above) = (memory(32, 5000, 1) - memory(31, 5000, 1), memory(33, 5000, 1) - memory(32, 5000, 1));
        assert_eq!(below - above, 4 * (9 * 32 * 64 + 64));
    }

    #[test]
    fn a_regression_with_a_penalty_records_two_metrics_more_at_each_step_and_at_the_start() {
        let disk = |l2: f64, steps: u64| {
            let spec = json!({"kind": "regression", "problem": {"source": "synthetic", "n": 100, "d": 7, "condition": 3}, "record": "every",
                "optimizer": {"name": "gd", "learning_rate": 0.1}, "l2": l2, "steps": steps});
            estimate(&Spec::from_value(spec, "/spec").unwrap(), Size::Problem { n: 100, d: 7 }).disk_bytes
        };
        assert_eq!(disk(0.5, 10) - disk(0.0, 10), 11 * 2 * super::POINT_BYTES);
        assert_eq!(disk(0.5, 11) - disk(0.5, 10), 9 * super::POINT_BYTES);
    }

    #[test]
    fn a_pair_takes_what_two_runs_do_and_is_pinned_to_two_checkpoints() {
        let pair = |optimizer: serde_json::Value, steps: u64| {
            let spec = json!({"kind": "regularization_pair", "problem": {"source": "synthetic", "n": 100, "d": 7, "condition": 3},
                "optimizer": optimizer, "l2": 0.1, "steps": steps});
            Spec::from_value(spec, "/spec").unwrap()
        };
        let size = Size::Problem { n: 100, d: 7 };
        let sgd = |steps| estimate(&pair(json!({"name": "sgd", "learning_rate": 0.1, "batch_size": 10}), steps), size);
        assert_eq!(sgd(2).multiply_adds - sgd(1).multiply_adds, 4 * 10 * 7 + 3 * 7 + 4 * 100 * 7);
        assert_eq!(sgd(2).disk_bytes - sgd(1).disk_bytes, 3 * super::POINT_BYTES);
        assert_eq!((sgd(2).steps, sgd(2).parameters), (2, 14));
        let adam = pair(json!({"name": "adam", "learning_rate": 0.1}), 1);
        assert_eq!(super::checkpoint_bytes(&adam, &estimate(&adam, size)), 8 * 2 * 7 * 3);
    }

    #[test]
    fn a_hypergradient_costs_by_its_method_and_its_inner_and_outer_steps() {
        let size = Size::Problem { n: 50, d: 10 };
        let of = |method: &str, inner: u64, outer: u64| {
            let spec = json!({"kind": "hypergradient", "problem": {"source": "synthetic", "n": 50, "d": 10, "condition": 20}, "method": method,
                "inner_steps": inner, "learning_rate": 0.01, "outer_steps": outer});
            estimate(&Spec::from_value(spec, "/spec").unwrap(), size)
        };
        for (method, share) in [("forward", 4), ("reverse", 6), ("autograd", 8)] {
            let more = of(method, 10, 201).multiply_adds - of(method, 10, 200).multiply_adds;
            assert_eq!(more, share * 10 * 50 * 10, "{method}");
        }
        assert_eq!((of("forward", 10, 200).steps, of("forward", 10, 200).parameters), (200, 1));
        let held = of("forward", 11, 200).memory_bytes - of("forward", 10, 200).memory_bytes;
        assert_eq!(held, 8 * (3 * 50 + 6 * 10));
    }

    #[test]
    fn a_regression_step_costs_two_products_with_its_batch() {
        let spec = |steps: u64| {
            let spec = json!({"kind": "regression", "problem": {"source": "synthetic", "n": 100, "d": 7, "condition": 3}, "record": "every",
                "optimizer": {"name": "sgd", "learning_rate": 0.1, "batch_size": 10}, "steps": steps});
            Spec::from_value(spec, "/spec").unwrap()
        };
        let size = Size::Problem { n: 100, d: 7 };
        let (one, two) = (estimate(&spec(1), size), estimate(&spec(2), size));
        assert_eq!(two.multiply_adds - one.multiply_adds, 2 * 10 * 7 + 4 * 100 * 7);
        assert_eq!((two.steps, two.parameters), (2, 7));
    }
}
