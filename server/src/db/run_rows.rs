//! Runs as answers show them.

use std::collections::{BTreeMap, HashMap};

use sqlx::SqliteConnection;
use trainyard_wire::metric::MetricSummary;
use trainyard_wire::run::{Progress, Run};
use trainyard_wire::{Attempt, JobId, Revision, RunId, RunState, Timestamp, WorkerId};

use super::{Result, from_json, number, parse, parse_option, to_json, unsigned};
use crate::store::{RunFilter, Shelves};

struct RunRow {
    id: i64,
    job_id: i64,
    name: Option<String>,
    project: Option<String>,
    tags: String,
    notes: Option<String>,
    priority: i64,
    state: String,
    stop_reason: Option<String>,
    error: Option<String>,
    spec: String,
    sweep_point: String,
    attempt: i64,
    worker_id: Option<i64>,
    requested: Option<String>,
    step: i64,
    total_steps: i64,
    epoch: Option<i64>,
    eta_seconds: Option<f64>,
    result: Option<String>,
    revision: i64,
    created_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    archived_at: Option<i64>,
}

impl RunRow {
    fn run(self, summary: BTreeMap<String, MetricSummary>) -> Result<Run> {
        Ok(Run {
            id: RunId(self.id),
            job_id: JobId(self.job_id),
            name: self.name,
            project: self.project,
            tags: from_json("run's tags", &self.tags)?,
            notes: self.notes,
            priority: i32::try_from(self.priority).unwrap_or_default(),
            state: parse("run's state", &self.state)?,
            stop_reason: parse_option("stop reason", self.stop_reason.as_deref())?,
            error: self.error,
            spec: from_json("run's spec", &self.spec)?,
            sweep_point: from_json("sweep point", &self.sweep_point)?,
            attempt: Attempt(self.attempt),
            worker_id: self.worker_id.map(WorkerId),
            requested: parse_option("requested action", self.requested.as_deref())?,
            progress: Progress {
                step: unsigned(self.step),
                total_steps: unsigned(self.total_steps),
                epoch: self.epoch.map(unsigned),
                eta_seconds: self.eta_seconds,
            },
            summary,
            result: self.result.map(|result| from_json("run's result", &result)).transpose()?,
            revision: Revision(self.revision),
            created_at: Timestamp(self.created_at),
            started_at: self.started_at.map(Timestamp),
            finished_at: self.finished_at.map(Timestamp),
            archived_at: self.archived_at.map(Timestamp),
        })
    }
}

/// The columns of [`RunRow`], where `$condition` holds.
macro_rules! run_rows {
    ($condition:literal, $($argument:expr),+) => {
        sqlx::query_as!(
            RunRow,
            r#"SELECT id, job_id, name AS "name?: String", project AS "project?: String", tags AS "tags!: String", notes, priority, state,
                 stop_reason, error, spec, sweep_point, attempt, worker_id, requested, step, total_steps, epoch, eta_seconds, result,
                 revision, created_at, started_at, finished_at, archived_at
             FROM run_rows WHERE "# + $condition,
            $($argument),+
        )
    };
}

/// Runs, newest first, without the numbers of inline problems and without those that verify others, unless their job is asked for; one
/// more than the limit, if there is.
pub(crate) async fn list(conn: &mut SqliteConnection, filter: &RunFilter) -> Result<Vec<Run>> {
    let before = filter.before.map_or(i64::MAX, |id| id.0);
    let (state, kind) = (filter.state.map(RunState::as_str), filter.kind.map(|kind| kind.as_str()));
    let Shelves { first, last } = filter.shelves;
    let limit = i64::from(filter.limit) + 1;
    // A query for each index that can serve the filter and has the runs in order; the + keeps the index over shelves out of it.
    let rows = match (filter.job, state) {
        (Some(job), state) => {
            run_rows!(
                "job_id = ?1 AND id < ?2 AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR kind = ?4)
                     AND (+shelf BETWEEN ?6 AND ?7 OR +shelf = 2) ORDER BY id DESC LIMIT ?5",
                job.0,
                before,
                state,
                kind,
                limit,
                first,
                last
            )
            .fetch_all(&mut *conn)
            .await?
        }
        (None, Some(state)) => {
            run_rows!(
                "state = ?1 AND id < ?2 AND (?3 IS NULL OR kind = ?3) AND +shelf BETWEEN ?5 AND ?6 ORDER BY id DESC LIMIT ?4",
                state,
                before,
                kind,
                limit,
                first,
                last
            )
            .fetch_all(&mut *conn)
            .await?
        }
        (None, None) => {
            run_rows!(
                "id < ?1 AND (?2 IS NULL OR kind = ?2) AND +shelf BETWEEN ?4 AND ?5 ORDER BY id DESC LIMIT ?3",
                before,
                kind,
                limit,
                first,
                last
            )
            .fetch_all(&mut *conn)
            .await?
        }
    };
    with_summaries(conn, rows).await
}

