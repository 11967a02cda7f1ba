//! Sending pictures: what is taken, what is refused before anything is decoded, and what comes back.

use std::time::Duration;

use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use trainyard_wire::RunId;
use trainyard_wire::spec::picture::PictureFormat;
use trainyard_wire::worker::{ClaimedRun, Finish, Outcome, Report};

use super::worker_protocol::{Worker, report};
use super::world::{Answer, World, colourization};

/// The head of a PNG of this size, and bytes that no decoder takes.
fn png(width: u32, height: u32) -> Vec<u8> {
    let head = [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".as_slice(), &width.to_be_bytes(), &height.to_be_bytes()].concat();
    [head, b"\x08\x02\0\0\0 and no pixels".to_vec()].concat()
}

/// The same of a JPEG, behind a segment of other data.
fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let other = [&[0xff, 0xe1, 0x10, 0x02][..], &[7; 0x1000]].concat();
    [&[0xff, 0xd8][..], &other, &[0xff, 0xc0, 0, 17, 8], &height.to_be_bytes(), &width.to_be_bytes(), &[3; 9]].concat()
}

struct Trained {
    worker: Worker,
    model: RunId,
}

impl Trained {
    /// A colourization that this worker says has succeeded.
    async fn new(world: &World) -> Self {
        let worker = Worker::register(world).await;
        let accepted = world.post("/v1/jobs", &colourization()).await.expect(StatusCode::CREATED);
        let trained = Self { worker, model: RunId(accepted["run_ids"][0].as_i64().unwrap()) };
        let claimed = trained.claim().await;
        for name in ["model.safetensors", "model.json"] {
            trained.put(&claimed, name, name.as_bytes()).await;
        }
        trained.finish(&claimed, Outcome::Succeeded, None).await;
        trained
    }

    async fn claim(&self) -> ClaimedRun {
        self.worker.claim(20.0).await.pop().unwrap()
    }

    async fn put(&self, claimed: &ClaimedRun, name: &str, bytes: &[u8]) {
        let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let (id, attempt, bytes) = (claimed.run_id, claimed.attempt, bytes.to_vec());
        self.worker.client.put_artifact(id, attempt, name, &sha256, None, bytes.into()).await.unwrap();
    }

    async fn finish(&self, claimed: &ClaimedRun, outcome: Outcome, error: Option<&str>) {
        let finish = Finish { outcome, stop_reason: None, error: error.map(str::to_owned), result: None };
        self.worker.client.report(claimed.run_id, &Report { finish: Some(finish), ..report(claimed.attempt) }).await.unwrap();
    }

    /// Colours the next picture of the queue.
    async fn colour(&self) {
        let claimed = self.claim().await;
        self.put(&claimed, "colourized.png", b"colours").await;
        self.finish(&claimed, Outcome::Succeeded, None).await;
    }

    fn path(&self) -> String {
        format!("/v1/runs/{}/colourize", self.model)
    }

    async fn send(&self, world: &World, media: &str, body: Vec<u8>) -> Answer {
        Answer::of(world.request(Method::POST, &self.path()).header("content-type", media).body(body)).await
    }

