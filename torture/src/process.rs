//! Servers and workers as processes that are killed, stopped and started again.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use trainyard_wire::client::Client;

use crate::dice::{Dice, fresh_seed};

/// Below those that systems give to connections and to whoever asks for any port.
const PORTS: Range<u16> = 12_000..32_000;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Looks until `check` answers something.
///
/// # Errors
/// Where it does not within [`PATIENCE`].
pub async fn eventually<T>(what: impl std::fmt::Display, check: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    look(Duration::from_millis(20), what, check).await
}

/// As [`eventually`], looking so often.
async fn look<T>(every: Duration, what: impl std::fmt::Display, mut check: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check().await {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("waited {} s for {what}", PATIENCE.as_secs());
        }
        tokio::time::sleep(every).await;
    }
}

/// A temporary folder, in memory where the system has such. What is tried here is what a process leaves and what was fsynced when, and
/// for neither does it matter how long a disk takes to fsync.
pub fn scratch() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// A process; killed and waited for when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `program`; what it says is appended to the file `log`.
    pub fn start(program: &Path, arguments: &[&str], environment: &[(String, String)], log: &Path) -> anyhow::Result<Self> {
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let child = Command::new(program)
            .args(arguments)
            .env_remove("RUST_LOG")
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.pid())?), signal)?)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        eventually("a process to end", async || self.child.try_wait().transpose()).await?.map_err(Into::into)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a server of the battery is, and how it is started.
#[derive(Clone, Debug)]
pub struct Site {
    /// `trainyard`, or `trainyard-torture`, which has the same commands and can be made to fail.
    pub program: PathBuf,
    /// Of everything, the logs included.
    pub folder: PathBuf,
    pub port: u16,
    pub lease_seconds: u64,
    pub environment: Vec<(String, String)>,
    /// The host that webhooks may name.
    pub webhook_host: Option<String>,
}

impl Site {
    /// A site in `folder` on a port that is free now, and that the system gives to nobody while the server is dead.
    pub fn new(program: &Path, folder: &Path, lease_seconds: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut dice = Dice::new(fresh_seed(), u64::from(std::process::id()));
        let ports = std::iter::repeat_with(|| PORTS.start + dice.below(u64::from(PORTS.end - PORTS.start)) as u16);
        let port = ports.take(1000).find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).context("no port is free")?;
        let (program, folder) = (program.to_owned(), folder.to_owned());
        Ok(Self { program, folder, port, lease_seconds, environment: Vec::new(), webhook_host: None })
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Starts a server; answers at once.
    pub fn start(&self) -> anyhow::Result<Process> {
        let (data, listen, lease) = (self.data_dir(), format!("127.0.0.1:{}", self.port), self.lease_seconds.to_string());
        let data = data.to_str().context("the folder's name is not UTF-8")?;
        let mut arguments = vec!["server", "--data-dir", data, "--listen", &listen, "--lease-seconds", &lease];
        arguments.extend(self.webhook_host.iter().flat_map(|host| ["--webhook-host", host]));
        Process::start(&self.program, &arguments, &self.environment, &self.log())
    }

    /// Waits until the server says that it is ready; answers how long that took since `since`. `None` where it ended instead.
    pub async fn ready(&self, server: &mut Process, since: Instant) -> anyhow::Result<Option<Duration>> {
        let client = Client::new(&self.url(), None)?;
        // Often, because how long it takes is measured.
        let ready = look(Duration::from_millis(2), "the server to be ready", async || match server.ended() {
            Ok(Some(_)) | Err(_) => Some(None),
            Ok(None) => client.ready().await.ok().map(|()| Some(since.elapsed())),
        });
        ready.await
    }

    /// Starts a server and waits until it is ready.
    pub async fn start_ready(&self) -> anyhow::Result<(Process, Duration)> {
        let since = Instant::now();
        let mut server = self.start()?;
        match self.ready(&mut server, since).await? {
            Some(time) => Ok((server, time)),
            None => bail!("the server ended at its start; see {}", self.log().display()),
        }
    }

    /// A client with all rights.
    pub fn client(&self) -> anyhow::Result<Client> {
        let token = std::fs::read_to_string(self.data_dir().join("admin.token"))?;
        Ok(Client::new(&self.url(), Some(token.trim().to_owned()))?)
    }

    /// Starts a worker on one thread.
    pub fn worker(&self, name: &str, environment: &[(String, String)]) -> anyhow::Result<Process> {
        let (token, cache, url) = (self.data_dir().join("worker.token"), self.folder.join("cache"), self.url());
        let text = |path: &'_ Path| path.to_str().map(str::to_owned).context("the folder's name is not UTF-8");
        let (token, cache) = (text(&token)?, text(&cache)?);
        let arguments = ["worker", "--device", "cpu", "--threads", "1", "--server", &url, "--token-file", &token, "--cache-dir", &cache];
        Process::start(&self.program, &arguments, environment, &self.folder.join(format!("{name}.log")))
    }
}
