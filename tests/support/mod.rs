//! The world of the end-to-end tests: the real binary, as real processes, over real HTTP.
//!
//! Every process has a folder of its own and a port that the system chooses. Nothing waits blindly: [`eventually`] looks at a
//! condition until it holds, and panics with what it waited for when its time is up. A process that is dropped is killed by its
//! pid, and when a test fails, what its processes logged is printed.
// Each test file is a crate of its own: it uses its part of this, and nothing here can be reached from outside it.
#![allow(dead_code, unreachable_pub)]

pub mod browser;
pub mod corpus;
pub mod faults;
pub mod jobs;
pub mod memory;
pub mod process;
pub mod receiver;
pub mod sweeps;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use trainyard_wire::client::Client;
use trainyard_wire::run::{Event, Run};
use trainyard_wire::worker::Worker;
use trainyard_wire::{RunId, RunState};

pub use faults::Faults;
pub use process::Process;

/// Long enough for anything here on a busy machine of two cores.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Looks until `check` answers something.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s for {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// A server with what it keeps, and maybe the workers that `up` gave it.
pub struct Yard {
    // Dropped first: no process may outlive the folder that it writes to.
    pub process: Process,
    pub url: String,
    pub token: String,
    pub client: Client,
    pub folder: TempDir,
}

impl Yard {
    /// `trainyard up` with `options`.
    pub async fn up(options: &[&str]) -> Self {
        Self::start("up", options).await
    }

    /// `trainyard server` with `options`, and no worker.
    pub async fn server(options: &[&str]) -> Self {
        Self::start("server", options).await
    }

    /// `trainyard server` whose process has the faults that the answer is told to give it.
    pub async fn server_with_faults(options: &[&str]) -> (Self, Faults) {
        Self::start_with_faults("server", options).await
    }

    /// `trainyard up` whose processes have the faults that the answer is told to give them.
    pub async fn up_with_faults(options: &[&str]) -> (Self, Faults) {
        Self::start_with_faults("up", options).await
    }

    async fn start_with_faults(command: &str, options: &[&str]) -> (Self, Faults) {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::new(folder.path());
        let (process, url) = serve(command, folder.path(), "127.0.0.1:0", options, &faults.environment()).await;
        (Self::around(folder, process, url), faults)
    }

