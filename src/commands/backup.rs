//! `trainyard backup`.
//!
//! An archive that became a file is read once more: the name of a content is its hash, so damage on the server's disk shows here and not
//! on the day when the backup is needed.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use trainyard_wire::client::ByteStream;

use crate::connection::Connection;
use crate::context::Context;
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
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let pieces = self.connection.client(context)?.backup().await.context("cannot begin the backup")?;
        if self.output == Path::new("-") {
            context.json_unless("-o -", true)?;
            to_stdout(pieces).await?
        } else {
            to_file(pieces, &self.output, context).await?
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
async fn to_file(mut pieces: ByteStream, path: &Path, context: &Context) -> anyhow::Result<()> {
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
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(cannot_write)?;
    bar.finish_and_clear();
    context.answer(&json!({"file": path.display().to_string(), "size": size}), |_| format!("{} ({size} bytes)", path.display()))?;
    let written = path.to_owned();
    let damaged = tokio::task::spawn_blocking(move || damaged(File::open(written)?)).await?;
    let damaged = damaged.with_context(|| format!("cannot read {} again", path.display()))?;
    if let Some(first) = damaged.first() {
        bail!("{first} is damaged on the server's disk, and {} more; all else is in the backup", damaged.len() - 1);
    }
    Ok(())
}

/// The contents in an archive whose bytes are not those of their name.
fn damaged(archive: impl Read) -> io::Result<Vec<String>> {
    let mut damaged = Vec::new();
    let mut piece = vec![0; 1 << 18];
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let Some(expected) = name.strip_prefix("blobs/").and_then(|name| name.get(3..)) else { continue };
        let mut hash = Sha256::new();
        loop {
            match entry.read(&mut piece)? {
                0 => break,
                read => hash.update(&piece[..read]),
            }
        }
        let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if found != expected {
            damaged.push(expected.to_owned());
        }
    }
    Ok(damaged)
}

#[cfg(test)]
mod tests {
    use super::damaged;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, name, *bytes).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn a_content_whose_bytes_are_not_those_of_its_name_is_named() {
        let place = format!("blobs/ba/{ABC}");
        let whole = archive(&[("trainyard.db", b"rows"), (&place, b"abc")]);
        assert!(damaged(whole.as_slice()).unwrap().is_empty());
        assert_eq!(damaged(archive(&[("trainyard.db", b"rows"), (&place, b"abd")]).as_slice()).unwrap(), [ABC]);
        assert!(damaged(&whole[..1600]).is_err(), "an archive that was cut short");
    }
}
