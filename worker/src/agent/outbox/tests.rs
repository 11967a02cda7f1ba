use std::collections::BTreeSet;

use super::*;

fn outbox(bounds: Bounds) -> Outbox {
    Outbox::new(Arc::default(), bounds)
}

fn steps(batch: &Batch) -> Vec<u64> {
    batch.metrics.iter().flat_map(|series| series.steps.clone()).collect()
}

fn names(batch: &Batch) -> Vec<&str> {
    batch.uploads.iter().map(|upload| upload.name.as_str()).collect()
}

fn picture(name: &str, size: usize) -> Artifact {
    Artifact { name: name.to_owned(), bytes: vec![0; size].into(), dispensable: true }
}

#[test]
fn files_wait_for_every_point_that_was_recorded_before_them() {
    let outbox = outbox(Bounds { report_points: 3, ..Bounds::default() });
    (0..7).for_each(|step| outbox.metric("loss", step, 0.5));
    outbox.save_checkpoint(7, Bytes::from_static(b"weights"));
    let batches: Vec<Batch> = (0..3).map(|_| outbox.take()).collect();
    assert_eq!(batches.iter().map(steps).collect::<Vec<_>>(), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    assert_eq!(batches.iter().map(names).collect::<Vec<_>>(), [vec![], vec![], vec![CHECKPOINT]]);
    assert_eq!(batches.iter().map(|batch| batch.more).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(batches[2].uploads[0].checkpoint_step, Some(7));
    assert_eq!(outbox.take(), Batch::default());
}

#[test]
fn a_trainer_that_always_has_points_to_tell_gets_its_checkpoints_through_each_behind_its_own_points() {
    let outbox = outbox(Bounds { report_points: 3, ..Bounds::default() });
    let mut told = BTreeSet::new();
    let mut arrived = Vec::new();
    // Four points come in for three that go out, with a checkpoint and a picture of a name of its own each time.
    for round in 0..20_u64 {
        (0..4).for_each(|index| outbox.metric(["loss", "val_loss"][index as usize % 2], 4 * round + index, 0.5));
        outbox.save_checkpoint(4 * (round + 1), Bytes::from_static(b"weights"));
        outbox.save_artifact(picture(&format!("samples/{round}.png"), 1));
        let batch = outbox.take();
        assert!(batch.more);
        told.extend(steps(&batch));
        for step in batch.uploads.iter().filter_map(|upload| upload.checkpoint_step) {
            assert!((0..step).all(|before| told.contains(&before)), "{step}: {told:?}");
            arrived.push(step);
        }
    }
    assert!(arrived.len() >= 5 && arrived.is_sorted(), "{arrived:?}");
    loop {
        let batch = outbox.take();
        arrived.extend(batch.uploads.iter().filter_map(|upload| upload.checkpoint_step));
        if !batch.more {
            break;
        }
    }
    assert_eq!(arrived.last(), Some(&80));
}

#[test]
fn of_many_checkpoints_behind_the_same_points_the_first_and_the_newest_wait() {
    let outbox = outbox(Bounds { report_points: 2, ..Bounds::default() });
    for step in 1..=4 {
        outbox.metric("loss", step, 0.5);
        outbox.save_checkpoint(step, Bytes::from_static(b"weights"));
    }
    let arrived = |batch: Batch| batch.uploads.iter().filter_map(|upload| upload.checkpoint_step).collect::<Vec<_>>();
    assert_eq!([arrived(outbox.take()), arrived(outbox.take())], [vec![1], vec![4]]);
}

#[test]
fn a_newer_file_of_a_name_replaces_the_waiting_one_and_goes_last() {
    let outbox = outbox(Bounds::default());
    outbox.save_checkpoint(1, Bytes::from_static(b"1"));
    outbox.save_artifact(picture("samples/epoch-001.png", 1));
    outbox.save_checkpoint(2, Bytes::from_static(b"2"));
    let batch = outbox.take();
    assert_eq!(names(&batch), ["samples/epoch-001.png", CHECKPOINT]);
    assert_eq!((batch.uploads[1].checkpoint_step, &batch.uploads[1].bytes[..]), (Some(2), &b"2"[..]));
    assert_eq!(batch.uploads[1].sha256, sha256(b"2"));
}

#[test]
fn without_a_server_a_full_box_is_thinned_and_keeps_its_ends() {
    let outbox = outbox(Bounds { points: 100, ..Bounds::default() });
    outbox.set_connected(false);
    outbox.metric("val_loss", 1, 2.0);
    (0..10_000).for_each(|step| outbox.metric("loss", step, step as f64));
    let batch = outbox.take();
    let losses = &batch.metrics[1];
    assert!(losses.steps.len() <= 99, "{}", losses.steps.len());
    assert_eq!((losses.steps.first(), losses.steps.last()), (Some(&0), Some(&9999)));
    assert!(losses.steps.iter().zip(&losses.values).all(|(step, value)| value.0 == *step as f64));
    assert!(losses.steps.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(losses.times.len(), losses.steps.len());
    assert_eq!(batch.metrics[0].steps, [1]);
    assert_eq!(batch.logs.len(), 1);
}

#[test]
fn with_a_server_a_fast_trainer_waits_and_loses_nothing() {
    let outbox = outbox(Bounds { points: 10, report_points: 4, ..Bounds::default() });
    let taken = std::thread::scope(|scope| {
        scope.spawn(|| (0..1000).for_each(|step| outbox.metric("loss", step, 0.0)));
        let mut taken = Vec::new();
        while taken.len() < 1000 {
            taken.extend(steps(&outbox.take()));
        }
        taken
    });
    assert_eq!(taken, (0..1000).collect::<Vec<_>>());
}

#[test]
fn too_many_pictures_push_the_oldest_out_but_never_a_model() {
    let outbox = outbox(Bounds { bytes: 25, ..Bounds::default() });
    outbox.save_artifact(Artifact { dispensable: false, ..picture("model.safetensors", 20) });
    outbox.save_artifact(picture("a.png", 4));
    outbox.save_artifact(picture("b.png", 4));
    outbox.save_checkpoint(3, vec![0; 10].into());
    let batch = outbox.take();
    assert_eq!(names(&batch), ["model.safetensors", CHECKPOINT]);
    assert_eq!(batch.logs.len(), 2);
}

#[test]
fn many_series_share_a_report() {
    let outbox = outbox(Bounds { report_points: 10, ..Bounds::default() });
    for step in 0..30 {
        outbox.metric("loss", step, 0.0);
        if step % 10 == 0 {
            outbox.metric("val_loss", step, 0.0);
        }
    }
    let first = outbox.take();
    assert_eq!(first.metrics.iter().map(|series| series.steps.len()).collect::<Vec<_>>(), [9, 1]);
    let mut total = 10;
    loop {
        let batch = outbox.take();
        total += steps(&batch).len();
        if !batch.more {
            break;
        }
    }
    assert_eq!(total, 33);
}

#[test]
fn what_the_process_takes_is_told_once_a_step_and_never_waits_for_room() {
    let outbox = outbox(Bounds { points: 4, ..Bounds::default() });
    let usage = [("cpu_utilization", 1.5), ("memory_bytes", 1000.0)];
    outbox.note_usage(&usage);
    assert_eq!(outbox.take(), Batch::default(), "the run is at no step yet");
    for step in [10, 10, 20] {
        outbox.progress(Progress { step, total_steps: 100, ..Progress::default() });
        outbox.note_usage(&[]);
        outbox.note_usage(&usage);
    }
    let batch = outbox.take();
    let told: Vec<_> = batch.metrics.iter().map(|series| (series.name.as_str(), series.steps.as_slice())).collect();
    assert_eq!(told, [("cpu_utilization", &[10, 20][..]), ("memory_bytes", &[10, 20])]);
    (0..3).for_each(|step| outbox.metric("loss", step, 0.5));
    outbox.progress(Progress { step: 30, ..Progress::default() });
    outbox.note_usage(&usage);
    assert_eq!(outbox.take().metrics.len(), 1);
}
