//! The last values of a metric over one setting: a point for each run, and for each group of seeds its mean with the interval at 95 %.

use std::collections::BTreeMap;

use plotly::Scatter;
use plotly::common::{ErrorData, ErrorType, Line, Marker, MarkerSymbol, Mode, Title};
use plotly::layout::{Axis, AxisType, HoverMode};
use serde_json::Value;
use trainyard_theory::replication::Sample;

use super::Scale;
use super::figure::{Facts, Figure, axis, base, colour, marks, plain, shade, value_axis};
use crate::comparison::{SEED, SideBySide};
use crate::http::problem::ApiError;

/// A positive setting whose values go over so many times the least has a logarithmic axis.
const WIDE: f64 = 50.0;

/// The first setting in which the runs differ; the seed if that is all.
pub(super) fn default_path(all: &SideBySide) -> String {
    let paths = || all.differences.iter().map(|difference| &difference.path);
    let numeric = |path: &&String| all.differences.iter().any(|it| it.path == **path && it.values.iter().all(Value::is_number));
    let first = paths().filter(|path| *path != SEED).find(numeric).or_else(|| paths().find(|path| *path != SEED));
    first.cloned().unwrap_or_else(|| SEED.to_owned())
}

/// Settings in a few words: `learning_rate 0.1, name adam`.
pub(super) fn label(settings: &BTreeMap<String, Value>) -> String {
    let words = settings.iter().map(|(path, value)| {
        let short = path.strip_suffix(".name").unwrap_or(path);
        format!("{} {}", short.rsplit('.').next().unwrap_or(short), word(value))
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "all runs".to_owned() } else { words.join(", ") }
}

/// A setting's value as people read it.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        Value::Array(items) if items.len() > 4 => format!("[{} values]", items.len()),
        other => other.to_string(),
    }
}

/// The settings of `path` as places on an axis: numbers where all are, else names.
fn x_axis(path: &str, values: &[&Value]) -> (Axis, bool) {
    let numbers: Option<Vec<f64>> = values.iter().map(|value| value.as_f64()).collect();
    let title = Title::with_text(plain(path));
    match numbers {
        Some(numbers) => {
            let (least, most) = numbers.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), x| (least.min(*x), most.max(*x)));
            let scale = if least > 0.0 && most > WIDE * least { Scale::Log } else { Scale::Linear };
            (axis(scale).title(title), true)
        }
        None => (Axis::new().type_(AxisType::Category).auto_margin(true).title(title), false),
    }
}

/// A place on the x axis, written as a number or a name.
fn place(value: &Value, is_number: bool) -> Value {
    if is_number { value.clone() } else { Value::String(plain(&word(value))) }
}

pub(super) fn figure(all: &SideBySide, metric: &str, path: &str, y: Scale) -> Result<Figure, ApiError> {
    let differing = all.differences.iter().find(|difference| difference.path == path);
    let difference = match differing {
        Some(difference) => difference,
        None if all.differences.is_empty() || path == SEED => {
            let facts = Facts { title: metric.to_owned(), notes: vec!["The runs differ in no setting.".to_owned()], ..Facts::default() };
            return Ok(Figure::new(base(axis(Scale::Linear), value_axis(&[metric], y), false), facts));
        }
        None => return Err(ApiError::query("x", format!("must be a setting in which the runs differ, is {path}"))),
    };
    let (x, is_number) = x_axis(path, &difference.values.iter().collect::<Vec<_>>());
    let facts = Facts { title: format!("{metric} over {path}"), ..Facts::default() };
    let layout = base(x, value_axis(&[metric], y).title(Title::with_text(plain(metric))), false).hover_mode(HoverMode::Closest);
    let mut figure = Figure::new(layout, facts);

    let (mut xs, mut ys, mut texts, mut ids) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut wrong_at, mut wrong) = (Vec::new(), Vec::new());
    for group in &all.groups {
        for &run in &group.members {
            let Some(summary) = all.runs[run].summary.get(metric) else { continue };
            let at = &difference.values[run];
            if !summary.last.0.is_finite() {
                // Names have no number to stand at: the figures beside the chart count them.
                if let Some(at) = at.as_f64().filter(|_| is_number) {
                    wrong_at.push(at);
                    wrong.push(summary.last.0);
                }
                continue;
            }
            xs.push(place(at, is_number));
            ys.push(summary.last.0);
            texts.push(format!("run {}: {}", all.runs[run].id, plain(&label(&group.settings))));
            ids.push(all.runs[run].id.0 as f64);
        }
    }
    figure.push(
        Scatter::new(xs, ys)
            .name("runs")
            .mode(Mode::Markers)
            .text_array(texts)
            .custom_data(ids)
            .marker(Marker::new().color(shade(0, 0.6)).size(7))
            .hover_template("%{text}<br>%{y:.6~g}<extra></extra>")
            .meta("point:0"),
    );
    let repeated = all.groups.iter().filter(|group| group.members.len() > 1 && path != SEED);
    let means: Vec<(Value, Sample, f64)> = repeated
        .filter_map(|group| {
            let sample = Sample::of(&all.last_values(group, metric))?;
            let (low, high) = sample.interval()?;
            Some((place(&difference.values[group.members[0]], is_number), sample, 0.5 * (high - low)))
        })
        .collect();
    if !means.is_empty() {
        let error = ErrorData::new(ErrorType::Data).array(means.iter().map(|(.., half)| *half).collect()).thickness(1.5);
        figure.push(
            Scatter::new(means.iter().map(|(at, ..)| at.clone()).collect(), means.iter().map(|(_, sample, _)| sample.mean).collect())
                .name("mean over seeds, interval at 95 %")
                .mode(Mode::Markers)
                .marker(Marker::new().color(colour(1)).size(9).symbol(MarkerSymbol::DiamondOpen).line(Line::new().width(2.0)))
                .error_y(error)
                .hover_template("mean %{y:.6~g}<extra></extra>")
                .meta("mean:1"),
        );
    }
    if !wrong.is_empty() {
        figure.push(marks(0, metric, wrong_at, &wrong));
    }
    Ok(figure)
}
