use std::time::Duration;

use serde_json::{Value, json};
use trainyard_wire::colours::{Baselines, Confusion};
use trainyard_wire::{Spec, StopReason};

use super::super::memory::MemorySession;
use super::super::{Assignment, Ended, Stop, TrainError, Workshop, train};

fn workshop() -> Workshop {
    Workshop::new(candle_core::Device::Cpu)
}

/// A run of seconds: 20 images of 8×8 pixels in batches of 6 (so that an epoch has a smaller last batch), 3 epochs.
fn spec(change: impl FnOnce(&mut Value)) -> Assignment {
    let mut spec = json!({
        "kind": "colourization",
        "dataset": {"name": "synthetic", "train_images": 20, "val_images": 5, "size": 8},
        "network": {"name": "unet", "num_filters": 2},
        "num_colours": 6,
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "batch_size": 6,
        "epochs": 3,
        "sample_images": 2,
    });
    change(&mut spec);
    Assignment { spec: Spec::from_value(spec, "").unwrap(), dataset: None, checkpoint: None, picture: None }
}

fn result(assignment: &Assignment, session: &MemorySession) -> (StopReason, Value) {
    match train(assignment, &workshop(), session).unwrap() {
        Ended::Succeeded { stop_reason, result } => (stop_reason, result),
        other => panic!("{other:?}"),
    }
}

/// The metrics that do not measure time.
fn timeless(session: &MemorySession) -> Vec<(&'static str, Vec<(u64, f64)>)> {
    ["train_loss", "val_loss", "val_accuracy", "colour_error", "checkerboard"].map(|name| (name, session.series(name))).to_vec()
}

