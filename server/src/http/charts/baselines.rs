//! What a network has to beat, as lines across the charts of a colourization: see [`Baselines`].

use plotly::common::{DashType, Font, Line, Mode, Position};
use plotly::{Scatter, Trace};
use trainyard_wire::RunId;
use trainyard_wire::colours::{BASELINES, Baselines};
use trainyard_wire::number::brief;

use super::colours::read;
use super::figure::{Figure, plain};
use super::known::is_share;
use crate::comparison::SideBySide;
use crate::http::app::App;
use crate::http::problem::ApiError;

/// Runs of a comparison that are asked for baselines, where the first ones have none.
const MOST_ASKED: usize = 8;
const GREY: &str = "#5f6670";

/// A value that does not change over the steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Level {
    name: &'static str,
    value: f64,
    /// What it is, for the sentence below the chart.
    meaning: &'static str,
    is_share: bool,
}

/// Whether a metric has baselines.
pub(super) fn has(metric: &str) -> bool {
    matches!(metric, "val_accuracy" | "val_loss" | "train_loss" | "colour_error" | "checkerboard")
}

/// The levels beside these metrics.
fn levels(baselines: &Baselines, metrics: &[&str]) -> Vec<Level> {
    let level = |metric: &str, name, value: f64, meaning| Level { name, value, meaning, is_share: is_share(metric) };
    let of = |metric: &str| match metric {
        "val_accuracy" => {
            vec![level(metric, "majority colour", baselines.majority_accuracy, "always the most frequent colour of the palette")]
        }
        "val_loss" | "train_loss" => {
            vec![level(metric, "colour frequencies", baselines.frequency_loss.0, "the colours' frequencies, whatever the picture")]
        }
        "colour_error" => vec![
            level(metric, "palette floor", baselines.samples.palette_floor, "right colours everywhere: what the palette itself leaves"),
            level(metric, "majority colour", baselines.samples.majority_error, "always the most frequent colour of the palette"),
        ],
        "checkerboard" => vec![level(metric, "truth", baselines.samples.checkerboard, "the pictures themselves, in the palette's colours")],
        _ => Vec::new(),
    };
    let mut levels: Vec<Level> = Vec::new();
    for level in metrics.iter().flat_map(|metric| of(metric)).filter(|level| level.value.is_finite()) {
        if !levels.contains(&level) {
            levels.push(level);
        }
    }
    levels
}

/// The levels of a run's chart of these metrics; none where the run has not told any.
pub(super) async fn of_run(app: &App, run: RunId, metrics: &[&str]) -> Result<Vec<Level>, ApiError> {
    if !metrics.iter().any(|metric| has(metric)) {
        return Ok(Vec::new());
    }
    let found = read::<Baselines>(app, run, BASELINES).await?;
    Ok(found.map(|baselines| levels(&baselines, metrics)).unwrap_or_default())
}

/// The levels that these runs share: those of the first that has told some, if all have the same images, palette and sample pictures.
pub(super) async fn of_all(app: &App, all: &SideBySide, metric: &str) -> Result<Vec<Level>, ApiError> {
    let tells_apart =
        |path: &str| ["kind", "dataset", "num_colours", "palette_seed", "sample_images"].contains(&path) || path.starts_with("dataset.");
    if !has(metric) || all.differences.iter().any(|difference| tells_apart(&difference.path)) {
        return Ok(Vec::new());
    }
    for run in all.runs.iter().take(MOST_ASKED) {
        if let Some(baselines) = read::<Baselines>(app, run.id, BASELINES).await? {
            return Ok(levels(&baselines, &[metric]));
        }
    }
    Ok(Vec::new())
}

/// Draws levels from step `first` to step `last` and says in a sentence what they are.
pub(super) fn draw(figure: &mut Figure, levels: &[Level], (first, last): (u64, u64)) {
    for level in levels {
        figure.push(line(level, first, last));
        let value = if level.is_share { format!("{:.1} %", 100.0 * level.value) } else { brief(level.value) };
        figure.tell(format!("{}: {value}, {}.", level.name, level.meaning));
    }
}

/// A dotted line with its name over its right end.
fn line(level: &Level, first: u64, last: u64) -> Box<dyn Trace> {
    Scatter::new(vec![first, last], vec![level.value; 2])
        .name(plain(level.name))
        .mode(Mode::LinesText)
        .text_array(vec!["", level.name])
        .text_position_array(vec![Position::TopRight, Position::TopLeft])
        .text_font(Font::new().color(GREY).size(11))
        .line(Line::new().color(GREY).width(1.2).dash(DashType::Dot))
        .show_legend(false)
        .hover_template("%{y:.4~g}")
        .meta("level")
}

#[cfg(test)]
mod tests {
    use trainyard_wire::Number;
    use trainyard_wire::colours::SampleBaselines;

    use super::*;

    #[test]
    fn each_metric_has_the_levels_in_its_own_unit_and_none_that_is_infinite() {
        let samples = SampleBaselines { images: 2, palette_floor: 0.03, majority_error: 0.4, checkerboard: 0.001 };
        let known = Baselines { majority_colour: 4, majority_accuracy: 0.14, frequency_loss: Number(2.8), palette_floor: 0.04, samples };
        let values = |metrics: &[&str]| levels(&known, metrics).iter().map(|level| level.value).collect::<Vec<_>>();
        assert_eq!(values(&["val_accuracy"]), [0.14]);
        assert_eq!(values(&["train_loss", "val_loss"]), [2.8]);
        assert_eq!(values(&["colour_error"]), [0.03, 0.4]);
        assert_eq!(values(&["checkerboard"]), [0.001]);
        assert!(values(&["step_ms"]).is_empty());
        let unknown_colour = Baselines { frequency_loss: Number(f64::INFINITY), ..known };
        assert!(levels(&unknown_colour, &["val_loss"]).is_empty());
    }
}
