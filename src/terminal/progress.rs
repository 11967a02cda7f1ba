//! Progress on stderr: bars where it is a terminal, a plain line now and then where it is not.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use trainyard_wire::run::Run;
use trainyard_wire::{RunId, RunState};

use super::{format, plain, plain_line};

/// Most bars at one time; a sweep may have thousands of runs.
const MOST_BARS: usize = 16;
/// Between two plain lines of one run that goes on.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The progress of runs.
pub(crate) struct RunProgress {
    /// None where stderr is no terminal.
    screen: Option<MultiProgress>,
    shown: HashMap<RunId, Shown>,
}

/// What is on the screen of one run.
struct Shown {
    bar: Option<ProgressBar>,
    state: RunState,
    step: u64,
    line_at: Instant,
}

impl RunProgress {
    pub(crate) fn new() -> Self {
        let screen = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { screen, shown: HashMap::new() }
    }

    /// The runs that were shown and had not ended then.
    pub(crate) fn open_runs(&self) -> Vec<RunId> {
        let mut open: Vec<RunId> = self.shown.iter().filter(|(_, shown)| !shown.state.is_finished()).map(|(id, _)| *id).collect();
        open.sort();
        open
    }

    /// Shows a run as it is now.
    pub(crate) fn show(&mut self, run: &Run) {
        let before = self.shown.get(&run.id).map(|shown| shown.state);
        let changed = before != Some(run.state);
        if run.state.is_finished() {
            let bar = self.shown.get_mut(&run.id).and_then(|shown| shown.bar.take());
            if let (Some(bar), Some(screen)) = (bar, &self.screen) {
                bar.finish_and_clear();
                screen.remove(&bar);
            }
            self.shown.insert(run.id, Shown { bar: None, state: run.state, step: run.progress.step, line_at: Instant::now() });
            if changed {
                self.note(&ended(run));
            }
            return;
        }
        if self.screen.is_some() {
            self.show_bar(run);
        } else {
            self.show_line(run, changed);
        }
    }

    /// A line above the bars.
    pub(crate) fn note(&self, text: &str) {
        match &self.screen {
            // A line that cannot be shown is no reason to stop watching.
            Some(screen) => drop(screen.println(plain(text))),
            None => eprintln!("{}", plain(text)),
        }
    }

    fn show_bar(&mut self, run: &Run) {
        let bars = self.shown.values().filter(|shown| shown.bar.is_some()).count();
        let shown = self.shown.entry(run.id).or_insert_with(|| Shown {
            bar: self.screen.as_ref().filter(|_| bars < MOST_BARS).map(|screen| screen.add(run_bar(run))),
            state: run.state,
            step: 0,
            line_at: Instant::now(),
        });
        shown.state = run.state;
        if let Some(bar) = &shown.bar {
            bar.set_length(run.progress.total_steps.max(1));
            bar.set_position(run.progress.step);
            bar.set_message(if run.state == RunState::Running { details(run) } else { format::state(run) });
        }
    }

    fn show_line(&mut self, run: &Run, changed: bool) {
        let now = Instant::now();
        let due = match self.shown.get(&run.id) {
            None => true,
            Some(shown) => changed || (shown.step != run.progress.step && now.duration_since(shown.line_at) >= LINE_EVERY),
        };
        if due {
            eprintln!("run {} ({}): {}, {}", run.id, plain_line(&format::what(run)), format::state(run), details(run));
            self.shown.insert(run.id, Shown { bar: None, state: run.state, step: run.progress.step, line_at: now });
        }
    }
}

fn run_bar(run: &Run) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} [{bar:24}] {percent:>3} % {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    let bar = ProgressBar::new(run.progress.total_steps.max(1)).with_style(style);
    bar.set_prefix(format!("run {} {}", run.id, plain_line(&format::what(run))));
    bar
}

/// Epoch, loss, accuracy and the time that is left.
fn details(run: &Run) -> String {
    let mut parts = vec![format::position(run)];
    parts.extend(format::loss(run).map(|loss| format!("loss {}", format::number(loss))));
    parts.extend(format::accuracy(run).map(|accuracy| format!("accuracy {accuracy}")));
    parts.extend(run.progress.eta_seconds.map(|eta| format!("{} left", format::seconds(eta))));
    parts.join(", ")
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
    if bar.is_hidden() {
        eprintln!("{what}");
    }
    bar
}

/// Something that takes a while and cannot say how long.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what.to_owned());
    if bar.is_hidden() {
        eprintln!("{what}");
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
