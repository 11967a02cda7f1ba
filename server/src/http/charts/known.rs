//! The charts that each kind of run has.

use std::collections::BTreeSet;

use serde::Serialize;
use trainyard_wire::Spec;
use trainyard_wire::run::Run;
use trainyard_wire::spec::regression::Record;
use utoipa::ToSchema;

use super::Scale;

/// A chart that a run has.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Chart {
    /// Its file under `/v1/runs/{id}/charts/` is this with `.json` behind it.
    pub(super) name: String,
    pub(super) title: String,
    pub(super) metrics: Vec<String>,
    /// How its axes start.
    pub(super) x: Scale,
    pub(super) y: Scale,
    /// Whether every run of the kind has it, also before its first points.
    pub(super) standing: bool,
}

/// Kind, name, title, metrics, scale of the values.
type Standing = (&'static str, &'static str, &'static str, &'static [&'static str], Scale);

const STANDING: &[Standing] = &[
    ("regression", "loss", "loss", &["loss", "exact_loss"], Scale::Log),
    ("regression", "gradient_norm", "gradient norm", &["gradient_norm"], Scale::Log),
    ("regularization_pair", "loss", "loss", &["loss_l2", "loss_decay"], Scale::Log),
    ("regularization_pair", "weight_distance", "distance of the weights", &["weight_distance"], Scale::Log),
    ("hypergradient", "loss", "loss", &["loss"], Scale::Log),
    ("hypergradient", "learning_rate", "learning rate", &["learning_rate"], Scale::Linear),
    ("hypergradient", "hypergradient", "hypergradient", &["hypergradient"], Scale::Linear),
    (
        "hypergradient",
        "held_bytes",
        "held bytes over k",
        &["held_bytes_forward", "held_bytes_reverse", "held_bytes_autograd"],
        Scale::Linear,
    ),
    ("colourization", "loss", "loss", &["train_loss", "val_loss"], Scale::Linear),
    ("colourization", "val_accuracy", "validation accuracy", &["val_accuracy"], Scale::Linear),
    ("colourization", "colour_error", "colour error", &["colour_error"], Scale::Linear),
    ("colourization", "checkerboard", "checkerboard", &["checkerboard"], Scale::Linear),
];

/// Metrics that count epochs, not optimizer steps.
const PER_EPOCH: [&str; 6] = ["train_loss", "val_loss", "val_accuracy", "colour_error", "checkerboard", "epoch_seconds"];

/// What the steps of a metric count.
pub(super) fn unit(metric: &str) -> &'static str {
    match metric {
        metric if metric.starts_with("held_bytes_") => "k",
        metric if PER_EPOCH.contains(&metric) => "epoch",
        _ => "step",
    }
}

/// Whether a metric is a share of 1.
pub(super) fn is_share(metric: &str) -> bool {
    metric.ends_with("accuracy")
}

/// Whether a metric is what theory says another one should be.
pub(super) fn is_predicted(metric: &str) -> bool {
    metric.starts_with("exact_")
}

/// All charts of a run: those of its kind, then one for each metric that none of them shows.
pub(super) fn charts(run: &Run) -> Vec<Chart> {
    let kind = run.spec.kind();
    let x = x_scale(&run.spec);
    let standing = STANDING.iter().filter(|(of, ..)| *of == kind.as_str()).map(|(_, name, title, metrics, y)| Chart {
        name: (*name).to_owned(),
        title: (*title).to_owned(),
        metrics: metrics.iter().map(|metric| (*metric).to_owned()).collect(),
        x,
        y: *y,
        standing: true,
    });
    let mut charts: Vec<Chart> = standing.collect();
    let shown: BTreeSet<String> = charts.iter().flat_map(|chart| chart.metrics.clone()).collect();
    charts.extend(run.summary.keys().filter(|name| !shown.contains(*name)).map(|name| of_metric(name, x)));
    charts
}

/// The chart of a run with this name; a metric's name is one too.
pub(super) fn chart(run: &Run, name: &str) -> Option<Chart> {
    let known = charts(run).into_iter().find(|chart| chart.name == name);
    known.or_else(|| run.summary.contains_key(name).then(|| of_metric(name, x_scale(&run.spec))))
}

fn of_metric(name: &str, x: Scale) -> Chart {
    Chart { name: name.to_owned(), title: name.to_owned(), metrics: vec![name.to_owned()], x, y: Scale::Linear, standing: false }
}

/// Points that get sparser with the steps are spread evenly by a logarithmic axis.
fn x_scale(spec: &Spec) -> Scale {
    let thinned = match spec {
        Spec::Regression(spec) => spec.record == Record::Logarithmic,
        Spec::RegularizationPair(spec) => spec.record() == Record::Logarithmic,
        _ => false,
    };
    if thinned { Scale::Log } else { Scale::Linear }
}
