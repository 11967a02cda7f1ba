//! Power cuts: what is on the disk when the machine stops, and not only the process.
//!
//! A server works under load while a shim (`shim.c`, loaded with LD_PRELOAD) records every write, fsync, rename and removal in its data
//! folder. Then the power is cut, as often as wanted, at any entry of the record: what was fsynced is kept, and of the rest nothing,
//! everything, or what chance leaves of it ([`disk`]). A server is started on what remains, and the checker compares it with what the
//! clients had been told by then. The record is first shown to be whole: played to its end, it gives the very bytes of the real folder.

pub mod disk;
pub mod record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_util::sync::CancellationToken;
use trainyard_server::{Server, ServerConfig};
use trainyard_wire::JobId;
use trainyard_wire::client::Client;

use crate::checker::{Breach, Violation, check as compare};
use crate::dice::Dice;
use crate::figures::Summary;
use crate::history::{Exchange, History, until};
use crate::load::Load;
use crate::process::Site;
use crate::{reader, server_kills};
use disk::{Disk, Survival};

/// What is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `trainyard-torture`: its calls go through libc, where the shim sees them.
    pub torture: PathBuf,
    pub folder: PathBuf,
    pub seed: u64,
    /// How long the clients work, before and after a kill of the process.
    pub time: Duration,
    pub cuts: usize,
    /// What the server is told, such as which of its promises are broken.
    pub environment: Vec<(String, String)>,
}

/// Does it.
///
/// # Errors
/// Where the battery itself cannot go on; what the server does wrong is in the summary.
pub async fn run(plan: &Plan) -> anyhow::Result<Summary> {
    let mut summary = Summary::new("power-cut", plan.seed);
    let mut site = Site::new(&plan.torture, &plan.folder, 5)?;
    let file = plan.folder.join("record");
    let text = |path: &Path| path.to_str().map(str::to_owned).context("the folder's name is not UTF-8");
    site.environment = plan.environment.clone();
    site.environment.extend([
        ("LD_PRELOAD".to_owned(), text(&build_shim(&plan.folder)?)?),
        ("TRAINYARD_IO_ROOT".to_owned(), text(&site.data_dir())?),
        ("TRAINYARD_IO_RECORD".to_owned(), text(&file)?),
    ]);
    let mut load = Load::of(History::new(&plan.folder.join("history.jsonl"), Some(&file))?, plan.seed, 2, 2);
    for _ in 0..2 {
        let (mut server, _) = site.start_ready().await?;
        let client = site.client()?;
        let stop = CancellationToken::new();
        let killing = async {
            tokio::time::sleep(plan.time).await;
            // Of the shim: it kills once an operation that was done is in the record.
            let asked = kill(Pid::from_raw(server.pid().cast_signed()), Signal::SIGUSR2);
            let killed = server.wait().await;
            stop.cancel();
            asked.map_err(anyhow::Error::from).and(killed)
        };
        let ((), killed) = tokio::join!(load.work(&client, &stop), killing);
        killed?;
    }
    let history = load.shared.history.exchanges();
    let entries = record::read(&file)?;
    let dice = &mut Dice::new(plan.seed, 3);
    let mut cuts: Vec<usize> = (0..plan.cuts).map(|_| dice.index(entries.len())).collect();
    cuts.sort_unstable();
    let (mut disk, mut done, mut starts) = (Disk::default(), 0, Vec::new());
    for (number, cut) in cuts.into_iter().enumerate() {
        for entry in &entries[done..=cut.max(done)] {
            disk.apply(&entry.operation);
        }
        done = cut.max(done) + 1;
        let survival = [Survival::Nothing, Survival::Everything, Survival::Chance, Survival::Chance][number % 4];
        let folder = plan.folder.join("cut");
        put_down(&disk.after_cut(survival, dice), &site.data_dir(), &folder)?;
        let known = until(&history, entries[done - 1].recorded);
        let since = Instant::now();
        let found = examine(&folder, &known).await;
        starts.push(since.elapsed());
        let place = format!("after {done} of {} operations, with {survival:?} of what was not synced", entries.len());
        match found {
            Ok(found) => summary.violations.extend(found.into_iter().map(|violation| {
                let detail = format!("{place}: {}", violation.detail);
                Violation { detail, ..violation }
            })),
            Err(error) => {
                summary.violations.push(Violation { breach: Breach::Damaged, detail: format!("{place}: no server starts: {error:#}") });
            }
        }
        std::fs::remove_dir_all(&folder)?;
        if done >= entries.len() {
            break;
        }
    }
    for entry in &entries[done..] {
        disk.apply(&entry.operation);
    }
    same(&disk.after_cut(Survival::Everything, dice), &site.data_dir())?;
    server_kills::tally(&mut summary, &history);
    summary.count("file operations recorded", entries.len());
    summary.count("cuts", starts.len());
    summary.time("started and compared", &starts);
    Ok(summary)
}

