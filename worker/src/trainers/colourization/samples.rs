//! Sample pictures: a row for each image, grey | truth | prediction | error, truth and prediction in the palette's colours.

use std::io::Cursor;

use candle_core::Tensor;
use image::{ImageFormat, Rgb, RgbImage, imageops};

use super::super::TrainError;
use crate::data::Prepared;
use crate::networks::ColourizationNetwork;

/// Pixels between two tiles, before scaling.
const GAP: usize = 1;
const BACKGROUND: Rgb<u8> = Rgb([255, 255, 255]);
/// An error of a pixel whose class is right.
const RIGHT: Rgb<u8> = Rgb([24, 24, 24]);
/// Images up to this side are shown at twice their size.
const SMALL: usize = 64;

/// The picture of the first validation images, as many as `predicted` has classes for, as PNG.
///
/// # Errors
/// Where the picture cannot be encoded.
pub(super) fn picture(prepared: &Prepared, predicted: &[u8]) -> Result<Vec<u8>, TrainError> {
    let drawn = draw(prepared, predicted);
    let scale = if prepared.height.max(prepared.width) <= SMALL { 2 } else { 1 };
    let scaled = imageops::resize(&drawn, drawn.width() * scale, drawn.height() * scale, imageops::FilterType::Nearest);
    let mut bytes = Vec::new();
    scaled.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
    Ok(bytes)
}

/// The most likely class of each pixel, found `batch` images at a time.
pub(in crate::trainers) fn predict(network: &dyn ColourizationNetwork, grey: &Tensor, batch: usize) -> Result<Vec<u8>, TrainError> {
    let count = grey.dim(0)?;
    let mut predicted = Vec::new();
    for start in (0..count).step_by(batch.max(1)) {
        let logits = network.logits(&grey.narrow(0, start, batch.max(1).min(count - start))?)?;
        predicted.extend(logits.argmax(1)?.flatten_all()?.to_vec1::<u32>()?.into_iter().map(|class| class as u8));
    }
    Ok(predicted)
}

/// Draws as many rows as there are predictions for.
fn draw(prepared: &Prepared, predicted: &[u8]) -> RgbImage {
    let (height, width, pixels) = (prepared.height, prepared.width, prepared.pixels());
    let rows = predicted.len() / pixels;
    let palette = &prepared.palette;
    let mut picture =
        RgbImage::from_pixel((4 * (width + GAP) - GAP) as u32, (rows * (height + GAP)).saturating_sub(GAP) as u32, BACKGROUND);
    for (index, &prediction) in predicted.iter().enumerate() {
        let (image, pixel) = (index / pixels, index % pixels);
        let truth = prepared.val.classes[index];
        let grey = (prepared.val.grey[index] * 256.0) as u8;
        let (truth_colour, predicted_colour) = (palette.bytes(truth), palette.bytes(prediction));
        let error = if truth == prediction { RIGHT } else { error_colour(truth_colour, predicted_colour) };
        let y = (image * (height + GAP) + pixel / width) as u32;
        for (tile, colour) in [Rgb([grey; 3]), Rgb(truth_colour), Rgb(predicted_colour), error].into_iter().enumerate() {
            picture.put_pixel((tile * (width + GAP) + pixel % width) as u32, y, colour);
        }
    }
    picture
}

/// From dark red to yellow, the further the two colours are apart.
fn error_colour(truth: [u8; 3], prediction: [u8; 3]) -> Rgb<u8> {
    let square: f32 = truth.iter().zip(prediction).map(|(a, b)| (f32::from(*a) - f32::from(b)).powi(2)).sum();
    let distance = (square / 3.0).sqrt() / 255.0;
    Rgb([(110.0 + 145.0 * distance.sqrt()) as u8, (230.0 * distance) as u8, 30])
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::data::prepared::Examples;
    use crate::data::{Images, Palette};
    use crate::networks::{NetworkConfig, NetworkKind};

    #[test]
    fn a_row_shows_grey_truth_prediction_and_error() {
        let palette = Palette { colours: vec![[0.0, 0.0, 0.0], [0.5, 0.25, 0.125]] };
        let examples = Examples { grey: vec![0.5; 4], classes: vec![0, 1, 0, 1] };
        let val_colours = Images::new(1, 2, vec![0; 12]).unwrap();
        let prepared = Prepared { height: 1, width: 2, palette, train: examples.clone(), val: examples, val_colours };
        let picture = draw(&prepared, &[0, 0, 1, 1]);
        assert_eq!(picture.dimensions(), (4 * 2 + 3, 2 + 1));
        let row = |y: u32| (0..4).map(|tile| picture.get_pixel(3 * tile + 1, y).0).collect::<Vec<_>>();
        let wrong = error_colour([128, 64, 32], [0; 3]).0;
        assert_eq!(row(0), [[128; 3], [128, 64, 32], [0; 3], wrong]);
        assert_eq!(row(2), [[128; 3], [128, 64, 32], [128, 64, 32], RIGHT.0]);
        assert_eq!(picture.get_pixel(2, 0), &BACKGROUND);
        assert_eq!(picture.get_pixel(0, 1), &BACKGROUND);
    }

    #[test]
    fn a_prediction_does_not_depend_on_how_many_images_are_looked_at_together() {
        let config = NetworkConfig { kind: NetworkKind::PoolUpsample, kernel: 3, num_filters: 4, num_colours: 5, in_channels: 1, seed: 1 };
        let network = crate::networks::build(&config, &Device::Cpu).unwrap();
        let grey = (0..5 * 64).map(|pixel| (pixel * pixel % 97) as f32 / 97.0).collect();
        let grey = Tensor::from_vec(grey, (5, 1, 8, 8), &Device::Cpu).unwrap();
        let together = predict(network.as_ref(), &grey, 100).unwrap();
        assert_eq!(together.len(), 5 * 64);
        for batch in [1, 2, 5] {
            assert_eq!(predict(network.as_ref(), &grey, batch).unwrap(), together, "{batch} at a time");
        }
    }

    #[test]
    fn the_error_grows_with_the_distance_of_the_colours() {
        let near = error_colour([100; 3], [110; 3]);
        let far = error_colour([0; 3], [255; 3]);
        assert!(near[1] < far[1] && near[0] < far[0] && far == Rgb([255, 230, 30]));
    }
}