    async fn pictures(&self, world: &World) -> Vec<Value> {
        let listed = world.get(&format!("/v1/runs/{}/colourized", self.model)).await.expect(StatusCode::OK);
        listed["items"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn a_picture_is_taken_as_a_body_or_as_the_file_of_a_form() {
    let world = World::start().await;
    let trained = Trained::new(&world).await;
    for (media, body) in [("image/png", png(1024, 1024)), ("Image/JPEG; q=1", jpeg(640, 480)), ("image/png", png(1, 1 << 20))] {
        let size = body.len();
        let answer = trained.send(&world, media, body).await;
        let location = answer.header("location").to_owned();
        let picture = answer.expect(StatusCode::CREATED);
        assert_eq!(
            (location, &picture["state"], &picture["size"]),
            (format!("/v1/runs/{}", picture["run_id"]), &json!("queued"), &json!(size))
        );
        let run = world.get(&format!("/v1/runs/{}", picture["run_id"])).await.expect(StatusCode::OK);
        assert_eq!((&run["spec"]["kind"], &run["spec"]["model_run_id"]), (&json!("picture"), &json!(trained.model)));
    }
    let form = Form::new().part("any", Part::bytes(jpeg(20, 30)).file_name("a horse.jpg"));
    let taken = Answer::of(world.request(Method::POST, &trained.path()).multipart(form)).await.expect(StatusCode::CREATED);
    assert_eq!((&taken["format"], &taken["width"], &taken["height"]), (&json!("jpeg"), &json!(20), &json!(30)));
    let pictures = trained.pictures(&world).await;
    assert_eq!((pictures.len(), &pictures[0]), (4, &taken));
    assert_eq!(world.get("/v1/runs").await.expect(StatusCode::OK)["items"].as_array().unwrap().len(), 1);
    let original = world.get(taken["original"].as_str().unwrap()).await;
    assert_eq!((original.header("content-type"), &original.bytes), ("image/jpeg", &jpeg(20, 30)));
}

#[tokio::test]
async fn what_is_no_picture_or_too_large_is_refused_by_its_head() {
    let world = World::start().await;
    let trained = Trained::new(&world).await;
    let refused = async |media: &str, body: Vec<u8>, status: StatusCode, reason: &str| {
        let answer = trained.send(&world, media, body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        answer.problem();
        assert!(answer.text().contains(reason), "{reason}: {}", answer.text());
    };
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    for media in ["image/gif", "application/x-www-form-urlencoded", "application/json", "image/svg+xml", "image/pngs"] {
        refused(media, png(4, 4), StatusCode::UNSUPPORTED_MEDIA_TYPE, "image/png").await;
    }
    refused("image/png", Vec::new(), unprocessable, "neither a PNG nor a JPEG").await;
    refused("image/png", b"GIF89a and so on".to_vec(), unprocessable, "neither a PNG nor a JPEG").await;
    refused("image/jpeg", png(4, 4), unprocessable, "of the type png, not jpeg").await;
    refused("image/png", png(4, 0), unprocessable, "no pixels").await;
    refused("image/jpeg", jpeg(4, 4)[..60].to_vec(), unprocessable, "ends before").await;
    // Bombs: few bytes that say that they hold many pixels.
    for body in [png(1025, 1024), png(u32::MAX, u32::MAX), png(1, (1 << 20) + 1)] {
        refused("image/png", body, unprocessable, "at most 1048576 are coloured, as of 1024×1024").await;
    }
    refused("image/jpeg", jpeg(65_535, 65_535), unprocessable, "65535×65535 pixels").await;
    let mut long = png(4, 4);
    long.resize((10 << 20) + 1, 0);
    refused("image/png", long.clone(), StatusCode::PAYLOAD_TOO_LARGE, "10485760").await;
    long.pop();
    trained.send(&world, "image/png", long.clone()).await.expect(StatusCode::CREATED);
    // Whose length nobody announces.
    let pieces = futures::stream::iter((0..11).map(|_| Ok::<_, std::io::Error>(vec![0u8; 1 << 20])));
    let body = reqwest::Body::wrap_stream(pieces);
    let answer = Answer::of(world.request(Method::POST, &trained.path()).header("content-type", "image/png").body(body)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);

    let file = |bytes: Vec<u8>| Part::bytes(bytes).file_name("p.png");
    for (form, status, reason) in [
        (Form::new().text("name", "x"), unprocessable, "is not a file"),
        (Form::new().part("a", file(png(4, 4))).part("b", file(png(4, 4))), unprocessable, "second file"),
        (Form::new().part("a", file(b"GIF89a".to_vec())), unprocessable, "neither"),
        (Form::new().part("a", file([long, vec![0; 2]].concat())), StatusCode::PAYLOAD_TOO_LARGE, "10485760"),
    ] {
        let answer = Answer::of(world.request(Method::POST, &trained.path()).multipart(form)).await;
        assert_eq!(answer.status, status, "{reason}: {}", answer.text());
        assert!(answer.text().contains(reason), "{reason}: {}", answer.text());
    }
    let empty = world.request(Method::POST, &trained.path()).header("content-type", "multipart/form-data; boundary=x").body("--x--\r\n");
    let answer = Answer::of(empty).await;
    assert!(answer.status == unprocessable && answer.text().contains("has no file"), "{}", answer.text());
    assert_eq!(trained.pictures(&world).await.len(), 1);
}

#[tokio::test]
async fn a_run_without_a_model_takes_no_pictures() {
    let world = World::start().await;
    let send = async |run: i64| {
        let request = world.request(Method::POST, &format!("/v1/runs/{run}/colourize")).header("content-type", "image/png");
        Answer::of(request.body(png(4, 4))).await
    };
    assert_eq!(send(99).await.problem().status, 404);
    let regression = world.submit_run().await;
    assert!(send(regression).await.problem().detail.contains("of kind regression"));
    let queued = world.post("/v1/jobs", &colourization()).await.expect(StatusCode::CREATED)["run_ids"][0].as_i64().unwrap();
    let refused = send(queued).await;
    assert!(refused.status == StatusCode::CONFLICT && refused.problem().detail.contains("this one is queued"));
    let listed = world.get(&format!("/v1/runs/{queued}/colourized")).await.expect(StatusCode::OK);
    assert_eq!(listed, json!({"items": []}));
    assert_eq!(world.get("/v1/runs/99/colourized").await.status, StatusCode::NOT_FOUND);

    let submitted = json!({"spec": {"kind": "picture", "model_run_id": 1}});
    let refused = world.post("/v1/jobs", &submitted).await;
    assert_eq!((refused.status, refused.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "/spec/kind"));
    let reader = world.token(&["read"]).await;
    let request = world.bare(Method::POST, &format!("/v1/runs/{queued}/colourize")).bearer_auth(reader);
    assert_eq!(Answer::of(request.header("content-type", "image/png").body(png(4, 4))).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn who_waits_and_accepts_pictures_is_answered_with_the_coloured_one() {
    let world = World::start().await;
    let trained = Trained::new(&world).await;
    let ask = |accept: &str, wait: &str| {
        let request = world.request(Method::POST, &trained.path()).header("content-type", "image/png").header("accept", accept);
        Answer::of(request.header("prefer", format!("wait={wait}")).body(png(8, 8)))
    };
    let (coloured, ()) = tokio::join!(ask("image/png", "30"), trained.colour());
    assert_eq!((coloured.status, coloured.header("content-type"), coloured.text()), (StatusCode::OK, "image/png", "colours"));
    assert_eq!((coloured.header("location"), coloured.header("preference-applied")), ("/v1/runs/2", "wait"));
    let (told, ()) = tokio::join!(ask("application/json", "30"), trained.colour());
    let told = told.expect(StatusCode::CREATED);
    assert_eq!((&told["state"], &told["colourized"]), (&json!("succeeded"), &json!("/v1/runs/3/artifacts/colourized.png")));

    let failing = async {
        let claimed = trained.claim().await;
        trained.finish(&claimed, Outcome::Failed, Some("the picture cannot be read: no pixels")).await;
    };
    let (failed, ()) = tokio::join!(ask("image/png", "30"), failing);
    assert_eq!(failed.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(failed.text().contains("the picture cannot be read: no pixels"), "{}", failed.text());
    let cancelling = async {
        let claimed = trained.claim().await;
        trained.finish(&claimed, Outcome::Cancelled, None).await;
    };
    let (cancelled, ()) = tokio::join!(ask("image/png", "30"), cancelling);
    assert_eq!(cancelled.status, StatusCode::CONFLICT);
    // Nobody colours it.
    let late = ask("image/png", "1").await;
    assert_eq!(late.header("location"), "/v1/runs/6");
    assert_eq!(late.expect(StatusCode::ACCEPTED)["state"], "queued");
}

#[tokio::test]
async fn a_repeat_with_the_same_key_is_the_same_picture() {
    let world = World::start().await;
    let trained = Trained::new(&world).await;
    let client = world.client();
    let send = |key, width| client.colourize(trained.model, PictureFormat::Png, png(width, 4).into(), Duration::ZERO, key);
    let first = send(Some("once"), 4).await.unwrap();
    assert_eq!(send(Some("once"), 4).await.unwrap(), first);
    assert_ne!(send(None, 4).await.unwrap().run_id, first.run_id);
    assert_eq!(send(Some("once"), 5).await.unwrap_err().status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
    let replayed = world.request(Method::POST, &trained.path()).header("idempotency-key", "once").header("content-type", "image/png");
    assert_eq!(Answer::of(replayed.body(png(4, 4))).await.header("idempotency-replayed"), "true");
    // A submit's key is not a picture's.
    let submit = world.request(Method::POST, "/v1/jobs").header("idempotency-key", "once").json(&colourization());
    assert_eq!(Answer::of(submit).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(client.colourized(trained.model).await.unwrap().items.len(), 2);

    let path = format!("/v1/runs/{}/colourized", trained.model);
    let tag = world.get(&path).await.header("etag").to_owned();
    let unchanged = Answer::of(world.request(Method::GET, &path).header("if-none-match", tag)).await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
}
