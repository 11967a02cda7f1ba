//! The charts that each kind of run has.

use std::collections::BTreeSet;

use serde::Serialize;
use trainyard_wire::Spec;
use trainyard_wire::metric::MACHINE;
use trainyard_wire::run::Run;
use trainyard_wire::spec::regression::Record;
use utoipa::ToSchema;

use super::Scale;

/// Where charts stand together, apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Section {
    Machine,
}

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
    /// `machine`: what the run took of its machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub(super) section: Option<Section>,
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

/// Titles of what a run took of its machine.
const MACHINE_TITLES: [&str; MACHINE.len()] =
    ["CPU cores in use", "memory (bytes)", "GPU utilization", "GPU memory (bytes)", "GPU power (W)", "GPU temperature (°C)"];
/// What MLflow's clients call such metrics.
const MLFLOW_SYSTEM: &str = "system/";

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
    metric.ends_with("accuracy") || metric == "gpu_utilization"
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
        section: None,
    });
    let mut charts: Vec<Chart> = standing.collect();
    let shown: BTreeSet<String> = charts.iter().flat_map(|chart| chart.metrics.clone()).collect();
    let of_machine = MACHINE.iter().filter(|name| run.summary.contains_key(**name));
    charts.extend(of_machine.map(|name| of_metric(name, x)));
    let others = run.summary.keys().filter(|name| !shown.contains(*name) && !MACHINE.contains(&name.as_str()));
    charts.extend(others.map(|name| of_metric(name, x)));
    charts
}

/// The chart of a run with this name; a metric's name is one too.
pub(super) fn chart(run: &Run, name: &str) -> Option<Chart> {
    let known = charts(run).into_iter().find(|chart| chart.name == name);
    known.or_else(|| run.summary.contains_key(name).then(|| of_metric(name, x_scale(&run.spec))))
}

fn of_metric(name: &str, x: Scale) -> Chart {
    let of_machine = MACHINE.iter().position(|metric| *metric == name);
    let title = of_machine.map_or(name, |index| MACHINE_TITLES[index]).to_owned();
    let section = (of_machine.is_some() || name.starts_with(MLFLOW_SYSTEM)).then_some(Section::Machine);
    Chart { name: name.to_owned(), title, metrics: vec![name.to_owned()], x, y: Scale::Linear, standing: false, section }
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
