//! The spec of a colourization run: a network that predicts each pixel's palette colour from a grey image.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::Checker;
use super::optimizer::{OptimizerName, OptimizerSpec};
use crate::dataset::{CIFAR10_CATEGORIES, SYNTHETIC};
use crate::state::words;

/// Largest batch, in images.
pub const MOST_BATCH: u64 = 10_000;
/// The least ε: a smaller one is 0 in the f32 that networks are trained in.
pub const LEAST_EPSILON: f64 = 1e-38;
/// Most epochs of a run.
pub const MOST_EPOCHS: u64 = 10_000;

words!(
    /// The three networks.
    NetworkName {
        PoolUpsample = "pool_upsample",
        ConvTranspose = "conv_transpose",
        Unet = "unet",
    }
);

/// What a colourization run trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ColourizationSpec {
    pub dataset: DatasetSpec,
    pub network: NetworkSpec,
    /// Palette colours, which are the classes.
    #[serde(default = "default_colours")]
    pub num_colours: u64,
    /// Seed of the k-means that makes the palette, apart from the run's, so that runs over seeds share one palette.
    #[serde(default)]
    pub palette_seed: u64,
    pub optimizer: OptimizerSpec,
    /// Images a step.
    #[serde(default = "default_batch_size")]
    pub batch_size: u64,
    #[serde(default = "default_epochs")]
    pub epochs: u64,
    /// False: batches in file order. True: a fresh permutation each epoch, a function of (seed, epoch).
    #[serde(default)]
    pub shuffle: bool,
    #[serde(default)]
    pub seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Sample pictures every so many epochs (and after the last); 0 for none.
    #[serde(default = "default_sample_every")]
    pub sample_every: u64,
    /// Validation images in a sample picture.
    #[serde(default = "default_sample_images")]
    pub sample_images: u64,
}

/// Which images. `train_images`, `val_images`, `size` and `seed` belong to the built-in set `synthetic` only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    /// An uploaded image set, or `synthetic`.
    pub name: String,
    /// Only the images of this CIFAR-10 category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// `synthetic`: training images (1000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_images: Option<u64>,
    /// `synthetic`: validation images (200).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_images: Option<u64>,
    /// `synthetic`: height and width in pixels, a multiple of 4 (32).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// `synthetic`: the seed of the images (0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The dataset's hash. Written by the server at submit; a submit that has it is refused unless the bytes are those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl DatasetSpec {
    pub fn is_synthetic(&self) -> bool {
        self.name == SYNTHETIC
    }

    /// The CIFAR-10 label of `category`.
    pub fn label(&self) -> Option<u8> {
        let category = self.category.as_deref()?;
        CIFAR10_CATEGORIES.iter().zip(0u8..).find(|(name, _)| **name == category).map(|(_, label)| label)
    }
}

/// A network and its size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    pub name: NetworkName,
    /// Kernel size, 1 to 7 (3).
    #[serde(default = "default_kernel")]
    pub kernel: u64,
    /// Filters of the first layer (32).
    #[serde(default = "default_filters")]
    pub num_filters: u64,
}

/// Stop once `metric` has not improved for `patience` epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    #[serde(default = "default_metric")]
    pub metric: WatchedMetric,
    /// Epochs without an improvement after which the run stops.
    pub patience: u64,
    /// What counts as an improvement: better than the best by more than this (0).
    #[serde(default)]
    pub min_delta: f64,
}

words!(
    /// What early stopping watches.
    WatchedMetric {
        /// Lower is better.
        ValLoss = "val_loss",
        /// Higher is better.
        ValAccuracy = "val_accuracy",
    }
);

fn default_colours() -> u64 {
    24
}
fn default_batch_size() -> u64 {
    100
}
fn default_epochs() -> u64 {
    25
}
fn default_sample_every() -> u64 {
    1
}
fn default_sample_images() -> u64 {
    10
}
fn default_kernel() -> u64 {
    3
}
fn default_filters() -> u64 {
    32
}
fn default_metric() -> WatchedMetric {
    WatchedMetric::ValLoss
}

