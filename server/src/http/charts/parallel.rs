//! Parallel coordinates: a line for each run through the settings in which they differ, ending at its metric, which colours it.
//!
//! Drawn as plain curves, one trace for each of a few colours with gaps between runs: Plotly's own trace for this compiles code at run time, which
//! the dashboard's content security policy forbids, and a trace for each of a thousand runs would take seconds.

use std::collections::BTreeSet;

use plotly::Scatter;
use plotly::common::{Anchor, Line, Mode};
use plotly::layout::{Annotation, Axis, HoverMode, Layout, Margin, Shape, ShapeLine, ShapeType};
use serde_json::Value;
use trainyard_wire::number::brief;

use super::figure::{AxisFacts, AxisScale, Facts, Figure, plain};
use super::scatter::word;
use crate::comparison::{SideBySide, more_is_better};

/// From the best to the worst: light enough for a dark page, dark enough for a light one, and told apart by brightness alone too.
const COLOURS: [&str; 8] = ["#0b7a6b", "#2a8f7a", "#5aa083", "#8fa77f", "#b79d6c", "#c98557", "#cf6648", "#cc4040"];
/// Most settings that have an axis.
const MOST_AXES: usize = 12;
/// A positive setting whose values go over so many times the least has a logarithmic axis.
const WIDE: f64 = 50.0;

/// An axis: where each run crosses it, from 0 to 1, and what is written at some heights.
struct Coordinate {
    name: String,
    scale: AxisScale,
    heights: Vec<Option<f64>>,
    ticks: Vec<(f64, String)>,
}

impl Coordinate {
    fn of_numbers(name: &str, values: &[Option<f64>]) -> Self {
        let finite: Vec<f64> = values.iter().flatten().copied().filter(|value| value.is_finite()).collect();
        let least = finite.iter().copied().fold(f64::INFINITY, f64::min);
        let most = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let is_log = least > 0.0 && most > WIDE * least;
        let scaled = |value: f64| if is_log { value.ln() } else { value };
        let span = scaled(most) - scaled(least);
        let height = |value: f64| if span > 0.0 { (scaled(value) - scaled(least)) / span } else { 0.5 };
        let distinct: BTreeSet<u64> = finite.iter().map(|value| value.to_bits()).collect();
        // A grid of values has them all written out, a cloud of them its ends.
        let written: Vec<f64> = if distinct.len() <= 7 { distinct.into_iter().map(f64::from_bits).collect() } else { vec![least, most] };
        let ticks = if finite.is_empty() { Vec::new() } else { written.into_iter().map(|value| (height(value), brief(value))).collect() };
        let heights = values.iter().map(|value| value.filter(|value| value.is_finite()).map(height)).collect();
        let scale = match (finite.is_empty(), is_log) {
            (true, _) => AxisScale::Empty,
            (false, true) => AxisScale::Log { least, most },
            (false, false) => AxisScale::Linear { least, most },
        };
        Self { name: name.to_owned(), scale, heights, ticks }
    }

    fn of_names(name: &str, values: &[Value]) -> Self {
        let words: Vec<String> = values.iter().map(word).collect();
        let distinct: Vec<&String> = words.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let height = |text: &String| {
            let place = distinct.iter().position(|other| *other == text).unwrap_or_default();
            if distinct.len() > 1 { place as f64 / (distinct.len() - 1) as f64 } else { 0.5 }
        };
        let ticks = distinct.iter().take(20).map(|text| (height(text), (*text).clone())).collect();
        let heights = words.iter().map(|text| Some(height(text))).collect();
        let names = distinct.into_iter().cloned().collect();
        Self { name: name.to_owned(), scale: AxisScale::Names { names }, heights, ticks }
    }

    fn title(&self) -> String {
        let what = if matches!(self.scale, AxisScale::Log { .. }) { " (log)" } else { "" };
        plain(&format!("{}{what}", self.name))
    }

    fn facts(&self) -> AxisFacts {
        AxisFacts { name: self.name.clone(), scale: self.scale.clone() }
    }
}

pub(super) fn figure(all: &SideBySide, metric: &str) -> Figure {
    let values: Vec<Option<f64>> = all.runs.iter().map(|run| run.summary.get(metric).map(|summary| summary.last.0)).collect();
    let mut coordinates: Vec<Coordinate> = all
        .differences
        .iter()
        .take(MOST_AXES)
        .map(|difference| {
            let numbers: Option<Vec<Option<f64>>> =
                difference.values.iter().map(|value| if value.is_null() { Some(None) } else { value.as_f64().map(Some) }).collect();
            match numbers {
                Some(numbers) => Coordinate::of_numbers(&difference.path, &numbers),
                None => Coordinate::of_names(&difference.path, &difference.values),
            }
        })
        .collect();
    coordinates.push(Coordinate::of_numbers(metric, &values));

    let axes = coordinates.iter().map(Coordinate::facts).collect();
    let facts = Facts { title: format!("{metric} over all settings"), axes, notes: notes(all, metric, &values), ..Facts::default() };
    let mut figure = Figure::new(layout(&coordinates), facts);
    let colours = colours(&values, more_is_better(metric));
    // The best last, so that they lie on top.
    for (colour, hex) in COLOURS.iter().enumerate().rev() {
        let (mut xs, mut ys, mut texts, mut ids) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (run, _) in colours.iter().enumerate().filter(|(_, of)| **of == Some(colour)) {
            let text = format!("run {}: {}", all.runs[run].id, values[run].map_or_else(String::new, brief));
            for (axis, coordinate) in coordinates.iter().enumerate() {
                xs.push(Some(axis));
                ys.push(coordinate.heights[run]);
                texts.push(text.clone());
                ids.push(all.runs[run].id.0 as f64);
            }
            xs.push(None);
            ys.push(None);
            texts.push(String::new());
            ids.push(0.0);
        }
        if !xs.is_empty() {
            figure.push(
                Scatter::new(xs, ys)
                    .mode(Mode::Lines)
                    .line(Line::new().color(*hex).width(1.2))
                    .opacity(0.75)
                    .text_array(texts)
                    .custom_data(ids)
                    .hover_template("%{text}<extra></extra>")
                    .show_legend(false)
                    .meta("line"),
            );
        }
    }
    figure
}

