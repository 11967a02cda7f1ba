//! Colouring one picture with a trained model: a run of moments.
//!
//! The picture is decoded here and nowhere else ([`decode`]), made grey as training images are, and goes through the network in windows
//! ([`windows`]), so that memory is bounded whatever the sizes are. It is coloured on the CPU, also where the model was trained on a GPU: the
//! same model gives the same picture on every worker of one build.

mod decode;
mod model;
#[cfg(test)]
mod tests;
mod windows;

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::json;
use trainyard_wire::StopReason;
use trainyard_wire::spec::PictureSpec;
use trainyard_wire::spec::picture::{COLOURIZED, COMPARISON, GREY};

use super::session::{Artifact, Session};
use super::{Assignment, Ended, TrainError, Workshop};
use crate::data::prepared::grey_of;
use crate::data::{Images, Palette};
use model::Model;

/// Pixels between two parts of the comparison.
const GAP: u32 = 4;
const BACKGROUND: image::Rgb<u8> = image::Rgb([255, 255, 255]);

/// What a run that colours a picture needs: files, as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PictureInputs {
    /// `model.safetensors` of the model's run.
    pub model: Bytes,
    /// `model.json` of the same.
    pub description: Bytes,
    /// PNG or JPEG.
    pub picture: Bytes,
}

/// Colours the picture. See [`super::train`].
pub(super) fn colour(spec: &PictureSpec, assignment: &Assignment, workshop: &Workshop, session: &dyn Session) -> Result<Ended, TrainError> {
    let inputs = assignment.picture.as_ref().ok_or_else(|| TrainError::Spec("the picture is not here".to_owned()))?;
    let original = decode::decode(&inputs.picture, &spec.picture)?;
    let model = Model::load(&inputs.description, &inputs.model, &workshop.device)?;
    let (width, height) = original.dimensions();
    let grey: Vec<f32> = original.pixels().map(|pixel| grey_of(pixel.0)).collect();
    let size = (height as usize, width as usize);
    let classes = match windows::predict(model.network.as_ref(), &grey, size, session)? {
        Ok(classes) => classes,
        Err(stop) => return Ok(Ended::Stopped(stop)),
    };
    // As sample pictures show it.
    let shown_grey: Vec<[u8; 3]> = grey.iter().map(|grey| [(grey * 256.0) as u8; 3]).collect();
    let colours: Vec<[u8; 3]> = classes.iter().map(|class| model.palette.bytes(*class)).collect();
    let has_colours = original.pixels().any(|pixel| pixel.0.iter().any(|channel| *channel != pixel.0[0]));
    let accuracy = if has_colours { Some(accuracy(&original, &model.palette, &classes)?) } else { None };

    let (shown_grey, coloured) = (picture_of(width, height, &shown_grey), picture_of(width, height, &colours));
    let parts: Vec<&RgbImage> = [&shown_grey, &coloured].into_iter().chain(has_colours.then_some(&original)).collect();
    let comparison = beside_each_other(&parts);
    for (name, picture) in [
        (COMPARISON, DynamicImage::from(comparison)),
        (GREY, DynamicImage::from(DynamicImage::from(shown_grey).into_luma8())),
        (COLOURIZED, DynamicImage::from(coloured)),
    ] {
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
        session.save_artifact(Artifact { name: name.to_owned(), bytes: bytes.into(), dispensable: false });
    }
    let result = json!({ "width": width, "height": height, "has_colours": has_colours, "accuracy": accuracy });
    Ok(Ended::Succeeded { stop_reason: StopReason::Completed, result })
}

/// The share of the pixels whose class is that of the palette's colour nearest to the original's.
fn accuracy(original: &RgbImage, palette: &Palette, classes: &[u8]) -> Result<f64, TrainError> {
    let planes = [0, 1, 2].map(|channel| original.pixels().map(|pixel| pixel.0[channel]).collect::<Vec<u8>>());
    let images = Images::new(original.height() as usize, original.width() as usize, planes.concat())?;
    let hits = palette.classes(&images).into_iter().zip(classes).filter(|(truth, class)| truth == *class).count();
    Ok(hits as f64 / classes.len() as f64)
}

/// The picture of these pixels, rows first.
fn picture_of(width: u32, height: u32, colours: &[[u8; 3]]) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| image::Rgb(colours[y as usize * width as usize + x as usize]))
}

/// Pictures of one size, from left to right; of wide ones, from top to bottom.
fn beside_each_other(parts: &[&RgbImage]) -> RgbImage {
    let (width, height) = parts[0].dimensions();
    let count = parts.len() as u32;
    let wide = width > 2 * height;
    let along = |side: u32| count * (side + GAP) - GAP;
    let (all_width, all_height) = if wide { (width, along(height)) } else { (along(width), height) };
    let mut all = RgbImage::from_pixel(all_width, all_height, BACKGROUND);
    for (place, part) in (0i64..).zip(parts) {
        let (x, y) = if wide { (0, place * i64::from(height + GAP)) } else { (place * i64::from(width + GAP), 0) };
        image::imageops::replace(&mut all, *part, x, y);
    }
    all
}
