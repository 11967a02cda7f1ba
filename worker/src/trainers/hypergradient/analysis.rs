//! What a hypergradient run reports when its outer loop is done: the methods side by side, the curve that it went down, the bytes that
//! each method holds, and what theory says of all that.

use serde_json::json;
use trainyard_theory::hypergradient::claims::{self, Found, Place};
use trainyard_theory::hypergradient::{Graph, Unrolled, one_step_optimum};
use trainyard_theory::regression::Spectrum;
use trainyard_wire::Number;
use trainyard_wire::number::brief;
use trainyard_wire::run::{Certificate, LeftOut, LogLevel};
use trainyard_wire::spec::HypergradientSpec;
use trainyard_wire::spec::hypergradient::Method;

use super::super::regression::claims::certificate;
use super::super::regression::recorder::decompose;
use super::super::session::{Artifact, Session};
use super::methods::{Methods, Unfinished};
use super::trajectory::{Point, Trajectory};
use crate::data::SharedProblem;
use crate::drawing::{Line, LineChart, Mark, draw_graph};

/// Rates at which the curve is computed.
const CURVE_POINTS: u32 = 101;
/// Numbers of steps at which held bytes are measured, at most.
const HELD_POINTS: usize = 20;
/// The held bytes of fewer inner steps are measured up to this many, so that their growth shows.
const LEAST_COMPARED_STEPS: usize = 10;
/// The graph of more steps than this is not drawn: nobody could read it.
const MOST_DRAWN_STEPS: usize = 20;

/// Reports all of it; `end` is the point that the run ends with.
pub(super) fn report(
    spec: &HypergradientSpec,
    shared: &SharedProblem,
    unrolled: Unrolled<'_>,
    methods: &Methods<'_>,
    trajectory: &Trajectory,
    end: Point,
    session: &dyn Session,
) -> Result<Vec<Certificate>, Unfinished> {
    let analysis = Analysis { spec, unrolled, methods, end, session };
    let spectrum = analysis.spectrum(shared);
    let mut certificates = Vec::new();
    if let Some(first) = trajectory.points().first() {
        certificates.extend(analysis.compare("first", *first)?);
    }
    certificates.extend(analysis.compare("last", end)?);
    certificates.extend(claims::one_step_closed_form(&unrolled, one_step_optimum(shared.problem(), unrolled.start()), end.rate));
    if let Some(spectrum) = spectrum {
        let path = spectrum.descent_path(unrolled.start(), spec.l2);
        certificates.extend(claims::exact_optimum(&path, unrolled.steps(), end.rate));
    }
    certificates.extend(analysis.curve(spectrum)?);
    certificates.extend(analysis.held_bytes()?);
    analysis.graph();
    Ok(certificates.into_iter().map(certificate).collect())
}

struct Analysis<'a> {
    spec: &'a HypergradientSpec,
    unrolled: Unrolled<'a>,
    methods: &'a Methods<'a>,
    end: Point,
    session: &'a dyn Session,
}

