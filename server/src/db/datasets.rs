//! Datasets and their files.

use std::collections::HashMap;

use sqlx::SqliteConnection;
use trainyard_wire::dataset::{Dataset, DatasetFile};
use trainyard_wire::{DatasetId, Revision, Timestamp};

use super::{Result, from_json, parse, signed, to_json, unsigned};

/// Stores a dataset; its own id is not looked at. The blobs of its files must be noted already.
pub(crate) async fn insert(conn: &mut SqliteConnection, dataset: &Dataset) -> Result<DatasetId> {
    let (kind, columns, labels) = (dataset.kind.as_str(), to_json("columns", &dataset.columns)?, to_json("labels", &dataset.labels)?);
    let id = sqlx::query!(
        "INSERT INTO datasets (name, kind, sha256, columns, labels, created_at, revision) VALUES (?, ?, ?, ?, ?, ?, ?)",
        dataset.name,
        kind,
        dataset.sha256,
        columns,
        labels,
        dataset.created_at.0,
        dataset.revision.0,
    )
    .execute(&mut *conn)
    .await?
    .last_insert_rowid();
    for (position, file) in dataset.files.iter().enumerate() {
        let (position, role, records) = (position as i64, file.role.as_str(), signed(file.records));
        sqlx::query!(
            "INSERT INTO dataset_files (dataset_id, position, role, name, sha256, records) VALUES (?, ?, ?, ?, ?, ?)",
            id,
            position,
            role,
            file.name,
            file.sha256,
            records,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(DatasetId(id))
}

struct DatasetRow {
    id: i64,
    name: String,
    kind: String,
    sha256: String,
    columns: String,
    labels: String,
    created_at: i64,
    revision: i64,
}

impl DatasetRow {
    fn dataset(self, files: Vec<DatasetFile>) -> Result<Dataset> {
        Ok(Dataset {
            id: DatasetId(self.id),
            name: self.name,
            kind: parse("dataset's kind", &self.kind)?,
            sha256: self.sha256,
            size: files.iter().map(|file| file.size).sum(),
            files,
            columns: from_json("dataset's columns", &self.columns)?,
            labels: from_json("dataset's labels", &self.labels)?,
            created_at: Timestamp(self.created_at),
            revision: Revision(self.revision),
        })
    }
}

/// Datasets, newest first; one more than the limit, if there is.
pub(crate) async fn list(conn: &mut SqliteConnection, before: Option<DatasetId>, limit: u32) -> Result<Vec<Dataset>> {
    let (before, limit) = (before.map_or(i64::MAX, |id| id.0), i64::from(limit) + 1);
    let rows = sqlx::query_as!(
        DatasetRow,
        "SELECT id, name, kind, sha256, columns, labels, created_at, revision FROM datasets WHERE id < ? ORDER BY id DESC LIMIT ?",
        before,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    with_files(conn, rows).await
}

pub(crate) async fn get(conn: &mut SqliteConnection, name: &str) -> Result<Option<Dataset>> {
    let row = sqlx::query_as!(
        DatasetRow,
        r#"SELECT id AS "id!", name, kind, sha256, columns, labels, created_at, revision FROM datasets WHERE name = ?"#,
        name,
    )
    .fetch_optional(&mut *conn)
    .await?;
    Ok(with_files(conn, row.into_iter().collect()).await?.pop())
}

async fn with_files(conn: &mut SqliteConnection, rows: Vec<DatasetRow>) -> Result<Vec<Dataset>> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let ids = to_json("list of datasets", &ids)?;
    let files = sqlx::query!(
        "SELECT dataset_id, role, name, size, dataset_files.sha256, records
         FROM dataset_files JOIN blobs ON blobs.sha256 = dataset_files.sha256
         WHERE dataset_id IN (SELECT value FROM json_each(?)) ORDER BY dataset_id, position",
        ids,
    )
    .fetch_all(conn)
    .await?;
    let mut of_dataset: HashMap<i64, Vec<DatasetFile>> = HashMap::new();
    for row in files {
        of_dataset.entry(row.dataset_id).or_default().push(DatasetFile {
            role: parse("file's role", &row.role)?,
            name: row.name,
            size: unsigned(row.size),
            sha256: row.sha256,
            records: unsigned(row.records),
        });
    }
    rows.into_iter()
        .map(|row| {
            let files = of_dataset.remove(&row.id).unwrap_or_default();
            row.dataset(files)
        })
        .collect()
}
