//! The metrics of one run over their steps.
//!
//! Each metric has its raw curve; where points are summed up in buckets, a band from their minimum to their maximum, so that no spike
//! vanishes; a smoothed curve, if asked for; and crosses for what is not finite.

use plotly::common::{DashType, Fill, HoverInfo, Line, Marker, Mode};
use plotly::{Scatter, Trace};
use trainyard_wire::metric::Bucket;

use super::Scale;
use super::baselines::{self, Level};
use super::figure::{Facts, Figure, SeriesFacts, colour, marks, over_steps, plain, shade};
use super::known::{is_predicted, unit};
use crate::store::Curve;

/// Curves of fewer points show each of them.
const FEW: usize = 60;

/// How curves are drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawing {
    pub(super) x: Scale,
    pub(super) y: Scale,
    /// The weight of what came before, from 0 (no smoothed curve) to below 1.
    pub(super) smoothing: f64,
}

pub(super) fn figure(title: &str, curves: &[Curve], levels: &[Level], drawing: Drawing) -> Figure {
    let names: Vec<&str> = curves.iter().map(|curve| curve.name.as_str()).collect();
    let facts =
        Facts { title: title.to_owned(), series: curves.iter().map(facts).collect(), notes: notes(curves, drawing), ..Facts::default() };
    let last = curves.iter().filter_map(|curve| Some(curve.buckets.last()?.last_step)).max().unwrap_or_default();
    let first = curves.iter().filter_map(|curve| Some(curve.buckets.first()?.last_step)).min();
    let mut figure = Figure::new(over_steps(&names, last, drawing.x, drawing.y, curves.len() > 1), facts);
    for (place, curve) in curves.iter().enumerate() {
        let steps: Vec<u64> = curve.buckets.iter().map(|bucket| bucket.last_step).collect();
        if is_bucketed(curve) {
            for trace in band(place, &steps, &curve.buckets) {
                figure.push(trace);
            }
        }
        let raw: Vec<f64> = curve.buckets.iter().map(|bucket| bucket.last.0).collect();
        let smoothed = (drawing.smoothing > 0.0 && !is_predicted(&curve.name)).then(|| smooth(&raw, drawing));
        figure.push(raw_curve(place, curve, &steps, &raw, smoothed.is_some()));
        if let Some(smoothed) = smoothed {
            figure.push(
                Scatter::new(steps, smoothed)
                    .name(format!("{} smoothed", plain(&curve.name)))
                    .mode(Mode::Lines)
                    .line(Line::new().color(colour(place)).width(2.0))
                    .hover_template("%{y:.6~g}")
                    .meta(format!("smooth:{place}")),
            );
        }
        if !curve.not_finite.is_empty() {
            let values: Vec<f64> = curve.not_finite.iter().map(|(_, value)| value.0).collect();
            figure.push(marks(place, &curve.name, curve.not_finite.iter().map(|(step, _)| *step as f64).collect(), &values));
        }
    }
    if let Some(first) = first {
        baselines::draw(&mut figure, levels, (first, last));
    }
    figure
}

fn raw_curve(place: usize, curve: &Curve, steps: &[u64], raw: &[f64], is_smoothed: bool) -> Box<dyn Trace> {
    let line = Line::new().color(shade(place, if is_smoothed { 0.4 } else { 1.0 })).width(if is_smoothed { 1.0 } else { 2.0 });
    let mode = if curve.buckets.len() <= FEW && !is_predicted(&curve.name) { Mode::LinesMarkers } else { Mode::Lines };
    Scatter::new(steps.to_vec(), raw.iter().copied().map(finite).collect())
        .name(plain(&curve.name))
        .mode(mode)
        .line(if is_predicted(&curve.name) { line.dash(DashType::Dash) } else { line })
        .marker(Marker::new().size(5))
        .hover_template("%{y:.6~g}")
        .meta(format!("raw:{place}"))
}

/// The lower edge, and the upper one with what is between them filled.
fn band(place: usize, steps: &[u64], buckets: &[Bucket]) -> [Box<dyn Trace>; 2] {
    let edge = |values: Vec<Option<f64>>| {
        Scatter::new(steps.to_vec(), values).mode(Mode::Lines).line(Line::new().width(0.0)).hover_info(HoverInfo::Skip).show_legend(false)
    };
    [
        edge(buckets.iter().map(|bucket| finite(bucket.min.0)).collect()).meta(format!("edge:{place}")),
        edge(buckets.iter().map(|bucket| finite(bucket.max.0)).collect())
            .fill(Fill::ToNextY)
            .fill_color(shade(place, 0.22))
            .meta(format!("band:{place}")),
    ]
}

