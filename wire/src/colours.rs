//! What a colourization leaves beside its model for people to judge it by: `confusion.json` and `baselines.json`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Number;

/// The name of the artifact that is a [`Confusion`].
pub const CONFUSION: &str = "confusion.json";
/// The name of the artifact that is [`Baselines`].
pub const BASELINES: &str = "baselines.json";

/// Which colours of the palette the network takes for which, on all pixels of the validation images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Confusion {
    /// The epoch after which the network was asked.
    pub epoch: u64,
    /// Red, green and blue of each colour, in [0, 1].
    pub palette: Vec<[f64; 3]>,
    /// `counts[truth][prediction]`: pixels.
    pub counts: Vec<Vec<u64>>,
}

/// What is known of one colour of a [`Confusion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColourCounts {
    /// Pixels that have the colour.
    pub truth: u64,
    /// Pixels that are said to have it.
    pub predicted: u64,
    /// Pixels that are rightly said to have it.
    pub hits: u64,
}

impl ColourCounts {
    /// The share of the colour's pixels that are found; `None` where there are none.
    pub fn recall(&self) -> Option<f64> {
        (self.truth > 0).then(|| self.hits as f64 / self.truth as f64)
    }

    /// The share of right ones among the pixels that are said to have the colour; `None` where there are none.
    pub fn precision(&self) -> Option<f64> {
        (self.predicted > 0).then(|| self.hits as f64 / self.predicted as f64)
    }
}

impl Confusion {
    /// Whether the counts are a square table with a row and a column for each colour.
    pub fn is_whole(&self) -> bool {
        let colours = self.palette.len();
        self.counts.len() == colours && self.counts.iter().all(|row| row.len() == colours)
    }

    /// The counts of each colour, in the palette's order.
    pub fn colours(&self) -> Vec<ColourCounts> {
        let of = |colour: usize| ColourCounts {
            truth: self.counts[colour].iter().sum(),
            predicted: self.counts.iter().filter_map(|row| row.get(colour)).sum(),
            hits: self.counts[colour].get(colour).copied().unwrap_or_default(),
        };
        (0..self.counts.len()).map(of).collect()
    }
}

/// What a network is measured by: predictors that never look at a picture, and what no network can better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Baselines {
    /// The most frequent colour of the validation pixels, as a place in the palette.
    pub majority_colour: u64,
    /// The accuracy of saying it of every pixel: its share of the validation pixels.
    pub majority_accuracy: f64,
    /// The loss, in nats, of saying the colours' frequencies among the training pixels of every validation pixel; `"Infinity"` where a colour has no
    /// training pixel.
    pub frequency_loss: Number,
    /// What is left of the error where every colour of the palette is right: the root mean square, over the validation pixels and their channels, of
    /// the distance of a pixel from its colour of the palette, in units in which a channel goes from 0 to 1.
    pub palette_floor: f64,
    /// On the sample pictures alone, which the metrics `colour_error` and `checkerboard` are measured on.
    pub samples: SampleBaselines,
}

/// The baselines of what is measured on the sample pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SampleBaselines {
    /// How many pictures.
    pub images: u64,
    /// Of `colour_error`: that of the palette's own colours.
    pub palette_floor: f64,
    /// Of `colour_error`: that of the majority colour everywhere.
    pub majority_error: f64,
    /// Of `checkerboard`: that of the pictures themselves, in the palette's colours.
    pub checkerboard: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_goes_along_rows_and_precision_along_columns() {
        let confusion = Confusion { epoch: 1, palette: vec![[0.0; 3]; 3], counts: vec![vec![6, 2, 0], vec![1, 3, 0], vec![0, 0, 0]] };
        assert!(confusion.is_whole());
        let colours = confusion.colours();
        assert_eq!((colours[0].recall(), colours[0].precision()), (Some(0.75), Some(6.0 / 7.0)));
        assert_eq!((colours[1].recall(), colours[1].precision()), (Some(0.75), Some(0.6)));
        assert_eq!((colours[2].recall(), colours[2].precision()), (None, None));
        assert!(!Confusion { counts: vec![vec![1, 2, 3]], ..confusion }.is_whole());
    }
}
