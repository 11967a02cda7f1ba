//! What all figures share: axes, colours, and the facts beside them.

use plotly::common::color::Rgba;
use plotly::common::{Anchor, ExponentFormat, Line, Marker, MarkerSymbol, Mode, Orientation, Title};
use plotly::layout::{Axis, AxisType, HoverMode, Layout, Legend, Margin};
use plotly::{Scatter, Trace, Traces};
use serde::Serialize;
use trainyard_wire::Number;

use super::Scale;
use super::known::{is_share, unit};

/// Dark enough on white for lines and their names.
const COLOURS: [(u8, u8, u8); 6] = [(11, 97, 176), (194, 80, 10), (26, 125, 67), (138, 79, 176), (138, 106, 0), (176, 42, 99)];

/// A figure with what should be told beside it.
#[derive(Serialize)]
pub(crate) struct Figure {
    data: Traces,
    layout: Layout,
    facts: Facts,
}

/// What a reader should be told in words.
#[derive(Debug, Default, Serialize)]
pub(super) struct Facts {
    pub(super) title: String,
    pub(super) series: Vec<SeriesFacts>,
    /// Of a confusion: each colour of the palette.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) colours: Vec<ColourFacts>,
    /// Of parallel coordinates: the axes from left to right.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) axes: Vec<AxisFacts>,
    /// Whole sentences.
    pub(super) notes: Vec<String>,
}

/// About one colour of a palette.
#[derive(Debug, Serialize)]
pub(super) struct ColourFacts {
    /// `#rrggbb`
    pub(super) colour: String,
    /// Pixels that have it, are said to have it, and both.
    pub(super) truth: u64,
    pub(super) predicted: u64,
    pub(super) hits: u64,
    /// Null where no pixel has it, or is said to have it.
    pub(super) recall: Option<f64>,
    pub(super) precision: Option<f64>,
}

/// About one axis of parallel coordinates: which value stands at which height, from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct AxisFacts {
    /// The setting's path, or the metric.
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) scale: AxisScale,
}

/// How values stand on an axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "scale", rename_all = "lowercase")]
pub(super) enum AxisScale {
    /// Numbers from the least at 0 to the greatest at 1, or at ½ where there is but one.
    Linear { least: f64, most: f64 },
    /// The same by their logarithms.
    Log { least: f64, most: f64 },
    /// Names at even distances, or at ½ where there is but one.
    Names { names: Vec<String> },
    /// Nothing stands on it.
    Empty,
}

/// About one series.
#[derive(Debug, Serialize)]
pub(super) struct SeriesFacts {
    pub(super) name: String,
    /// What its steps count.
    pub(super) unit: &'static str,
    pub(super) last: Option<Number>,
    pub(super) last_step: Option<u64>,
    /// Whether the curve has every point, or buckets of them.
    pub(super) bucketed: bool,
    pub(super) points: u64,
    pub(super) not_finite: u64,
}

impl Figure {
    pub(super) fn new(layout: Layout, facts: Facts) -> Self {
        Self { data: Traces::new(), layout, facts }
    }

    /// Adds what is to be told of a series.
    pub(super) fn note(&mut self, series: SeriesFacts) {
        self.facts.series.push(series);
    }

    /// Adds a sentence.
    pub(super) fn tell(&mut self, sentence: String) {
        self.facts.notes.push(sentence);
    }

    pub(super) fn push(&mut self, trace: Box<dyn Trace>) {
        self.data.push(trace);
    }
}

/// The colour of a series, for lines.
pub(super) fn colour(series: usize) -> Rgba {
    shade(series, 1.0)
}

/// The colour of a series, so opaque.
pub(super) fn shade(series: usize, opacity: f64) -> Rgba {
    let (r, g, b) = COLOURS[series % COLOURS.len()];
    Rgba::new(r, g, b, opacity)
}

/// Text as Plotly shows it: it would take tags in it for its own.
pub(super) fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The layout of a chart of metrics over their steps, the last of which is `last`.
pub(super) fn over_steps(metrics: &[&str], last: u64, x: Scale, y: Scale, legend: bool) -> Layout {
    let steps = metrics.first().map_or("step", |metric| unit(metric));
    let x_axis = axis(x).title(Title::with_text(steps));
    // Of a few epochs Plotly would also name halves.
    let is_few = steps == "epoch" && x == Scale::Linear && last <= 8;
    base(if is_few { x_axis.dtick(1.0) } else { x_axis }, value_axis(metrics, y), legend)
}

/// An axis of values, in percent where all of them are shares.
pub(super) fn value_axis(metrics: &[&str], scale: Scale) -> Axis {
    let axis = axis(scale);
    if scale == Scale::Linear && !metrics.is_empty() && metrics.iter().all(|metric| is_share(metric)) {
        axis.tick_format(".0%")
    } else {
        axis
    }
}

/// A layout with the axes that all charts have; the second y axis is that of the marks.
pub(super) fn base(x: Axis, y: Axis, legend: bool) -> Layout {
    let marks = Axis::new().overlaying("y").range(vec![0.0, 1.0]).visible(false).fixed_range(true);
    Layout::new()
        .x_axis(x)
        .y_axis(y)
        .y_axis2(marks)
        .show_legend(legend)
        .legend(Legend::new().orientation(Orientation::Horizontal).x(0.0).y(1.0).y_anchor(Anchor::Bottom))
        .hover_mode(HoverMode::XUnified)
        .margin(Margin::new().left(58).right(14).top(26).bottom(40))
}

pub(super) fn axis(scale: Scale) -> Axis {
    let axis = Axis::new().type_(if scale == Scale::Log { AxisType::Log } else { AxisType::Linear }).auto_margin(true).zero_line(false);
    if scale == Scale::Log { axis.n_ticks(7).exponent_format(ExponentFormat::Power) } else { axis }
}

/// Crosses for the values that are not finite, on an axis of their own: NaN at mid height, ∞ at the top and −∞ at the bottom, so that they
/// neither vanish nor spoil the scale.
pub(super) fn marks(series: usize, name: &str, steps: Vec<f64>, values: &[f64]) -> Box<dyn Trace> {
    let height = |value: &f64| {
        if value.is_nan() {
            0.5
        } else if *value > 0.0 {
            0.98
        } else {
            0.02
        }
    };
    let word = |value: &f64| {
        if value.is_nan() {
            "NaN"
        } else if *value > 0.0 {
            "∞"
        } else {
            "−∞"
        }
    };
    Scatter::new(steps, values.iter().map(height).collect())
        .text_array(values.iter().map(word).collect::<Vec<_>>())
        .name(format!("{} (not finite)", plain(name)))
        .mode(Mode::Markers)
        .y_axis("y2")
        .show_legend(false)
        .clip_on_axis(false)
        .marker(Marker::new().color(colour(series)).size(9).symbol(MarkerSymbol::X).line(Line::new().width(1.0)))
        .hover_template("%{text}")
        .meta(format!("mark:{series}"))
}
