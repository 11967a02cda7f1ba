//! `kill -9` of a server at random points under load.
//!
//! A round: start, wait until ready, compare what is stored with the history, let the clients work, kill, check the folder. What the
//! kill cut off is asked again in the next round with the same words. One start in ten is itself killed before it is done.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use trainyard_server::check;
use trainyard_wire::client::Client;
use trainyard_wire::{JobId, RunId};

use crate::checker::{Breach, Violation, check as compare};
use crate::dice::Dice;
use crate::figures::Summary;
use crate::fill::fill;
use crate::history::{Answer, Ask, Exchange, History};
use crate::load::Load;
use crate::process::Site;
use crate::reader;

/// What is done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub program: PathBuf,
    pub folder: PathBuf,
    pub seed: u64,
    pub rounds: usize,
    /// The longest that the clients work before the kill.
    pub longest: Duration,
    /// Stored before the first round.
    pub jobs: usize,
    pub points: usize,
    /// What the server is told, such as which of its promises are broken.
    pub environment: Vec<(String, String)>,
}

/// Does it.
///
/// # Errors
/// Where the battery itself cannot go on; what the server does wrong is in the summary.
pub async fn run(plan: &Plan) -> anyhow::Result<Summary> {
    let mut summary = Summary::new("server-kills", plan.seed);
    let mut site = Site::new(&plan.program, &plan.folder, 5)?;
    site.environment = plan.environment.clone();
    let mut dice = Dice::new(plan.seed, 1);
    let mut load = Load::new(History::new(&plan.folder.join("history.jsonl"), None)?, plan.seed);
    if plan.jobs > 0 {
        let (mut server, _) = site.start_ready().await?;
        fill(&site.client()?, plan.jobs, plan.points).await?;
        server.kill()?;
    }
    let (mut ready, mut startups) = (Vec::new(), 0);
    // What is looked at after a round is what that round asked about.
    let (mut asked, mut jobs) = (0, JobId(plan.jobs as i64 + 1));
    for round in 0..plan.rounds {
        if dice.percent(10) {
            let mut server = site.start()?;
            tokio::time::sleep(Duration::from_millis(dice.below(150))).await;
            server.kill()?;
            startups += 1;
        }
        let (mut server, time) = site.start_ready().await.with_context(|| format!("round {round}"))?;
        ready.push(time);
        let client = site.client()?;
        let next = reader::newest_job(&client).await?.0 + 1;
        summary.violations.extend(verify(&client, &load, asked, jobs).await?);
        (asked, jobs) = (load.shared.history.len(), JobId(next));

        let stop = CancellationToken::new();
        let time = Duration::from_micros(dice.below(plan.longest.as_micros() as u64));
        let killing = async {
            tokio::time::sleep(time).await;
            let killed = server.kill();
            stop.cancel();
            killed
        };
        let ((), killed) = tokio::join!(load.work(&client, &stop), killing);
        killed?;
        summary.violations.extend(folder(&site.data_dir()).await?);
        if !summary.is_green() {
            eprintln!("round {round} is the first that is not green");
            break;
        }
    }
    // To the end: nothing that was begun stays undone.
    let (server, _) = site.start_ready().await?;
    let client = site.client()?;
    if summary.is_green() {
        load.finish(&client).await?;
        summary.violations.extend(verify(&client, &load, 0, JobId(plan.jobs as i64 + 1)).await?);
    }
    drop(server);
    tally(&mut summary, &load.shared.history.exchanges());
    summary.count("kills", ready.len() + startups);
    summary.count("kills during a start", startups);
    summary.time("ready again", &ready);
    Ok(summary)
}

/// Compares what is stored with the history from the exchange `asked` on: the jobs from `jobs` on, and the runs that were asked about.
async fn verify(client: &Client, load: &Load, asked: usize, jobs: JobId) -> anyhow::Result<Vec<Violation>> {
    let history = &load.shared.history;
    let (runs, earlier) = named(&history.since(asked));
    let earlier = earlier.into_iter().filter(|job| *job < jobs).collect();
    let stored = reader::read(client, jobs, &earlier, &runs).await?;
    Ok(compare(&history.about(asked, &runs), &stored))
}

/// The runs that some exchanges are about, and the jobs that they name.
fn named(history: &[Exchange]) -> (BTreeSet<RunId>, BTreeSet<JobId>) {
    let (mut runs, mut jobs) = (BTreeSet::new(), BTreeSet::new());
    for exchange in history {
        if let Ask::Report { run, .. } | Ask::Put { run, .. } | Ask::Act { run, .. } = &exchange.ask {
            runs.insert(*run);
        }
        match &exchange.answer {
            Some((Answer::Submitted { job, runs: submitted }, _)) => {
                jobs.insert(*job);
                runs.extend(submitted);
            }
            Some((Answer::Claimed { runs: claimed }, _)) => runs.extend(claimed.iter().map(|(run, _)| *run)),
            _ => {}
        }
    }
    (runs, jobs)
}

/// What is wrong with the folder of a server that was killed: SQLite's integrity_check and foreign_key_check, and every content.
pub async fn folder(data_dir: &Path) -> anyhow::Result<Vec<Violation>> {
    let findings = check::check(data_dir).await?.findings.into_iter();
    Ok(findings.map(|finding| Violation { breach: Breach::Damaged, detail: format!("{}: {}", finding.kind, finding.detail) }).collect())
}

/// Counts what was asked and answered.
pub fn tally(summary: &mut Summary, history: &[Exchange]) {
    let acknowledged = |exchange: &&Exchange| matches!(&exchange.answer, Some((answer, _)) if !matches!(answer, Answer::Refused { .. }));
    summary.count("requests", history.len());
    summary.count("acknowledged", history.iter().filter(acknowledged).count());
    summary.count("without an answer", history.iter().filter(|exchange| exchange.answer.is_none()).count());
}
