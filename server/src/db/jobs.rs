//! Jobs.

use std::collections::{BTreeMap, HashMap};

use sqlx::SqliteConnection;
use trainyard_wire::job::Job;
use trainyard_wire::{JobId, Revision, RunId, RunState, Timestamp};

use super::{Result, from_json, parse, to_json, unsigned};
use crate::store::{JobFilter, NewJob};

pub(crate) async fn insert(conn: &mut SqliteConnection, job: &NewJob, revision: Revision, now: Timestamp) -> Result<JobId> {
    let tags = to_json("tags", &job.tags)?;
    let sweep = if job.sweep.is_empty() { None } else { Some(to_json("sweep", &job.sweep)?) };
    let (kind, priority) = (job.kind.as_str(), i64::from(job.priority));
    let id = sqlx::query!(
        "INSERT INTO jobs (name, tags, project, kind, priority, sweep, created_at, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        job.name,
        tags,
        job.project,
        kind,
        priority,
        sweep,
        now.0,
        revision.0,
    )
    .execute(conn)
    .await?
    .last_insert_rowid();
    Ok(JobId(id))
}

/// Notes that what the job's answer tells has changed.
pub(crate) async fn set_revision(conn: &mut SqliteConnection, id: JobId, revision: Revision) -> Result<()> {
    let result = sqlx::query!("UPDATE jobs SET revision = ? WHERE id = ?", revision.0, id.0).execute(conn).await?;
    super::one_row(&result)
}

struct JobRow {
    id: i64,
    name: Option<String>,
    tags: String,
    project: Option<String>,
    kind: String,
    priority: i64,
    sweep: Option<String>,
    created_at: i64,
    revision: i64,
}

impl JobRow {
    fn job(self, states: BTreeMap<RunState, u64>) -> Result<Job> {
        Ok(Job {
            id: JobId(self.id),
            name: self.name,
            tags: from_json("job's tags", &self.tags)?,
            project: self.project,
            kind: parse("job's kind", &self.kind)?,
            priority: i32::try_from(self.priority).unwrap_or_default(),
            run_count: states.values().sum(),
            states,
            run_ids: Vec::new(),
            sweep: self.sweep.map(|sweep| from_json("job's sweep", &sweep)).transpose()?,
            created_at: Timestamp(self.created_at),
            revision: Revision(self.revision),
        })
    }
}

/// Jobs of which a run is left, newest first, without their runs' ids; one more than the limit, if there is.
pub(crate) async fn list(conn: &mut SqliteConnection, filter: &JobFilter) -> Result<Vec<Job>> {
    let before = filter.before.map_or(i64::MAX, |id| id.0);
    let (kind, state) = (filter.kind.map(|kind| kind.as_str()), filter.state.map(|state| state.as_str()));
    let limit = i64::from(filter.limit) + 1;
    let rows = sqlx::query_as!(
        JobRow,
        "SELECT id, name, tags, project, kind, priority, sweep, created_at, revision FROM jobs
         WHERE id < ?1 AND verifies IS NULL AND model_run_id IS NULL AND (?2 IS NULL OR kind = ?2)
             AND EXISTS (SELECT 1 FROM runs WHERE runs.job_id = jobs.id AND (?3 IS NULL OR runs.state = ?3) AND runs.shelf < 3)
         ORDER BY id DESC LIMIT ?4",
        before,
        kind,
        state,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut states = states(conn, &ids).await?;
    rows.into_iter().map(|row| row_with_states(row, &mut states)).collect()
}

/// One job of which a run is left, with its runs' ids.
pub(crate) async fn get(conn: &mut SqliteConnection, id: JobId) -> Result<Option<Job>> {
    let row =
        sqlx::query_as!(JobRow, "SELECT id, name, tags, project, kind, priority, sweep, created_at, revision FROM jobs WHERE id = ?", id.0)
            .fetch_optional(&mut *conn)
            .await?;
    let Some(row) = row else { return Ok(None) };
    let mut states = states(conn, &[id.0]).await?;
    let mut job = row_with_states(row, &mut states)?;
    if job.run_count == 0 {
        return Ok(None);
    }
    job.run_ids = run_ids(conn, id).await?;
    Ok(Some(job))
}

/// The ids of a job's runs that are not deleted, in sweep order.
pub(crate) async fn run_ids(conn: &mut SqliteConnection, id: JobId) -> Result<Vec<RunId>> {
    let ids =
        sqlx::query_scalar!(r#"SELECT id AS "id!" FROM runs WHERE job_id = ? AND shelf < 3 ORDER BY id"#, id.0).fetch_all(conn).await?;
    Ok(ids.into_iter().map(RunId).collect())
}

fn row_with_states(row: JobRow, states: &mut HashMap<i64, BTreeMap<RunState, u64>>) -> Result<Job> {
    let states = states.remove(&row.id).unwrap_or_default();
    row.job(states)
}

/// How many runs of each job are in each state, without those that are deleted.
async fn states(conn: &mut SqliteConnection, jobs: &[i64]) -> Result<HashMap<i64, BTreeMap<RunState, u64>>> {
    let jobs = to_json("list of jobs", &jobs)?;
    let rows = sqlx::query!(
        r#"SELECT job_id, state, COUNT(*) AS "count!: i64" FROM runs
           WHERE job_id IN (SELECT value FROM json_each(?)) AND shelf < 3 GROUP BY job_id, state"#,
        jobs,
    )
    .fetch_all(conn)
    .await?;
    let mut states: HashMap<i64, BTreeMap<RunState, u64>> = HashMap::new();
    for row in rows {
        states.entry(row.job_id).or_default().insert(parse("run's state", &row.state)?, unsigned(row.count));
    }
    Ok(states)
}
