//! A server in a folder of its own, and requests to it.

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use trainyard_server::{Server, ServerConfig};
use trainyard_wire::Problem;
use trainyard_wire::client::Client;

/// A running server; its folder goes with it.
pub(crate) struct World {
    server: Server,
    http: reqwest::Client,
    admin: String,
    folder: TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    async fn start_in(folder: TempDir, change: impl FnOnce(&mut ServerConfig)) -> Self {
        // Fails where another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = ServerConfig::new(folder.path().join("data"));
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        let admin = std::fs::read_to_string(server.admin_token_file()).unwrap().trim().to_owned();
        Self { server, http: reqwest::Client::new(), admin, folder }
    }

    /// Stops the server and starts another one on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.server.shutdown().await;
        Self::start_in(self.folder, |_| ()).await
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// The typed client, with the admin's token.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url(""), Some(self.admin.clone())).unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    /// A request without credentials.
    pub(crate) fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    /// A request of the admin.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(&self.admin)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body)).await
    }

    /// A fresh token with these scopes.
    pub(crate) async fn token(&self, scopes: &[&str]) -> String {
        let created = self.post("/v1/tokens", &json!({"name": "test", "scopes": scopes})).await.expect(StatusCode::CREATED);
        created["token"].as_str().unwrap().to_owned()
    }

    /// Queues the counterexample and answers the id of its run.
    pub(crate) async fn submit_run(&self) -> i64 {
        let accepted = self.post("/v1/jobs", &regression()).await.expect(StatusCode::CREATED);
        accepted["run_ids"][0].as_i64().unwrap()
    }

    /// How many jobs there are.
    pub(crate) async fn jobs(&self) -> usize {
        self.get("/v1/jobs").await.expect(StatusCode::OK)["items"].as_array().unwrap().len()
    }
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        Self::read(request.send().await.unwrap()).await
    }

    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, bytes: response.bytes().await.unwrap().to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name} in {self:?}")).to_str().unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body, if the status is the one expected.
    #[track_caller]
    pub(crate) fn expect(self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// The problem body, checked to be one.
    #[track_caller]
    pub(crate) fn problem(&self) -> Problem {
        let problem: Problem = serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(problem.status, self.status.as_u16());
        assert_eq!(problem.request_id, self.header("x-request-id"));
        assert!(!problem.title.is_empty() && !problem.detail.is_empty() && problem.r#type.starts_with("/problems/"), "{problem:?}");
        problem
    }

    /// Checks that the body is an error of the kind that belongs to this path.
    #[track_caller]
    pub(crate) fn refusal(&self, path: &str) {
        if path.starts_with("/api/") { self.mlflow_error() } else { drop(self.problem()) }
    }

    /// Checks that the body is an error of MLflow's.
    #[track_caller]
    pub(crate) fn mlflow_error(&self) {
        let error = self.json();
        assert_eq!(self.headers[CONTENT_TYPE], "application/json");
        assert!(error["error_code"].is_string() && error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    }

    /// The pointer of the first error of the problem.
    #[track_caller]
    pub(crate) fn pointer(&self) -> String {
        let problem = self.problem();
        problem.errors.first().unwrap_or_else(|| panic!("no errors in {problem:?}")).pointer.clone()
    }
}

/// The submit of the RMSProp counterexample.
pub(crate) fn regression() -> Value {
    json!({"name": "counterexample", "tags": {"topic": "rmsprop"},
        "spec": {"kind": "regression", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]}, "initial_weights": "zeros",
            "optimizer": {"name": "rmsprop", "learning_rate": 0.01, "beta": 0.9, "epsilon": 1e-8, "weight_decay": 0, "schedule": "cosine"},
            "l2": 0, "steps": 20000, "seed": 0}})
}

/// A submit of a colourization of built-in images.
pub(crate) fn colourization() -> Value {
    json!({"spec": {"kind": "colourization", "dataset": {"name": "synthetic"}, "network": {"name": "unet", "kernel": 3, "num_filters": 8},
        "optimizer": {"name": "adam", "learning_rate": 0.001}, "batch_size": 100, "epochs": 2}})
}

/// The body with `value` at `pointer`, whose last token may be new.
pub(crate) fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
    body
}