/// The colour of each run by the rank of its value; none without a finite one.
fn colours(values: &[Option<f64>], more_is_better: bool) -> Vec<Option<usize>> {
    let mut finite: Vec<f64> = values.iter().flatten().copied().filter(|value| value.is_finite()).collect();
    finite.sort_by(f64::total_cmp);
    if more_is_better {
        finite.reverse();
    }
    let rank = |value: f64| finite.iter().position(|other| *other == value).unwrap_or_default();
    let last = COLOURS.len() - 1;
    let colour = |value: f64| if finite.len() > 1 { rank(value) * last / (finite.len() - 1) } else { 0 };
    values.iter().map(|value| value.filter(|value| value.is_finite()).map(colour)).collect()
}

fn notes(all: &SideBySide, metric: &str, values: &[Option<f64>]) -> Vec<String> {
    let mut notes = vec![format!("Lines go from the best (green) to the worst (red) by {metric}.")];
    let without = values.iter().filter(|value| !value.is_some_and(f64::is_finite)).count();
    if without > 0 {
        notes.push(format!("{without} runs have no finite {metric} and are not drawn."));
    }
    if all.differences.len() > MOST_AXES {
        notes.push(format!("The first {MOST_AXES} of {} settings.", all.differences.len()));
    }
    notes
}

fn layout(coordinates: &[Coordinate]) -> Layout {
    let last = coordinates.len() as f64 - 1.0;
    let x = Axis::new()
        .range(vec![-0.3, last + 0.3])
        .tick_values((0..coordinates.len()).map(|axis| axis as f64).collect())
        .tick_text(coordinates.iter().map(Coordinate::title).collect::<Vec<_>>())
        .show_grid(false)
        .zero_line(false)
        .fixed_range(true);
    let y = Axis::new().range(vec![-0.05, 1.05]).visible(false).fixed_range(true);
    let stand = |axis: usize| {
        let line = ShapeLine::new().width(1.0).color("rgba(128,128,128,0.6)");
        Shape::new().shape_type(ShapeType::Line).x_ref("x").y_ref("y").x0(axis).x1(axis).y0(0).y1(1).line(line)
    };
    let ticks = coordinates.iter().enumerate().flat_map(|(axis, coordinate)| {
        coordinate.ticks.iter().map(move |(height, text)| {
            Annotation::new().x(axis).y(*height).text(plain(text)).show_arrow(false).x_anchor(Anchor::Left).x_shift(5.0)
        })
    });
    Layout::new()
        .x_axis(x)
        .y_axis(y)
        .hover_mode(HoverMode::Closest)
        .show_legend(false)
        .margin(Margin::new().left(30).right(60).top(16).bottom(44))
        .shapes((0..coordinates.len()).map(stand).collect())
        .annotations(ticks.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{AxisScale, Coordinate, colours};

    #[test]
    fn numbers_far_apart_stand_on_a_logarithmic_axis() {
        let axis = Coordinate::of_numbers("rate", &[Some(0.001), Some(1.0), None, Some(f64::NAN)]);
        assert_eq!(axis.title(), "rate (log)");
        assert_eq!(axis.scale, AxisScale::Log { least: 0.001, most: 1.0 });
        assert_eq!(Coordinate::of_numbers("rate", &[None, Some(f64::NAN)]).scale, AxisScale::Empty);
        let names = Coordinate::of_names("optimizer.name", &["sgd", "adam", "sgd"].map(Value::from));
        assert_eq!(
            (names.heights, names.scale),
            (vec![Some(1.0), Some(0.0), Some(1.0)], AxisScale::Names { names: vec!["adam".to_owned(), "sgd".to_owned()] })
        );
        assert_eq!(axis.heights, [Some(0.0), Some(1.0), None, None]);
        let middle = Coordinate::of_numbers("rate", &[Some(0.01), Some(0.1), Some(1.0)]).heights[1].unwrap();
        assert!((middle - 0.5).abs() < 1e-12);
        assert_eq!(Coordinate::of_numbers("k", &[Some(3.0), Some(3.0)]).heights, [Some(0.5), Some(0.5)]);
    }

    #[test]
    fn colours_go_by_rank_from_the_best() {
        let values = [Some(3.0), Some(1.0), None, Some(2.0), Some(f64::NAN)];
        assert_eq!(colours(&values, false), [Some(7), Some(0), None, Some(3), None]);
        assert_eq!(colours(&values, true), [Some(0), Some(7), None, Some(3), None]);
    }
}
