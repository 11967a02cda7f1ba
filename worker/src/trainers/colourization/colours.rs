//! What the colours of a prediction are judged by: which are taken for which, how far they are from the truth, and whether strides show in them.

use rayon::prelude::*;
use trainyard_theory::{checkerboard, classes};
use trainyard_wire::Number;
use trainyard_wire::colours::{Baselines, Confusion, SampleBaselines};

use crate::data::Prepared;

/// Which colours of the first validation images are taken for which, as many as `predicted` has classes for.
pub(super) fn confusion(prepared: &Prepared, predicted: &[u8], epoch: u64) -> Confusion {
    let colours = prepared.palette.colours.len();
    let mut counts = vec![vec![0; colours]; colours];
    for (truth, prediction) in prepared.val.classes.iter().zip(predicted) {
        counts[usize::from(*truth)][usize::from(*prediction)] += 1;
    }
    Confusion { epoch, palette: prepared.palette.colours.clone(), counts }
}

/// The root mean square, over pixels and channels of the first validation images, of the distance of a pixel's colour from that of the
/// class which `class` says of it (by its index), in units in which a channel goes from 0 to 1.
fn colour_error(prepared: &Prepared, images: usize, class: impl Fn(usize) -> u8 + Sync) -> f64 {
    let pixels = prepared.pixels();
    let of_image = |image: usize| -> f64 {
        let planes = prepared.val_colours.planes(image);
        let of_pixel = |pixel: usize| -> f64 {
            let colour = prepared.palette.colours[usize::from(class(image * pixels + pixel))];
            planes.iter().zip(colour).map(|(plane, value)| (f64::from(plane[pixel]) / 256.0 - value).powi(2)).sum()
        };
        (0..pixels).map(of_pixel).sum()
    };
    // One sum an image, added up in their order: the same bits on any number of threads.
    let sums: Vec<f64> = (0..images).into_par_iter().map(of_image).collect();
    (sums.iter().sum::<f64>() / (3 * images * pixels).max(1) as f64).sqrt()
}

/// The mean over pictures in the palette's colours of [`checkerboard::share`].
fn checkerboard(prepared: &Prepared, predicted: &[u8]) -> f64 {
    let pictures = predicted.chunks_exact(prepared.pixels());
    let count = pictures.len();
    let of_picture = |classes: &[u8]| {
        let plane =
            |channel: usize| -> Vec<f64> { classes.iter().map(|class| prepared.palette.colours[usize::from(*class)][channel]).collect() };
        let [red, green, blue] = [0, 1, 2].map(plane);
        checkerboard::share(&[&red, &green, &blue], prepared.height, prepared.width)
    };
    pictures.map(of_picture).sum::<f64>() / count.max(1) as f64
}

/// What is measured on the sample pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Look {
    /// The distance from the pictures' own colours; see [`Baselines::palette_floor`] for its unit.
    pub(super) colour_error: f64,
    /// See [`checkerboard::share`].
    pub(super) checkerboard: f64,
}

/// Of the first validation images, as many as `predicted` has classes for.
pub(super) fn look(prepared: &Prepared, predicted: &[u8]) -> Look {
    let images = predicted.len() / prepared.pixels();
    Look { colour_error: colour_error(prepared, images, |pixel| predicted[pixel]), checkerboard: checkerboard(prepared, predicted) }
}

/// What a network is measured by, where sample pictures are of the first `samples` validation images.
pub(super) fn baselines(prepared: &Prepared, samples: usize) -> Baselines {
    let count = |classes: &[u8]| {
        let mut counts = vec![0; prepared.palette.colours.len()];
        classes.iter().for_each(|class| counts[usize::from(*class)] += 1);
        counts
    };
    let (train, val) = (count(&prepared.train.classes), count(&prepared.val.classes));
    let (majority, majority_accuracy) = classes::majority(&val).unwrap_or_default();
    let truth = &prepared.val.classes;
    Baselines {
        majority_colour: majority as u64,
        majority_accuracy,
        frequency_loss: Number(classes::cross_entropy_of_frequencies(&train, &val)),
        palette_floor: colour_error(prepared, prepared.val_count(), |pixel| truth[pixel]),
        samples: SampleBaselines {
            images: samples as u64,
            palette_floor: colour_error(prepared, samples, |pixel| truth[pixel]),
            majority_error: colour_error(prepared, samples, |_| majority as u8),
            checkerboard: checkerboard(prepared, &truth[..samples * prepared.pixels()]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::prepared::Examples;
    use crate::data::{Images, Palette};

    /// Two validation images of 2×2 pixels: a checkerboard of black and white, slightly off, and one that is all grey.
    fn prepared() -> Prepared {
        let palette = Palette { colours: vec![[0.0; 3], [0.5; 3], [0.75; 3]] };
        let off: [u8; 12] = [16, 192, 192, 16, 0, 192, 192, 0, 0, 192, 192, 0];
        let val_colours = Images::new(2, 2, [off, [128; 12]].concat()).unwrap();
        let val = Examples { grey: vec![0.5; 8], classes: vec![0, 2, 2, 0, 1, 1, 1, 1] };
        let train = Examples { grey: vec![0.5; 8], classes: vec![0, 0, 0, 0, 1, 1, 2, 2] };
        Prepared { height: 2, width: 2, palette, train, val, val_colours }
    }

    #[test]
    fn a_confusion_counts_each_pixel_once_by_truth_and_prediction() {
        let found = confusion(&prepared(), &[0, 2, 1, 1, 1, 1, 1, 0], 7);
        assert_eq!(found.counts, [[1, 1, 0], [1, 3, 0], [0, 1, 1]]);
        assert_eq!((found.epoch, found.palette.len()), (7, 3));
        assert_eq!(confusion(&prepared(), &[0, 2, 1, 1], 7).counts, [[1, 1, 0], [0, 0, 0], [0, 1, 1]]);
    }

    #[test]
    fn the_palettes_floor_is_what_right_colours_leave_and_the_majority_is_far_above_it() {
        let found = baselines(&prepared(), 1);
        assert_eq!((found.majority_colour, found.majority_accuracy), (1, 0.5));
        // Two pixels of the eight are off by 1/16 in one channel.
        assert!((found.palette_floor - (2.0 / 256.0 / 24.0_f64).sqrt()).abs() < 1e-15);
        assert!((found.samples.palette_floor - (2.0 / 256.0 / 12.0_f64).sqrt()).abs() < 1e-15);
        assert!(found.samples.majority_error > 0.3);
        assert_eq!(found.samples.checkerboard, 1.0);
        let frequencies: f64 = 0.25 * 2.0_f64.ln() + 0.75 * 4.0_f64.ln();
        assert!((found.frequency_loss.0 - frequencies).abs() < 1e-15);
        let right = look(&prepared(), &prepared().val.classes);
        assert_eq!((right.colour_error, right.checkerboard), (found.palette_floor, 0.5));
    }
}
