use std::io::Cursor;

use candle_core::{Device, Tensor};
use image::{DynamicImage, GenericImageView as _, ImageFormat, RgbImage};
use serde_json::{Value, json};
use trainyard_theory::network::Tiling;
use trainyard_wire::spec::picture::{PictureFile, PictureFormat};
use trainyard_wire::{RunId, Spec};

use super::super::colourization::predict as predict_images;
use super::super::memory::MemorySession;
use super::super::{Stop, train};
use super::*;
use crate::data::scenes::{self, Part};
use crate::networks::{self, ColourizationNetwork, NetworkConfig, NetworkKind, state_dict};

const COLOURS: usize = 6;

/// A network whose classes depend on what it sees: what it starts with is mostly its biases.
fn network(kind: NetworkKind, kernel: usize) -> Box<dyn ColourizationNetwork> {
    let config = NetworkConfig { kind, kernel, num_filters: 4, num_colours: COLOURS, in_channels: 1, seed: 3 };
    let mut network = networks::build(&config, &Device::Cpu).unwrap();
    let mut values: Vec<f32> = network.parameters().to_vec1().unwrap();
    for entry in network.layout().parameters.entries().iter().filter(|entry| entry.name.ends_with(".weight")) {
        values[entry.range()].iter_mut().for_each(|value| *value *= 4.0);
    }
    network.load_parameters(&values).unwrap();
    network
}

/// Grey values without any order.
fn noise(count: usize) -> Vec<f32> {
    (0..count as u64).map(|pixel| (pixel.wrapping_mul(2_654_435_761) >> 7) as f32 % 257.0 / 257.0).collect()
}

/// The classes when the whole picture, continued to multiples of 4, goes through at once.
fn at_once(network: &dyn ColourizationNetwork, grey: &[f32], (height, width): (usize, usize)) -> Vec<u8> {
    let (all_height, all_width) = (height.next_multiple_of(4), width.next_multiple_of(4));
    let at = |y: usize, x: usize| grey[y.min(height - 1) * width + x.min(width - 1)];
    let values: Vec<f32> = (0..all_height).flat_map(|y| (0..all_width).map(move |x| (y, x))).map(|(y, x)| at(y, x)).collect();
    let image = Tensor::from_vec(values, (1, 1, all_height, all_width), &Device::Cpu).unwrap();
    let classes = predict_images(network, &image, 1).unwrap();
    classes.chunks(all_width).take(height).flat_map(|line| line[..width].to_vec()).collect()
}

fn png(picture: impl Into<DynamicImage>) -> Bytes {
    let mut bytes = Vec::new();
    picture.into().write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    bytes.into()
}

fn assignment(model: Bytes, description: &Value, format: PictureFormat, picture: Bytes, (width, height): (u64, u64)) -> Assignment {
    let sha256 = String::new();
    let file = PictureFile { format, width, height, size: picture.len() as u64, sha256: sha256.clone() };
    let spec = PictureSpec { model_run_id: RunId(1), model_sha256: sha256.clone(), description_sha256: sha256, picture: file };
    let inputs = PictureInputs { model, description: description.to_string().into(), picture };
    Assignment { spec: Spec::Picture(spec), dataset: None, checkpoint: None, picture: Some(inputs) }
}

fn colour(assignment: &Assignment, session: &MemorySession) -> Result<Ended, TrainError> {
    train(assignment, &Workshop::new(Device::Cpu), session)
}

/// A U-Net that looks at each pixel's grey alone and makes it red from one half on, else blue.
fn red_where_bright() -> (Bytes, Value) {
    let config = NetworkConfig { kind: NetworkKind::UNet, kernel: 3, num_filters: 2, num_colours: 2, in_channels: 1, seed: 0 };
    let mut network = networks::build(&config, &Device::Cpu).unwrap();
    let layout = network.layout().parameters.clone();
    let mut values = vec![0.0; layout.len()];
    let entry = |name: &str| layout.entries().iter().find(|entry| entry.name == name).unwrap().offset;
    // Of the second colour, the third channel's (the input's) tap in the middle; and its bias.
    values[entry("layer5.weight") + 27 + 2 * 9 + 4] = 1.0;
    values[entry("layer5.bias") + 1] = -0.5;
    network.load_parameters(&values).unwrap();
    let description = json!({"network": {"name": "unet", "kernel": 3, "num_filters": 2, "in_channels": 1, "num_colours": 2},
        "palette": [[0.0, 0.0, 0.9], [0.9, 0.0, 0.0]], "seed": 0});
    (state_dict::to_safetensors(network.as_ref()).unwrap().into(), description)
}

