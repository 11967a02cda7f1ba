//! Progress on stderr: a live view where stdout and stderr are a terminal, a plain line now and then where they are not.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use trainyard_wire::run::Run;
use trainyard_wire::{RunId, RunState};

use super::sparkline::sparkline;
use super::{format, plain, plain_line};

/// Most bars at one time; a sweep may have thousands of runs.
const MOST_BARS: usize = 16;
/// Up to so many runs have two lines each.
const MOST_TALL: usize = 4;
/// Between two plain lines of one run that goes on.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Between two looks at the curve of one run.
const CURVE_EVERY: Duration = Duration::from_secs(1);

/// Where progress is shown.
enum Screen {
    /// Bars, and under them how many runs there are in which state.
    Live {
        bars: MultiProgress,
        counts: ProgressBar,
    },
    Lines,
    Nothing,
}

/// The progress of runs.
pub(crate) struct RunProgress {
    screen: Screen,
    /// How many there are: of few, those which wait are shown as well.
    runs: usize,
    shown: HashMap<RunId, Shown>,
}

/// What is on the screen of one run.
struct Shown {
    bar: Option<ProgressBar>,
    is_tall: bool,
    state: RunState,
    step: u64,
    /// As it was seen last, while it has a bar.
    run: Option<Run>,
    /// The loss through the run so far.
    curve: Vec<f64>,
    curve_at: Option<Instant>,
    line_at: Instant,
}

impl Shown {
    fn new(run: &Run, bar: Option<ProgressBar>) -> Self {
        let (state, step) = (run.state, run.progress.step);
        Self { bar, is_tall: false, state, step, run: None, curve: Vec::new(), curve_at: None, line_at: Instant::now() }
    }
}

impl RunProgress {
    /// Of so many runs. With `quiet` there are no plain lines.
    pub(crate) fn new(runs: usize, quiet: bool) -> Self {
        let screen = if std::io::stderr().is_terminal() && std::io::stdout().is_terminal() {
            let bars = MultiProgress::new();
            let counts = bars.add(ProgressBar::new_spinner().with_style(style("{wide_msg}")));
            Screen::Live { bars, counts }
        } else if quiet {
            Screen::Nothing
        } else {
            Screen::Lines
        };
        Self { screen, runs, shown: HashMap::new() }
    }

    /// Whether each change of this run is shown: it has a bar, or there are lines.
    pub(crate) fn follows(&self, id: RunId) -> bool {
        match self.screen {
            Screen::Live { .. } => self.shown.get(&id).is_some_and(|shown| shown.bar.is_some()),
            Screen::Lines => self.shown.contains_key(&id),
            Screen::Nothing => false,
        }
    }

    /// The runs whose curve is on the screen and not of late, with the name of the metric.
    pub(crate) fn curves_wanted(&self) -> Vec<(RunId, &'static str)> {
        let now = Instant::now();
        let is_due = |shown: &Shown| shown.curve_at.is_none_or(|at| now.duration_since(at) >= CURVE_EVERY);
        let with_bar = self.shown.iter().filter(|(_, shown)| shown.bar.is_some() && is_due(shown));
        with_bar.filter_map(|(id, shown)| Some((*id, format::loss_name(shown.run.as_ref()?)?))).collect()
    }

    pub(crate) fn show_curve(&mut self, id: RunId, curve: Vec<f64>) {
        if let Some(shown) = self.shown.get_mut(&id) {
            (shown.curve, shown.curve_at) = (curve, Some(Instant::now()));
            shown.draw();
        }
    }

    /// Under the bars, where there is more than one run: how many are in which state.
    pub(crate) fn show_counts(&self, states: &[(RunState, usize)]) {
        let total: usize = states.iter().map(|(_, count)| count).sum();
        if let (Screen::Live { counts, .. }, 2..) = (&self.screen, total) {
            let done: usize = states.iter().filter(|(state, _)| state.is_finished()).map(|(_, count)| count).sum();
            let words = format::states(states.iter().map(|(state, count)| (state, count)));
            counts.set_message(format!("{done} of {total} runs done: {words}"));
        }
    }

    /// Takes what is live off the screen.
    pub(crate) fn finish(&mut self) {
        if let Screen::Live { bars, counts } = &self.screen {
            counts.finish_and_clear();
            // What cannot be cleared stays on the screen, and nothing else.
            let _ = bars.clear();
        }
    }

