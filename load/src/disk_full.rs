//! A disk that fills up and is freed again, over and over, under one server.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::mount::{MsFlags, mount, umount};
use reqwest::StatusCode;
use trainyard_wire::client::{Client, ClientError};
use trainyard_wire::worker::Report as RunReport;
use trainyard_wire::{JobId, RunState};

use crate::report::{Bound, Report, Times};
use crate::seeds::Draws;
use crate::target::ServerProcess;
use crate::trainer::{Held, Trainer, batch, content, job, queue, report, success};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    pub cycles: u64,
    /// Of the file system, in MiB.
    pub mebibytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, cycles: 50, mebibytes: 64 }
    }
}

/// Most writes that may still fit after the file system is full: those into space that the log has taken before.
const MOST_UNTIL_FULL: usize = 2000;
/// When recovery is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file system of its own in memory; unmounted when it is dropped.
#[derive(Debug)]
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    fn mount(folder: PathBuf, mebibytes: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let options = format!("size={mebibytes}m");
        mount(Some("trainyard-load"), &folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .context("cannot mount a small tmpfs; this scenario needs root")?;
        Ok(Self { folder })
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Takes all space that is left.
    fn fill(&self) -> std::io::Result<()> {
        let mut ballast = OpenOptions::new().create(true).append(true).open(self.ballast())?;
        let mut piece = vec![0u8; 1 << 20];
        loop {
            match ballast.write(&piece) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull && piece.len() > 1 => piece.truncate(piece.len() / 2),
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn free(&self) -> std::io::Result<()> {
        std::fs::remove_file(self.ballast())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = umount(&self.folder) {
            eprintln!("{} stays mounted: {error}", self.folder.display());
        }
    }
}

/// Fills the disk under a server and frees it, again and again: while it is full, writes are answered with 507 and change nothing, and
/// reads go on; once it is freed the next write succeeds. What was acknowledged is there in the end, in the same process.
///
/// # Errors
/// Where any of that is not so.
pub async fn run(program: &Path, settings: Settings) -> anyhow::Result<Report> {
    let Settings { seed, cycles, mebibytes } = settings;
    let folder = tempfile::tempdir()?;
    let disk = SmallDisk::mount(folder.path().join("disk"), mebibytes)?;
    let mut server = ServerProcess::start_on(program, folder.path(), &disk.folder.join("data"), &[]).await?;
    let target = server.target().clone();
    let client = target.admin()?;
    queue(&client, "disk full", 1).await?;
    let trainer = Trainer::register(&target).await?;
    let held = trainer.claim_all(1).await?[0];

    let keeper = trainer.clone();
    let mut world = World { client, trainer, held, draws: Draws::new(seed, 0), jobs: Vec::new(), points: 0, refused: 0, step: 0 };
    let mut recoveries = Times::default();
    let beating = async {
        for cycle in 0..cycles {
            world.write().await.with_context(|| format!("cycle {cycle}, with space"))?;
            disk.fill()?;
            world.until_full().await.with_context(|| format!("cycle {cycle}, while it is full"))?;
            world.read().await.with_context(|| format!("cycle {cycle}, while it is full"))?;
            disk.free()?;
            recoveries.add(world.recover().await.with_context(|| format!("cycle {cycle}, freed"))?);
        }
        anyhow::Ok(())
    };
    tokio::select! {
        done = beating => done?,
        () = keeper.keep(held) => unreachable!("heartbeats do not end by themselves"),
    }
    world.check().await?;
    ensure!(server.is_running(), "the server has ended");
    let log = server.log()?;
    ensure!(!log.contains("database is locked"), "the server logged that its database is locked");
    drop(server);

    let mut report = Report::new("disk-full", seed);
    report.promise("cycles", cycles as f64, "", Bound::AtLeast(50.0_f64.min(cycles as f64)));
    report.tell("writes answered with 507", world.refused as f64, "");
    report.tell("submits acknowledged, all there", world.jobs.len() as f64, "");
    report.times("recovery", &mut recoveries, None);
    report.promise("longest recovery", recoveries.percentile(100.0) / 1e3, "s", Bound::AtMost(5.0));
    Ok(report)
}

struct World {
    client: Client,
    trainer: Trainer,
    held: Held,
    draws: Draws,
    jobs: Vec<JobId>,
    points: u64,
    refused: u64,
    step: u64,
}

impl World {
    async fn submit(&mut self) -> Result<(), ClientError> {
        // A problem of its own, of about twenty kilobytes.
        let x: Vec<Vec<f64>> = (0..50).map(|_| (0..20).map(|_| self.draws.fraction()).collect()).collect();
        let t: Vec<f64> = (0..50).map(|_| self.draws.fraction()).collect();
        let mut body = job("disk full");
        body["spec"]["problem"] = serde_json::json!({"source": "inline", "x": x, "t": t});
        let key = format!("{:x}", self.draws.draw());
        self.jobs.push(self.client.submit(serde_json::to_vec(&body)?, Some(&key)).await?.id);
        Ok(())
    }

    async fn report(&mut self) -> Result<(), ClientError> {
        let series = batch("loss", self.points + 1, 200, &mut self.draws);
        let body = RunReport { metrics: vec![series], ..report(self.held.attempt) };
        self.trainer.client.report(self.held.run, &body).await?;
        self.points += 200;
        Ok(())
    }

    async fn put(&mut self) -> Result<(), ClientError> {
        let (bytes, hash) = content(100_000, &mut self.draws);
        self.step += 1;
        let (run, attempt) = (self.held.run, self.held.attempt);
        self.trainer.client.put_artifact(run, attempt, "checkpoint.safetensors", &hash, Some(self.step), bytes).await
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        self.submit().await?;
        self.report().await?;
        Ok(self.put().await?)
    }

    /// Writes until each kind of write was refused.
    async fn until_full(&mut self) -> anyhow::Result<()> {
        let is_full = |done: Result<(), ClientError>| match done {
            Ok(()) => Ok(false),
            Err(ClientError::Problem(problem)) if problem.status == StatusCode::INSUFFICIENT_STORAGE.as_u16() => Ok(true),
            Err(error) => Err(error),
        };
        let (mut put, mut submitted, mut reported) = (false, false, false);
        for _ in 0..MOST_UNTIL_FULL {
            put = put || is_full(self.put().await)?;
            submitted = submitted || is_full(self.submit().await)?;
            reported = reported || is_full(self.report().await)?;
            if put && submitted && reported {
                self.refused += 3;
                return Ok(());
            }
        }
        bail!("the disk is full, and yet there are writes that succeed: put {put}, submit {submitted}, report {reported}");
    }

    async fn read(&self) -> anyhow::Result<()> {
        self.client.ready().await?;
        ensure!(self.client.run(self.held.run).await?.state == RunState::Running);
        ensure!(!self.client.jobs(50).await?.items.is_empty());
        if let Some(job) = self.jobs.last() {
            self.client.job(*job).await?;
        }
        let history = self.client.metrics(self.held.run, None).await?;
        let points: usize = history.series.iter().map(|series| series.points.len()).sum();
        ensure!(points as u64 == self.points, "{points} points are there of {}", self.points);
        Ok(())
    }

    /// Tries every kind of write until it succeeds; answers how long that took.
    async fn recover(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        loop {
            match self.write().await {
                Ok(()) => return Ok(begun.elapsed()),
                Err(error) if begun.elapsed() > PATIENCE => return Err(error.context("writes do not succeed although there is space")),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// All that was acknowledged is there, and nothing else.
    async fn check(&self) -> anyhow::Result<()> {
        for job in &self.jobs {
            ensure!(self.client.job(*job).await?.run_count == 1);
        }
        let last = self.jobs.last().context("there were submits")?;
        // The first job is that of the run in hand; ids are consecutive, so none is there that nobody was told of.
        ensure!(last.0 == self.jobs.len() as i64 + 1, "{} jobs are acknowledged, and the last is {last}", self.jobs.len());
        self.trainer.client.report(self.held.run, &success(self.held.attempt)).await?;
        self.read_points().await
    }

    async fn read_points(&self) -> anyhow::Result<()> {
        let history = self.client.metrics(self.held.run, None).await?;
        let points: usize = history.series.iter().map(|series| series.points.len()).sum();
        ensure!(points as u64 == self.points, "{points} points are there of {}", self.points);
        Ok(())
    }
}
