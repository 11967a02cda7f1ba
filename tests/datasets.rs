//! Datasets that are uploaded and fetched through the command line.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use serde_json::json;
use support::{Yard, eventually, jobs};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use trainyard_wire::RunState;
use trainyard_wire::dataset::CIFAR_RECORD_BYTES;

/// CIFAR records of one label with a gradient of colours.
fn records(label: u8, count: usize) -> Vec<u8> {
    let pixels = CIFAR_RECORD_BYTES as usize - 1;
    let record = |index: usize| std::iter::once(label).chain((0..pixels).map(move |at| ((at / 12 + 31 * index) % 256) as u8));
    (0..count).flat_map(record).collect()
}

#[tokio::test]
async fn uploaded_images_of_one_category_are_trained_on() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(yard.folder.path().join(name), bytes).unwrap();
    write("a.bin", records(7, 20));
    write("b.bin", records(3, 10));
    write("c.bin", records(7, 12));
    write("test.bin", records(7, 8));
    let add = ["datasets", "add", "mixed", "--train", "a.bin", "b.bin", "c.bin", "--val", "test.bin"];
    yard.cli(&add).await.success();
    let dataset = yard.client.dataset("mixed").await.unwrap();
    assert_eq!(dataset.files.iter().map(|file| file.records).collect::<Vec<_>>(), [20, 10, 12, 8]);
    assert_eq!((dataset.labels[3], dataset.labels[7]), (10, 40));

    let mut job = jobs::colourization(1);
    job["spec"]["dataset"] = json!({"name": "mixed", "category": "horse"});
    let run = yard.submit(&job).await;
    // 32 horses in batches of 16.
    assert_eq!(yard.until(run, RunState::Succeeded).await.progress.step, 2);

    let mut absent = job.clone();
    absent["spec"]["dataset"]["name"] = json!("absent");
    let refused = yard.client.submit(serde_json::to_vec(&absent).unwrap(), None).await.unwrap_err();
    assert!(refused.to_string().contains("/spec/dataset/name"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_not_made_of_records_is_refused() {
    let yard = Yard::server(&[]).await;
    let mut bytes = records(1, 3);
    bytes.pop();
    std::fs::write(yard.folder.path().join("short.bin"), bytes).unwrap();
    let refused = yard.cli(&["datasets", "add", "short", "--train", "short.bin", "--val", "short.bin"]).await;
    assert_eq!(refused.code, Some(4));
    assert!(refused.stderr.contains("422") || refused.stderr.contains("400"), "{}", refused.stderr);
    assert!(yard.client.datasets().await.unwrap().items.is_empty());
    assert_eq!(yard.cli(&["datasets", "add", "half", "--train", "short.bin"]).await.code, Some(2));
}

#[tokio::test]
async fn a_fetched_archive_with_another_checksum_is_not_used() {
    let yard = Yard::server(&[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/cifar-10-binary.tar.gz", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0u8; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello").await.unwrap();
    });
    let refused = yard.cli(&["datasets", "fetch", "cifar10", "--archive-url", &url]).await;
    served.await.unwrap();
    assert_eq!(refused.code, Some(1));
    // The md5 of "hello", and the published one.
    for md5 in ["5d41402abc4b2a76b9719d911017c592", "c32a1d4ab5d03f1284b67883e8d87530"] {
        assert!(refused.stderr.contains(md5), "{}", refused.stderr);
    }
    assert!(yard.client.datasets().await.unwrap().items.is_empty());
    let unreachable = yard.cli(&["datasets", "fetch", "cifar10", "--archive-url", &url]).await;
    assert_eq!(unreachable.code, Some(1));
    assert!(unreachable.stderr.contains("cannot download"), "{}", unreachable.stderr);
}

#[tokio::test]
async fn the_real_horses_are_uploaded_and_trained_on() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/cifar-10-batches-bin");
    if !folder.is_dir() {
        println!("skipped: there is no {}", folder.display());
        return;
    }
    let yard = Yard::up(&["--workers", "1"]).await;
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (train, val) = (path("data_batch_1.bin"), path("test_batch.bin"));
    yard.cli(&["datasets", "add", "cifar10", "--train", &train, "--val", &val]).await.success();
    let dataset = yard.client.dataset("cifar10").await.unwrap();
    assert_eq!(dataset.labels[7], 6000);

    let mut job = jobs::colourization(1);
    job["spec"]["dataset"] = json!({"name": "cifar10", "category": "horse"});
    job["spec"]["batch_size"] = json!(100);
    job["spec"]["sample_every"] = json!(1);
    let id = yard.submit(&job).await;
    // Fifty steps an epoch; a tenth of them shows that the real images train.
    let run = eventually("some steps on the horses", async || {
        let run = yard.run(id).await;
        assert!(run.state != RunState::Failed, "{:?}", run.error);
        (run.progress.step >= 5 || run.state.is_finished()).then_some(run)
    })
    .await;
    assert_eq!(run.progress.total_steps, 50);
    let loss = yard.run(id).await.summary["train_batch_loss"].clone();
    // 8 colours: a guess costs ln 8 ≈ 2.08.
    assert!(loss.last.0 > 0.5 && loss.last.0 < 3.0, "{loss:?}");
    yard.cli(&["cancel", &id.to_string()]).await;
}
