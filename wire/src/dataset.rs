//! Datasets: immutable, named, hashed sets of bytes.
//!
//! An upload is one `POST /v1/datasets` as `multipart/form-data`: the text field `name`, then either files in the fields `train`
//! and `val` (CIFAR binary records; each may repeat) or one file in the field `csv`. A dataset's `sha256` is the hash of its
//! manifest: a line `role position sha256` for each file, in order.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::state::words;
use crate::{DatasetId, Revision, Timestamp};

/// The name of the built-in set of procedural colour images, which is made by the worker and never uploaded.
pub const SYNTHETIC: &str = "synthetic";

/// The categories of CIFAR-10; the position is the label.
pub const CIFAR10_CATEGORIES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Bytes of one CIFAR-10 record: a label, then 1024 red, 1024 green and 1024 blue bytes, rows first.
pub const CIFAR_RECORD_BYTES: u64 = 1 + 3 * 1024;

words!(
    /// What a dataset holds.
    DatasetKind {
        /// CIFAR binary records.
        Images = "images",
        /// One CSV file with a header.
        Table = "table",
    }
);

words!(
    /// What a file of a dataset is for.
    FileRole {
        Train = "train",
        Val = "val",
        Csv = "csv",
    }
);

/// One file of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DatasetFile {
    pub role: FileRole,
    /// The name it was uploaded under; never used as a path.
    pub name: String,
    pub size: u64,
    pub sha256: String,
    /// Images or rows in it.
    pub records: u64,
}

/// A dataset as lists and `GET /v1/datasets/{name}` show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Dataset {
    pub id: DatasetId,
    pub name: String,
    pub kind: DatasetKind,
    pub sha256: String,
    pub size: u64,
    pub files: Vec<DatasetFile>,
    /// Columns of a table, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Images per label (0 to 9) over all files of an image set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<u64>,
    pub created_at: Timestamp,
    pub revision: Revision,
}