#[test]
fn a_known_model_makes_a_known_picture() {
    let (model, description) = red_where_bright();
    // 255/256 from the mean of the channels, and 126/256.
    let original = RgbImage::from_fn(7, 5, |x, y| if (x + y) % 2 == 0 { image::Rgb([255; 3]) } else { image::Rgb([0, 189, 189]) });
    let session = MemorySession::default();
    let run = assignment(model, &description, PictureFormat::Png, png(original.clone()), (7, 5));
    let ended = colour(&run, &session).unwrap();
    // The reds of the original are whites and cyans, of which cyan is nearest to blue and white too.
    let Ended::Succeeded { result, .. } = ended else { panic!("{ended:?}") };
    assert_eq!((&result["width"], &result["height"], &result["has_colours"]), (&json!(7), &json!(5), &json!(true)));
    let read = |name: &str| image::load_from_memory(&session.artifact(name)).unwrap().into_rgb8();
    let (coloured, grey, comparison) = (read(COLOURIZED), read(GREY), read(COMPARISON));
    assert_eq!((coloured.dimensions(), grey.dimensions(), comparison.dimensions()), ((7, 5), (7, 5), (3 * 7 + 2 * GAP, 5)));
    for (x, y, pixel) in original.enumerate_pixels() {
        let bright = pixel.0 == [255; 3];
        assert_eq!(coloured.get_pixel(x, y).0, if bright { [230, 0, 0] } else { [0, 0, 230] }, "{x} {y}");
        assert_eq!(grey.get_pixel(x, y).0, [if bright { 255 } else { 126 }; 3]);
        for (place, part) in [(0, &grey), (1, &coloured), (2, &original)] {
            assert_eq!(comparison.get_pixel(place * (7 + GAP) + x, y), part.get_pixel(x, y));
        }
    }
    assert!((0.0..=1.0).contains(&result["accuracy"].as_f64().unwrap()));
}

#[test]
fn a_grey_picture_has_no_original_to_be_compared_with() {
    let (model, description) = red_where_bright();
    let grey = image::GrayImage::from_fn(40, 8, |x, _| image::Luma([(x * 6) as u8]));
    let session = MemorySession::default();
    let run = assignment(model, &description, PictureFormat::Png, png(grey), (40, 8));
    let Ended::Succeeded { result, .. } = colour(&run, &session).unwrap() else { panic!() };
    assert_eq!((&result["has_colours"], &result["accuracy"]), (&json!(false), &Value::Null));
    // Wide ones lie below each other.
    let comparison = image::load_from_memory(&session.artifact(COMPARISON)).unwrap();
    assert_eq!(comparison.dimensions(), (40, 2 * 8 + GAP));
}

#[test]
fn windows_come_to_what_the_whole_picture_comes_to() {
    for kind in [NetworkKind::PoolUpsample, NetworkKind::ConvTranspose, NetworkKind::UNet] {
        for kernel in [1, 3, 4, 7] {
            let network = network(kind, kernel);
            let size = (70, 131);
            let grey = noise(size.0 * size.1);
            let whole = at_once(network.as_ref(), &grey, size);
            // One tap in each layer makes a colour of a brightness, which may be the same for all.
            assert!(kernel == 1 || whole.iter().any(|class| *class != whole[0]), "{kind:?} {kernel}: nothing to tell apart");
            let tiling = Tiling { height: 72, width: 96, halo: 36, bytes: 0 };
            let session = MemorySession::default();
            let found = windows::in_windows(network.as_ref(), &grey, size, tiling, &session).unwrap().unwrap();
            let different = found.iter().zip(&whole).filter(|(a, b)| a != b).count();
            // Blocks of the kernels lie otherwise in a window, so that sums may be rounded otherwise: two equal classes may change places.
            assert!(different <= 2, "{kind:?} {kernel}: {different} of {} pixels", whole.len());
            assert_eq!(session.progress.borrow().last().unwrap().step, 1);
        }
    }
}

