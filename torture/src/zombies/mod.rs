//! Workers that are stopped past their lease and come back.
//!
//! The zombies are processes that follow the worker protocol ([`undead`]) and are as stubborn as can be: once refused, they try every kind
//! of write. They are stopped (SIGSTOP) at a random moment; their leases run out; another worker is given their runs, and has ended some
//! of them; then they go on. Meanwhile nobody else writes, so not a row of the whole database and not a file may change.

pub mod undead;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use sha2::{Digest as _, Sha256};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions as _, Row as _, ValueRef as _};
use trainyard_wire::RunId;
use trainyard_wire::client::Client;
use trainyard_wire::worker::{ClaimRequest, Finish, Outcome, Register, Report};

use crate::checker::{Breach, Violation};
use crate::dice::Dice;
use crate::figures::Summary;
use crate::load::{hexadecimal, job};
use crate::process::{Process, Site, eventually};
use undead::Line;

/// What is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `trainyard` or `trainyard-torture`.
    pub program: PathBuf,
    /// `trainyard-torture`, which the zombies are.
    pub torture: PathBuf,
    pub folder: PathBuf,
    pub seed: u64,
    pub zombies: usize,
    /// Zombies that are stopped at one time.
    pub at_once: usize,
    pub lease_seconds: u64,
    /// What the server is told, such as which of its promises are broken.
    pub environment: Vec<(String, String)>,
}

struct Zombie {
    process: Process,
    log: PathBuf,
    run: RunId,
}

/// Does it.
///
/// # Errors
/// Where the battery itself cannot go on; what the server does wrong is in the summary.
pub async fn run(plan: &Plan) -> anyhow::Result<Summary> {
    let mut summary = Summary::new("zombies", plan.seed);
    let mut site = Site::new(&plan.program, &plan.folder, plan.lease_seconds)?;
    site.environment = plan.environment.clone();
    let (_server, _) = site.start_ready().await?;
    let client = site.client()?;
    let mut dice = Dice::new(plan.seed, 2);
    let register = Register::cpu("heir");
    let heir = client.register(&register).await?.worker_id;
    let (mut risen, mut started, mut late, mut refused) = (0, 0, 0, 0);
    while risen < plan.zombies {
        let mut zombies = Vec::new();
        for _ in risen..plan.zombies.min(risen + plan.at_once) {
            zombies.push(rise(plan, &site, &client, started).await?);
            started += 1;
        }
        for zombie in &zombies {
            tokio::time::sleep(Duration::from_millis(dice.below(40))).await;
            zombie.process.signal(Signal::SIGSTOP)?;
        }
        // On a machine that is busy enough a lease runs out by itself.
        zombies.retain(|zombie| undead::statuses(&zombie.log).is_ok_and(|statuses| statuses.iter().all(|(.., status)| *status == 200)));
        for zombie in &zombies {
            eventually(format!("the lease of run {} to run out", zombie.run), async || {
                let events = client.events(zombie.run).await.ok()?.items;
                events.iter().any(|event| event.kind == "lease_expired").then_some(())
            })
            .await?;
        }
        inherit(&client, heir, &mut dice).await?;

        let before = rows(&site.data_dir()).await?;
        let asked: Vec<usize> = zombies.iter().map(|zombie| asks(&zombie.log)).collect::<anyhow::Result<_>>()?;
        for zombie in &zombies {
            zombie.process.signal(Signal::SIGCONT)?;
        }
        for zombie in &mut zombies {
            let status = zombie.process.wait().await?;
            ensure!(status.success(), "a zombie ended with {status}; see {}", zombie.log.display());
        }
        for (zombie, asked) in zombies.iter().zip(asked) {
            let statuses = undead::statuses(&zombie.log)?;
            // What was under way when it was stopped may have been answered before the lease ran out.
            for (ask, status) in statuses.iter().filter(|(place, _, _)| *place >= asked).map(|(_, ask, status)| (ask, *status)) {
                let writes = usize::from(ask != undead::HEARTBEAT);
                late += writes;
                refused += if status == 409 { writes } else { 0 };
                if status != 409 {
                    let detail = format!("a late {ask} of run {} was answered with {status}", zombie.run);
                    summary.violations.push(Violation { breach: Breach::Unfenced, detail });
                }
            }
        }
        for (what, digest) in rows(&site.data_dir()).await? {
            if before.get(&what) != Some(&digest) {
                summary.violations.push(Violation { breach: Breach::Changed, detail: format!("{what} changed while only zombies wrote") });
            }
        }
        risen += zombies.len();
    }
    summary.count("zombies", risen);
    summary.count("that lost their run before they were stopped, beside these", started - risen);
    summary.count("late writes", late);
    summary.count("answered with 409", refused);
    ensure!(late >= 5 * risen, "every zombie tries every kind of write");
    Ok(summary)
}