    async fn start(command: &str, options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), command, options).await
    }

    /// Starts on the data folder in `folder`, or makes one.
    pub async fn start_in(folder: TempDir, command: &str, options: &[&str]) -> Self {
        let (process, url) = serve(command, folder.path(), "127.0.0.1:0", options, &[]).await;
        Self::around(folder, process, url)
    }

    fn around(folder: TempDir, process: Process, url: String) -> Self {
        let token = std::fs::read_to_string(data_dir(folder.path()).join("admin.token")).unwrap().trim().to_owned();
        let client = Client::new(&url, Some(token.clone())).unwrap();
        Self { process, url, token, client, folder }
    }

    /// Starts `trainyard server` again on the same data and port, after the process was killed.
    pub async fn restart_server(&mut self, options: &[&str]) {
        self.process.wait().await;
        let address = self.url.trim_start_matches("http://").to_owned();
        let (process, url) = serve("server", self.folder.path(), &address, options, &[]).await;
        assert_eq!(url, self.url);
        self.process = process;
    }

    pub fn data_dir(&self) -> PathBuf {
        data_dir(self.folder.path())
    }

    /// `trainyard worker` on one thread; `name` tells it from others.
    pub fn worker(&self, name: &str) -> Process {
        self.worker_with(name, Some("1"))
    }

    /// `trainyard worker` on so many threads, or on all cores.
    pub fn worker_with(&self, name: &str, threads: Option<&str>) -> Process {
        let token_file = self.data_dir().join("worker.token");
        let cache = self.folder.path().join("cache");
        let mut arguments = vec!["worker", "--device", "cpu", "--server", &self.url];
        arguments.extend(threads.into_iter().flat_map(|threads| ["--threads", threads]));
        arguments.push("--token-file");
        Process::start(name, self.folder.path(), &arguments, &[&token_file, Path::new("--cache-dir"), &cache])
    }

    /// A client command with this server's address and token.
    pub async fn cli(&self, arguments: &[&str]) -> process::Output {
        process::run(self.folder.path(), arguments, &[("TRAINYARD_URL", &self.url), ("TRAINYARD_TOKEN", &self.token)]).await
    }

    /// A client command that goes on while the test does something else.
    pub fn client_process(&self, name: &str, arguments: &[&str]) -> Process {
        let environment = [("TRAINYARD_URL", Path::new(&self.url)), ("TRAINYARD_TOKEN", Path::new(&self.token))];
        Process::start_in(name, self.folder.path(), arguments, &[], &environment)
    }

    /// Submits a job of one run.
    pub async fn submit(&self, job: &Value) -> RunId {
        let runs = self.submit_all(job).await;
        assert_eq!(runs.len(), 1, "a job of one run");
        runs[0]
    }

    /// Submits a job and answers its runs.
    pub async fn submit_all(&self, job: &Value) -> Vec<RunId> {
        self.client.submit(serde_json::to_vec(job).unwrap(), None).await.unwrap().run_ids
    }

    pub async fn run(&self, id: RunId) -> Run {
        self.client.run(id).await.unwrap()
    }

    /// The run, once it is in `state`; a run that ends in another one fails the test at once.
    pub async fn until(&self, id: RunId, state: RunState) -> Run {
        eventually(&format!("run {id} to be {state}"), async || {
            let run = self.run(id).await;
            let ended_otherwise = run.state.is_finished() && run.state != state;
            assert!(!ended_otherwise, "run {id} is {}: {:?}", run.state, run.error);
            (run.state == state).then_some(run)
        })
        .await
    }

    /// The run, once it has finished this many epochs and goes on.
    pub async fn until_epoch(&self, id: RunId, epoch: u64) -> Run {
        eventually(&format!("run {id} to finish epoch {epoch}"), async || {
            let run = self.run(id).await;
            assert!(!run.state.is_finished(), "run {id} is {} before epoch {epoch} was seen: {:?}", run.state, run.error);
            (run.state == RunState::Running && run.progress.epoch.is_some_and(|done| done >= epoch)).then_some(run)
        })
        .await
    }

    pub async fn events(&self, id: RunId) -> Vec<Event> {
        self.client.events(id).await.unwrap().items
    }

    /// How often something happened to a run.
    pub async fn count_events(&self, id: RunId, kind: &str) -> usize {
        self.events(id).await.iter().filter(|event| event.kind == kind).count()
    }

    pub async fn until_event(&self, id: RunId, kind: &str) {
        eventually(&format!("a {kind} event of run {id}"), async || (self.count_events(id, kind).await > 0).then_some(())).await;
    }

    /// The worker that holds a run.
    pub async fn worker_of(&self, id: RunId) -> Worker {
        eventually(&format!("a worker that holds run {id}"), async || {
            self.client.workers().await.unwrap().items.into_iter().find(|worker| worker.run_ids.contains(&id))
        })
        .await
    }

    /// The bytes of an artifact.
    pub async fn artifact(&self, id: RunId, name: &str) -> Vec<u8> {
        use futures::TryStreamExt as _;
        let pieces: Vec<_> = self.client.artifact(id, name).await.unwrap().try_collect().await.unwrap();
        pieces.concat()
    }

    /// The names of a run's artifacts.
    pub async fn artifact_names(&self, id: RunId) -> Vec<String> {
        self.client.artifacts(id).await.unwrap().artifacts.into_iter().map(|artifact| artifact.name).collect()
    }

    /// A plain HTTP request with the admin token, for what the typed client would not do.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.token)
    }

    /// A plain HTTP request without a token.
    pub fn anonymous(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        reqwest::Client::new().request(method, format!("{}{path}", self.url))
    }
}

fn data_dir(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Starts `server` or `up` and waits until it says where it listens and is ready.
async fn serve(command: &str, folder: &Path, address: &str, options: &[&str], environment: &[(&str, &Path)]) -> (Process, String) {
    let data = data_dir(folder);
    let mut arguments = vec![command, "--listen", address];
    arguments.extend(options);
    let mut process = Process::start_in(command, folder, &arguments, &[Path::new("--data-dir"), &data], environment);
    let url = eventually("the server's address", async || {
        assert!(process.is_running(), "{command} ended at its start");
        let output = process.stdout();
        let line = output.lines().find(|line| line.starts_with("address"))?;
        line.split_whitespace().nth(1).map(str::to_owned)
    })
    .await;
    let client = Client::new(&url, None).unwrap();
    eventually("the server to be ready", async || client.ready().await.ok()).await;
    (process, url)
}
