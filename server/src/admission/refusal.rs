//! Which limit an estimate exceeds, and which value of the spec is to blame.

use trainyard_wire::job::{Estimate, SweepPoint};
use trainyard_wire::spec::ColourizationSpec;
use trainyard_wire::spec::HypergradientSpec;
use trainyard_wire::spec::regression::{ProblemSource, Record};
use trainyard_wire::spec::strict::escape;
use trainyard_wire::spec::sweep::Sweep;
use trainyard_wire::{FieldError, Spec};

use super::estimate::{Size, checkpoint_bytes};
use crate::config::Limits;

/// Compares an estimate with the limits.
pub(super) fn check(spec: &Spec, size: Size, estimate: &Estimate, limits: &Limits) -> Result<(), FieldError> {
    if let Size::Problem { n, d } = size {
        over(n.saturating_mul(d), limits.problem_numbers, "numbers in its matrix", || data_pointer(spec, size))?;
    }
    over(checkpoint_bytes(spec, estimate), limits.artifact_bytes, "bytes in a checkpoint", || checkpoint_pointer(spec, size))?;
    over(estimate.memory_bytes, limits.run_memory_bytes, "bytes of memory", || memory_pointer(spec, size))?;
    over(estimate.multiply_adds, limits.run_multiply_adds, "multiply-adds", || work_pointer(spec, size))?;
    over(estimate.disk_bytes, limits.run_disk_bytes, "bytes on the server's disk", || disk_pointer(spec))
}

fn over(needed: u64, allowed: u64, what: &str, pointer: impl FnOnce() -> &'static str) -> Result<(), FieldError> {
    if needed <= allowed {
        return Ok(());
    }
    let needed = if needed == u64::MAX { "more than can be counted".to_owned() } else { needed.to_string() };
    Err(FieldError { pointer: pointer().to_owned(), detail: format!("makes the run need {needed} {what}; at most {allowed} are allowed") })
}

/// The value that makes the data large.
fn data_pointer(spec: &Spec, size: Size) -> &'static str {
    match (spec, spec.problem(), size) {
        (_, Some(problem), Size::Problem { n, d }) => match problem.source {
            ProblemSource::Synthetic if d > n => "/spec/problem/d",
            ProblemSource::Synthetic => "/spec/problem/n",
            ProblemSource::Inline if problem.x.is_some() => "/spec/problem/x",
            ProblemSource::Inline => "/spec/problem/sha256",
            ProblemSource::Dataset => "/spec/problem/name",
        },
        (Spec::Colourization(spec), ..) if spec.dataset.is_synthetic() => "/spec/dataset/train_images",
        _ => "/spec/dataset/name",
    }
}

/// The value that makes the model large.
fn checkpoint_pointer(spec: &Spec, size: Size) -> &'static str {
    match spec {
        Spec::Colourization(_) => "/spec/network/num_filters",
        Spec::Hypergradient(_) => "/spec/outer_steps",
        Spec::Regression(_) | Spec::RegularizationPair(_) | Spec::External(_) | Spec::Picture(_) => data_pointer(spec, size),
    }
}

fn memory_pointer(spec: &Spec, size: Size) -> &'static str {
    match (spec, size) {
        // The steps, where what is held of them is more than the matrix and its decomposition.
        (Spec::Hypergradient(unrolled), Size::Problem { n, d }) if unrolled.inner_steps > n.min(d) => "/spec/inner_steps",
        (Spec::Colourization(colourization), Size::Images { train, val, side }) => {
            let side_share = ratio(side, 32).powi(2);
            let images = ratio(train.saturating_add(val), 60_000) * side_share;
            let batch = ratio(colourization.batch_size.min(train), 100);
            most_to_blame(
                colourization,
                &[
                    ("/spec/network/num_filters", ratio(colourization.network.num_filters, 32)),
                    ("/spec/batch_size", batch),
                    ("/spec/num_colours", ratio(colourization.num_colours, 24)),
                    ("/spec/dataset/size", side_share),
                    (data_pointer(spec, size), images),
                ],
            )
        }
        _ => data_pointer(spec, size),
    }
}