/// Builds the shim with the machine's C compiler, which SQLite needs as well.
fn build_shim(folder: &Path) -> anyhow::Result<PathBuf> {
    let (source, shim) = (folder.join("shim.c"), folder.join("shim.so"));
    std::fs::write(&source, include_str!("shim.c"))?;
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let built = Command::new(&compiler).args(["-shared", "-fPIC", "-O1", "-o"]).args([&shim, &source]).args(["-ldl", "-lpthread"]).output();
    let built = built.with_context(|| format!("cannot start {compiler}"))?;
    ensure!(built.status.success(), "{compiler} cannot build the shim: {}", String::from_utf8_lossy(&built.stderr));
    Ok(shim)
}

/// Writes the files of `root` that a cut left into `folder`. One whose folder is not there cannot be reached.
fn put_down(files: &BTreeMap<PathBuf, Option<Vec<u8>>>, root: &Path, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (path, contents) in files {
        let place = folder.join(path.strip_prefix(root)?);
        match contents {
            // The root itself is the folder.
            None if path == root => {}
            None if place.parent().is_some_and(Path::is_dir) => std::fs::create_dir_all(&place)?,
            Some(bytes) if place.parent().is_some_and(Path::is_dir) => std::fs::write(&place, bytes)?,
            _ => {}
        }
    }
    Ok(())
}

/// Starts a server on the folder and compares it with what the clients knew.
async fn examine(folder: &Path, known: &[Exchange]) -> anyhow::Result<Vec<Violation>> {
    let mut violations = Vec::new();
    // Before its first start was done a server has no tables, and has acknowledged nothing.
    if known.iter().any(|exchange| exchange.answer.is_some()) {
        violations.extend(server_kills::folder(folder).await?);
    }
    let server = Server::start(ServerConfig::new(folder)).await?;
    let token = std::fs::read_to_string(server.admin_token_file())?;
    let client = Client::new(&format!("http://{}", server.address()), Some(token.trim().to_owned()))?;
    let stored = reader::read(&client, JobId(1), &Default::default(), &Default::default()).await;
    server.shutdown().await;
    violations.extend(compare(known, &stored?));
    Ok(violations)
}

/// Fails unless the record played to its end is the folder as it is.
fn same(played: &BTreeMap<PathBuf, Option<Vec<u8>>>, root: &Path) -> anyhow::Result<()> {
    let mut real = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.as_os_str().as_encoded_bytes().ends_with(b"-shm") {
                real.insert(path.clone(), std::fs::read(path)?);
            }
        }
    }
    let played: BTreeMap<_, _> = played.iter().filter_map(|(path, contents)| Some((path, contents.as_ref()?))).collect();
    for (path, bytes) in &real {
        match played.get(path) {
            None => bail!("the record does not have {}", path.display()),
            Some(played) if *played != bytes => bail!("the record has other bytes of {}", path.display()),
            Some(_) => {}
        }
    }
    if let Some((path, _)) = played.iter().find(|(path, _)| !real.contains_key(**path)) {
        bail!("the record has {}, which is not there", path.display());
    }
    Ok(())
}