    /// Shows a run as it is now.
    pub(crate) fn show(&mut self, run: &Run) {
        let before = self.shown.get(&run.id).map(|shown| shown.state);
        let changed = before != Some(run.state);
        if run.state.is_finished() {
            let bar = self.shown.get_mut(&run.id).and_then(|shown| shown.bar.take());
            if let (Some(bar), Screen::Live { bars, .. }) = (bar, &self.screen) {
                bar.finish_and_clear();
                bars.remove(&bar);
            }
            self.shown.insert(run.id, Shown::new(run, None));
            if changed {
                self.note(&ended(run));
            }
            return;
        }
        match &self.screen {
            Screen::Live { .. } => self.show_bar(run),
            Screen::Lines if self.runs <= MOST_BARS || run.state != RunState::Queued => self.show_line(run, changed),
            Screen::Lines | Screen::Nothing => {}
        }
    }

    /// A line above the bars.
    pub(crate) fn note(&self, text: &str) {
        match &self.screen {
            // A line that cannot be shown is no reason to stop watching.
            Screen::Live { bars, .. } => drop(bars.println(plain(text))),
            Screen::Lines => eprintln!("{}", plain(text)),
            Screen::Nothing => {}
        }
    }

    fn show_bar(&mut self, run: &Run) {
        let Screen::Live { bars, .. } = &self.screen else { return };
        let count = self.shown.values().filter(|shown| shown.bar.is_some()).count();
        let deserves = self.runs <= MOST_BARS || run.state == RunState::Running;
        let shown = self.shown.entry(run.id).or_insert_with(|| Shown::new(run, None));
        if shown.bar.is_none() && deserves && count < MOST_BARS {
            shown.is_tall = self.runs <= MOST_TALL;
            shown.bar = Some(bars.insert_from_back(1, run_bar(run, shown.is_tall)));
        }
        shown.state = run.state;
        if shown.bar.is_some() {
            shown.run = Some(run.clone());
            shown.draw();
        }
    }

    fn show_line(&mut self, run: &Run, changed: bool) {
        let now = Instant::now();
        let due = match self.shown.get(&run.id) {
            None => true,
            Some(shown) => changed || (shown.step != run.progress.step && now.duration_since(shown.line_at) >= LINE_EVERY),
        };
        if due {
            let what = plain_line(&format::what(run)).into_owned();
            let details = [format::pace(run), format::figures(run)].concat().join(", ");
            eprintln!("run {} ({what}): {}, {details}", run.id, format::state(run));
            self.shown.insert(run.id, Shown::new(run, None));
        }
    }
}

impl Shown {
    /// On few runs' second line are the figures; with many they follow the pace, and a narrow terminal cuts them off.
    fn draw(&self) {
        if let (Some(bar), Some(run)) = (&self.bar, &self.run) {
            bar.set_length(run.progress.total_steps.max(1));
            bar.set_position(run.progress.step);
            let figures = figures(run, &self.curve);
            let mut parts = vec![format!("run {} {}", run.id, plain_line(&format::what(run)))];
            match run.state {
                RunState::Running => parts.extend(format::pace(run)),
                _ => parts.push(format::state(run)),
            }
            if !self.is_tall {
                parts.push(figures.clone());
            }
            bar.set_message(parts.join(", "));
            bar.set_prefix(figures);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn run_bar(run: &Run, is_tall: bool) -> ProgressBar {
    let template = if is_tall { "[{bar:10}] {percent:>3} % {wide_msg}\n  {prefix:78!}" } else { "[{bar:10}] {percent:>3} % {wide_msg}" };
    ProgressBar::new(run.progress.total_steps.max(1)).with_style(style(template))
}

/// Loss and accuracy after the curve.
fn figures(run: &Run, curve: &[f64]) -> String {
    let curve = if curve.is_empty() { String::new() } else { format!("{} ", sparkline(curve)) };
    format!("{curve}{}", format::figures(run).join(", "))
}

fn ended(run: &Run) -> String {
    let mut parts = vec![format!("run {} ({}) {}", run.id, format::what(run), format::state(run))];
    parts.extend(Some(format::took(run)).filter(|took| !took.is_empty()).map(|took| format!("after {took}")));
    parts.extend(run.error.clone());
    parts.join(", ")
}

/// The progress of bytes through the network.
pub(crate) fn byte_bar(what: &str, total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "{prefix} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
        None => "{prefix} {spinner} {bytes} {bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new).with_style(style);
    bar.set_prefix(what.to_owned());
    bar
}

/// Something that takes a while and cannot say how long.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
