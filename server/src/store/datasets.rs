//! Datasets: named once, never changed.

use futures::FutureExt as _;
use tokio::fs::File;
use trainyard_wire::dataset::{Dataset, DatasetFile, DatasetKind, FileRole};
use trainyard_wire::{DatasetId, Revision, Timestamp};

use super::writer::{Transaction, write_error};
use super::{Slice, Store, StoreError};
use crate::blobs::{StagedBlob, sha256_hex};
use crate::db;

/// A dataset to store.
#[derive(Debug)]
pub struct NewDataset {
    pub name: String,
    pub kind: DatasetKind,
    /// In order.
    pub files: Vec<NewDatasetFile>,
    /// Of a table.
    pub columns: Vec<String>,
    /// Images per label, of an image set.
    pub labels: Vec<u64>,
}

/// A file of a dataset to store.
#[derive(Debug)]
pub struct NewDatasetFile {
    pub role: FileRole,
    /// As uploaded.
    pub name: String,
    pub records: u64,
    pub blob: StagedBlob,
}

/// Why a dataset was refused.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// 409.
    #[error("a dataset named `{name}` with other bytes is stored already")]
    NameTaken { name: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

write_error!(DatasetError, Store);

impl Store {
    /// Stores a dataset. Where the name has the same bytes already, answers that one.
    pub async fn insert_dataset(&self, dataset: NewDataset) -> Result<Dataset, DatasetError> {
        let NewDataset { name, kind, files, columns, labels } = dataset;
        let (mut listed, mut blobs) = (Vec::with_capacity(files.len()), Vec::with_capacity(files.len()));
        for NewDatasetFile { role, name, records, blob } in files {
            listed.push(DatasetFile { role, name, size: blob.size(), sha256: blob.sha256().to_owned(), records });
            blobs.push(blob);
        }
        let dataset = Dataset {
            id: DatasetId(0),
            name,
            kind,
            sha256: manifest_sha256(&listed),
            size: listed.iter().map(|file| file.size).sum(),
            files: listed,
            columns,
            labels,
            created_at: Timestamp(0),
            revision: Revision(0),
        };
        self.publish(blobs, move |transaction| async move { transaction.insert_dataset(dataset).await }.boxed()).await
    }

    /// Datasets, newest first.
    pub async fn datasets(&self, before: Option<DatasetId>, limit: u32) -> Result<Slice<Dataset>, StoreError> {
        let mut conn = self.snapshot().await?;
        Ok(db::split_more(db::datasets::list(&mut conn, before, limit).await?, limit))
    }

    pub async fn dataset(&self, name: &str) -> Result<Option<Dataset>, StoreError> {
        let mut conn = self.snapshot().await?;
        db::datasets::get(&mut conn, name).await
    }

    /// A file of a dataset by its hash, opened; `None` if the dataset has none such.
    pub async fn dataset_file(&self, name: &str, sha256: &str) -> Result<Option<(DatasetFile, File)>, StoreError> {
        // The files of a dataset are never swept: datasets are never deleted.
        let Some(dataset) = self.dataset(name).await? else { return Ok(None) };
        let Some(found) = dataset.files.into_iter().find(|file| file.sha256 == sha256) else { return Ok(None) };
        let file = self.inner.blobs.reading().await.open(&found.sha256).await?;
        Ok(Some((found, file)))
    }
}

/// The hash of a dataset: of a line `role position sha256` for each file, in order; positions count from 0.
fn manifest_sha256(files: &[DatasetFile]) -> String {
    let lines = files.iter().enumerate().map(|(position, file)| format!("{} {position} {}\n", file.role, file.sha256));
    sha256_hex(lines.collect::<String>().as_bytes())
}

impl Transaction {
    /// Notes a dataset whose blobs are noted. A refusal changes nothing.
    async fn insert_dataset(&mut self, mut dataset: Dataset) -> Result<Dataset, DatasetError> {
        if let Some(stored) = db::datasets::get(&mut self.conn, &dataset.name).await? {
            let same = (&stored.sha256, stored.kind) == (&dataset.sha256, dataset.kind);
            return if same { Ok(stored) } else { Err(DatasetError::NameTaken { name: dataset.name }) };
        }
        dataset.created_at = self.now;
        dataset.revision = self.advance_revision(1);
        dataset.id = db::datasets::insert(&mut self.conn, &dataset).await?;
        Ok(dataset)
    }
}
