//! Runs as searches look at them: what a filter may ask for, and no more.

use std::collections::{BTreeMap, HashMap};

use sqlx::SqliteConnection;
use trainyard_wire::{JobId, RunId, Spec, Timestamp};

use super::{Result, from_json, number, parse, parse_option, to_json, unsigned};
use crate::store::{FoundRun, LastValue};

/// The columns of a found run, where `$condition` holds.
macro_rules! found_runs {
    ($conn:expr, $with_spec:expr, $condition:literal, $($argument:expr),+) => {
        sqlx::query!(
            r#"SELECT id AS "id!: i64", job_id AS "job_id!: i64", name AS "name?: String", tags AS "tags!: String", state AS "state!: String",
                 kind AS "kind!: String", stop_reason AS "stop_reason?: String", created_at AS "created_at!: i64",
                 started_at AS "started_at?: i64", finished_at AS "finished_at?: i64",
                 experiment_id AS "experiment_id!: i64", deleted AS "deleted!: bool", CASE WHEN ?1 THEN spec END AS "spec?: String"
             FROM searched_runs WHERE "# + $condition,
            $with_spec,
            $($argument),+
        )
        .fetch_all($conn)
        .await?
        .into_iter()
        .map(|row| {
            Ok(FoundRun {
                id: RunId(row.id),
                job_id: JobId(row.job_id),
                experiment: row.experiment_id,
                deleted: row.deleted,
                name: row.name,
                tags: from_json("job's tags", &row.tags)?,
                kind: parse("run's kind", &row.kind)?,
                state: parse("run's state", &row.state)?,
                stop_reason: parse_option("stop reason", row.stop_reason.as_deref())?,
                created_at: Timestamp(row.created_at),
                started_at: row.started_at.map(Timestamp),
                finished_at: row.finished_at.map(Timestamp),
                spec: row.spec.map(|spec| from_json::<Spec>("run's spec", &spec)).transpose()?,
            })
        })
        .collect()
    };
}

/// Runs of these experiments, newest first, from behind `before` on; without those that verify others.
pub(crate) async fn page(
    conn: &mut SqliteConnection,
    experiments: &[i64],
    before: RunId,
    with_spec: bool,
    limit: i64,
) -> Result<Vec<FoundRun>> {
    let experiments = to_json("list of experiments", &experiments)?;
    found_runs!(
        conn,
        with_spec,
        "id < ?2 AND verifies IS NULL AND experiment_id IN (SELECT value FROM json_each(?3)) ORDER BY id DESC LIMIT ?4",
        before.0,
        experiments,
        limit
    )
}

/// The runs with these ids that exist, with their specs.
pub(crate) async fn by_id(conn: &mut SqliteConnection, ids: &[RunId]) -> Result<Vec<FoundRun>> {
    let ids = to_json("list of runs", &ids)?;
    found_runs!(conn, true, "id IN (SELECT value FROM json_each(?2))", ids)
}

/// The last values of the metrics of these runs, of these names alone where there are any, by run and name.
pub(crate) async fn last_values(
    conn: &mut SqliteConnection,
    runs: &[RunId],
    names: Option<&[&str]>,
) -> Result<HashMap<RunId, BTreeMap<String, LastValue>>> {
    let runs = to_json("list of runs", &runs)?;
    let names = names.map(|names| to_json("list of names", &names)).transpose()?;
    let rows = sqlx::query!(
        r#"SELECT run_id, name, last, last_step, (
             SELECT time FROM metrics WHERE series_id = series.id AND step = series.last_step ORDER BY occurrence DESC LIMIT 1
         ) AS "time: i64"
         FROM series WHERE run_id IN (SELECT value FROM json_each(?1)) AND points > 0
             AND (?2 IS NULL OR name IN (SELECT value FROM json_each(?2)))"#,
        runs,
        names,
    )
    .fetch_all(conn)
    .await?;
    let mut values: HashMap<RunId, BTreeMap<String, LastValue>> = HashMap::new();
    for row in rows {
        let value = LastValue { value: number(row.last), step: unsigned(row.last_step), time: Timestamp(row.time.unwrap_or(0)) };
        values.entry(RunId(row.run_id)).or_default().insert(row.name, value);
    }
    Ok(values)
}