/// Submits a run and has a process take one, and write.
async fn rise(plan: &Plan, site: &Site, client: &Client, number: usize) -> anyhow::Result<Zombie> {
    let log = plan.folder.join(format!("zombie-{number}.jsonl"));
    client.submit(job(&format!("zombie-{number}"), 1, 0).to_string().into_bytes(), None).await?;
    let (url, token) = (site.url(), site.data_dir().join("worker.token"));
    let text = |path: &Path| path.to_str().map(str::to_owned).context("the folder's name is not UTF-8");
    let (token, file) = (text(&token)?, text(&log)?);
    let arguments = ["zombie", "--server", &url, "--token-file", &token, "--log", &file];
    let process = Process::start(&plan.torture, &arguments, &[], &plan.folder.join("zombies.log"))?;
    let held = eventually("a zombie to hold a run", async || match undead::read(&log).ok()?.first()? {
        Line::Claimed { run, .. } => Some(*run),
        _ => None,
    });
    Ok(Zombie { run: held.await?, process, log })
}

/// Gives some of the lost runs to another worker, which ends some of these.
async fn inherit(client: &Client, heir: trainyard_wire::WorkerId, dice: &mut Dice) -> anyhow::Result<()> {
    let claim = ClaimRequest { worker_id: heir, max: 64, small: false, wait_seconds: 0.0 };
    for run in client.claim(&claim).await?.runs {
        if dice.percent(70) {
            let finish = Finish { outcome: Outcome::Succeeded, stop_reason: None, error: None, result: None };
            let report = Report {
                attempt: run.attempt,
                metrics: Vec::new(),
                progress: None,
                logs: Vec::new(),
                certificates: Vec::new(),
                left_out: Vec::new(),
                finish: Some(finish),
            };
            client.report(run.run_id, &report).await?;
        } else if dice.percent(50) {
            client.run_action(run.run_id, "cancel").await?;
        }
    }
    Ok(())
}

fn asks(log: &Path) -> anyhow::Result<usize> {
    Ok(undead::read(log)?.iter().filter(|line| matches!(line, Line::Ask { .. })).count())
}

/// A digest of every table, and of the folder of contents.
async fn rows(data_dir: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let options = SqliteConnectOptions::new().filename(data_dir.join("trainyard.db")).read_only(true);
    let mut conn = options.connect().await?;
    let tables = sqlx::query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetch_all(&mut conn).await?;
    let mut digests = BTreeMap::new();
    for table in tables {
        let name: String = table.try_get(0)?;
        let mut digest = Sha256::new();
        for row in sqlx::query(AssertSqlSafe(format!("SELECT * FROM \"{name}\""))).fetch_all(&mut conn).await? {
            for column in row.columns() {
                let value = row.try_get_raw(column.ordinal())?;
                // Whatever its type, a value is cast to bytes by SQLite itself.
                let bytes = if value.is_null() { None } else { row.try_get_unchecked::<Vec<u8>, _>(column.ordinal()).ok() };
                digest.update(format!("{bytes:?};"));
            }
        }
        digests.insert(format!("the table {name}"), hexadecimal(&digest.finalize()));
    }
    let mut files = Vec::new();
    for folder in std::fs::read_dir(data_dir.join("blobs"))? {
        let folder = folder?;
        // What is under way comes and goes.
        if folder.file_name() != "tmp" {
            files.extend(std::fs::read_dir(folder.path())?.map(|file| file.map(|file| file.file_name())).collect::<Result<Vec<_>, _>>()?);
        }
    }
    files.sort();
    digests.insert("the folder of contents".to_owned(), format!("{files:?}"));
    Ok(digests)
}
