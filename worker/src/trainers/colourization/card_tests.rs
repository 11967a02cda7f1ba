//! Runs on a GPU, which is the emulator here: the same run as on the CPU, and what happens when the card does not do its part.

use serde_json::{Value, json};
use trainyard_gpu::Driver;
use trainyard_gpu_emulator::Emulator;
use trainyard_wire::Spec;

use super::super::memory::MemorySession;
use super::super::{Assignment, Card, Ended, Stop, TrainError, Workshop, train};

fn workshop() -> Workshop {
    Workshop::new(candle_core::Device::Cpu)
}

fn with(driver: std::sync::Arc<dyn Driver>, required: bool) -> Workshop {
    workshop().with_card(Card::new(driver, required))
}

/// 10 images of 8×8 pixels in batches of 4, so that an epoch has a smaller last batch; 2 epochs.
fn spec(change: impl FnOnce(&mut Value)) -> Assignment {
    let mut spec = json!({
        "kind": "colourization",
        "dataset": {"name": "synthetic", "train_images": 10, "val_images": 5, "size": 8},
        "network": {"name": "unet", "num_filters": 2},
        "num_colours": 6,
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "batch_size": 4,
        "epochs": 2,
        "sample_images": 2,
    });
    change(&mut spec);
    Assignment { spec: Spec::from_value(spec, "").unwrap(), dataset: None, checkpoint: None, picture: None }
}

fn completed(assignment: &Assignment, workshop: &Workshop) -> MemorySession {
    let session = MemorySession::default();
    let ended = train(assignment, workshop, &session).unwrap();
    assert!(matches!(ended, Ended::Succeeded { .. }), "{ended:?}");
    session
}

/// Loss and accuracy after each epoch.
fn curve(session: &MemorySession) -> Vec<(u64, f64)> {
    [session.series("train_loss"), session.series("val_loss"), session.series("val_accuracy")].concat()
}

fn near(a: &MemorySession, b: &MemorySession) {
    let (a, b) = (curve(a), curve(b));
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        assert!(a.0 == b.0 && (a.1 - b.1).abs() < 2e-3 * b.1.max(0.5), "{a:?} {b:?}");
    }
}

#[test]
fn a_run_on_the_gpu_is_the_run_on_the_cpu_up_to_rounding() {
    for name in ["pool_upsample", "conv_transpose", "unet"] {
        for optimizer in
            [json!({"name": "adamw", "learning_rate": 0.01}), json!({"name": "momentum", "learning_rate": 0.02, "weight_decay": 0.001})]
        {
            let assignment = spec(|spec| {
                spec["network"]["name"] = json!(name);
                spec["optimizer"] = optimizer.clone();
                spec["shuffle"] = json!(true);
            });
            let card = completed(&assignment, &with(Emulator::new(), true));
            near(&card, &completed(&assignment, &workshop()));
            let names: Vec<String> = card.artifacts.borrow().keys().cloned().collect();
            assert!(names.contains(&"model.safetensors".to_owned()) && names.contains(&"samples/epoch-002.png".to_owned()), "{names:?}");
        }
    }
}

#[test]
fn a_run_that_stops_on_the_gpu_goes_on_there_to_the_same_bytes() {
    let assignment = spec(|_| ());
    let whole = completed(&assignment, &with(Emulator::new(), true));
    for stop_at in 0..2 {
        let first = MemorySession::stopping_at(stop_at, Stop::Release);
        assert_eq!(train(&assignment, &with(Emulator::new(), true), &first).unwrap(), Ended::Stopped(Stop::Release));
        let rest = Assignment { checkpoint: first.last_checkpoint(), ..assignment.clone() };
        let second = completed(&rest, &with(Emulator::shuffled(9), true));
        for name in ["model.safetensors", "model.json", "samples/epoch-002.png", "confusion.json"] {
            assert_eq!(second.artifact(name), whole.artifact(name), "{name}, stopped at {stop_at}");
        }
    }
}