impl ColourizationSpec {
    pub(crate) fn normalize(&mut self, checker: &mut Checker) {
        self.dataset.normalize(checker, "/dataset");
        checker.range("/network/kernel", self.network.kernel, 1, 7);
        checker.range("/network/num_filters", self.network.num_filters, 1, 1024);
        checker.range("/num_colours", self.num_colours, 2, 256);
        self.optimizer.normalize(checker, "/optimizer");
        checker.check(self.optimizer.name != OptimizerName::Gd, "/optimizer/name", || {
            "gd takes the full batch, which a network is not trained with: use sgd".to_owned()
        });
        checker.absent(
            "/optimizer/batch_size",
            &self.optimizer.batch_size,
            "a colourization's optimizer (it stands beside it, at /spec/batch_size)",
        );
        checker.check(self.optimizer.epsilon.is_none_or(|epsilon| epsilon >= LEAST_EPSILON), "/optimizer/epsilon", || {
            format!("must be at least {LEAST_EPSILON:e} for a colourization, which is computed in single precision")
        });
        checker.range("/batch_size", self.batch_size, 1, MOST_BATCH);
        checker.check(!self.normalizes_a_single_pixel(), "/batch_size", || {
            "leaves a batch of one image of 4×4 pixels, of which the network's inner layers see a single one: batch norm needs two"
                .to_owned()
        });
        checker.range("/epochs", self.epochs, 1, MOST_EPOCHS);
        checker.range("/sample_images", self.sample_images, 1, 100);
        if let Some(stopping) = &self.early_stopping {
            checker.range("/early_stopping/patience", stopping.patience, 1, MOST_EPOCHS);
            checker.range("/early_stopping/min_delta", stopping.min_delta, 0.0, 1e6);
        }
    }

    /// Whether a training batch, the last one of an epoch perhaps, has one pixel a channel where the networks are narrowest, at a quarter of the side.
    fn normalizes_a_single_pixel(&self) -> bool {
        let last_is_single = self.dataset.train_images.and_then(|train| train.checked_rem(self.batch_size)) == Some(1);
        self.dataset.is_synthetic() && self.dataset.size == Some(4) && (self.batch_size == 1 || last_is_single)
    }
}

impl DatasetSpec {
    fn normalize(&mut self, checker: &mut Checker, at: &str) {
        checker.check(!self.name.is_empty(), &format!("{at}/name"), || "must not be empty".to_owned());
        if self.is_synthetic() {
            checker.absent(&format!("{at}/category"), &self.category, "dataset synthetic");
            checker.absent(&format!("{at}/sha256"), &self.sha256, "dataset synthetic");
            let train = *self.train_images.get_or_insert(1000);
            let val = *self.val_images.get_or_insert(200);
            let size = *self.size.get_or_insert(32);
            self.seed.get_or_insert(0);
            checker.range(&format!("{at}/train_images"), train, 1, 1_000_000);
            checker.range(&format!("{at}/val_images"), val, 1, 1_000_000);
            checker.range(&format!("{at}/size"), size, 4, 512);
            checker.check(size.is_multiple_of(4), &format!("{at}/size"), || format!("must be a multiple of 4, is {size}"));
        } else {
            for (field, value) in
                [("train_images", self.train_images), ("val_images", self.val_images), ("size", self.size), ("seed", self.seed)]
            {
                checker.absent(&format!("{at}/{field}"), &value, "an uploaded dataset");
            }
            let known = self.category.is_none() || self.label().is_some();
            checker.check(known, &format!("{at}/category"), || format!("must be one of {}", CIFAR10_CATEGORIES.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Spec;

    /// Where the errors of a small spec point that is changed by `change`.
    fn errors(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut spec = json!({"kind": "colourization", "dataset": {"name": "synthetic", "train_images": 20, "size": 4},
            "network": {"name": "unet"}, "optimizer": {"name": "adam", "learning_rate": 0.001}, "batch_size": 5});
        change(&mut spec);
        let errors = Spec::from_value(spec, "").err().unwrap_or_default();
        errors.into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn a_batch_of_one_image_is_refused_where_batch_norm_would_see_one_pixel() {
        assert_eq!(errors(|_| ()), [""; 0]);
        for batch_size in [1, 19] {
            assert_eq!(errors(|spec| spec["batch_size"] = json!(batch_size)), ["/batch_size"]);
            let larger = |spec: &mut Value| {
                spec["batch_size"] = json!(batch_size);
                spec["dataset"]["size"] = json!(8);
            };
            assert_eq!(errors(larger), [""; 0]);
        }
        assert_eq!(errors(|spec| spec["dataset"]["train_images"] = json!(1)), ["/batch_size"]);
    }

    #[test]
    fn an_epsilon_that_is_0_in_single_precision_is_refused() {
        assert_eq!(errors(|spec| spec["optimizer"]["epsilon"] = json!(1e-39)), ["/optimizer/epsilon"]);
        assert_eq!(errors(|spec| spec["optimizer"]["epsilon"] = json!(1e-38)), [""; 0]);
    }
}
