//! Why data cannot be trained on.

use std::path::PathBuf;

use trainyard_theory::regression::{ProblemError, SyntheticError};

/// What is wrong with data.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong with it.
        source: std::io::Error,
    },
    /// The bytes are not those that were announced.
    #[error("the file with sha256 {expected} arrived with sha256 {found}")]
    Hash {
        /// What was announced.
        expected: String,
        /// What arrived.
        found: String,
    },
    /// The bytes are not CIFAR records.
    #[error("{0}")]
    Records(String),
    /// The table is not one, or lacks something.
    #[error("the table {0}")]
    Table(String),
    /// The spec and the data do not fit each other.
    #[error("{0}")]
    Spec(String),
    /// The numbers make no problem.
    #[error("the problem cannot be used: {0}")]
    Problem(#[from] ProblemError),
    /// The synthetic problem cannot be made.
    #[error("the problem cannot be made: {0}")]
    Synthetic(#[from] SyntheticError),
}
