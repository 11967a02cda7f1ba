//! `trainyard watch`, and following runs for `submit --follow` and `demo`.
//!
//! One stream of events tells which runs have changed; these are then looked at, all that changed within a moment at once. The stream is
//! opened before the first look, so nothing falls between the two, and after a connection that broke everything is looked at again. Where
//! the server has no place for one more stream, the runs are looked at now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use trainyard_wire::client::{Client, ClientError, NewsStream, RunQuery};
use trainyard_wire::queue::WaitsFor;
use trainyard_wire::run::{News, Run};
use trainyard_wire::{JobId, Page, RunId, RunState};

use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::format;
use crate::terminal::progress::RunProgress;
use crate::terminal::table::Table;

/// What happens within this time is looked at together; of many runs, within a longer one.
const MOMENT: Duration = Duration::from_millis(200);
/// Between two looks without a stream.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A stream that is silent for so long is broken: the server shows every 15 seconds that it lives.
const SILENCE: Duration = Duration::from_secs(50);
/// How long nothing happens to runs that all wait before it is asked why, and between two such questions.
const ASK_AFTER: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_secs(10);
/// How long a server may be away before watching gives up, and the pause between two tries.
const PATIENCE: Duration = Duration::from_secs(60);
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Most runs that a stream can name; more are picked out of the stream of all.
const MOST_NAMED: usize = 1000;
/// More runs than this are looked at as a list.
const MOST_SINGLE: usize = 32;
/// Runs that are asked for at one time.
const AT_ONCE: usize = 8;
/// Most runs of a page, and in the table at the end.
const PAGE: u32 = 1000;
/// Points of the small curve.
const CURVE: u32 = 16;

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
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let watched = self.job.map_or(Watched::Runs(self.runs), Watched::Job);
        follow(&self.connection.client(context)?, &watched, context).await
    }
}

/// What is followed.
#[derive(Debug)]
pub(crate) enum Watched {
    Runs(Vec<RunId>),
    Job(JobId),
}

