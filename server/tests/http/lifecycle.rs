//! Starting and stopping.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use trainyard_server::{Server, ServerConfig, StartError};

use super::worker_protocol::Worker;
use super::world::{Answer, World};

#[tokio::test]
async fn the_first_start_writes_the_tokens_for_their_owner_and_the_next_keeps_them() {
    let world = World::start().await;
    for path in [world.server().admin_token_file(), world.server().worker_token_file()] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let url = world.server().dashboard_url();
    assert_eq!(url, format!("{}/#token={}", world.url(""), world.admin()));
    let id = world.submit_run().await;
    let admin = world.admin().to_owned();

    let world = world.restart().await;
    assert_eq!(world.admin(), admin);
    assert_eq!(world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK)["state"], "queued");
}

#[tokio::test]
async fn no_secret_is_in_the_data_folder_but_in_the_token_files() {
    let world = World::start().await;
    let token = world.token(&["read"]).await;
    let data = world.server().admin_token_file().parent().unwrap().to_owned();
    let mut files = 0;
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.extension().is_none_or(|extension| extension != "token") {
            let bytes = std::fs::read(&path).unwrap();
            for secret in [token.as_str(), world.admin()] {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", path.display());
            }
            files += 1;
        }
    }
    assert!(files > 0);
}

#[tokio::test]
async fn given_tokens_are_taken_instead_of_made_ones() {
    let folder = tempfile::tempdir().unwrap();
    let given = |name: &str, letter: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{}\n", letter.repeat(40))).unwrap();
        path
    };
    let (admin, worker) = (given("admin", "a"), given("worker", "b"));
    let world = World::start_with(|config| (config.admin_token_file, config.worker_token_file) = (Some(admin), Some(worker))).await;
    assert_eq!(world.admin(), "a".repeat(40));
    assert_eq!(world.get("/v1/tokens").await.status, StatusCode::OK);
    let worker = Worker::register(&world).await;
    assert!(worker.claim(0.0).await.is_empty());
}

#[tokio::test]
async fn a_short_given_token_and_a_taken_address_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short");
    std::fs::write(&short, "secret").unwrap();
    let mut config = ServerConfig::new(folder.path().join("one"));
    config.admin_token_file = Some(short);
    assert!(matches!(Server::start(config).await, Err(StartError::Token(_))));

    let world = World::start().await;
    let mut config = ServerConfig::new(folder.path().join("two"));
    config.listen = world.server().address();
    assert!(matches!(Server::start(config).await, Err(StartError::Listen { .. })));
    // The failed start let go of its folder.
    Server::start(ServerConfig::new(folder.path().join("two"))).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_shutdown_ends_long_polls_and_is_quick() {
    let world = World::start().await;
    let id = world.submit_run().await;
    Answer::of(world.request(Method::POST, &format!("/v1/runs/{id}/pause"))).await.expect(StatusCode::OK);
    let worker = Worker::register(&world).await;
    let poll = tokio::spawn(world.request(Method::GET, &format!("/v1/runs/{id}")).header("prefer", "wait=50").send());
    let claim = tokio::spawn(async move { worker.claim(50.0).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    let world = world.restart().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(poll.await.unwrap().unwrap().status(), StatusCode::OK);
    assert!(claim.await.unwrap().is_empty());
    assert_eq!(world.get("/v1/runs").await.status, StatusCode::OK);
}
