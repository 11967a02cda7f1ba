//! Secrets are where they belong and nowhere else: not in a log, an error, an address, a file or an answer after the first.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use support::receiver::{Answer, Receiver};
use support::{Process, Yard, eventually, jobs, process};
use trainyard_wire::RunState;
use trainyard_wire::webhook::{CreateWebhook, all_ends};

/// All files under `folder` whose bytes hold `secret`.
fn files_with(folder: &Path, secret: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, secret));
        } else if std::fs::read(&path).unwrap().windows(secret.len()).any(|window| window == secret) {
            found.push(path.strip_prefix(folder).unwrap().display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn secrets_are_in_no_log_no_error_no_answer_and_no_file_but_their_own() {
    let yard = Yard::server(&["--log", "json"]).await;
    let created = yard.cli(&["tokens", "create", "person", "--scope", "read,submit", "--expires-in", "1h", "--json"]).await.success();
    let person = serde_json::from_str::<serde_json::Value>(&created).unwrap()["token"].as_str().unwrap().to_owned();
    let worker_token = std::fs::read_to_string(yard.data_dir().join("worker.token")).unwrap().trim().to_owned();
    let signed_in = yard.anonymous(Method::POST, "/v1/session").bearer_auth(&person).send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let session = cookie.split(['=', ';']).nth(1).unwrap().to_owned();
    let secrets = [yard.token.clone(), worker_token, person, session];

    // A worker, a client, and everything that is refused: each time with a secret where it should be, or where it should not.
    let worker = yard.worker("worker");
    let run = yard.submit(&jobs::quick()).await;
    yard.until(run, RunState::Succeeded).await;
    let mut answers = vec![signed_in.text().await.unwrap()];
    for secret in &secrets {
        let wrong = [
            yard.anonymous(Method::GET, "/v1/runs").header("authorization", format!("Basic {secret}")),
            yard.anonymous(Method::GET, "/v1/runs").header("authorization", format!("Bearer {secret}x")),
            yard.anonymous(Method::GET, "/v1/runs").header("authorization", secret),
            yard.anonymous(Method::GET, "/v1/runs").header("cookie", format!("trainyard_session={secret}x")),
            yard.anonymous(Method::GET, &format!("/v1/runs?token={secret}")),
            yard.request(Method::GET, &format!("/v1/runs?token={secret}")),
            yard.request(Method::GET, &format!("/v1/runs?limit={secret}x")),
            yard.anonymous(Method::POST, "/v1/tokens").bearer_auth(secret).json(&json!({"name": "x"})),
            yard.anonymous(Method::POST, "/v1/worker/register").bearer_auth(secret).json(&json!({})),
            yard.anonymous(Method::GET, "/v1/session").bearer_auth(secret),
            yard.anonymous(Method::GET, "/v1/tokens").bearer_auth(secret),
            yard.anonymous(Method::GET, "/metrics").bearer_auth(secret),
            yard.anonymous(Method::GET, "/v1/runs").bearer_auth(secret).header("host", "evil.example"),
        ];
        for request in wrong {
            let answer = request.send().await.unwrap();
            answers.push(format!("{:?}", answer.headers()));
            answers.push(answer.text().await.unwrap());
        }
    }
    for arguments in [&["tokens", "list"] as &[&str], &["tokens", "list", "--json"], &["workers"], &["tokens", "revoke", "999"]] {
        let output = yard.cli(arguments).await;
        answers.extend([output.stdout, output.stderr]);
    }
    let refused = [("TRAINYARD_URL", yard.url.as_str()), ("TRAINYARD_TOKEN", &format!("{}x", yard.token))];
    let output = process::run(yard.folder.path(), &["runs"], &refused).await;
    assert_ne!(output.code, Some(0));
    answers.extend([output.stdout, output.stderr]);
    answers.extend([yard.process.stderr(), worker.stderr(), worker.stdout()]);

    for secret in &secrets {
        for answer in &answers {
            assert!(!answer.contains(secret.as_str()), "{secret} is in {answer}");
        }
    }
    // In the data folder are the two files that the first start makes, and hashes.
    for (secret, file) in secrets.iter().zip([Some("admin.token"), Some("worker.token"), None, None]) {
        assert_eq!(files_with(&yard.data_dir(), secret.as_bytes()), file.into_iter().collect::<Vec<_>>());
    }
    let hash = Sha256::digest(secrets[2].as_bytes());
    assert!(!files_with(&yard.data_dir(), &hash).is_empty(), "the token's hash is stored");
    assert_eq!(yard.cli(&["tokens", "list", "--json"]).await.success().matches("secret").count(), 0);
}

#[tokio::test]
async fn a_webhooks_key_is_in_the_database_and_nowhere_else() {
    let receiver = Receiver::start(Answer::Status(500)).await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let host = receiver.host();
    let arguments = ["server", "--listen", "127.0.0.1:0", "--webhook-host", &host, "--data-dir"];
    let server = Process::start_in("server", folder.path(), &arguments, &[&data], &[("RUST_LOG", Path::new("trace"))]);
    let url = eventually("the server's address", async || {
        let printed = server.stdout();
        printed.lines().find_map(|line| line.strip_prefix("address")).map(|url| url.trim().to_owned())
    })
    .await;
    let admin = std::fs::read_to_string(data.join("admin.token")).unwrap().trim().to_owned();
    let client = trainyard_wire::client::Client::new(&url, Some(admin.clone())).unwrap();
    let wanted = CreateWebhook { url: receiver.url(), name: None, states: all_ends(), project: None, tags: [].into() };
    let created = client.create_webhook(&wanted).await.unwrap();
    let key = created.secret.strip_prefix("whsec_").unwrap();
    let id = created.webhook.id;

    // Messages that fail, a request that is refused, every question there is.
    let http = reqwest::Client::new();
    let mut answers = Vec::new();
    client.test_webhook(id).await.unwrap();
    receiver.until(1).await;
    eventually("the failure to be noted", async || {
        let told = client.deliveries(id, 10).await.unwrap().items;
        (told[0].attempts == 1).then_some(())
    })
    .await;
    for path in ["webhooks", "webhooks/1", "webhooks/1/deliveries", "tokens", "openapi.json"] {
        answers.push(http.get(format!("{url}/v1/{path}")).bearer_auth(&admin).send().await.unwrap().text().await.unwrap());
    }
    answers.push(http.get(format!("{url}/metrics")).bearer_auth(&admin).send().await.unwrap().text().await.unwrap());
    let refused = http.post(format!("{url}/v1/webhooks")).bearer_auth(&admin).json(&json!({"url": "http://evil.example/", "secret": key}));
    answers.push(refused.send().await.unwrap().text().await.unwrap());
    for message in receiver.received() {
        answers.extend([format!("{:?}", message.headers), message.body]);
    }
    let log = server.stderr();
    assert!(log.contains("/v1/webhooks"), "nothing was logged");
    answers.push(log);
    answers.push(server.stdout());
    for answer in answers {
        assert!(!answer.contains(key), "the key is in {answer}");
    }
    let files = files_with(&data, key.as_bytes());
    assert!(!files.is_empty() && files.iter().all(|file| file.starts_with("trainyard.db")), "{files:?}");
}

#[tokio::test]
async fn not_even_a_log_of_everything_has_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let arguments = ["server", "--listen", "127.0.0.1:0", "--data-dir"];
    let server = Process::start_in("server", folder.path(), &arguments, &[&data], &[("RUST_LOG", Path::new("trace"))]);
    let url = eventually("the server's address", async || {
        let printed = server.stdout();
        printed.lines().find_map(|line| line.strip_prefix("address")).map(|url| url.trim().to_owned())
    })
    .await;
    let admin = std::fs::read_to_string(data.join("admin.token")).unwrap().trim().to_owned();
    // Makes the TLS provider known to the process; nothing else here did so for sure.
    trainyard_wire::client::Client::new(&url, None).unwrap();
    let http = reqwest::Client::new();
    let created = http.post(format!("{url}/v1/tokens")).bearer_auth(&admin).json(&json!({"name": "x", "scopes": ["read"]}));
    let created: serde_json::Value = created.send().await.unwrap().json().await.unwrap();
    let secret = created["token"].as_str().unwrap().to_owned();
    let signed_in = http.post(format!("{url}/v1/session")).bearer_auth(&secret).send().await.unwrap();
    assert_eq!(signed_in.status(), StatusCode::OK);
    let session = signed_in.headers()["set-cookie"].to_str().unwrap().split(['=', ';']).nth(1).unwrap().to_owned();
    let listed = http.get(format!("{url}/v1/runs")).header("cookie", format!("trainyard_session={session}")).send().await.unwrap();
    assert_eq!(listed.status(), StatusCode::OK);
    let log = server.stderr();
    assert!(log.contains("/v1/session"), "nothing was logged");
    for secret in [admin, secret, session] {
        assert!(!log.contains(&secret), "the log has a secret");
    }
}
