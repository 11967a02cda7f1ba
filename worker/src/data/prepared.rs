//! Image sets ready for training: grey pictures and the classes of their pixels.
//!
//! Preparing takes seconds, the runs of a sweep share it: [`PreparedCache`] keeps the sets that were used last.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use trainyard_wire::dataset::FileRole;
use trainyard_wire::spec::ColourizationSpec;
use trainyard_wire::spec::colourization::DatasetSpec;

use super::scenes::{self, Part};
use super::{DataError, Images, LocalDataset, Palette, cifar};

/// The most bytes that a cache keeps beyond its newest set: 2 GiB.
const MOST_BYTES: usize = 2 << 30;

/// Grey pictures in `[0, 1)` and the class of each of their pixels, picture after picture, rows first.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    /// `(R + G + B)/3`, of R, G and B in `[0, 1)`.
    pub grey: Vec<f32>,
    pub classes: Vec<u8>,
}

/// An image set as a network is trained on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    pub height: usize,
    pub width: usize,
    /// Of the training pixels.
    pub palette: Palette,
    pub train: Examples,
    pub val: Examples,
    /// The colours of the validation images.
    pub val_colours: Images,
}

impl Prepared {
    /// Makes the set that `spec` names; `dataset` is the uploaded one, unless it is the built-in.
    ///
    /// # Errors
    /// Where the dataset is missing or cannot be read.
    pub fn new(spec: &ColourizationSpec, dataset: Option<&LocalDataset>) -> Result<Self, DataError> {
        let [train, val] = load(&spec.dataset, dataset)?;
        let num_colours = usize::try_from(spec.num_colours).ok().filter(|count| (1..=256).contains(count));
        let num_colours = num_colours.ok_or_else(|| DataError::Spec(format!("{} colours are not a palette", spec.num_colours)))?;
        let palette = Palette::of(&train, num_colours, spec.palette_seed);
        let examples = |images: &Images| Examples { grey: grey(images), classes: palette.classes(images) };
        let (height, width) = (train.height, train.width);
        Ok(Self { height, width, train: examples(&train), val: examples(&val), palette, val_colours: val })
    }

    /// Pixels of one image.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Number of training images.
    pub fn train_count(&self) -> usize {
        self.train.classes.len() / self.pixels()
    }

    /// Number of validation images.
    pub fn val_count(&self) -> usize {
        self.val.classes.len() / self.pixels()
    }

    fn bytes(&self) -> usize {
        5 * (self.train.classes.len() + self.val.classes.len()) + self.val_colours.bytes().len()
    }
}

fn load(spec: &DatasetSpec, dataset: Option<&LocalDataset>) -> Result<[Images; 2], DataError> {
    if !spec.is_synthetic() {
        let dataset = dataset.ok_or_else(|| DataError::Spec(format!("the dataset {} is not here", spec.name)))?;
        let load = |role| cifar::load(dataset, role, spec.label());
        return Ok([load(FileRole::Train)?, load(FileRole::Val)?]);
    }
    let number = |value: Option<u64>, default: u64| {
        usize::try_from(value.unwrap_or(default)).map_err(|_| DataError::Spec("the synthetic images are too many".to_owned()))
    };
    let (size, seed) = (number(spec.size, 32)?, spec.seed.unwrap_or(0));
    let load = |part, count| scenes::images(part, count, size, seed);
    Ok([load(Part::Train, number(spec.train_images, 1000)?)?, load(Part::Val, number(spec.val_images, 200)?)?])
}

/// The grey of a colour: `(R + G + B)/3`, of R, G and B in `[0, 1)`.
pub fn grey_of(colour: [u8; 3]) -> f32 {
    let [red, green, blue] = colour.map(u16::from);
    f32::from(red + green + blue) / (3.0 * 256.0)
}

