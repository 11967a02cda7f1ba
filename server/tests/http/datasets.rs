//! Uploading datasets.

use std::time::Duration;

use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trainyard_wire::dataset::FileRole;

use super::world::{Answer, World};

/// CIFAR records with these labels.
pub(crate) fn records(labels: &[u8]) -> Vec<u8> {
    labels.iter().flat_map(|label| std::iter::once(*label).chain((0..3072).map(|pixel| (pixel % 251) as u8))).collect()
}

pub(crate) async fn add_images(world: &World, name: &str, train: &[u8], val: &[u8]) -> Answer {
    let file = |labels| Part::bytes(records(labels)).file_name("data.bin");
    upload(world, Form::new().text("name", name.to_owned()).part("train", file(train)).part("val", file(val))).await
}

pub(crate) async fn add_table(world: &World, name: &str, text: &str) -> Answer {
    upload(world, Form::new().text("name", name.to_owned()).part("csv", Part::text(text.to_owned()).file_name("table.csv"))).await
}

async fn upload(world: &World, form: Form) -> Answer {
    Answer::of(world.request(Method::POST, "/v1/datasets").multipart(form)).await
}

#[tokio::test]
async fn images_are_counted_by_label_and_fetched_by_workers_as_they_were() {
    let world = World::start().await;
    let stored = add_images(&world, "horses", &[7, 7, 0], &[7]).await.expect(StatusCode::CREATED);
    assert_eq!(stored["kind"], "images");
    assert_eq!(stored["labels"], json!([1, 0, 0, 0, 0, 0, 0, 3, 0, 0]));
    assert_eq!((&stored["files"][0]["role"], &stored["files"][0]["records"]), (&json!("train"), &json!(3)));
    assert_eq!(stored["size"], 4 * 3073);
    assert_eq!(world.get("/v1/datasets/horses").await.expect(StatusCode::OK), stored);
    assert_eq!(world.get("/v1/datasets").await.expect(StatusCode::OK)["items"], json!([stored]));

    let worker = world.token(&["worker"]).await;
    let fetch = async |path: String| Answer::of(world.bare(Method::GET, &path).bearer_auth(&worker)).await;
    assert_eq!(fetch("/v1/worker/datasets/horses".to_owned()).await.expect(StatusCode::OK), stored);
    let file = fetch(format!("/v1/worker/datasets/horses/files/{}", stored["files"][0]["sha256"].as_str().unwrap())).await;
    assert_eq!(file.bytes, records(&[7, 7, 0]));
    let missing = fetch(format!("/v1/worker/datasets/horses/files/{}", "0".repeat(64))).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_name_is_given_once() {
    let world = World::start().await;
    let first = add_table(&world, "prices", "a,b\n1,2\n").await.expect(StatusCode::CREATED);
    let again = add_table(&world, "prices", "a,b\n1,2\n").await.expect(StatusCode::OK);
    assert_eq!(first, again);
    let other = add_table(&world, "prices", "a,b\n1,3\n").await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    other.problem();
    assert_eq!(world.get("/v1/datasets/prices").await.expect(StatusCode::OK), first);
}

#[tokio::test]
async fn what_is_wrong_with_an_upload_is_told_and_nothing_is_kept() {
    let world = World::start().await;
    let named = |name: &str| Form::new().text("name", name.to_owned());
    let bin = |bytes: Vec<u8>| Part::bytes(bytes).file_name("data.bin");
    let csv = |text: &str| Part::text(text.to_owned()).file_name("t.csv");
    let good = || bin(records(&[1]));
    let cases = [
        (named("x").part("train", bin(records(&[1, 10]))).part("val", good()), "/train/0", "record 1 has the label 10"),
        (named("x").part("train", good()).part("train", bin(vec![1; 3000])).part("val", good()), "/train/1", "3073-byte records"),
        (named("x").part("train", good()), "/val", "needs train and val files"),
        (named("x"), "/train", "needs train and val files"),
        (named("x").part("train", good()).part("csv", csv("a,b\n1,2\n")), "/csv/0", "a table is one csv file"),
        (named("x").part("csv", csv("a,b\n1,2\n3,x\n")), "/csv/0", "row 2 (line 3), column `b`"),
        (named("x").part("csv", csv("a,b\n1,2\n")).part("csv", csv("a,b\n1,2\n")), "/csv/1", "a table is one csv file"),
        (named("synthetic").part("csv", csv("a,b\n1,2\n")), "/name", "built-in"),
        (named("../x").part("csv", csv("a,b\n1,2\n")), "/name", "must begin with a letter or digit"),
        (Form::new().part("csv", csv("a,b\n1,2\n")), "/name", "is required"),
        (named("x").part("test", good()), "/test", "is no field of an upload"),
    ];
    for (form, pointer, detail) in cases {
        let answer = upload(&world, form).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{pointer} {detail}");
        let problem = answer.problem();
        assert_eq!(problem.errors[0].pointer, pointer, "{detail}");
        assert!(problem.errors[0].detail.contains(detail), "{problem:?}");
    }
    assert_eq!(world.get("/v1/datasets").await.expect(StatusCode::OK)["items"], json!([]));
}

#[tokio::test]
async fn a_body_that_is_no_form_or_too_long_is_refused() {
    let world = World::start_with(|config| config.limits.upload_bytes = 10_000).await;
    let answer = world.post("/v1/datasets", &json!({"name": "x"})).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    answer.problem();
    let cut = world.request(Method::POST, "/v1/datasets").header("content-type", "multipart/form-data; boundary=x").body("--x\r\nContent-");
    let answer = Answer::of(cut).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    answer.problem();
    let large = add_images(&world, "x", &[1, 2, 3], &[1]).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    large.problem();
}

#[tokio::test]
async fn a_form_that_never_comes_to_a_part_is_broken_off() {
    let world = World::start().await;
    let head = "--x\r\nContent-Disposition: form-data; name=\"name\"\r\nX-Long: ";
    for (beginning, filler) in [("", "never a boundary "), (head, "never the end of a head ")] {
        let body = beginning.to_owned() + &filler.repeat(1 << 20);
        let cut = world.request(Method::POST, "/v1/datasets").header("content-type", "multipart/form-data; boundary=x").body(body);
        let answer = Answer::of(cut).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.problem().detail.contains("before a part's content"));
    }
    let parts = "--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nprices\r\n\
                 --x\r\nContent-Disposition: form-data; name=\"csv\"\r\n\r\na,b\n1,2\n\r\n--x--\r\n";
    let whole = world.request(Method::POST, "/v1/datasets").header("content-type", "multipart/form-data; boundary=x");
    Answer::of(whole.body("a preamble\r\n".repeat(1000) + parts)).await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn a_large_upload_that_is_refused_early_still_gets_its_answer() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.bin");
    // The first record is wrong, and 30 MB follow.
    std::fs::write(&path, records(&[[99].as_slice(), &[1; 10_000]].concat())).unwrap();
    let file = |role| trainyard_wire::client::UploadFile { role, path: path.clone() };
    let error = world.client().add_dataset("large", &[file(FileRole::Train), file(FileRole::Val)], |_| ()).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY), "{error}");
    assert!(error.to_string().contains("record 0 has the label 99"), "{error}");
}

