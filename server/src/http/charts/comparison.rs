//! The curves of many runs together: for each group of runs that differ in nothing but their seed the mean and its interval at 95 %.
//!
//! On a logarithmic axis mean and interval are those of the logarithms, where all values have one: the interval is then as wide above the mean as
//! below it on the axis, and never reaches 0.

use std::collections::BTreeMap;

use plotly::common::{Fill, HoverInfo, Line, Mode};
use plotly::{Scatter, Trace};
use trainyard_theory::replication::Sample;
use trainyard_wire::RunId;

use super::Scale;
use super::baselines::{self, Level};
use super::curves::finite;
use super::figure::{Facts, Figure, SeriesFacts, colour, marks, over_steps, plain, shade};
use super::known::unit;
use super::scatter::label;
use crate::comparison::{Group, SideBySide};
use crate::store::{Curve, CurveQuery};

/// Most groups that are drawn.
const MOST_GROUPS: usize = 24;
/// Most runs of a group that are read.
const MOST_SEEDS: usize = 20;
/// Points of a run's curve that are read as they are, and buckets of a longer one.
const POINTS: u32 = 600;
const BUCKETS: u32 = 200;
/// The single curves are drawn beside the means where they are no more than so many.
const FEW_RUNS: usize = 60;

/// The groups that are drawn, the best first.
#[derive(Debug)]
pub(super) struct Shown {
    groups: Vec<usize>,
}

impl Shown {
    /// The runs whose curves are needed.
    pub(super) fn ids(&self, all: &SideBySide) -> Vec<RunId> {
        let members = |place: &usize| all.groups[*place].members.iter().take(MOST_SEEDS);
        self.groups.iter().flat_map(members).map(|run| all.runs[*run].id).collect()
    }
}

pub(super) fn shown(all: &SideBySide, metric: &str) -> Shown {
    let mut groups = all.ranked(metric);
    groups.truncate(MOST_GROUPS);
    Shown { groups }
}

pub(super) fn query(metric: &str) -> CurveQuery {
    CurveQuery { names: vec![metric.to_owned()], points: POINTS, buckets: BUCKETS, ..CurveQuery::default() }
}

pub(super) fn figure(all: &SideBySide, shown: &Shown, metric: &str, curves: &[(RunId, Curve)], levels: &[Level], y: Scale) -> Figure {
    let by_run: BTreeMap<RunId, &Curve> = curves.iter().map(|(id, curve)| (*id, curve)).collect();
    let mut facts = Facts { title: format!("{metric} of {} runs", all.runs.len()), ..Facts::default() };
    if shown.groups.len() < all.groups.len() {
        facts.notes.push(format!("The {} best of {} groups.", shown.groups.len(), all.groups.len()));
    }
    let positive = curves.iter().flat_map(|(_, curve)| &curve.buckets).all(|bucket| !bucket.last.0.is_finite() || bucket.last.0 > 0.0);
    let in_logarithms = y == Scale::Log && positive;
    if all.groups.iter().any(|group| group.members.len() > 1) {
        let of = if in_logarithms { "of the logarithms" } else { "over the seeds" };
        facts.notes.push(format!("Lines are means {of}, bands their intervals at 95 %."));
    }
    let last = curves.iter().filter_map(|(_, curve)| Some(curve.buckets.last()?.last_step)).max().unwrap_or_default();
    let mut figure = Figure::new(over_steps(&[metric], last, Scale::Linear, y, shown.groups.len() > 1), facts);
    for (place, group) in shown.groups.iter().map(|place| &all.groups[*place]).enumerate() {
        let members: Vec<&Curve> = group.members.iter().filter_map(|run| by_run.get(&all.runs[*run].id).copied()).collect();
        for trace in group_traces(place, &name(all, group), &members, in_logarithms, curves.len() <= FEW_RUNS) {
            figure.push(trace);
        }
        figure.note(series_facts(name(all, group), metric, &members));
    }
    if let Some(first) = curves.iter().filter_map(|(_, curve)| Some(curve.buckets.first()?.last_step)).min() {
        baselines::draw(&mut figure, levels, (first, last));
    }
    figure
}