/// The exponentially weighted mean of the finite values so far, without the pull towards 0 at its start; of their logarithms on a logarithmic
/// axis, where all of them have one. Gaps stay gaps.
fn smooth(values: &[f64], drawing: Drawing) -> Vec<Option<f64>> {
    let in_logarithms = drawing.y == Scale::Log && values.iter().all(|value| !value.is_finite() || *value > 0.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let smoothed = values.iter().map(|value| {
        let value = finite(*value).map(|value| if in_logarithms { value.ln() } else { value })?;
        sum = drawing.smoothing * sum + (1.0 - drawing.smoothing) * value;
        weight = drawing.smoothing * weight + (1.0 - drawing.smoothing);
        Some(if in_logarithms { (sum / weight).exp() } else { sum / weight })
    });
    smoothed.collect()
}

/// What a gap stands for in a curve.
pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn is_bucketed(curve: &Curve) -> bool {
    curve.buckets.iter().any(|bucket| bucket.count > 1)
}

fn facts(curve: &Curve) -> SeriesFacts {
    let last = curve.buckets.last();
    SeriesFacts {
        name: curve.name.clone(),
        unit: unit(&curve.name),
        last: last.map(|bucket| bucket.last),
        last_step: last.map(|bucket| bucket.last_step),
        bucketed: is_bucketed(curve),
        points: curve.buckets.iter().map(|bucket| bucket.count).sum(),
        not_finite: curve.not_finite_count,
    }
}

/// What is not seen in the curves: values that are not finite, or not positive on a logarithmic axis.
fn notes(curves: &[Curve], drawing: Drawing) -> Vec<String> {
    let mut notes = Vec::new();
    for curve in curves {
        let name = &curve.name;
        if let Some((step, value)) = curve.not_finite.first() {
            let more = match curve.not_finite_count - 1 {
                0 => String::new(),
                more => format!(", and {more} more of its values are not finite"),
            };
            let word = if value.0.is_nan() {
                "NaN"
            } else if value.0 > 0.0 {
                "∞"
            } else {
                "−∞"
            };
            notes.push(format!("{name} is {word} at {} {step}{more}.", unit(name)));
        }
        let hidden = curve.buckets.iter().filter(|bucket| bucket.min.0 <= 0.0 && bucket.min.0.is_finite()).count();
        if drawing.y == Scale::Log && hidden > 0 {
            notes.push(format!("{name} is not above 0 at {hidden} of its places: not on a logarithmic axis."));
        }
        if let Some(first) = curve.buckets.first().filter(|bucket| drawing.x == Scale::Log && bucket.first_step == 0) {
            notes.push(format!("At {} 0 {name} is {}.", unit(name), trainyard_wire::number::brief(first.first.0)));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trainyard_wire::Number;

    use super::*;

    const PLAIN: Drawing = Drawing { x: Scale::Linear, y: Scale::Linear, smoothing: 0.0 };

    fn point(step: u64, value: f64) -> Bucket {
        let value = Number(value);
        Bucket { first_step: step, last_step: step, first: value, last: value, min: value, max: value, count: 1 }
    }

    fn curve(name: &str, buckets: Vec<Bucket>) -> Curve {
        Curve { name: name.to_owned(), buckets, not_finite: Vec::new(), not_finite_count: 0 }
    }

    fn json(curves: &[Curve], drawing: Drawing) -> Value {
        serde_json::to_value(figure("loss", curves, &[], drawing)).unwrap()
    }

    #[test]
    fn a_spike_inside_a_bucket_is_in_the_band() {
        let bucket = Bucket { min: Number(0.5), max: Number(900.0), first_step: 0, count: 10, ..point(9, 1.0) };
        let figure = json(&[curve("loss", vec![bucket, point(10, 2.0)])], PLAIN);
        let traces: Vec<_> = figure["data"].as_array().unwrap().iter().map(|it| (it["meta"].as_str().unwrap(), it["y"].clone())).collect();
        assert_eq!(traces, [("edge:0", json!([0.5, 2.0])), ("band:0", json!([900.0, 2.0])), ("raw:0", json!([1.0, 2.0]))]);
        assert_eq!(figure["data"][1]["fill"], "tonexty");
        assert_eq!(figure["facts"]["series"][0]["points"], 11);
    }

    #[test]
    fn what_is_not_finite_is_a_gap_in_the_curve_and_a_mark() {
        let mut loss = curve("loss", vec![point(1, 1.0), point(2, f64::NAN), point(3, f64::INFINITY)]);
        (loss.not_finite, loss.not_finite_count) = (vec![(2, Number(f64::NAN)), (3, Number(f64::INFINITY))], 7);
        let figure = json(&[loss], PLAIN);
        assert_eq!(figure["data"][0]["y"], json!([1.0, null, null]));
        assert_eq!((&figure["data"][1]["yaxis"], &figure["data"][1]["text"]), (&json!("y2"), &json!(["NaN", "∞"])));
        assert_eq!(figure["facts"]["notes"][0], "loss is NaN at step 2, and 6 more of its values are not finite.");
    }

    #[test]
    fn smoothing_starts_at_the_first_value_and_leaves_gaps() {
        let drawing = Drawing { smoothing: 0.5, ..PLAIN };
        assert_eq!(smooth(&[4.0, f64::NAN, 1.0], drawing), [Some(4.0), None, Some(2.0)]);
        let logarithmic = smooth(&[1.0, 100.0], Drawing { y: Scale::Log, ..drawing });
        assert!((logarithmic[1].unwrap() - 100.0_f64.powf(2.0 / 3.0)).abs() < 1e-9);
    }

    #[test]
    fn names_are_text_and_what_theory_predicts_is_dashed() {
        let figure =
            json(&[curve("<b>x</b>", vec![point(0, -1.0)]), curve("exact_loss", vec![point(0, 2.0)])], Drawing { y: Scale::Log, ..PLAIN });
        assert_eq!(figure["data"][0]["name"], "&lt;b&gt;x&lt;/b&gt;");
        assert_eq!(figure["data"][1]["line"]["dash"], "dash");
        assert_eq!(figure["facts"]["notes"].as_array().unwrap().len(), 1);
    }
}