#[tokio::test]
async fn a_refused_upload_is_answered_before_the_rest_of_it_comes() {
    let world = World::start().await;
    let head = |length: usize| {
        format!(
            "POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: {length}\r\n\
             Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"csv\"; filename=\"t.csv\"\r\n\r\n",
            world.admin()
        )
    };
    for (begin, detail) in [("a,b\n1,2\n1,x\n", "row 2 (line 3), column `b`"), ("1,2\n", "must be a header of names")] {
        let mut stream = tokio::net::TcpStream::connect(world.server().address()).await.unwrap();
        // More than a line, so that the parser of the form hands it on; and then nothing more.
        let sent = head(10 << 20) + begin + &"1,2\n".repeat(1000);
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        // The pace alone would break it off after eight seconds, with another answer.
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 422") && answer.contains(detail), "{answer}");
    }
}

#[tokio::test]
async fn the_typed_client_uploads_files() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.csv");
    std::fs::write(&path, "a,b\n1,2\n3,4\n").unwrap();
    let file = trainyard_wire::client::UploadFile { role: FileRole::Csv, path };
    let dataset = world.client().add_dataset("prices", &[file], |_| ()).await.unwrap();
    assert_eq!((dataset.files[0].records, dataset.columns), (2, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(dataset.files[0].name, "prices.csv");
}