/// What a group is called: its settings, or its run where there is but one.
fn name(all: &SideBySide, group: &Group) -> String {
    match group.members.as_slice() {
        [run] if group.settings.is_empty() => format!("run {}", all.runs[*run].id),
        _ => label(&group.settings),
    }
}

fn series_facts(name: String, metric: &str, members: &[&Curve]) -> SeriesFacts {
    SeriesFacts {
        name,
        unit: unit(metric),
        last: None,
        last_step: members.iter().filter_map(|curve| Some(curve.buckets.last()?.last_step)).max(),
        bucketed: members.iter().any(|curve| curve.buckets.iter().any(|bucket| bucket.count > 1)),
        points: members.iter().flat_map(|curve| &curve.buckets).map(|bucket| bucket.count).sum(),
        not_finite: members.iter().map(|curve| curve.not_finite_count).sum(),
    }
}

fn group_traces(place: usize, name: &str, members: &[&Curve], in_logarithms: bool, with_runs: bool) -> Vec<Box<dyn Trace>> {
    let mut at: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for bucket in members.iter().flat_map(|curve| &curve.buckets).filter(|bucket| bucket.last.0.is_finite()) {
        at.entry(bucket.last_step).or_default().push(if in_logarithms { bucket.last.0.ln() } else { bucket.last.0 });
    }
    let back = |value: f64| finite(if in_logarithms { value.exp() } else { value });
    let samples: Vec<(u64, Sample)> = at.into_iter().filter_map(|(step, values)| Some((step, Sample::of(&values)?))).collect();
    let mut traces: Vec<Box<dyn Trace>> = Vec::new();

    let banded: Vec<(u64, (f64, f64))> = samples.iter().filter_map(|(step, sample)| Some((*step, sample.interval()?))).collect();
    if !banded.is_empty() {
        let steps: Vec<u64> = banded.iter().map(|(step, _)| *step).collect();
        let edge = |values: Vec<Option<f64>>| {
            Scatter::new(steps.clone(), values)
                .mode(Mode::Lines)
                .line(Line::new().width(0.0))
                .hover_info(HoverInfo::Skip)
                .show_legend(false)
        };
        let group = format!("group {place}");
        traces.push(edge(banded.iter().map(|(_, (low, _))| back(*low)).collect()).legend_group(&group).meta(format!("edge:{place}")));
        traces.push(
            edge(banded.iter().map(|(_, (_, high))| back(*high)).collect())
                .fill(Fill::ToNextY)
                .fill_color(shade(place, 0.2))
                .legend_group(&group)
                .meta(format!("band:{place}")),
        );
    }
    if with_runs && members.len() > 1 {
        // One trace for all of them, with gaps between: traces cost more than points.
        let (mut steps, mut values): (Vec<Option<u64>>, Vec<Option<f64>>) = (Vec::new(), Vec::new());
        for curve in members {
            steps.extend(curve.buckets.iter().map(|bucket| Some(bucket.last_step)));
            values.extend(curve.buckets.iter().map(|bucket| finite(bucket.last.0)));
            steps.push(None);
            values.push(None);
        }
        let line = Line::new().color(shade(place, 0.35)).width(1.0);
        traces.push(
            Scatter::new(steps, values)
                .mode(Mode::Lines)
                .line(line)
                .hover_info(HoverInfo::Skip)
                .show_legend(false)
                .legend_group(format!("group {place}"))
                .meta(format!("faint:{place}")),
        );
    }
    traces.push(
        Scatter::new(samples.iter().map(|(step, _)| *step).collect(), samples.iter().map(|(_, sample)| back(sample.mean)).collect())
            .name(plain(name))
            .mode(Mode::Lines)
            .line(Line::new().color(colour(place)).width(2.0))
            .legend_group(format!("group {place}"))
            .hover_template("%{y:.5~g}")
            .meta(format!("raw:{place}")),
    );
    let wrong: Vec<(f64, f64)> = members.iter().flat_map(|curve| &curve.not_finite).map(|(step, value)| (*step as f64, value.0)).collect();
    if !wrong.is_empty() {
        let values: Vec<f64> = wrong.iter().map(|(_, value)| *value).collect();
        traces.push(marks(place, name, wrong.iter().map(|(step, _)| *step).collect(), &values));
    }
    traces
}