#[test]
fn a_run_reports_its_epochs_and_leaves_a_model_its_description_and_pictures() {
    let session = MemorySession::default();
    let (stop_reason, result) = result(&spec(|_| ()), &session);
    assert_eq!(stop_reason, StopReason::Completed);
    for name in ["train_loss", "val_loss", "val_accuracy", "epoch_seconds", "colour_error", "checkerboard"] {
        assert_eq!(session.series(name).iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [1, 2, 3], "{name}");
    }
    assert_eq!(result["epochs"], 3);
    assert_eq!(result["val_loss"], session.series("val_loss")[2].1);
    assert_eq!(result["val_accuracy"], session.series("val_accuracy")[2].1);
    assert_eq!(result["colour_error"], session.series("colour_error")[2].1);
    assert_eq!(result["checkerboard"], session.series("checkerboard")[2].1);
    let best = session.series("val_loss").into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert_eq!((&result["best_epoch"], &result["best_val_loss"]), (&json!(best.0), &json!(best.1)));
    for name in ["train_batch_loss", "step_ms", "images_per_second"] {
        let steps: Vec<u64> = session.series(name).iter().map(|(step, _)| *step).collect();
        assert!(steps.first() == Some(&1) && steps.contains(&10), "{name} {steps:?}");
    }
    let progress = session.progress.borrow();
    let end = progress.last().unwrap();
    assert_eq!((end.step, end.total_steps, end.epoch), (12, 12, Some(3)));

    let names: Vec<String> = session.artifacts.borrow().keys().cloned().collect();
    let samples = ["samples/epoch-001.png", "samples/epoch-002.png", "samples/epoch-003.png"];
    assert_eq!(
        names,
        [&["baselines.json", "confusion.json", "model-best.safetensors", "model.json", "model.safetensors"][..], &samples].concat()
    );
    let picture = image::load_from_memory(&session.artifact("samples/epoch-003.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (2 * (4 * 8 + 3), 2 * (2 * 8 + 1)));
    let description: Value = serde_json::from_slice(&session.artifact("model.json")).unwrap();
    assert_eq!(description["network"], json!({"name": "unet", "kernel": 3, "num_filters": 2, "in_channels": 1, "num_colours": 6}));
    assert_eq!(description["palette"].as_array().unwrap().len(), 6);
    assert!(
        description["palette"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|colour| colour.as_array().unwrap())
            .all(|value| { (0.0..=1.0).contains(&value.as_f64().unwrap()) })
    );
    assert_eq!(description["val_accuracy"], result["val_accuracy"]);
    let model = session.artifact("model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&model).unwrap();
    assert_eq!(tensors.tensor("layer1.0.weight").unwrap().shape(), [2, 1, 3, 3]);
}

#[test]
fn the_confusion_has_each_validation_pixel_once_and_its_diagonal_is_the_accuracy() {
    let session = MemorySession::default();
    let (_, result) = result(&spec(|_| ()), &session);
    let confusion: Confusion = serde_json::from_slice(&session.artifact("confusion.json")).unwrap();
    assert!(confusion.is_whole() && confusion.epoch == 3);
    let colours = confusion.colours();
    let (pixels, hits) = colours.iter().fold((0, 0), |sums, of| (sums.0 + of.truth, sums.1 + of.hits));
    assert_eq!(pixels, 5 * 64);
    assert_eq!(result["val_accuracy"], hits as f64 / pixels as f64);
    let baselines: Baselines = serde_json::from_slice(&session.artifact("baselines.json")).unwrap();
    let most = colours.iter().map(|of| of.truth).max().unwrap();
    assert_eq!(baselines.majority_accuracy, most as f64 / pixels as f64);
    assert!(baselines.frequency_loss.0 > 0.0 && baselines.samples.palette_floor < baselines.samples.majority_error);
    assert!(session.series("colour_error").iter().all(|(_, error)| *error > baselines.samples.palette_floor));
}

#[test]
fn training_lowers_the_loss_and_raises_the_accuracy() {
    let session = MemorySession::default();
    let longer = |spec: &mut Value| {
        spec["dataset"]["train_images"] = json!(60);
        spec["network"]["num_filters"] = json!(8);
        spec["epochs"] = json!(15);
        spec["sample_every"] = json!(0);
    };
    result(&spec(longer), &session);
    let losses = session.series("train_loss");
    assert!(losses[14].1 < 0.7 * losses[0].1, "{losses:?}");
    let accuracies = session.series("val_accuracy");
    assert!(accuracies[14].1 > accuracies[0].1 + 0.1, "{accuracies:?}");
    assert!(session.artifacts.borrow().keys().all(|name| !name.starts_with("samples/")));
}

#[test]
fn a_run_stopped_before_any_batch_goes_on_to_the_same_bytes() {
    for change in [json!({}), json!({"shuffle": true, "optimizer": {"name": "rmsprop", "learning_rate": 0.003, "schedule": "cosine"}})] {
        let assignment = spec(|spec| change.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone()));
        let whole = MemorySession::default();
        let undisturbed = result(&assignment, &whole);
        assert_eq!(whole.asked.get(), 12);
        for stop_at in 0..12 {
            let first = MemorySession::stopping_at(stop_at, Stop::Release);
            assert_eq!(train(&assignment, &workshop(), &first).unwrap(), Ended::Stopped(Stop::Release));
            let rest = Assignment { checkpoint: first.last_checkpoint(), ..assignment.clone() };
            let second = MemorySession::default();
            assert_eq!(result(&rest, &second), undisturbed, "stopped at {stop_at}");
            assert_eq!(second.asked.get(), 12 - stop_at);
            for name in ["model.safetensors", "model.json", "samples/epoch-003.png", "confusion.json", "baselines.json"] {
                assert_eq!(second.artifact(name), whole.artifact(name), "{name}, stopped at {stop_at}");
            }
            for session in [&first, &second] {
                for (name, points) in timeless(session) {
                    let all = whole.series(name);
                    assert!(points.iter().all(|point| all.contains(point)), "{name}: {points:?} {all:?}");
                }
            }
        }
    }
}

#[test]
fn a_lost_attempt_is_repeated_from_any_of_its_checkpoints_to_the_same_bytes() {
    let assignment = spec(|_| ());
    let mut workshop = workshop();
    workshop.colourization_checkpoint = Duration::ZERO;
    let whole = MemorySession::default();
    train(&assignment, &workshop, &whole).unwrap();
    let checkpoints = whole.checkpoints.borrow();
    // One before each batch and one at the end of each epoch.
    assert_eq!(checkpoints.len(), 12 + 3);
    for (step, checkpoint) in checkpoints.iter() {
        let rest = Assignment { checkpoint: Some(checkpoint.clone()), ..assignment.clone() };
        let second = MemorySession::default();
        train(&rest, &workshop, &second).unwrap();
        assert_eq!(second.artifact("model.safetensors"), whole.artifact("model.safetensors"), "from step {step}");
    }
}

#[test]
fn early_stopping_ends_the_run_and_keeps_the_best_model() {
    let assignment = spec(|spec| {
        spec["epochs"] = json!(50);
        // Nothing improves by so much: the first epoch stays the reference.
        spec["early_stopping"] = json!({"metric": "val_loss", "patience": 2, "min_delta": 100.0});
        spec["sample_every"] = json!(50);
    });
    let session = MemorySession::default();
    let (stop_reason, result) = result(&assignment, &session);
    assert_eq!((stop_reason, &result["epochs"]), (StopReason::EarlyStopped, &json!(3)));
    assert!(session.artifacts.borrow().contains_key("samples/epoch-003.png"));
    let best = session.artifact("model-best.safetensors");
    assert_eq!(best == session.artifact("model.safetensors"), result["best_epoch"] == 3);

    // A worker that dies between the last epoch and the end leaves a checkpoint that ends at once.
    let rest = Assignment { checkpoint: session.last_checkpoint(), ..assignment };
    let second = MemorySession::default();
    assert_eq!(self::result(&rest, &second), (stop_reason, result));
    assert_eq!(second.asked.get(), 0);
}

#[test]
fn a_rate_that_blows_up_ends_as_diverged() {
    let session = MemorySession::default();
    let assignment = spec(|spec| {
        spec["optimizer"] = json!({"name": "sgd", "learning_rate": 1e6});
        spec["epochs"] = json!(50);
    });
    let ended = train(&assignment, &workshop(), &session).unwrap();
    let Ended::Diverged { error } = ended else { panic!("{ended:?}") };
    assert!(error.contains("loss"), "{error}");
    assert!(!session.artifacts.borrow().contains_key("model.safetensors"));
}

#[test]
fn a_checkpoint_of_another_network_is_refused() {
    let first = MemorySession::stopping_at(2, Stop::Pause);
    train(&spec(|_| ()), &workshop(), &first).unwrap();
    let mut other = spec(|spec| spec["network"]["name"] = json!("conv_transpose"));
    other.checkpoint = first.last_checkpoint();
    assert!(matches!(train(&other, &workshop(), &MemorySession::default()), Err(TrainError::Checkpoint(_))));
}

#[test]
fn a_batch_larger_than_the_training_set_holds_the_training_set() {
    let wide = spec(|spec| spec["batch_size"] = json!(10_000));
    let Spec::Colourization(wide) = &wide.spec else { unreachable!() };
    let mut batches = super::batches::Batches::new(wide, 20);
    assert_eq!((batches.size(), batches.per_epoch(), batches.of(0, 0).len()), (20, 1, 20));
}