impl Analysis<'_> {
    /// The spectrum, unless it costs too much; then it says what is left out.
    fn spectrum<'p>(&self, shared: &'p SharedProblem) -> Option<&'p Spectrum> {
        let left_out = |reason: &String| {
            self.session.log(LogLevel::Warn, format!("no comparison with the exact L̃_k(η): {reason}"));
            let claims = ["the outer loop ends at the exact optimum", "the losses are those of the exact curve"];
            let left_out = claims.map(|claim| LeftOut { claim: claim.to_owned(), reason: reason.clone() });
            self.session.left_out(left_out.to_vec());
        };
        decompose(shared).inspect_err(left_out).ok()
    }

    /// The run's method beside the others and the central difference at one of its points.
    fn compare(&self, name: &str, point: Point) -> Result<Vec<claims::Certificate>, Unfinished> {
        let place = Place { name, rate: point.rate, first_loss: self.unrolled.first_loss() };
        let found = Found { method: self.spec.method.as_str(), hypergradient: point.hypergradient };
        let mut certificates = Vec::new();
        for other in Method::ALL.iter().filter(|other| **other != self.spec.method) {
            let hypergradient = self.methods.evaluate(*other, point.rate, self.unrolled.steps())?.evaluation.hypergradient;
            certificates.extend(claims::methods_agree(found, Found { method: other.as_str(), hypergradient }, place));
        }
        certificates.extend(claims::difference_agrees(found, self.methods.central_difference(point.rate)?, place));
        Ok(certificates)
    }

    /// `L̃_k(η)` on an even grid from 0 to the rate at which nothing is gained, as a table and as a chart.
    fn curve(&self, spectrum: Option<&Spectrum>) -> Result<Vec<claims::Certificate>, Unfinished> {
        let steps = self.unrolled.steps();
        let path = spectrum.map(|spectrum| spectrum.descent_path(self.unrolled.start(), self.spec.l2));
        let rim = path.as_ref().and_then(|path| path.break_even_rate(steps as u64)).unwrap_or(2.0 * self.end.rate);
        let mut curve = Vec::new();
        for index in 0..CURVE_POINTS {
            let rate = rim * f64::from(index) / f64::from(CURVE_POINTS - 1);
            curve.push((rate, self.methods.loss(rate)?));
        }
        let exact = path.as_ref().map(|path| curve.iter().map(|(rate, _)| (*rate, path.loss(*rate, steps as u64))).collect::<Vec<_>>());
        let best = path.as_ref().and_then(|path| path.best_rate(steps as u64).map(|rate| (rate, path.loss(rate, steps as u64))));

        let numbers = |points: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| points.iter().map(|point| Number(of(point))).collect::<Vec<_>>();
        let table = json!({
            "inner_steps": steps,
            "l2": self.spec.l2,
            "learning_rate": numbers(&curve, |point| point.0),
            "loss": numbers(&curve, |point| point.1),
            "exact_loss": exact.as_ref().map(|exact| numbers(exact, |point| point.1)),
            "found": {"learning_rate": self.end.rate, "loss": self.end.loss},
            "optimum": best.map(|(rate, loss)| json!({"learning_rate": rate, "loss": loss})),
        });
        self.save("curve.json", table.to_string());
        let title = format!("Loss after {} of gradient descent", counted(steps, "step"));
        let mut lines = vec![Line { name: "unrolled", points: curve.clone(), dashed: false }];
        lines.extend(exact.map(|points| Line { name: "exact, in the eigenbasis", points, dashed: true }));
        // A rate that the search did not bring into the bowl would squeeze the bowl.
        let inside = self.end.rate <= rim;
        let marks = inside.then(|| Mark { name: format!("η = {}", brief(self.end.rate)), at: (self.end.rate, self.end.loss) });
        let chart =
            LineChart { title: &title, x_label: "learning rate η", y_label: "L̃_k(η)", lines, marks: marks.into_iter().collect() };
        self.save("curve.svg", chart.draw());

        let exact = spectrum.and_then(|spectrum| claims::curve_is_exact(spectrum, &self.unrolled, &curve));
        Ok(claims::curve_is_convex(&self.unrolled, &curve).into_iter().chain(exact).collect())
    }

    /// The bytes that each method holds for growing k, as metrics over k, as a table and as a chart.
    fn held_bytes(&self) -> Result<Vec<claims::Certificate>, Unfinished> {
        let mut held = Vec::new();
        for method in [Method::Forward, Method::Reverse, Method::Autograd] {
            let mut points = Vec::new();
            for steps in compared_steps(self.unrolled.steps()) {
                let bytes = self.methods.evaluate(method, self.end.rate, steps)?.held_bytes;
                self.session.metric(held_bytes_metric(method), steps as u64, bytes as f64);
                points.push((steps as u64, bytes));
            }
            held.push((method.as_str(), points));
        }
        let table: serde_json::Map<String, serde_json::Value> = held
            .iter()
            .map(|(method, points)| {
                let points: Vec<_> = points.iter().map(|(steps, bytes)| json!({"inner_steps": steps, "bytes": bytes})).collect();
                ((*method).to_owned(), json!(points))
            })
            .collect();
        self.save("held_bytes.json", json!(table).to_string());
        let line = |(method, points): &(&'static str, Vec<(u64, u64)>)| Line {
            name: method,
            points: points.iter().map(|(steps, bytes)| (*steps as f64, *bytes as f64)).collect(),
            dashed: false,
        };
        let chart = LineChart {
            title: "Bytes that each method held",
            x_label: "unrolled steps k",
            y_label: "bytes",
            lines: held.iter().map(line).collect(),
            marks: Vec::new(),
        };
        self.save("held_bytes.svg", chart.draw());
        let claim = |(method, points): &(&'static str, Vec<(u64, u64)>)| {
            if *method == Method::Forward.as_str() {
                claims::held_bytes_are_flat(method, points)
            } else {
                claims::held_bytes_are_linear(method, points)
            }
        };
        Ok(held.iter().filter_map(claim).collect())
    }

    /// The computation graph, where it is small.
    fn graph(&self) {
        let steps = self.unrolled.steps();
        if steps > MOST_DRAWN_STEPS {
            let message = format!("no graph is drawn of {steps} steps, only of up to {MOST_DRAWN_STEPS}");
            self.session.log(LogLevel::Info, message);
            return;
        }
        let graph = Graph::of(steps, self.spec.l2 != 0.0);
        self.save("graph.dot", graph.dot());
        let title = format!("{} of gradient descent, unrolled", counted(steps, "step"));
        self.save("graph.svg", draw_graph(&graph, &title));
    }

    fn save(&self, name: &str, text: String) {
        self.session.save_artifact(Artifact { name: name.to_owned(), bytes: text.into_bytes().into(), dispensable: false });
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn held_bytes_metric(method: Method) -> &'static str {
    match method {
        Method::Forward => "held_bytes_forward",
        Method::Reverse => "held_bytes_reverse",
        Method::Autograd => "held_bytes_autograd",
    }
}

/// 1, 2 and further numbers of steps up to that of the run, evenly spread.
fn compared_steps(steps: usize) -> Vec<usize> {
    let most = steps.max(LEAST_COMPARED_STEPS);
    let intervals = (HELD_POINTS - 2).min(most - 1);
    let mut compared: Vec<usize> = (0..=intervals).map(|index| 1 + index * (most - 1) / intervals).chain([2]).collect();
    compared.sort_unstable();
    compared.dedup();
    compared
}

#[cfg(test)]
mod tests {
    use super::compared_steps;

    #[test]
    fn held_bytes_are_measured_at_the_first_two_and_the_last_number_of_steps() {
        assert_eq!(compared_steps(1), (1..=10).collect::<Vec<_>>());
        for steps in 1..=1000 {
            let compared = compared_steps(steps);
            assert!(compared.len() <= super::HELD_POINTS && compared.windows(2).all(|pair| pair[0] < pair[1]), "{compared:?}");
            assert_eq!((compared[0], compared[1], *compared.last().unwrap()), (1, 2, steps.max(10)));
        }
    }
}