#[test]
fn a_run_in_tf32_goes_on_to_the_same_bytes_and_says_where_it_leaves_fp32() {
    let assignment = spec(|spec| {
        spec["network"]["num_filters"] = json!(4);
        spec["epochs"] = json!(1);
    });
    let whole = completed(&assignment, &with(Emulator::tf32(0), true));
    let first = MemorySession::stopping_at(1, Stop::Release);
    assert_eq!(train(&assignment, &with(Emulator::tf32(0), true), &first).unwrap(), Ended::Stopped(Stop::Release));
    let rest = Assignment { checkpoint: first.last_checkpoint(), ..assignment.clone() };
    let second = completed(&rest, &with(Emulator::tf32(9), true));
    assert_eq!(second.artifact("model.safetensors"), whole.artifact("model.safetensors"));
    assert!(!second.logs.borrow().iter().any(|line| line.contains("moves from")), "{:?}", second.logs.borrow());
    let moved = completed(&rest, &with(Emulator::new(), true));
    assert!(moved.logs.borrow().iter().any(|line| line.contains("moves from the GPU in TF32 to the GPU")), "{:?}", moved.logs.borrow());
    assert_ne!(moved.artifact("model.safetensors"), whole.artifact("model.safetensors"));
    let loss = |session: &MemorySession| session.series("val_loss")[0].1;
    assert!((loss(&moved) - loss(&whole)).abs() < 1e-2 * loss(&whole), "{} {}", loss(&moved), loss(&whole));
}

#[test]
fn a_run_may_move_between_gpu_and_cpu_at_a_checkpoint_and_says_so() {
    let assignment = spec(|_| ());
    let whole = completed(&assignment, &workshop());
    for (from, to, said) in [(true, false, "moves from the GPU to the CPU"), (false, true, "moves from the CPU to the GPU")] {
        let place = |card: bool| if card { with(Emulator::new(), true) } else { workshop() };
        let first = MemorySession::stopping_at(1, Stop::Release);
        train(&assignment, &place(from), &first).unwrap();
        let rest = Assignment { checkpoint: first.last_checkpoint(), ..assignment.clone() };
        let second = completed(&rest, &place(to));
        assert!(second.logs.borrow().iter().any(|line| line.contains(said)), "{:?}", second.logs.borrow());
        let ends = |session: &MemorySession| (session.series("val_loss").last().copied(), session.series("val_accuracy").last().copied());
        let ((Some(loss), Some(accuracy)), (Some(expected), Some(expected_accuracy))) = (ends(&second), ends(&whole)) else {
            panic!("no end")
        };
        assert!((loss.1 - expected.1).abs() < 2e-3 * expected.1 && (accuracy.1 - expected_accuracy.1).abs() < 0.01);
    }
}

#[test]
fn a_run_without_room_on_the_gpu_trains_on_the_cpu_unless_the_gpu_is_required() {
    let assignment = spec(|_| ());
    let session = completed(&assignment, &with(Emulator::with_memory(20 << 10), false));
    assert!(
        session.logs.borrow().iter().any(|line| line.contains("trains on the CPU: the GPU has no room")),
        "{:?}",
        session.logs.borrow()
    );
    assert_eq!(session.artifact("model.safetensors"), completed(&assignment, &workshop()).artifact("model.safetensors"));
    let refused = train(&assignment, &with(Emulator::with_memory(20 << 10), true), &MemorySession::default());
    assert!(matches!(refused, Err(TrainError::Gpu(_))), "{refused:?}");
}

#[test]
fn a_gpu_that_is_lost_gives_the_run_back_and_the_next_attempt_goes_on_without_it() {
    let assignment = spec(|spec| spec["epochs"] = json!(4));
    // An epoch runs six programs: three of batches (never more at a time, for the first step is alone and the last batch is smaller),
    // two of validation images, one of the picture.
    let workshop = with(Emulator::failing_at(8), false);
    let first = MemorySession::default();
    assert_eq!(train(&assignment, &workshop, &first).unwrap(), Ended::Stopped(Stop::Release));
    assert!(first.logs.borrow().iter().any(|line| line.contains("the GPU failed")), "{:?}", first.logs.borrow());
    assert!(workshop.card.as_ref().unwrap().is_lost());
    let rest = Assignment { checkpoint: first.last_checkpoint(), ..assignment };
    assert!(rest.checkpoint.is_some());
    let second = completed(&rest, &workshop);
    assert!(second.logs.borrow().iter().any(|line| line.contains("trains on the CPU")), "{:?}", second.logs.borrow());
    assert_eq!(second.series("val_loss").last().map(|(epoch, _)| *epoch), Some(4));
}
