//! Pictures coloured with a trained model, by real processes: over HTTP as with curl, and with the command line.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Cursor;
use std::time::Duration;

use image::{DynamicImage, ImageFormat, RgbImage};
use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use support::{Yard, eventually, jobs, process};
use trainyard_wire::client::RunQuery;
use trainyard_wire::spec::picture::PictureFormat;
use trainyard_wire::{RunId, RunState};

fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    DynamicImage::from(picture.clone()).write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// Stripes of colours.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 5) as u8, (y * 9) as u8, ((x / 8) * 60) as u8]))
}

/// The colours of a model's palette, as bytes.
async fn palette(yard: &Yard, model: RunId) -> Vec<[u8; 3]> {
    let description: serde_json::Value = serde_json::from_slice(&yard.artifact(model, "model.json").await).unwrap();
    let colours: Vec<[f64; 3]> = serde_json::from_value(description["palette"].clone()).unwrap();
    colours.into_iter().map(|colour| colour.map(|channel| (channel * 256.0).min(255.0) as u8)).collect()
}

#[tokio::test]
async fn a_png_and_a_jpeg_come_back_in_the_colours_of_the_models_palette() {
    let yard = Yard::up(&["--workers", "1", "--threads", "1"]).await;
    let model = yard.submit(&jobs::colourization(2)).await;
    yard.until(model, RunState::Succeeded).await;
    let palette = palette(&yard, model).await;
    let original = picture(51, 34);
    let mut pictures = Vec::new();
    for (media, format) in [("image/png", ImageFormat::Png), ("image/jpeg", ImageFormat::Jpeg)] {
        // What the README's curl sends.
        let request = yard.request(Method::POST, &format!("/v1/runs/{model}/colourize"));
        let request = request.header("content-type", media).header("accept", "image/png").header("prefer", "wait=45");
        let answer = request.body(encoded(&original, format)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "image/png");
        let coloured = image::load_from_memory_with_format(&answer.bytes().await.unwrap(), ImageFormat::Png).unwrap().into_rgb8();
        assert_eq!(coloured.dimensions(), (51, 34));
        assert!(coloured.pixels().all(|pixel| palette.contains(&pixel.0)), "another colour than the palette's");
        pictures.push(coloured);
    }
    let listed = yard.client.colourized(model).await.unwrap().items;
    let formats: Vec<_> = listed.iter().map(|item| item.format).collect();
    assert_eq!(formats, [PictureFormat::Jpeg, PictureFormat::Png]);
    assert!(listed.iter().all(|item| item.accuracy.is_some_and(|share| (0.0..=1.0).contains(&share))));
    let comparison = image::load_from_memory(&yard.artifact(listed[1].run_id, "comparison.png").await).unwrap().into_rgb8();
    let inside = image::imageops::crop_imm(&comparison, 51 + 4, 0, 51, 34).to_image();
    assert_eq!(inside, pictures[0]);
    assert_eq!(yard.client.runs(&RunQuery::default()).await.unwrap().items.len(), 1, "pictures are in no list of runs");
}

#[tokio::test]
async fn the_command_line_colours_files_and_says_why_it_cannot() {
    let yard = Yard::up(&["--workers", "1", "--threads", "1"]).await;
    let model = yard.submit(&jobs::colourization(1)).await;
    yard.until(model, RunState::Succeeded).await;
    let file = |name: &str| yard.folder.path().join(name);
    let whole = encoded(&picture(200, 120), ImageFormat::Jpeg);
    std::fs::write(file("horse.jpeg"), &whole).unwrap();
    let told = yard.cli(&["colourize", &model.to_string(), "horse.jpeg"]).await.success();
    assert!(told.contains("horse-colourized.png (200×120 pixels; ") && told.contains("% of its colours were right"), "{told}");
    assert_eq!(image::open(file("horse-colourized.png")).unwrap().into_rgb8().dimensions(), (200, 120));
    let json = yard.cli(&["colourize", &model.to_string(), "horse.jpeg", "-o", "again.png", "--json"]).await.success();
    let item: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&item["state"], &item["model_run_id"]), (&"succeeded".into(), &model.0.into()));
    assert_eq!(std::fs::read(file("again.png")).unwrap(), std::fs::read(file("horse-colourized.png")).unwrap());

    std::fs::write(file("cut.png"), &encoded(&picture(20, 12), ImageFormat::Png)[..60]).unwrap();
    std::fs::write(file("text.png"), "no picture").unwrap();
    std::fs::write(file("large.png"), encoded(&RgbImage::new(1200, 1000), ImageFormat::Png)).unwrap();
    for (name, code, reason) in [
        ("cut.png", 1, "was not coloured: the picture cannot be read"),
        ("text.png", 1, "neither a PNG nor a JPEG"),
        ("large.png", 4, "1024×1024"),
    ] {
        let failed = yard.cli(&["colourize", &model.to_string(), name]).await;
        assert_eq!(failed.code, Some(code), "{name}: {failed:?}");
        assert!(failed.stderr.contains(reason), "{name}: {}", failed.stderr);
    }
    // The queue went on after what could not be read.
    yard.cli(&["colourize", &model.to_string(), "horse.jpeg", "-o", "last.png"]).await.success();
}

#[tokio::test]
async fn a_picture_outlives_the_worker_that_colours_it() {
    let yard = Yard::server(&["--lease-seconds", "2"]).await;
    let first = yard.worker("first");
    let model = yard.submit(&jobs::colourization(1)).await;
    yard.until(model, RunState::Succeeded).await;
    // Whenever it dies, idle or at work, the picture is coloured by the next.
    let sent = yard.client.colourize(model, PictureFormat::Png, encoded(&picture(900, 900), ImageFormat::Png).into(), Duration::ZERO, None);
    let id = sent.await.unwrap().run_id;
    eventually("the picture to be begun", async || (yard.count_events(id, "claimed").await > 0).then_some(())).await;
    process::send(yard.worker_of(id).await.pid, Signal::SIGKILL);
    drop(first);
    let _second = yard.worker("second");
    let picture = eventually("the picture to be coloured", async || {
        let picture = yard.client.colourized(model).await.unwrap().items.pop().unwrap();
        assert!(picture.state == RunState::Succeeded || !picture.state.is_finished(), "{picture:?}");
        picture.colourized
    })
    .await;
    assert_eq!(picture, format!("/v1/runs/{id}/artifacts/colourized.png"));
}
