//! `trainyard watch`, and following runs for `submit --follow` and `demo`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use trainyard_wire::client::{Client, ClientError, RunQuery};
use trainyard_wire::run::Run;
use trainyard_wire::{JobId, RunId, RunState};

use crate::connection::Connection;
use crate::terminal::progress::RunProgress;
use crate::terminal::table::Table;
use crate::terminal::{format, print};

/// Between two looks at the runs.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// How long a server may be away before watching gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most runs in the table at the end.
const MOST_ROWS: u32 = 1000;

#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// The runs to follow
    #[arg(required_unless_present = "job", conflicts_with = "job", value_name = "RUN")]
    runs: Vec<RunId>,
    /// Follow all runs of this job
    #[arg(long)]
    job: Option<JobId>,
    #[command(flatten)]
    connection: Connection,
}

impl WatchArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let watched = self.job.map_or(Watched::Runs(self.runs), Watched::Job);
        follow(&self.connection.client()?, &watched).await
    }
}

/// What is followed.
#[derive(Debug)]
pub(crate) enum Watched {
    Runs(Vec<RunId>),
    Job(JobId),
}

/// Follows runs to their end, prints what came of them, and fails unless all of them succeeded.
pub(crate) async fn follow(client: &Client, watched: &Watched) -> anyhow::Result<ExitCode> {
    let all_succeeded = until_finished(client, watched).await?;
    print(&outcomes(client, watched).await?)?;
    Ok(if all_succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows progress until every run has ended; tells whether all succeeded.
pub(crate) async fn until_finished(client: &Client, watched: &Watched) -> anyhow::Result<bool> {
    let mut progress = RunProgress::new();
    let mut answered = Instant::now();
    loop {
        match look(client, watched, &mut progress).await {
            Ok(Some(all_succeeded)) => return Ok(all_succeeded),
            Ok(None) => answered = Instant::now(),
            Err(error) if error.is_transient() && answered.elapsed() < PATIENCE => {
                tracing::warn!(%error, "the server does not answer; trying again");
            }
            Err(error) => return Err(error).context("cannot follow the runs"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Shows the runs as they are now. Once all have ended: whether all succeeded.
async fn look(client: &Client, watched: &Watched, progress: &mut RunProgress) -> Result<Option<bool>, ClientError> {
    match watched {
        Watched::Runs(ids) => {
            let mut finished = 0;
            let mut succeeded = 0;
            for &id in ids {
                let run = client.run(id).await?;
                progress.show(&run);
                finished += usize::from(run.state.is_finished());
                succeeded += usize::from(run.state == RunState::Succeeded);
            }
            Ok((finished == ids.len()).then_some(succeeded == ids.len()))
        }
        Watched::Job(id) => {
            // First the counts: a run that ends in between is then seen in the next look at the latest.
            let job = client.job(*id).await?;
            let open = progress.open_runs();
            let running = RunQuery { job: Some(*id), state: Some(RunState::Running), limit: Some(100), ..RunQuery::default() };
            let running = client.runs(&running).await?.items;
            for run in &running {
                progress.show(run);
            }
            for id in open.into_iter().filter(|id| running.iter().all(|run| run.id != *id)) {
                progress.show(&client.run(id).await?);
            }
            let count =
                |holds: fn(RunState) -> bool| -> u64 { job.states.iter().filter(|(state, _)| holds(**state)).map(|(_, n)| n).sum() };
            let finished = count(RunState::is_finished);
            Ok((finished >= job.run_count).then(|| count(|state| state == RunState::Succeeded) == job.run_count))
        }
    }
}

/// What came of the runs, as a table; of a large job's, the newest.
async fn outcomes(client: &Client, watched: &Watched) -> Result<String, ClientError> {
    let mut left_out = 0;
    let runs = match watched {
        Watched::Runs(ids) => {
            let mut runs = Vec::with_capacity(ids.len());
            for &id in ids {
                runs.push(client.run(id).await?);
            }
            runs
        }
        Watched::Job(id) => {
            let mut runs = client.runs(&RunQuery { job: Some(*id), limit: Some(MOST_ROWS), ..RunQuery::default() }).await?.items;
            runs.sort_by_key(|run| run.id);
            left_out = client.job(*id).await?.run_count.saturating_sub(runs.len() as u64);
            runs
        }
    };
    let mut table = Table::new(&["RUN", "WHAT", "STATE", "LOSS", "ACCURACY", "TOOK", "WHY"]);
    for run in &runs {
        table.row(outcome(run));
    }
    let more = if left_out > 0 { format!("and {left_out} older runs\n") } else { String::new() };
    Ok(format!("{table}{more}"))
}

fn outcome(run: &Run) -> [String; 7] {
    [
        run.id.to_string(),
        format::what(run),
        format::state(run),
        format::loss(run).map(format::number).unwrap_or_default(),
        format::accuracy(run).unwrap_or_default(),
        format::took(run),
        run.error.clone().unwrap_or_default(),
    ]
}
