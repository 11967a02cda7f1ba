//! Datasets: named once, never changed.

use tokio::fs::File;
use trainyard_wire::DatasetId;
use trainyard_wire::dataset::{Dataset, DatasetFile, DatasetKind, FileRole};

use super::{Slice, Store, StoreError};
use crate::blobs::StagedBlob;

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

impl Store {
    /// Stores a dataset. Where the name has the same bytes already, answers that one.
    pub async fn insert_dataset(&self, dataset: NewDataset) -> Result<Dataset, DatasetError> {
        todo!()
    }

    /// Datasets, newest first.
    pub async fn datasets(&self, before: Option<DatasetId>, limit: u32) -> Result<Slice<Dataset>, StoreError> {
        todo!()
    }

    pub async fn dataset(&self, name: &str) -> Result<Option<Dataset>, StoreError> {
        todo!()
    }

    /// A file of a dataset by its hash, opened; `None` if the dataset has none such.
    pub async fn dataset_file(&self, name: &str, sha256: &str) -> Result<Option<(DatasetFile, File)>, StoreError> {
        todo!()
    }
}