/// Follows runs to their end, prints what came of them, and fails unless all of them succeeded.
pub(crate) async fn follow(client: &Client, watched: &Watched, context: &Context) -> anyhow::Result<ExitCode> {
    let all_succeeded = until_finished(client, watched, context).await?;
    let runs = all(client, watched).await.context("cannot tell what came of the runs")?;
    context.answer(&Page { items: runs }, |runs| outcomes(&runs.items))?;
    Ok(if all_succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows progress until every run has ended; tells whether all succeeded.
pub(crate) async fn until_finished(client: &Client, watched: &Watched, context: &Context) -> anyhow::Result<bool> {
    let ids = match watched {
        Watched::Runs(ids) => ids.clone(),
        Watched::Job(job) => client.job(*job).await.context("cannot follow the runs")?.run_ids,
    };
    let progress = RunProgress::new(ids.len(), context.json());
    let mut follower = Follower {
        client,
        watched,
        states: ids.into_iter().map(|id| (id, RunState::Queued)).collect(),
        changed: BTreeSet::new(),
        progress,
        answered: Instant::now(),
        waits_for: None,
    };
    loop {
        match follower.until_broken().await {
            Ok(Some(all_succeeded)) => {
                follower.progress.finish();
                return Ok(all_succeeded);
            }
            Err(error) if !error.is_transient() || follower.answered.elapsed() >= PATIENCE => {
                follower.progress.finish();
                return Err(error).context("cannot follow the runs");
            }
            Ok(None) => {}
            Err(error) => follower.progress.note(&format!("the server does not answer; trying again ({error})")),
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}

/// The watched runs as they were seen last.
struct Follower<'a> {
    client: &'a Client,
    watched: &'a Watched,
    states: BTreeMap<RunId, RunState>,
    /// To be looked at again.
    changed: BTreeSet<RunId>,
    progress: RunProgress,
    /// When the server answered last.
    answered: Instant,
    /// What was told of the wait in the queue.
    waits_for: Option<WaitsFor>,
}

impl Follower<'_> {
    /// Follows as long as the connection holds. Once all runs have ended: whether all succeeded.
    async fn until_broken(&mut self) -> Result<Option<bool>, ClientError> {
        let ids: Vec<RunId> = self.states.keys().copied().collect();
        let named = if ids.len() > MOST_NAMED { &ids[..0] } else { &ids };
        let mut stream = match self.client.news(named, None).await {
            Ok(stream) => Some(stream),
            Err(error) if error.status().is_some_and(|status| status == 503) => None,
            Err(error) => return Err(error),
        };
        self.look_at_all().await?;
        loop {
            if self.states.values().all(|state| state.is_finished()) {
                return Ok(Some(self.states.values().all(|state| *state == RunState::Succeeded)));
            }
            match &mut stream {
                Some(stream) => {
                    if !self.receive(stream).await? {
                        return Ok(None);
                    }
                }
                None => {
                    tokio::time::sleep(LOOK_EVERY).await;
                    self.changed = self.states.iter().filter(|(_, state)| !state.is_finished()).map(|(id, _)| *id).collect();
                }
            }
            self.look_at_changed().await?;
        }
    }

    /// Waits for the next news, and for what comes in the same moment. False where the stream has ended.
    async fn receive(&mut self, stream: &mut NewsStream) -> Result<bool, ClientError> {
        let now = tokio::time::Instant::now;
        let (mut broken, mut ask) = (now() + SILENCE, now() + ASK_AFTER);
        while self.changed.is_empty() {
            let waiting = self.first_waiting();
            let until = if waiting.is_some() { broken.min(ask) } else { broken };
            match (tokio::time::timeout_at(until, stream.next()).await, waiting) {
                (Ok(Ok(Some(news))), _) => {
                    broken = now() + SILENCE;
                    self.take(&news);
                }
                (Ok(Err(error)), _) => return Err(error),
                (Err(_), Some(id)) if now() < broken => {
                    self.tell_what_it_waits_for(id).await;
                    ask = now() + ASK_EVERY;
                }
                (Ok(Ok(None)) | Err(_), _) => return Ok(false),
            }
        }
        let moment =
            tokio::time::Instant::now() + MOMENT + Duration::from_micros(500) * u32::try_from(self.states.len()).unwrap_or(u32::MAX);
        while let Ok(next) = tokio::time::timeout_at(moment, stream.next()).await {
            match next? {
                Some(news) => self.take(&news),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The run that is taken next, where none of them is with a worker.
    fn first_waiting(&self) -> Option<RunId> {
        if self.states.values().any(|state| *state == RunState::Running) {
            return None;
        }
        self.states.iter().find(|(_, state)| **state == RunState::Queued).map(|(id, _)| *id)
    }

    /// Says why nothing goes on, once for each reason. A server that cannot tell is no reason to stop watching.
    async fn tell_what_it_waits_for(&mut self, id: RunId) {
        let Ok(position) = self.client.queue_position(id).await else { return };
        if let (Some(waits_for), Some(detail)) = (position.waits_for, position.detail)
            && self.waits_for.replace(waits_for) != Some(waits_for)
        {
            self.progress.note(&format!("run {id} waits: {detail}"));
        }
    }

    /// Metrics and progress matter where they are shown; whatever else happens, always.
    fn take(&mut self, news: &News) {
        let is_watched = self.states.contains_key(&news.run_id);
        if is_watched && (news.kind != "changed" || self.progress.follows(news.run_id)) {
            self.changed.insert(news.run_id);
        }
    }

    async fn look_at_all(&mut self) -> Result<(), ClientError> {
        self.changed.clear();
        match self.watched {
            Watched::Runs(ids) => {
                for run in singly(self.client, ids).await? {
                    self.see(&run);
                }
            }
            Watched::Job(job) => {
                let query = RunQuery { job: Some(*job), limit: Some(PAGE), ..RunQuery::default() };
                let mut next = None;
                loop {
                    let page = self.client.run_page(&query, next.as_ref()).await?;
                    page.items.iter().for_each(|run| self.see(run));
                    next = page.next;
                    if next.is_none() {
                        break;
                    }
                }
            }
        }
        self.show().await
    }

    async fn look_at_changed(&mut self) -> Result<(), ClientError> {
        if self.changed.len() > MOST_SINGLE && matches!(self.watched, Watched::Job(_)) {
            return self.look_at_all().await;
        }
        let ids: Vec<RunId> = std::mem::take(&mut self.changed).into_iter().collect();
        for run in singly(self.client, &ids).await? {
            self.see(&run);
        }
        self.show().await
    }

    fn see(&mut self, run: &Run) {
        self.states.insert(run.id, run.state);
        self.progress.show(run);
    }

    /// The small curves and the counts.
    async fn show(&mut self) -> Result<(), ClientError> {
        self.answered = Instant::now();
        for (id, name) in self.progress.curves_wanted() {
            let history = self.client.metric_buckets(id, name, CURVE).await?;
            let buckets = history.series.into_iter().flat_map(|series| series.buckets);
            self.progress.show_curve(id, buckets.map(|bucket| bucket.last.0).collect());
        }
        let count = |state: RunState| self.states.values().filter(|other| **other == state).count();
        let counts: Vec<(RunState, usize)> = RunState::ALL.iter().map(|state| (*state, count(*state))).filter(|(_, n)| *n > 0).collect();
        self.progress.show_counts(&counts);
        Ok(())
    }
}

/// These runs, in this order.
async fn singly(client: &Client, ids: &[RunId]) -> Result<Vec<Run>, ClientError> {
    futures::stream::iter(ids.iter().copied()).map(|id| client.run(id)).buffered(AT_ONCE).try_collect().await
}

/// All watched runs as they are now.
async fn all(client: &Client, watched: &Watched) -> Result<Vec<Run>, ClientError> {
    let job = match watched {
        Watched::Runs(ids) => return singly(client, ids).await,
        Watched::Job(job) => *job,
    };
    let query = RunQuery { job: Some(job), limit: Some(PAGE), ..RunQuery::default() };
    let mut runs = Vec::new();
    let mut next = None;
    loop {
        let page = client.run_page(&query, next.as_ref()).await?;
        runs.extend(page.items);
        next = page.next;
        if next.is_none() {
            runs.sort_by_key(|run| run.id);
            return Ok(runs);
        }
    }
}

/// What came of the runs, as a table; of very many, the newest.
fn outcomes(runs: &[Run]) -> String {
    let left_out = runs.len().saturating_sub(PAGE as usize);
    let mut table = Table::new(&["RUN", "WHAT", "STATE", "LOSS", "ACCURACY", "TOOK", "WHY"]);
    for run in &runs[left_out..] {
        table.row(outcome(run));
    }
    let more = if left_out > 0 { format!("and {left_out} older runs\n") } else { String::new() };
    format!("{table}{more}")
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
