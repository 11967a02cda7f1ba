//! What MLflow's clients call experiments.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;
use trainyard_wire::Timestamp;

use super::{Result, from_json, one_row, to_json};
use crate::store::Experiment;

struct ExperimentRow {
    id: i64,
    name: String,
    kind: Option<String>,
    tags: String,
    created_at: i64,
    updated_at: i64,
    deleted: i64,
}

impl ExperimentRow {
    fn experiment(self) -> Result<Experiment> {
        Ok(Experiment {
            id: self.id,
            name: self.name,
            holds_kind: self.kind.is_some(),
            tags: from_json("experiment's tags", &self.tags)?,
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
            deleted: self.deleted != 0,
        })
    }
}

/// All experiments, the newest first.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<Experiment>> {
    let rows = sqlx::query_as!(
        ExperimentRow,
        "SELECT id, name, kind, tags, created_at, updated_at, deleted FROM experiments ORDER BY created_at DESC, id DESC",
    );
    rows.fetch_all(conn).await?.into_iter().map(ExperimentRow::experiment).collect()
}

pub(crate) async fn get(conn: &mut SqliteConnection, id: i64) -> Result<Option<Experiment>> {
    let row =
        sqlx::query_as!(ExperimentRow, "SELECT id, name, kind, tags, created_at, updated_at, deleted FROM experiments WHERE id = ?", id,);
    row.fetch_optional(conn).await?.map(ExperimentRow::experiment).transpose()
}

pub(crate) async fn by_name(conn: &mut SqliteConnection, name: &str) -> Result<Option<Experiment>> {
    let row = sqlx::query_as!(
        ExperimentRow,
        "SELECT id, name, kind, tags, created_at, updated_at, deleted FROM experiments WHERE name = ?",
        name,
    );
    row.fetch_optional(conn).await?.map(ExperimentRow::experiment).transpose()
}

pub(crate) async fn insert(conn: &mut SqliteConnection, name: &str, tags: &BTreeMap<String, String>, now: Timestamp) -> Result<i64> {
    let tags = to_json("tags", &tags)?;
    let result = sqlx::query!("INSERT INTO experiments (name, tags, created_at, updated_at) VALUES (?, ?, ?3, ?3)", name, tags, now.0);
    Ok(result.execute(conn).await?.last_insert_rowid())
}

/// Stores what may change of an experiment.
pub(crate) async fn update(conn: &mut SqliteConnection, experiment: &Experiment, now: Timestamp) -> Result<()> {
    let (tags, deleted) = (to_json("tags", &experiment.tags)?, i64::from(experiment.deleted));
    let result = sqlx::query!(
        "UPDATE experiments SET name = ?, tags = ?, deleted = ?, updated_at = ? WHERE id = ?",
        experiment.name,
        tags,
        deleted,
        now.0,
        experiment.id,
    );
    one_row(&result.execute(conn).await?)
}
