//! Worker processes of this same binary, replaced when they die.
//!
//! Each worker is a child in a process group of its own, so that Ctrl-C in a terminal reaches only this process, which then tells
//! the workers in its own order. Each holds the reading end of a pipe of ours as its standard input and stops when that closes
//! (`--exit-with-parent`): whatever ends this process, no worker is left behind.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::STOP_BOUND;

/// A worker that lived this long did not fail at its start.
const LIVED_WELL: Duration = Duration::from_secs(10);
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How to start one worker.
#[derive(Clone, Debug)]
pub(crate) struct WorkerCommand {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// `RUST_LOG` of the worker where this process has none.
    pub log_filter: &'static str,
}

/// Keeps a number of workers alive.
#[derive(Debug)]
pub(crate) struct Supervisor {
    stop: CancellationToken,
    slots: JoinSet<()>,
}

impl Supervisor {
    pub(crate) fn start(command: &WorkerCommand, count: usize) -> Self {
        let stop = CancellationToken::new();
        let mut slots = JoinSet::new();
        for _ in 0..count {
            slots.spawn(keep_one(command.clone(), stop.clone()));
        }
        Self { stop, slots }
    }

    /// Asks every worker to give its runs back and stop; kills those that take too long.
    pub(crate) async fn shutdown(mut self) {
        self.stop.cancel();
        while self.slots.join_next().await.is_some() {}
    }
}

/// One worker after another, until it is time to stop.
async fn keep_one(command: WorkerCommand, stop: CancellationToken) {
    let mut pause = Duration::ZERO;
    while !stop.is_cancelled() {
        let started = Instant::now();
        match run_one(&command, &stop).await {
            Ok(status) if stop.is_cancelled() => tracing::debug!(%status, "a worker stopped"),
            Ok(status) => tracing::warn!(%status, "a worker ended; another is started in its place"),
            Err(error) => tracing::error!(%error, program = %command.program.display(), "cannot start a worker"),
        }
        pause = next_pause(pause, started.elapsed());
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// None after a worker that lived well; else longer and longer.
fn next_pause(last: Duration, lived: Duration) -> Duration {
    if lived >= LIVED_WELL { Duration::ZERO } else { (2 * last).clamp(SHORTEST_PAUSE, LONGEST_PAUSE) }
}

async fn run_one(command: &WorkerCommand, stop: &CancellationToken) -> io::Result<ExitStatus> {
    let mut process = Command::new(&command.program);
    process.args(&command.arguments).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0).kill_on_drop(true);
    if std::env::var_os("RUST_LOG").is_none() {
        process.env("RUST_LOG", command.log_filter);
    }
    let mut child = process.spawn()?;
    // `wait` would close it.
    let pipe = child.stdin.take();
    let status = tokio::select! {
        status = child.wait() => status,
        () = stop.cancelled() => stop_one(&mut child).await,
    };
    drop(pipe);
    status
}

async fn stop_one(child: &mut Child) -> io::Result<ExitStatus> {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // Fails only where it has ended already, and then there is nothing to stop.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    // The worker bounds its own end; this is for one that cannot, such as a stopped one.
    match tokio::time::timeout(STOP_BOUND + Duration::from_secs(3), child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            tracing::warn!("a worker did not stop in time; it is killed");
            child.kill().await?;
            child.wait().await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use super::{LIVED_WELL, LONGEST_PAUSE, SHORTEST_PAUSE, Supervisor, WorkerCommand, next_pause};

    #[test]
    fn a_worker_that_dies_at_once_again_and_again_is_started_less_and_less_often() {
        let mut pause = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            pause = next_pause(pause, Duration::ZERO);
            pauses.push(pause);
        }
        assert_eq!(pauses[..3], [SHORTEST_PAUSE, 2 * SHORTEST_PAUSE, 4 * SHORTEST_PAUSE]);
        assert_eq!(pauses[11], LONGEST_PAUSE);
        assert_eq!(next_pause(LONGEST_PAUSE, LIVED_WELL), Duration::ZERO);
    }

    fn shell(script: &str) -> WorkerCommand {
        WorkerCommand { program: PathBuf::from("/bin/sh"), arguments: vec!["-c".into(), script.into()], log_filter: "warn" }
    }

    #[tokio::test]
    async fn a_dead_worker_is_replaced_and_a_stop_reaches_the_living_one() {
        let folder = tempfile::tempdir().unwrap();
        let starts = folder.path().join("starts");
        // The first dies at once; the second waits for its input to end or for SIGTERM, and says if it was that.
        let script = format!(
            "trap 'echo stopped >> {0}; exit 0' TERM; echo x >> {0}; [ $(wc -l < {0}) = 1 ] && kill -9 $$; read line",
            starts.display()
        );
        let supervisor = Supervisor::start(&shell(&script), 1);
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::fs::read_to_string(&starts).unwrap_or_default() != "x\nx\n" {
            assert!(Instant::now() < deadline, "no second worker");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        supervisor.shutdown().await;
        assert_eq!(std::fs::read_to_string(&starts).unwrap(), "x\nx\nstopped\n");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_does_not_keep_the_supervisor_from_stopping() {
        let missing = WorkerCommand { program: PathBuf::from("/nonexistent/trainyard"), arguments: Vec::new(), log_filter: "warn" };
        Supervisor::start(&missing, 2).shutdown().await;
    }
}
