//! The server that a scenario is run against.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use trainyard_wire::client::Client;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(60);

/// A client for what the typed one would not do.
pub(crate) fn http() -> reqwest::Client {
    // Fails only where a provider is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// A server, wherever it runs.
#[derive(Clone, Debug)]
pub struct Target {
    /// `http://…`
    pub url: String,
    pub admin_token: String,
    pub worker_token: String,
    /// Its data folder, where the scenario may look at files.
    pub data_dir: PathBuf,
    /// Its process, where it is one of its own.
    pub pid: Option<u32>,
}

impl Target {
    /// A client with the admin's token, and connections of its own.
    pub fn admin(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&self.url, Some(self.admin_token.clone()))?)
    }

    /// A client with the workers' token, and connections of its own.
    pub fn worker(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&self.url, Some(self.worker_token.clone()))?)
    }

    /// The same server, behind something that listens at `url`.
    pub fn behind(&self, url: String) -> Self {
        Self { url, ..self.clone() }
    }

    /// Bytes of the server's memory that are resident, and the most that were; `None` where it is no process of its own.
    pub fn resident_bytes(&self) -> Option<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
        };
        Some((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// The CPU time that the server has taken so far; `None` where it is no process of its own.
    pub fn cpu_seconds(&self) -> Option<f64> {
        /// Of the system's clock of processes (`USER_HZ`).
        const TICKS_A_SECOND: f64 = 100.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid?)).ok()?;
        // The name in parentheses may hold anything; utime and stime are the 14th and 15th field.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
        Some((ticks(11)? + ticks(12)?) / TICKS_A_SECOND)
    }

    /// Bytes of the write-ahead log.
    pub fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.data_dir.join("trainyard.db-wal")).map_or(0, |metadata| metadata.len())
    }

    /// A figure of `/metrics` by its name, labels included.
    pub async fn figure(&self, name: &str) -> anyhow::Result<Option<f64>> {
        let request = http().get(format!("{}/metrics", self.url)).bearer_auth(&self.admin_token);
        let text = request.send().await?.error_for_status()?.text().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.map(|value| value.trim().parse()).transpose()?)
    }
}

/// A server process that the scenario started; killed when it is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    target: Target,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts `program server` on a free loopback port, with its data and its log in `folder`.
    ///
    /// # Errors
    /// Where it cannot be started, or does not say within a minute where it listens.
    pub async fn start(program: &Path, folder: &Path, options: &[&str]) -> anyhow::Result<Self> {
        let data_dir = folder.join("data");
        Self::start_on(program, folder, &data_dir, options).await
    }

    /// As [`start`](Self::start), with the data elsewhere.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_on(program: &Path, folder: &Path, data_dir: &Path, options: &[&str]) -> anyhow::Result<Self> {
        let (printed, log) = (folder.join("server.stdout"), folder.join("server.log"));
        let mut command = Command::new(program);
        command.args(["server", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir).args(options);
        command.stdin(Stdio::null()).stdout(File::create(&printed)?).stderr(File::create(&log)?);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let pid = child.id();
        let target = Target {
            url: String::new(),
            admin_token: String::new(),
            worker_token: String::new(),
            data_dir: data_dir.to_owned(),
            pid: Some(pid),
        };
        let mut server = Self { child, target, log };
        server.target.url = server.address(&printed).await?;
        let token = |name: &str| -> anyhow::Result<String> { Ok(std::fs::read_to_string(data_dir.join(name))?.trim().to_owned()) };
        (server.target.admin_token, server.target.worker_token) = (token("admin.token")?, token("worker.token")?);
        server.target.admin()?.ready().await?;
        Ok(server)
    }

    async fn address(&mut self, printed: &Path) -> anyhow::Result<String> {
        let deadline = Instant::now() + START;
        loop {
            let text = std::fs::read_to_string(printed)?;
            // Whole lines only: the next one stands where the address is written to its end.
            if text.contains("\ndashboard")
                && let Some(address) = text.lines().find_map(|line| line.strip_prefix("address"))
            {
                return Ok(address.trim().to_owned());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at its start ({status}): {}", std::fs::read_to_string(&self.log)?);
            }
            if Instant::now() > deadline {
                bail!("the server does not say where it listens");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What the server logged so far.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn log(&self) -> std::io::Result<String> {
        std::fs::read_to_string(&self.log)
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
