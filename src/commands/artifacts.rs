//! `trainyard artifacts`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use trainyard_wire::RunId;
use trainyard_wire::client::Client;
use trainyard_wire::run::Artifact;

use crate::UsageError;
use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::progress::byte_bar;
use crate::terminal::table::Table;

#[derive(Debug, clap::Args)]
pub(crate) struct ArtifactsArgs {
    #[arg(value_name = "RUN")]
    run: RunId,
    /// The artifact to download; without it they are listed
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Where to write it, - for standard output; its own name in this folder unless given
    #[arg(short, long, value_name = "FILE", requires = "name")]
    output: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

impl ArtifactsArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = self.connection.client(context)?;
        let artifacts = client.artifacts(self.run).await?;
        let Some(name) = &self.name else {
            context.answer(&artifacts, |artifacts| match artifacts.artifacts.as_slice() {
                [] => format!("run {} has no artifacts\n", self.run),
                some => table(some).to_string(),
            })?;
            return Ok(ExitCode::SUCCESS);
        };
        let Some(artifact) = artifacts.artifacts.iter().find(|artifact| artifact.name == *name) else {
            bail!("run {0} has no artifact {name}: `trainyard artifacts {0}` lists what it has", self.run);
        };
        let path = match self.output {
            Some(path) if path == Path::new("-") => {
                context.json_unless("-o -", true)?;
                write_to_stdout(&client, self.run, name).await?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(path) => path,
            None => own_name(name)?,
        };
        download(&client, self.run, artifact, &path).await?;
        context.answer(artifact, |artifact| format!("{} ({} bytes)", path.display(), artifact.size))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The last part of an artifact's name, which is a plain file name.
fn own_name(name: &str) -> Result<PathBuf, UsageError> {
    let file_name = Path::new(name).file_name().filter(|name| *name != "..");
    file_name.map(PathBuf::from).ok_or_else(|| UsageError(format!("`{name}` is no file name: give -o FILE")))
}

pub(super) fn table(artifacts: &[Artifact]) -> Table {
    let mut table = Table::new(&["ARTIFACT", "SIZE", "TYPE", "SHA256"]);
    for artifact in artifacts {
        let size = indicatif::BinaryBytes(artifact.size).to_string();
        table.row([artifact.name.clone(), size, artifact.content_type.clone(), artifact.sha256.clone()]);
    }
    table
}

pub(super) async fn write_to_stdout(client: &Client, run: RunId, name: &str) -> anyhow::Result<()> {
    let mut pieces = client.artifact(run, name).await?;
    let mut stdout = std::io::stdout().lock();
    while let Some(piece) = pieces.next().await {
        stdout.write_all(&piece?)?;
    }
    Ok(stdout.flush()?)
}

/// Writes the artifact beside `path` first, and moves it there once its bytes are known to be the right ones.
pub(super) async fn download(client: &Client, run: RunId, artifact: &Artifact, path: &Path) -> anyhow::Result<()> {
    let bar = byte_bar(&artifact.name, Some(artifact.size));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let partial = tempfile::NamedTempFile::new_in(folder).with_context(|| format!("cannot write into {}", folder.display()))?;
    let mut file = tokio::fs::File::from_std(partial.reopen().context("cannot reopen the partial download")?);
    let mut hash = Sha256::new();
    let mut pieces = client.artifact(run, &artifact.name).await?;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        hash.update(&piece);
        file.write_all(&piece).await.with_context(|| format!("cannot write {}", path.display()))?;
        bar.inc(piece.len() as u64);
    }
    file.flush().await.with_context(|| format!("cannot write {}", path.display()))?;
    let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if sha256 != artifact.sha256 {
        bail!("the download of {} is damaged: its sha256 is {sha256}, not {}", artifact.name, artifact.sha256);
    }
    partial.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    bar.finish_and_clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::own_name;

    #[test]
    fn a_download_lands_under_the_last_part_of_its_name() {
        assert_eq!(own_name("samples/epoch-025.png").unwrap(), PathBuf::from("epoch-025.png"));
        assert_eq!(own_name("../../model.json").unwrap(), PathBuf::from("model.json"));
        assert!(own_name("a/..").is_err());
    }
}
