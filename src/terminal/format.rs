//! Numbers, times and runs as short text.

use std::fmt;
use std::time::Duration;

use trainyard_wire::metric::MACHINE;
pub(crate) use trainyard_wire::number::brief as number;
use trainyard_wire::run::Run;
use trainyard_wire::spec::regression::{ProblemSource, ProblemSpec};
use trainyard_wire::{RunState, Spec, Timestamp};

/// `4.2 s`, `1:05 min`, `2:05 h`.
pub(crate) fn seconds(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return String::new();
    }
    let whole = value.round() as u64;
    match whole {
        0..60 if value < 9.95 => format!("{value:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{}:{:02} min", whole / 60, whole % 60),
        _ => format!("{}:{:02} h", whole / 3600, whole / 60 % 60),
    }
}

/// How long ago that was, by this machine's clock.
pub(crate) fn ago(time: Timestamp) -> String {
    let elapsed = Timestamp::now().0.saturating_sub(time.0).max(0);
    format!("{} ago", seconds(Duration::from_millis(elapsed.unsigned_abs()).as_secs_f64()))
}

/// When that was, if it was.
pub(crate) fn time(time: Option<Timestamp>) -> String {
    time.map(|time| time.to_string()).unwrap_or_default()
}

/// One after the other in a line.
pub(crate) fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `2 running, 1 failed`.
pub(crate) fn states<'a, N: fmt::Display>(counts: impl IntoIterator<Item = (&'a RunState, N)>) -> String {
    counts.into_iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}

/// How long a run trained, or has trained so far; empty before its start.
pub(crate) fn took(run: &Run) -> String {
    let Some(started) = run.started_at else { return String::new() };
    let ended = run.finished_at.unwrap_or_else(Timestamp::now);
    seconds(ended.0.saturating_sub(started.0).max(0) as f64 / 1e3)
}

/// What people call a run: its name, project and tags.
pub(crate) fn labels(run: &Run) -> String {
    let name = run.name.iter().cloned();
    let project = run.project.iter().map(|project| format!("in {project}"));
    let tags = run.tags.iter().map(|(tag, value)| if value.is_empty() { tag.clone() } else { format!("{tag}={value}") });
    let labels: Vec<String> = name.chain(project).chain(tags).collect();
    if labels.is_empty() { "no name, project or tag".to_owned() } else { labels.join(", ") }
}

/// What a run trains, in a few words.
pub(crate) fn what(run: &Run) -> String {
    let mut text = match &run.spec {
        Spec::Regression(spec) => format!("{} on {}", spec.optimizer.name, data(&spec.problem)),
        Spec::RegularizationPair(spec) => format!("{} with L2 and with weight decay on {}", spec.optimizer.name, data(&spec.problem)),
        Spec::Hypergradient(spec) => format!("{} hypergradient of {} steps on {}", spec.method, spec.inner_steps, data(&spec.problem)),
        Spec::Colourization(spec) => {
            let category = spec.dataset.category.as_deref().map(|category| format!("/{category}")).unwrap_or_default();
            format!("{} on {}{category}", spec.network.name, spec.dataset.name)
        }
        Spec::External(spec) => spec.command.clone().unwrap_or_else(|| "a program of its own".to_owned()),
        Spec::Picture(spec) => format!("a picture with the model of run {}", spec.model_run_id),
    };
    let swept: Vec<String> = run.sweep_point.iter().map(|(path, value)| format!("{path}={}", short_json(value))).collect();
    if !swept.is_empty() {
        text.push_str(&format!(" ({})", swept.join(", ")));
    }
    text
}

fn data(problem: &ProblemSpec) -> String {
    match problem.source {
        ProblemSource::Dataset => problem.name.clone().unwrap_or_default(),
        source => format!("{source} problem"),
    }
}

