//! Finding runs by anything, in any order, and counting what there is.
//!
//! The order is an argument, so one statement (two, for the two directions) serves all of them: it looks at every run on the wanted
//! shelves, which takes milliseconds for ten thousand, and answers ids; the rows come by id. What an index can answer by itself is in
//! [`run_rows`](super::run_rows).

use std::collections::BTreeMap;

use sqlx::SqliteConnection;
use trainyard_wire::annotation::Project;
use trainyard_wire::{Number, RunId, RunState, Timestamp};

use super::{Result, parse, to_json, unsigned};
use crate::store::{Place, RunSearch, Shelves, SortKey, Statistic};

/// Ids in order, one more than the limit if there is, and how many match, if any page has one.
pub(crate) struct Found {
    pub(crate) places: Vec<Place>,
    pub(crate) total: Option<u64>,
}

struct FoundRow {
    id: i64,
    number: Option<f64>,
    text: Option<String>,
    total: i64,
}

/// The rows of a search: numbers come before texts, and what is missing last in both directions; the id decides between equals.
macro_rules! find {
    (@ $beyond:literal, $direction:literal, $($argument:expr),+) => {
        sqlx::query_as!(
            FoundRow,
            r#"SELECT id AS "id!: i64", CASE WHEN typeof(value) <> 'text' THEN CAST(value AS REAL) END AS "number?: f64",
                 CASE WHEN typeof(value) = 'text' THEN value END AS "text?: String", total AS "total!: i64"
             FROM (
                 SELECT id, value, COUNT(*) OVER () AS total FROM (
                     SELECT id, CASE ?1
                         WHEN 'created' THEN created_at
                         WHEN 'name' THEN lower(name)
                         WHEN 'state' THEN instr('queued paused running succeeded failed cancelled', state)
                         WHEN 'kind' THEN kind
                         WHEN 'project' THEN lower(project)
                         WHEN 'duration' THEN
                             CASE WHEN finished_at IS NOT NULL OR state = 'running' THEN COALESCE(finished_at, ?3) - started_at END
                         WHEN 'progress' THEN CASE WHEN total_steps > 0 THEN MIN(1.0, CAST(step AS REAL) / total_steps) END
                         WHEN 'last' THEN (SELECT last FROM series WHERE run_id = run_rows.id AND series.name = ?2 AND points > 0)
                         WHEN 'min' THEN (SELECT minimum FROM series WHERE run_id = run_rows.id AND series.name = ?2 AND points > 0)
                         WHEN 'max' THEN (SELECT maximum FROM series WHERE run_id = run_rows.id AND series.name = ?2 AND points > 0)
                         WHEN 'parameter' THEN spec ->> ?2
                     END AS value
                     FROM run_rows
                     WHERE (+shelf BETWEEN ?4 AND ?5 OR (?6 IS NOT NULL AND +shelf = 2))
                         AND (?6 IS NULL OR job_id = ?6) AND (?7 IS NULL OR state = ?7) AND (?8 IS NULL OR kind = ?8)
                         AND (?9 IS NULL OR COALESCE(project, '') = ?9)
                         AND (?10 IS NULL OR created_at > ?10) AND (?11 IS NULL OR created_at < ?11)
                         AND (?12 IS NULL OR id IN (SELECT found.id FROM runs AS found WHERE found.spec ->> '$.optimizer.name' = ?12))
                         AND (?13 IS NULL OR id IN (SELECT found.id FROM runs AS found WHERE found.spec ->> '$.network.name' = ?13))
                         AND (?14 IS NULL OR instr(lower(name), lower(?14)) > 0 OR instr(lower(notes), lower(?14)) > 0
                             OR instr(id, ?14) > 0)
                         AND (?15 IS NULL OR NOT EXISTS (SELECT 1 FROM json_each(?15) AS wanted WHERE NOT EXISTS (
                             SELECT 1 FROM json_each(run_rows.tags) AS tag
                             WHERE tag.key = wanted.value ->> 'key' AND COALESCE(tag.atom = wanted.value ->> 'value', TRUE))))
                         AND (?16 IS NULL OR NOT EXISTS (SELECT 1 FROM json_each(?16) AS wanted WHERE NOT EXISTS (
                             SELECT 1 FROM (
                                 SELECT CASE wanted.value ->> 'statistic' WHEN 'last' THEN last WHEN 'min' THEN minimum ELSE maximum END AS number
                                 FROM series WHERE run_id = run_rows.id AND series.name = wanted.value ->> 'name' AND points > 0
                             )
                             WHERE CASE wanted.value ->> 'comparison'
                                 WHEN '<' THEN number < wanted.value ->> 'value'
                                 WHEN '<=' THEN number <= wanted.value ->> 'value'
                                 WHEN '>' THEN number > wanted.value ->> 'value'
                                 ELSE number >= wanted.value ->> 'value' END)))
                 )
             )
             WHERE ?17 IS NULL OR CASE WHEN COALESCE(?19, ?18) IS NULL THEN value IS NULL AND id "# + $beyond + r#" ?17
                 ELSE value IS NULL OR value "# + $beyond + " COALESCE(?19, ?18) OR (value = COALESCE(?19, ?18) AND id " + $beyond
                + " ?17) END ORDER BY value " + $direction + " NULLS LAST, id " + $direction + " LIMIT ?20",
            $($argument),+
        )
    };
    ($conn:expr, $descending:expr, $($argument:expr),+) => {
        if $descending {
            find!(@ "<", "DESC", $($argument),+).fetch_all($conn).await
        } else {
            find!(@ ">", "ASC", $($argument),+).fetch_all($conn).await
        }
    };
}

/// The runs that match.
pub(crate) async fn find(conn: &mut SqliteConnection, search: &RunSearch, now: Timestamp) -> Result<Found> {
    let (sort, argument) = match &search.sort.key {
        SortKey::Created => ("created", None),
        SortKey::Name => ("name", None),
        SortKey::State => ("state", None),
        SortKey::Kind => ("kind", None),
        SortKey::Project => ("project", None),
        SortKey::Duration => ("duration", None),
        SortKey::Progress => ("progress", None),
        SortKey::Metric { name, statistic: Statistic::Last } => ("last", Some(name)),
        SortKey::Metric { name, statistic: Statistic::Min } => ("min", Some(name)),
        SortKey::Metric { name, statistic: Statistic::Max } => ("max", Some(name)),
        SortKey::Parameter(path) => ("parameter", Some(path)),
    };
    let Shelves { first, last } = search.shelves;
    let (job, state) = (search.job.map(|job| job.0), search.state.map(RunState::as_str));
    let kind = search.kind.map(|kind| kind.as_str());
    let (after, before) = (search.created_after.map(|time| time.0), search.created_before.map(|time| time.0));
    let tags = (!search.tags.is_empty()).then(|| to_json("tags", &search.tags)).transpose()?;
    let metrics = (!search.metrics.is_empty()).then(|| to_json("metrics", &search.metrics)).transpose()?;
    let place = search.after.as_ref();
    let (id, number) = (place.map(|place| place.id.0), place.and_then(|place| place.number).map(|number| number.0));
    let text = place.and_then(|place| place.text.as_deref());
    let limit = i64::from(search.limit) + 1;
    let rows = find!(
        &mut *conn,
        search.sort.descending,
        sort,
        argument,
        now.0,
        first,
        last,
        job,
        state,
        kind,
        search.project,
        after,
        before,
        search.optimizer,
        search.network,
        search.text,
        tags,
        metrics,
        id,
        number,
        text,
        limit
    )?;
    // Beyond the last run nothing tells how many there were before.
    let total = match (rows.first(), place) {
        (Some(row), _) => Some(unsigned(row.total)),
        (None, None) => Some(0),
        (None, Some(_)) => None,
    };
    let places = rows.into_iter().map(|row| Place { id: RunId(row.id), number: row.number.map(Number), text: row.text, now: now.0 });
    Ok(Found { places: places.collect(), total })
}

/// All projects by name, with their runs counted.
pub(crate) async fn projects(conn: &mut SqliteConnection) -> Result<Vec<Project>> {
    let rows = sqlx::query!(
        r#"SELECT COALESCE(runs.own_project, jobs.project) AS "name!: String", runs.shelf = 1 AS "archived!: bool",
             runs.state AS "state!: String", COUNT(*) AS "count!: i64"
         FROM runs INDEXED BY runs_on_shelf JOIN jobs ON jobs.id = runs.job_id
         WHERE runs.shelf <= 1 AND COALESCE(runs.own_project, jobs.project, '') <> ''
         GROUP BY 1, 2, 3 ORDER BY lower(COALESCE(runs.own_project, jobs.project)), 1"#,
    );
    let mut projects: Vec<Project> = Vec::new();
    for row in rows.fetch_all(conn).await? {
        if projects.last().is_none_or(|last| last.name != row.name) {
            projects.push(Project { name: row.name, run_count: 0, states: BTreeMap::new(), archived_count: 0 });
        }
        let Some(project) = projects.last_mut() else { continue };
        let count = unsigned(row.count);
        if row.archived {
            project.archived_count += count;
        } else {
            project.run_count += count;
            *project.states.entry(parse("run's state", &row.state)?).or_default() += count;
        }
    }
    Ok(projects)
}
