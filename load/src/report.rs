//! What a scenario measured: figures beside their bounds, as a table or as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
    /// What it should be at most (or at least).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
}

/// The promise about a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    pub fn is_within(&self) -> bool {
        match self.bound {
            None => true,
            Some(Bound::AtMost(most)) => self.value <= most,
            Some(Bound::AtLeast(least)) => self.value >= least,
        }
    }
}

/// What a scenario measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    pub scenario: &'static str,
    pub seed: u64,
    pub figures: Vec<Figure>,
}

impl Report {
    pub fn new(scenario: &'static str, seed: u64) -> Self {
        Self { scenario, seed, figures: Vec::new() }
    }

    pub fn tell(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { what: what.into(), value, unit, bound: None });
    }

    pub fn promise(&mut self, what: impl Into<String>, value: f64, unit: &'static str, bound: Bound) {
        self.figures.push(Figure { what: what.into(), value, unit, bound: Some(bound) });
    }

    /// Median, 95th and 99th percentile and maximum of times in milliseconds; one of them may be promised.
    pub fn times(&mut self, what: &str, times: &mut Times, promised: Option<(&str, f64)>) {
        for (name, value) in [("p50", times.percentile(50.0)), ("p95", times.percentile(95.0)), ("p99", times.percentile(99.0))] {
            let bound = promised.filter(|(of, _)| *of == name).map(|(_, most)| Bound::AtMost(most));
            self.figures.push(Figure { what: format!("{what} {name}"), value, unit: "ms", bound });
        }
        self.tell(format!("{what} max"), times.percentile(100.0), "ms");
    }

    /// The figure with this name.
    pub fn value(&self, what: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.what == what).map(|figure| figure.value)
    }

    pub fn is_within(&self) -> bool {
        self.figures.iter().all(Figure::is_within)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.figures.iter().map(|figure| figure.what.chars().count()).max().unwrap_or(0);
        writeln!(f, "{} (seed {})", self.scenario, self.seed)?;
        for Figure { what, value, unit, bound } in &self.figures {
            write!(f, "  {what:width$}  {:>12} {unit:9}", Number(*value))?;
            if let Some(bound) = bound {
                let (sign, bound) = match bound {
                    Bound::AtMost(bound) => ("≤", bound),
                    Bound::AtLeast(bound) => ("≥", bound),
                };
                let within = if self.figures.iter().any(|figure| figure.what == *what && figure.is_within()) { "" } else { "  MISSED" };
                write!(f, " {sign} {}{within}", Number(*bound))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.0.fract() == 0.0 { format!("{:.0}", self.0) } else { format!("{:.2}", self.0) };
        f.pad(&text)
    }
}

/// How long things took.
#[derive(Clone, Debug, Default)]
pub struct Times {
    milliseconds: Vec<f64>,
    sorted: bool,
}

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.milliseconds.push(1e3 * time.as_secs_f64());
        self.sorted = false;
    }

    pub fn extend(&mut self, other: Self) {
        self.milliseconds.extend(other.milliseconds);
        self.sorted = false;
    }

    pub fn len(&self) -> usize {
        self.milliseconds.len()
    }

    pub fn is_empty(&self) -> bool {
        self.milliseconds.is_empty()
    }

    /// The least time that `percent` of all do not exceed (nearest rank), in milliseconds; 0 of none.
    pub fn percentile(&mut self, percent: f64) -> f64 {
        if !self.sorted {
            self.milliseconds.sort_by(f64::total_cmp);
            self.sorted = true;
        }
        let rank = (percent / 100.0 * self.milliseconds.len() as f64).ceil() as usize;
        self.milliseconds.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut times = Times::default();
        assert_eq!(times.percentile(99.0), 0.0);
        (1..=200).rev().for_each(|time| times.add(Duration::from_millis(time)));
        assert_eq!([50.0, 95.0, 99.0, 100.0].map(|percent| times.percentile(percent)), [100.0, 190.0, 198.0, 200.0]);
    }

    #[test]
    fn a_missed_bound_is_told() {
        let mut report = Report::new("submits", 7);
        report.promise("seconds", 21.0, "s", Bound::AtMost(20.0));
        report.promise("rate", 5.5, "1/s", Bound::AtLeast(5.0));
        assert!(!report.is_within());
        let text = report.to_string();
        assert!(text.contains("≤ 20  MISSED") && text.contains("≥ 5\n"), "{text}");
    }
}
