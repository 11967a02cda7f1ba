//! Brings the files of datasets onto this machine.

use std::path::PathBuf;

use futures::StreamExt as _;
use trainyard_wire::Spec;

use super::server::{CallError, Server};
use crate::data::{DataError, FileStore, LocalDataset, LocalFile};

/// Why a dataset could not be brought.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the dataset cannot be fetched: {0}")]
    Call(#[from] CallError),
    #[error("the dataset cannot be kept: {0}")]
    Data(#[from] DataError),
    #[error("the dataset {name} is not the one that the run was submitted with: its sha256 is {found}, not {expected}")]
    Changed { name: String, expected: String, found: String },
}

/// The dataset that a spec names, with all its files on this machine. None where it names none.
pub(super) async fn fetch(server: &impl Server, store: &FileStore, spec: &Spec) -> Result<Option<LocalDataset>, FetchError> {
    let Some(name) = spec.dataset_name() else { return Ok(None) };
    let expected = spec.sha256();
    let dataset = server.dataset(name).await?;
    if let Some(expected) = expected.filter(|expected| *expected != dataset.sha256) {
        return Err(FetchError::Changed { name: name.to_owned(), expected: expected.to_owned(), found: dataset.sha256 });
    }
    let mut files = Vec::with_capacity(dataset.files.len());
    for file in &dataset.files {
        let path = match store.find(&file.sha256)? {
            Some(path) => path,
            None => download(server, store, name, &file.sha256).await?,
        };
        files.push(LocalFile { role: file.role, path });
    }
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    store.trim(&paths)?;
    Ok(Some(LocalDataset { name: dataset.name, kind: dataset.kind, sha256: dataset.sha256, files }))
}

async fn download(server: &impl Server, store: &FileStore, name: &str, sha256: &str) -> Result<PathBuf, FetchError> {
    tracing::info!(dataset = name, sha256, "fetches a file of a dataset");
    let mut pieces = server.dataset_file(name, sha256).await?;
    let mut incoming = store.begin(sha256)?;
    while let Some(piece) = pieces.next().await {
        incoming.write(&piece?)?;
    }
    Ok(incoming.finish()?)
}
