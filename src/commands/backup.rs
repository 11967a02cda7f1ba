//! `trainyard backup`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use futures::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use trainyard_wire::client::ByteStream;

use crate::connection::Connection;
use crate::terminal::print;
use crate::terminal::progress::byte_bar;

#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// Where to write the archive, - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    connection: Connection,
}

impl BackupArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let pieces = self.connection.client()?.backup().await.context("cannot begin the backup")?;
        if self.output == Path::new("-") {
            to_stdout(pieces).await?
        } else {
            to_file(pieces, &self.output).await?
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn to_stdout(mut pieces: ByteStream) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    while let Some(piece) = pieces.next().await {
        stdout.write_all(&piece.context("the backup broke off")?)?;
    }
    Ok(stdout.flush()?)
}

/// Writes the archive beside `path` first: under its own name there is only ever a whole one, and one that is on the disk.
async fn to_file(mut pieces: ByteStream, path: &Path) -> anyhow::Result<()> {
    let bar = byte_bar(&path.display().to_string(), None);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let partial = tempfile::NamedTempFile::new_in(folder).with_context(|| format!("cannot write into {}", folder.display()))?;
    let mut file = tokio::fs::File::from_std(partial.reopen().context("cannot reopen the partial backup")?);
    let cannot_write = || format!("cannot write {}", path.display());
    let mut size = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.context("the backup broke off")?;
        file.write_all(&piece).await.with_context(cannot_write)?;
        size += piece.len() as u64;
        bar.inc(piece.len() as u64);
    }
    file.flush().await.with_context(cannot_write)?;
    file.sync_all().await.with_context(cannot_write)?;
    partial.persist(path).with_context(cannot_write)?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(cannot_write)?;
    bar.finish_and_clear();
    print(&format!("{} ({size} bytes)", path.display()))?;
    Ok(())
}