#[test]
fn a_picture_of_any_size_is_coloured_whole() {
    let network = network(NetworkKind::PoolUpsample, 3);
    for size in [(1, 1), (1, 9), (5, 4), (33, 18), (4, 515)] {
        let grey = noise(size.0 * size.1);
        let found = windows::predict(network.as_ref(), &grey, size, &MemorySession::default()).unwrap().unwrap();
        assert_eq!(found, at_once(network.as_ref(), &grey, size), "{size:?}");
    }
}

#[test]
fn a_picture_of_the_validation_set_comes_out_as_in_the_sample() {
    let spec = json!({"kind": "colourization", "dataset": {"name": "synthetic", "train_images": 30, "val_images": 3, "size": 16},
        "network": {"name": "conv_transpose", "num_filters": 6}, "num_colours": COLOURS, "optimizer": {"name": "adam", "learning_rate": 0.01},
        "batch_size": 10, "epochs": 4, "sample_images": 3, "sample_every": 4});
    let training = Assignment { spec: Spec::from_value(spec, "").unwrap(), dataset: None, checkpoint: None, picture: None };
    let trained = MemorySession::default();
    train(&training, &Workshop::new(Device::Cpu), &trained).unwrap();
    let sample = image::load_from_memory(&trained.artifact("samples/epoch-004.png")).unwrap().into_rgb8();
    let description: Value = serde_json::from_slice(&trained.artifact("model.json")).unwrap();

    let images = scenes::images(Part::Val, 3, 16, 0).unwrap();
    for image in 0..3 {
        let original = RgbImage::from_fn(16, 16, |x, y| image::Rgb(images.colour(image * 256 + (y * 16 + x) as usize)));
        let session = MemorySession::default();
        let run = assignment(trained.artifact("model.safetensors"), &description, PictureFormat::Png, png(original), (16, 16));
        let Ended::Succeeded { result, .. } = colour(&run, &session).unwrap() else { panic!() };
        let [grey, coloured] = [GREY, COLOURIZED].map(|name| image::load_from_memory(&session.artifact(name)).unwrap().into_rgb8());
        let (mut hits, mut pixels) = (0, 0);
        for (x, y, pixel) in coloured.enumerate_pixels() {
            // A row of the sample is grey, truth, prediction and error, a pixel apart, at twice the size.
            let tile = |tile: u32| *sample.get_pixel(2 * (17 * tile + x), 2 * (17 * image as u32 + y));
            assert_eq!((*grey.get_pixel(x, y), *pixel), (tile(0), tile(2)), "image {image}, {x} {y}");
            hits += u32::from(tile(1) == tile(2));
            pixels += 1;
        }
        assert_eq!(result["accuracy"], json!(f64::from(hits) / f64::from(pixels)));
    }
}

#[test]
fn a_run_that_is_to_stop_stops_before_the_network() {
    let (model, description) = red_where_bright();
    let picture = png(RgbImage::new(20, 20));
    for stop in [Stop::Cancel, Stop::Release, Stop::Drop] {
        let session = MemorySession::stopping_at(0, stop);
        let run = assignment(model.clone(), &description, PictureFormat::Png, picture.clone(), (20, 20));
        assert_eq!(colour(&run, &session).unwrap(), Ended::Stopped(stop));
        assert!(session.artifacts.borrow().is_empty());
    }
}

#[test]
fn what_cannot_be_used_is_told_in_words() {
    let (model, description) = red_where_bright();
    let picture = png(RgbImage::new(20, 20));
    let error = |model: &Bytes, description: &Value, picture: &Bytes| {
        let run = assignment(model.clone(), description, PictureFormat::Png, picture.clone(), (20, 20));
        colour(&run, &MemorySession::default()).unwrap_err().to_string()
    };
    assert!(error(&model, &description, &picture.slice(..40)).contains("the picture cannot be read"));
    assert!(error(&model, &json!({}), &picture).contains("the model cannot be used"));
    let with = |pointer: &str, value: Value| {
        let mut changed = description.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    for (pointer, value) in
        [("/network/in_channels", json!(3)), ("/network/num_filters", json!(1_u64 << 40)), ("/palette", json!([[0, 0, 0]]))]
    {
        assert!(error(&model, &with(pointer, value), &picture).contains("the model cannot be used"), "{pointer}");
    }
    assert!(!error(&model, &with("/network/kernel", json!(5)), &picture).is_empty());
    assert!(!error(&Bytes::from_static(b"no tensors"), &description, &picture).is_empty());
}