fn short_json(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The state with why it ended, where that says more: `failed: diverged`.
pub(crate) fn state(run: &Run) -> String {
    match (run.state, run.stop_reason, run.requested) {
        (RunState::Running, _, Some(requested)) => format!("running ({requested} requested)"),
        (RunState::Succeeded | RunState::Failed, Some(reason), _) => format!("{}: {reason}", run.state),
        (state, _, _) => state.to_string(),
    }
}

/// The last value of the first of `names` that the run has reported.
pub(crate) fn last(run: &Run, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| run.summary.get(*name)).map(|summary| summary.last.0)
}

/// The name of the run's loss: on the validation data where it has some.
pub(crate) fn loss_name(run: &Run) -> Option<&'static str> {
    ["val_loss", "loss", "loss_l2", "train_loss", "train_batch_loss"].into_iter().find(|name| run.summary.contains_key(*name))
}

/// The run's loss.
pub(crate) fn loss(run: &Run) -> Option<f64> {
    last(run, &[loss_name(run)?])
}

/// Loss and accuracy with the best of each.
pub(crate) fn figures(run: &Run) -> Vec<String> {
    let loss = loss_name(run).and_then(|name| run.summary.get(name));
    let loss = loss.map(|summary| format!("loss {} (best {})", number(summary.last.0), number(summary.min.0)));
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let accuracy = run.summary.get("val_accuracy");
    let accuracy = accuracy.map(|summary| format!("accuracy {} (best {})", percent(summary.last.0), percent(summary.max.0)));
    [loss, accuracy].into_iter().flatten().collect()
}

/// Where the run is, how long it still takes and how fast it goes.
pub(crate) fn pace(run: &Run) -> Vec<String> {
    let left = run.progress.eta_seconds.map(|eta| format!("{} left", seconds(eta)));
    let images = last(run, &["images_per_second"]).map(|images| format!("{images:.0} images/s"));
    [Some(position(run)), left, images].into_iter().flatten().collect()
}

/// Which of two values of a metric is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    Greater,
}

/// What the metric's name says about it; nothing of a learning rate, for example.
pub(crate) fn better(metric: &str) -> Option<Better> {
    let any = |words: &[&str]| words.iter().any(|word| metric.contains(word));
    // What a run takes of its machine, and how large its weights are, is no merit.
    if MACHINE.contains(&metric) || metric == "weight_norm" {
        None
    } else if any(&["accuracy", "per_second"]) {
        Some(Better::Greater)
    } else if any(&["loss", "error", "distance", "norm", "seconds", "_ms", "bytes"]) {
        Some(Better::Less)
    } else {
        None
    }
}

/// The run's accuracy in percent, if it has one.
pub(crate) fn accuracy(run: &Run) -> Option<String> {
    last(run, &["val_accuracy"]).map(|share| format!("{:.1} %", 100.0 * share))
}

/// `epoch 3/25` or `step 120/20000`.
pub(crate) fn position(run: &Run) -> String {
    let progress = &run.progress;
    match (&run.spec, progress.epoch) {
        (Spec::Colourization(spec), Some(epoch)) => format!("epoch {epoch}/{}", spec.epochs),
        (Spec::External(_), _) => format!("step {}", progress.step),
        _ => format!("step {}/{}", progress.step, progress.total_steps),
    }
}

#[cfg(test)]
mod tests {
    use super::{Better, better, seconds};

    #[test]
    fn a_metrics_name_says_which_values_are_better() {
        assert_eq!(better("val_loss"), Some(Better::Less));
        assert_eq!(better("val_accuracy"), Some(Better::Greater));
        assert_eq!(better("images_per_second"), Some(Better::Greater));
        assert_eq!(better("learning_rate"), None);
    }

    #[test]
    fn durations_are_in_the_unit_that_reads_best() {
        assert_eq!(seconds(4.23), "4.2 s");
        assert_eq!(seconds(42.3), "42 s");
        assert_eq!(seconds(65.0), "1:05 min");
        assert_eq!(seconds(7500.0), "2:05 h");
        assert_eq!(seconds(f64::NAN), "");
    }
}
