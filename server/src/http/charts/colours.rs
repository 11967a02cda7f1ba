//! Which colours a colourization takes for which, as a heat map, and the files of a run that such charts are made of.

use plotly::HeatMap;
use plotly::common::{ColorScale, ColorScaleElement, Title};
use plotly::layout::{Axis, HoverMode, Layout, Margin, Shape, ShapeLayer, ShapeLine, ShapeSizeMode, ShapeType};
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt as _;
use trainyard_wire::RunId;
use trainyard_wire::colours::Confusion;

use super::figure::{ColourFacts, Facts, Figure};
use crate::http::app::App;
use crate::http::problem::ApiError;
use crate::store::ArtifactFile;

/// The chart's name.
pub(super) const NAME: &str = "confusion";
/// Larger files are not read: 256 colours have 65,536 counts.
const MOST_BYTES: u64 = 4 << 20;
/// Up to so many colours each has its number beside its swatch.
const NUMBERED: usize = 32;
/// Swatches lie between the plot and the numbers: their far and near ends, in pixels from the plot.
const SWATCH: (i64, i64) = (15, 3);

/// The content of a JSON file of a run; `None` where there is none, or it is not what its name says.
pub(super) async fn read<T: DeserializeOwned>(app: &App, run: RunId, name: &str) -> Result<Option<T>, ApiError> {
    let Some(ArtifactFile { artifact, file }) = app.store.artifact(run, name).await? else { return Ok(None) };
    if artifact.size > MOST_BYTES {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes).await.map_err(ApiError::internal)?;
    Ok(serde_json::from_slice(&bytes).ok())
}

/// Rows are true colours, columns predicted ones; a cell's shade is the share of its row. `None` where the counts are no such table.
pub(super) fn figure(confusion: &Confusion) -> Option<Figure> {
    if !confusion.is_whole() {
        return None;
    }
    let names: Vec<String> = confusion.palette.iter().map(hex).collect();
    let colours = confusion.colours();
    let shares: Vec<Vec<Option<f64>>> = confusion
        .counts
        .iter()
        .zip(&colours)
        .map(|(row, of)| row.iter().map(|count| (of.truth > 0).then(|| *count as f64 / of.truth as f64)).collect())
        .collect();
    let text = |(truth, row): (usize, &Vec<u64>)| -> Vec<String> {
        let cell = |(prediction, count): (usize, &u64)| {
            format!("{} {} taken for {} {}: {count} pixels", truth + 1, names[truth], prediction + 1, names[prediction])
        };
        row.iter().enumerate().map(cell).collect()
    };
    let places: Vec<usize> = (1..=names.len()).collect();
    let heat = HeatMap::new(places.clone(), places, shares)
        .hover_text_matrix(confusion.counts.iter().enumerate().map(text).collect())
        .hover_template("%{hovertext}<br>%{z:.1%} of the colour<extra></extra>")
        .color_scale(ColorScale::Vector(vec![ColorScaleElement(0.0, "#ffffff".to_owned()), ColorScaleElement(1.0, "#0b61b0".to_owned())]))
        .zmin(0.0)
        .zmax(1.0)
        .show_scale(false);
    let rows = names.iter().zip(&colours).map(|(name, of)| ColourFacts {
        colour: name.clone(),
        truth: of.truth,
        predicted: of.predicted,
        hits: of.hits,
        recall: of.recall(),
        precision: of.precision(),
    });
    let facts = Facts {
        title: format!("confusion of the colours after epoch {}", confusion.epoch),
        colours: rows.collect(),
        notes: vec![format!("All pixels of the validation images, after epoch {}.", confusion.epoch)],
        ..Facts::default()
    };
    let mut figure = Figure::new(layout(&names), facts);
    figure.push(heat);
    Some(figure)
}

fn layout(names: &[String]) -> Layout {
    let last = names.len() as f64 + 0.5;
    let axis = |title: &str, range: Vec<f64>| {
        let axis =
            Axis::new().title(Title::with_text(title)).range(range).show_grid(false).zero_line(false).fixed_range(true).auto_margin(true);
        // Ticks without a colour keep the numbers clear of the swatches.
        let axis = axis.ticks(plotly::layout::TicksDirection::Outside).tick_length(SWATCH.0 as usize + 1).tick_color("rgba(0,0,0,0)");
        if names.len() <= NUMBERED { axis.dtick(1.0).tick0(1.0) } else { axis }
    };
    Layout::new()
        .x_axis(axis("prediction", vec![0.5, last]))
        .y_axis(axis("truth", vec![last, 0.5]))
        .hover_mode(HoverMode::Closest)
        .show_legend(false)
        .margin(Margin::new().left(58).right(14).top(10).bottom(56))
        .shapes(names.iter().enumerate().flat_map(|(place, name)| swatches(place + 1, name)).collect())
}

/// A colour's swatches below its column and left of its row.
fn swatches(place: usize, name: &str) -> [Shape; 2] {
    let (from, to) = (place as f64 - 0.5, place as f64 + 0.5);
    let swatch = || {
        let line = ShapeLine::new().width(0.0);
        Shape::new().shape_type(ShapeType::Rect).layer(ShapeLayer::Above).fill_color(name.to_owned()).line(line)
    };
    let below = swatch().x_ref("x").x0(from).x1(to).y_ref("paper").y_size_mode(ShapeSizeMode::Pixel);
    let left = swatch().y_ref("y").y0(from).y1(to).x_ref("paper").x_size_mode(ShapeSizeMode::Pixel);
    [below.y_anchor(0.0).y0(-SWATCH.0).y1(-SWATCH.1), left.x_anchor(0.0).x0(-SWATCH.0).x1(-SWATCH.1)]
}

/// `#rrggbb` of a colour in [0, 1], as the sample pictures show it.
fn hex(colour: &[f64; 3]) -> String {
    let byte = |value: f64| (value * 256.0).clamp(0.0, 255.0) as u8;
    let [red, green, blue] = colour.map(byte);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn confusion() -> Confusion {
        Confusion { epoch: 3, palette: vec![[0.0; 3], [0.5, 0.25, 1.0]], counts: vec![vec![3, 1], vec![0, 0]] }
    }

    #[test]
    fn a_cell_is_the_share_of_its_true_colour_and_a_colour_without_pixels_has_none() {
        let figure: Value = serde_json::to_value(figure(&confusion()).unwrap()).unwrap();
        let heat = &figure["data"][0];
        assert_eq!((&heat["type"], &heat["z"]), (&json!("heatmap"), &json!([[0.75, 0.25], [null, null]])));
        assert_eq!(heat["hovertext"][0][1], "1 #000000 taken for 2 #8040ff: 1 pixels");
        assert_eq!(figure["layout"]["yaxis"]["range"], json!([2.5, 0.5]));
        assert_eq!(figure["layout"]["shapes"].as_array().unwrap().len(), 4);
        let second = json!({"colour": "#8040ff", "truth": 0, "predicted": 1, "hits": 0, "recall": null, "precision": 0.0});
        assert_eq!(figure["facts"]["colours"][1], second);
    }

    #[test]
    fn a_table_that_is_not_square_is_not_drawn() {
        assert!(figure(&Confusion { counts: vec![vec![1]], ..confusion() }).is_none());
    }
}
