use image::{ImageFormat, RgbImage};
use trainyard_wire::spec::PictureSpec;
use trainyard_wire::spec::picture::{DESCRIPTION, MODEL, PictureFile, PictureFormat};
use trainyard_wire::{RunId, Spec};

use super::*;
use crate::data::files::sha256;
use crate::networks::{self, NetworkConfig, NetworkKind, state_dict};

/// A model with the weights of a beginning, as its run's files.
fn model() -> [Bytes; 2] {
    let config = NetworkConfig { kind: NetworkKind::UNet, kernel: 3, num_filters: 2, num_colours: 2, in_channels: 1, seed: 5 };
    let network = networks::build(&config, &candle_core::Device::Cpu).unwrap();
    let description = json!({"network": {"name": "unet", "kernel": 3, "num_filters": 2, "in_channels": 1, "num_colours": 2},
        "palette": [[0.0, 0.0, 0.9], [0.9, 0.0, 0.0]]});
    [state_dict::to_safetensors(network.as_ref()).unwrap().into(), description.to_string().into()]
}

fn picture() -> Bytes {
    let mut bytes = Vec::new();
    RgbImage::new(6, 3).write_to(&mut std::io::Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    bytes.into()
}

/// Puts these files on the server, changes something of them, and queues the run that colours the picture.
fn queue_changed(server: &FakeServer, run: i64, picture: &Bytes, change: impl FnOnce(&mut State)) {
    let [model, description] = model();
    let spec = PictureSpec {
        model_run_id: RunId(99),
        model_sha256: sha256(&model),
        description_sha256: sha256(&description),
        picture: PictureFile { format: PictureFormat::Png, width: 6, height: 3, size: picture.len() as u64, sha256: sha256(picture) },
    };
    server.with(|state| {
        for (name, bytes) in [(MODEL, model), (DESCRIPTION, description), ("original.png", picture.clone())] {
            state.inputs.insert(name.to_owned(), bytes);
        }
        change(state);
    });
    server.queue_spec(run, Spec::Picture(spec));
}

fn queue(server: &FakeServer, run: i64, picture: &Bytes) {
    queue_changed(server, run, picture, |_| ());
}

#[tokio::test]
async fn a_picture_is_fetched_with_its_model_and_what_it_comes_to_is_sent_before_the_end() {
    let server = FakeServer::new();
    queue(&server, 1, &picture());
    let world = World::start(server.clone(), train);
    let finish = server.finish(1).await;
    assert_eq!((finish.outcome, finish.stop_reason), (Outcome::Succeeded, Some(StopReason::Completed)));
    assert_eq!(finish.result.unwrap()["width"], 6);
    let uploaded = server.with(|state| {
        let name = |call: &Call| match call {
            Call::Upload(_, name, _) => Some(name.clone()),
            _ => None,
        };
        state.calls.iter().filter_map(name).collect::<Vec<_>>()
    });
    assert_eq!(uploaded, ["comparison.png", "grey.png", "colourized.png"]);
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_damaged_picture_fails_with_its_reason_and_the_queue_goes_on() {
    let server = FakeServer::new();
    queue(&server, 1, &picture().slice(..50));
    let world = World::start(server.clone(), train);
    let failed = server.finish(1).await;
    assert_eq!(failed.outcome, Outcome::Failed);
    assert!(failed.error.as_ref().is_some_and(|error| error.starts_with("the picture cannot be read")), "{failed:?}");

    queue(&server, 2, &picture());
    assert_eq!(server.finish(2).await.outcome, Outcome::Succeeded);
    // Other bytes than were announced, and none at all.
    queue_changed(&server, 3, &picture(), |state| drop(state.inputs.insert(MODEL.to_owned(), Bytes::from_static(b"other"))));
    let error = server.finish(3).await.error.unwrap();
    assert!(error.contains("model.safetensors is damaged"), "{error}");
    queue_changed(&server, 4, &picture(), |state| drop(state.inputs.remove(DESCRIPTION)));
    let error = server.finish(4).await.error.unwrap();
    assert!(error.contains("model.json is missing"), "{error}");
    world.end().await.unwrap();
}