fn work_pointer(spec: &Spec, size: Size) -> &'static str {
    match (spec, size) {
        (Spec::Colourization(colourization), Size::Images { train, side, .. }) => most_to_blame(
            colourization,
            &[
                ("/spec/epochs", ratio(colourization.epochs, 25)),
                ("/spec/network/num_filters", ratio(colourization.network.num_filters, 32).powi(2)),
                ("/spec/network/kernel", ratio(colourization.network.kernel, 3).powi(2)),
                ("/spec/dataset/size", ratio(side, 32).powi(2)),
                (data_pointer(spec, size), ratio(train, 5000)),
            ],
        ),
        (Spec::Hypergradient(unrolled), _) => longer_loop(unrolled),
        _ => "/spec/steps",
    }
}

/// Which of the two loops is further from its usual length.
fn longer_loop(spec: &HypergradientSpec) -> &'static str {
    if ratio(spec.inner_steps, 10) > ratio(spec.outer_steps, 200) { "/spec/inner_steps" } else { "/spec/outer_steps" }
}

fn disk_pointer(spec: &Spec) -> &'static str {
    match spec {
        Spec::Regression(spec) if spec.record == Record::Every => "/spec/record",
        Spec::RegularizationPair(spec) if spec.record() == Record::Every => "/spec/record",
        Spec::Regression(_) | Spec::RegularizationPair(_) => "/spec/steps",
        Spec::Hypergradient(_) => "/spec/outer_steps",
        Spec::External(_) | Spec::Picture(_) => "/spec",
        Spec::Colourization(spec) => most_to_blame(
            spec,
            &[
                ("/spec/epochs", ratio(spec.epochs, 25)),
                ("/spec/sample_images", ratio(spec.sample_images, 10)),
                ("/spec/network/num_filters", ratio(spec.network.num_filters, 32).powi(2)),
            ],
        ),
    }
}

/// How many times the usual value a value is.
fn ratio(value: u64, usual: u64) -> f64 {
    value as f64 / usual as f64
}

