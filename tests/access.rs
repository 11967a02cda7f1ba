//! Who may come in: tokens, scopes, hosts and origins, through the real binary.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use support::{Process, Yard, eventually, jobs, process};
use trainyard_wire::client::{Client, RunQuery};

#[tokio::test]
async fn every_documented_route_but_the_health_checks_needs_a_token() {
    let yard = Yard::server(&[]).await;
    let document = yard.request(Method::GET, "/v1/openapi.json").send().await.unwrap();
    let document: Value = serde_json::from_slice(&document.bytes().await.unwrap()).unwrap();
    let mut routes = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            if ![Method::GET, Method::POST, Method::PUT, Method::DELETE].contains(&method) {
                continue;
            }
            let concrete: String = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect::<Vec<_>>().join("/");
            let status = yard.anonymous(method.clone(), &concrete).send().await.unwrap().status();
            let public = ["/healthz", "/readyz"].contains(&path.as_str());
            assert_eq!(status, if public { StatusCode::OK } else { StatusCode::UNAUTHORIZED }, "{method} {path}");
            routes += 1;
        }
    }
    assert!(routes > 30, "only {routes} routes are documented");
    // Nobody without a token learns which routes there are.
    assert_eq!(yard.anonymous(Method::GET, "/v1/nothing").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(yard.request(Method::GET, "/v1/nothing").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let wrong = yard.anonymous(Method::GET, "/v1/runs").bearer_auth("ty_wrong").send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_does_what_its_scopes_say_until_it_is_revoked() {
    let yard = Yard::server(&[]).await;
    let token = yard.cli(&["tokens", "create", "reader", "--scope", "read"]).await.success();
    let reader = Client::new(&yard.url, Some(token.trim().to_owned())).unwrap();
    assert!(reader.runs(&RunQuery::default()).await.is_ok());
    let status = |error: trainyard_wire::client::ClientError| error.status().unwrap().as_u16();
    let body = serde_json::to_vec(&jobs::quick()).unwrap();
    assert_eq!(status(reader.submit(body.clone(), None).await.unwrap_err()), 403);
    assert_eq!(status(reader.tokens().await.unwrap_err()), 403);
    assert_eq!(status(reader.worker_dataset("any").await.unwrap_err()), 403);

    let token = yard.cli(&["tokens", "create", "submitter", "--scope", "submit"]).await.success();
    let submitter = Client::new(&yard.url, Some(token.trim().to_owned())).unwrap();
    assert!(submitter.submit(body, None).await.is_ok());
    assert_eq!(status(submitter.runs(&RunQuery::default()).await.unwrap_err()), 403);

    let worker = std::fs::read_to_string(yard.data_dir().join("worker.token")).unwrap();
    let worker = Client::new(&yard.url, Some(worker.trim().to_owned())).unwrap();
    assert_eq!(status(worker.runs(&RunQuery::default()).await.unwrap_err()), 403);

    let id = yard.client.tokens().await.unwrap().items.into_iter().find(|token| token.name == "reader").unwrap().id;
    yard.cli(&["tokens", "revoke", &id.to_string()]).await.success();
    assert_eq!(status(reader.runs(&RunQuery::default()).await.unwrap_err()), 401);
    let listed = yard.cli(&["tokens", "list"]).await.success();
    assert!(listed.contains("reader") && !listed.contains(token.trim()), "{listed}");
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_even_with_a_token() {
    let yard = Yard::server(&["--allowed-host", "box.example.org"]).await;
    let status = async |header: &'static str, value: &'static str| {
        yard.request(Method::GET, "/v1/runs").header(header, value).send().await.unwrap().status()
    };
    assert_eq!(status("host", "evil.example").await, StatusCode::FORBIDDEN);
    assert_eq!(status("origin", "http://evil.example").await, StatusCode::FORBIDDEN);
    assert_eq!(status("origin", "null").await, StatusCode::FORBIDDEN);
    assert_eq!(status("host", "box.example.org").await, StatusCode::OK);
    assert_eq!(status("origin", "http://localhost").await, StatusCode::OK);
}

#[tokio::test]
async fn the_token_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let yard = Yard::server(&[]).await;
    for name in ["admin.token", "worker.token"] {
        let mode = std::fs::metadata(yard.data_dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!yard.process.stderr().contains(&yard.token), "the log holds no token");
}

#[tokio::test]
async fn tokens_can_be_brought_along() {
    let folder = tempfile::tempdir().unwrap();
    let given = "0123456789abcdef0123456789abcdef0123456789abcdef";
    let admin = folder.path().join("admin");
    std::fs::write(&admin, format!("{given}\n")).unwrap();
    let yard = Yard::server(&["--worker-token-file", admin.to_str().unwrap()]).await;
    let worker = Client::new(&yard.url, Some(given.to_owned())).unwrap();
    // It is known, and may do a worker's work only.
    assert_eq!(worker.tokens().await.unwrap_err().status(), Some(StatusCode::FORBIDDEN));
    assert_eq!(worker.worker_dataset("none").await.unwrap_err().status(), Some(StatusCode::NOT_FOUND));
}

#[tokio::test]
async fn a_client_command_without_a_token_says_how_to_give_it_one() {
    let folder = tempfile::tempdir().unwrap();
    let refused = process::run(folder.path(), &["runs"], &[]).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("TRAINYARD_TOKEN"), "{}", refused.stderr);
    std::fs::create_dir(folder.path().join("trainyard-data")).unwrap();
    std::fs::write(folder.path().join("trainyard-data/admin.token"), "x").unwrap();
    let refused = process::run(folder.path(), &["runs"], &[]).await;
    assert!(refused.stderr.contains("export TRAINYARD_TOKEN=$(cat trainyard-data/admin.token)"), "{}", refused.stderr);
}

#[tokio::test]
async fn health_tells_a_ready_server_from_none() {
    let mut yard = Yard::server(&[]).await;
    assert_eq!(process::run(yard.folder.path(), &["health", "--url", &yard.url], &[]).await.code, Some(0));
    yard.process.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(yard.process.wait().await.success());
    assert_eq!(process::run(yard.folder.path(), &["health", "--url", &yard.url], &[]).await.code, Some(1));
}

#[tokio::test]
async fn a_plain_http_client_needs_no_certificates_on_the_machine() {
    let yard = Yard::server(&[]).await;
    let environment = [("TRAINYARD_URL", yard.url.as_str()), ("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    process::run(yard.folder.path(), &["health"], &environment).await.success();
}

#[tokio::test]
async fn a_token_that_was_given_in_advance_is_not_printed() {
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("admin.token");
    let secret = "0123456789abcdef0123456789abcdef";
    std::fs::write(&file, secret).unwrap();
    let data = secrets.path().join("data");
    let arguments = ["server", "--listen", "127.0.0.1:0", "--data-dir"];
    let server = Process::start("server", secrets.path(), &arguments, &[&data, Path::new("--admin-token-file"), &file]);
    let printed = eventually("the dashboard's address", async || server.stdout().contains("worker token").then(|| server.stdout())).await;
    assert!(!printed.contains(secret), "{printed}");
}