fn grey(images: &Images) -> Vec<f32> {
    let pixels = images.pixels();
    let mut grey = vec![0.0; images.count() * pixels];
    grey.par_chunks_mut(pixels).enumerate().for_each(|(image, grey)| {
        let [red, green, blue] = images.planes(image);
        for (pixel, grey) in grey.iter_mut().enumerate() {
            *grey = grey_of([red[pixel], green[pixel], blue[pixel]]);
        }
    });
    grey
}

/// What a prepared set depends on.
#[derive(Clone, Debug, PartialEq)]
struct Key {
    dataset: DatasetSpec,
    num_colours: u64,
    palette_seed: u64,
}

/// The sets that were used last, newest at the end.
#[derive(Debug, Default)]
pub struct PreparedCache {
    sets: Mutex<Vec<(Key, Arc<Prepared>)>>,
}

impl PreparedCache {
    /// The set that `spec` names, made if it is not here. Others wait meanwhile, as they may want the same.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn get(&self, spec: &ColourizationSpec, dataset: Option<&LocalDataset>) -> Result<Arc<Prepared>, DataError> {
        let mut key = Key { dataset: spec.dataset.clone(), num_colours: spec.num_colours, palette_seed: spec.palette_seed };
        key.dataset.sha256 = dataset.map(|dataset| dataset.sha256.clone());
        // A thread that panicked while it held the lock left the list whole: it is only changed in one go below.
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let set = match sets.iter().position(|(other, _)| *other == key) {
            Some(place) => sets.remove(place).1,
            None => Arc::new(Prepared::new(spec, dataset)?),
        };
        sets.push((key, Arc::clone(&set)));
        while sets.len() > 1 && sets.iter().map(|(_, set)| set.bytes()).sum::<usize>() > MOST_BYTES {
            sets.remove(0);
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trainyard_wire::Spec;

    use super::*;

    fn spec(change: impl FnOnce(&mut Value)) -> ColourizationSpec {
        let mut spec = json!({"kind": "colourization", "dataset": {"name": "synthetic", "train_images": 6, "val_images": 2, "size": 8},
            "network": {"name": "unet"}, "num_colours": 5, "optimizer": {"name": "adam", "learning_rate": 0.001}});
        change(&mut spec);
        match Spec::from_value(spec, "").unwrap() {
            Spec::Colourization(spec) => spec,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn grey_is_the_plain_mean_of_the_channels() {
        let images = Images::new(1, 2, vec![0, 255, 3, 255, 6, 255]).unwrap();
        assert_eq!(grey(&images), [3.0 / 256.0, 255.0 / 256.0]);
    }

    #[test]
    fn a_prepared_set_has_a_grey_value_and_a_class_for_each_pixel() {
        let prepared = Prepared::new(&spec(|_| ()), None).unwrap();
        assert_eq!((prepared.train_count(), prepared.val_count()), (6, 2));
        assert_eq!((prepared.train.grey.len(), prepared.val.grey.len()), (6 * 64, 2 * 64));
        assert!(prepared.train.classes.iter().all(|class| *class < 5));
        assert!(prepared.train.grey.iter().all(|grey| (0.0..1.0).contains(grey)));
    }

    #[test]
    fn a_sweep_prepares_once_and_another_palette_again() {
        let cache = PreparedCache::default();
        let first = cache.get(&spec(|_| ()), None).unwrap();
        let other_network = cache.get(&spec(|spec| spec["network"]["name"] = json!("pool_upsample")), None).unwrap();
        assert!(Arc::ptr_eq(&first, &other_network));
        let other_palette = cache.get(&spec(|spec| spec["palette_seed"] = json!(1)), None).unwrap();
        assert!(!Arc::ptr_eq(&first, &other_palette));
        assert!(Arc::ptr_eq(&first, &cache.get(&spec(|_| ()), None).unwrap()));
    }

    #[test]
    fn a_missing_dataset_is_an_error() {
        let mut spec = spec(|_| ());
        spec.dataset.name = "horses".to_owned();
        assert!(matches!(PreparedCache::default().get(&spec, None), Err(DataError::Spec(_))));
    }
}