/// How many runs [`list`] has on all its pages.
pub(crate) async fn count(conn: &mut SqliteConnection, filter: &RunFilter) -> Result<u64> {
    let (state, kind) = (filter.state.map(RunState::as_str), filter.kind.map(|kind| kind.as_str()));
    let Shelves { first, last } = filter.shelves;
    // Each reads one index and no row of a run; the runs of a job are of its kind.
    let count = match filter.job {
        Some(job) => {
            let count = sqlx::query_scalar!(
                r#"SELECT COUNT(*) AS "count!: i64" FROM runs INDEXED BY runs_of_job
                   WHERE job_id = ?1 AND (?2 IS NULL OR state = ?2) AND (shelf BETWEEN ?3 AND ?4 OR shelf = 2)
                       AND (?5 IS NULL OR EXISTS (SELECT 1 FROM jobs WHERE jobs.id = ?1 AND jobs.kind = ?5))"#,
                job.0,
                state,
                first,
                last,
                kind,
            );
            count.fetch_one(conn).await?
        }
        None => {
            let count = sqlx::query_scalar!(
                r#"SELECT COUNT(*) AS "count!: i64" FROM runs INDEXED BY runs_on_shelf
                   WHERE shelf BETWEEN ?1 AND ?2 AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR kind = ?4)"#,
                first,
                last,
                state,
                kind,
            );
            count.fetch_one(conn).await?
        }
    };
    Ok(unsigned(count))
}

/// The runs with these ids that exist, by id; without the numbers of inline problems.
pub(crate) async fn by_id(conn: &mut SqliteConnection, ids: &[RunId]) -> Result<Vec<Run>> {
    let ids = to_json("list of runs", &ids)?;
    let rows = run_rows!("id IN (SELECT value FROM json_each(?)) ORDER BY id", ids).fetch_all(&mut *conn).await?;
    with_summaries(conn, rows).await
}

async fn with_summaries(conn: &mut SqliteConnection, rows: Vec<RunRow>) -> Result<Vec<Run>> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut summaries = summaries(conn, &ids).await?;
    rows.into_iter()
        .map(|row| {
            let summary = summaries.remove(&row.id).unwrap_or_default();
            row.run(summary)
        })
        .collect()
}

/// What each run's answer tells of its metrics, by run.
pub(super) async fn summaries(conn: &mut SqliteConnection, runs: &[i64]) -> Result<HashMap<i64, BTreeMap<String, MetricSummary>>> {
    let runs = to_json("list of runs", &runs)?;
    let rows = sqlx::query!(
        "SELECT run_id, name, last, last_step, minimum, maximum FROM series
         WHERE run_id IN (SELECT value FROM json_each(?)) AND points > 0",
        runs,
    )
    .fetch_all(conn)
    .await?;
    let mut summaries: HashMap<i64, BTreeMap<String, MetricSummary>> = HashMap::new();
    for row in rows {
        let (last, last_step) = (number(row.last), unsigned(row.last_step));
        let summary = MetricSummary { last, last_step, min: number(row.minimum), max: number(row.maximum) };
        summaries.entry(row.run_id).or_default().insert(row.name, summary);
    }
    Ok(summaries)
}

/// How many runs are in each state, without those that are deleted.
pub(crate) async fn counts(conn: &mut SqliteConnection) -> Result<BTreeMap<RunState, u64>> {
    let rows =
        sqlx::query!(r#"SELECT state, COUNT(*) AS "count!: i64" FROM runs INDEXED BY runs_on_shelf WHERE shelf <= 2 GROUP BY state"#);
    let rows = rows.fetch_all(conn).await?;
    rows.into_iter().map(|row| Ok((parse("run's state", &row.state)?, unsigned(row.count)))).collect()
}

/// When the run was submitted that has waited longest in the queue.
pub(crate) async fn oldest_queued(conn: &mut SqliteConnection) -> Result<Option<Timestamp>> {
    let query = sqlx::query_scalar!("SELECT created_at FROM runs INDEXED BY runs_in_state WHERE state = 'queued' ORDER BY id LIMIT 1");
    Ok(query.fetch_optional(conn).await?.map(Timestamp))
}

/// The images that all running runs train in a second, as far as they have told.
pub(crate) async fn images_per_second(conn: &mut SqliteConnection) -> Result<f64> {
    let query = sqlx::query_scalar!(
        r#"SELECT TOTAL(series.last) AS "rate!: f64" FROM runs JOIN series ON series.run_id = runs.id
           WHERE runs.state = 'running' AND series.name = 'images_per_second'"#
    );
    Ok(query.fetch_one(conn).await?)
}