/// The pointer of the value that is furthest from the usual one. Images of an uploaded set have the size they have.
fn most_to_blame(spec: &ColourizationSpec, shares: &[(&'static str, f64)]) -> &'static str {
    let given = shares.iter().filter(|(pointer, _)| *pointer != "/spec/dataset/size" || spec.dataset.is_synthetic());
    given.max_by(|one, other| one.1.total_cmp(&other.1)).map_or("/spec", |(pointer, _)| pointer)
}

/// Points an error at the value of the sweep that caused it, if one did.
pub(super) fn into_sweep(mut error: FieldError, sets: &SweepPoint, sweep: &Sweep) -> FieldError {
    for (path, value) in sets {
        let place = format!("/spec/{}", path.split('.').map(escape).collect::<Vec<_>>().join("/"));
        let position = sweep.get(path).and_then(|values| values.iter().position(|swept| swept == value));
        if let Some(position) = position
            && let Some(below) = error.pointer.strip_prefix(&place)
            && (below.is_empty() || below.starts_with('/'))
        {
            error.pointer = format!("/sweep/{}/{position}{below}", escape(path));
            break;
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trainyard_wire::Spec;
    use trainyard_wire::spec::submit::Submission;

    use super::super::estimate::{Size, estimate};
    use super::{check, into_sweep};
    use crate::config::Limits;

    fn refused_at(spec: Value, size: Size, limits: &Limits) -> Option<String> {
        let spec = Spec::from_value(spec, "/spec").unwrap();
        check(&spec, size, &estimate(&spec, size), limits).err().map(|error| error.pointer)
    }

    fn colourization(name: &str, value: Value) -> Value {
        let mut spec = json!({"kind": "colourization", "dataset": {"name": "synthetic"}, "network": {"name": "unet"},
            "optimizer": {"name": "adam", "learning_rate": 0.001}});
        spec[name] = value;
        spec
    }

    #[test]
    fn the_value_that_makes_a_run_too_large_is_pointed_at() {
        let limits = Limits { run_memory_bytes: 1 << 30, ..Limits::default() };
        let size = Size::Images { train: 5000, val: 1000, side: 32 };
        let wide = json!({"name": "unet", "num_filters": 1024});
        let refused = |spec: Value| refused_at(spec, size, &limits);
        assert_eq!(refused(colourization("seed", json!(1))), None);
        assert_eq!(refused(colourization("network", wide)).as_deref(), Some("/spec/network/num_filters"));
        assert_eq!(refused(colourization("batch_size", json!(5000))).as_deref(), Some("/spec/batch_size"));
        let few = Limits { run_multiply_adds: 1_000_000_000_000_000, ..limits.clone() };
        assert_eq!(refused_at(colourization("epochs", json!(10_000)), size, &few).as_deref(), Some("/spec/epochs"));

        let regression = json!({"kind": "regression", "problem": {"source": "synthetic", "n": 1000, "d": 100_000, "condition": 2},
            "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 10});
        assert_eq!(refused_at(regression, Size::Problem { n: 1000, d: 100_000 }, &limits).as_deref(), Some("/spec/problem/d"));
    }

    #[test]
    fn a_hypergradient_that_takes_too_much_is_refused_by_the_longer_loop_or_the_data() {
        let refused = |inner: u64, outer: u64, limits: Limits| {
            let spec = json!({"kind": "hypergradient", "problem": {"source": "synthetic", "n": 500, "d": 100, "condition": 2},
                "inner_steps": inner, "learning_rate": 0.1, "outer_steps": outer});
            refused_at(spec, Size::Problem { n: 500, d: 100 }, &limits)
        };
        let work = Limits { run_multiply_adds: 2_000_000_000, ..Limits::default() };
        assert_eq!(refused(10, 200, work.clone()), None);
        assert_eq!(refused(1000, 200, work.clone()).as_deref(), Some("/spec/inner_steps"));
        assert_eq!(refused(10, 100_000, work).as_deref(), Some("/spec/outer_steps"));
        let memory = Limits { run_memory_bytes: 6 << 20, ..Limits::default() };
        assert_eq!(refused(10, 200, memory.clone()), None);
        assert_eq!(refused(1000, 200, memory.clone()).as_deref(), Some("/spec/inner_steps"));
        assert_eq!(refused(10, 200, Limits { run_memory_bytes: 1 << 20, ..memory }).as_deref(), Some("/spec/problem/n"));
    }

    #[test]
    fn a_model_whose_checkpoint_no_artifact_can_hold_is_refused() {
        // 56 856 weights; Adam keeps two numbers more for each.
        let (spec, size) = (colourization("seed", json!(1)), Size::Images { train: 5000, val: 1000, side: 32 });
        let enough = Limits { artifact_bytes: 4 * 3 * 56_856, ..Limits::default() };
        assert_eq!(refused_at(spec.clone(), size, &enough), None);
        let short = Limits { artifact_bytes: enough.artifact_bytes - 1, ..enough };
        assert_eq!(refused_at(spec, size, &short).as_deref(), Some("/spec/network/num_filters"));
    }

    #[test]
    fn a_swept_value_is_pointed_at_in_the_sweep() {
        let body = json!({"spec": colourization("seed", json!(1)), "sweep": {"network.num_filters": [8, 1024]}});
        let submission = Submission::parse(body.to_string().as_bytes(), 10).unwrap();
        let point = &submission.points[1];
        let size = Size::Images { train: 5000, val: 1000, side: 32 };
        let error =
            check(&point.spec, size, &estimate(&point.spec, size), &Limits { run_memory_bytes: 1 << 30, ..Limits::default() }).unwrap_err();
        assert_eq!(into_sweep(error, &point.sets, &submission.sweep).pointer, "/sweep/network.num_filters/1");
    }
}
