//! The record of a server's file operations, as the shim writes it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

/// What was done to a file or a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Create { inode: u64, path: PathBuf },
    Write { inode: u64, offset: u64, data: Vec<u8> },
    Truncate { inode: u64, length: u64 },
    Sync { inode: u64 },
    SyncFolder { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
    MakeFolder { path: PathBuf },
}

/// An operation, and how long the record was when it was noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub operation: Operation,
    pub recorded: u64,
}

/// All that was recorded.
///
/// # Errors
/// Where the file cannot be read, or is not such a record.
pub fn read(file: &Path) -> anyhow::Result<Vec<Entry>> {
    let record = std::fs::read(file)?;
    let (mut entries, mut at) = (Vec::new(), 0);
    while at < record.len() {
        let line = record[at..].iter().position(|byte| *byte == b'\n').context("an entry's head")?;
        let head = std::str::from_utf8(&record[at..at + line])?;
        at += line + 1;
        let words: Vec<&str> = head.split(' ').collect();
        let [operation, inode, offset, length, path, other] = words[..] else { bail!("{head} is no entry's head") };
        let mut take = |length: &str| -> anyhow::Result<&[u8]> {
            let end = at + length.parse::<usize>()?;
            let bytes = record.get(at..end).context("an entry is cut short")?;
            at = end;
            Ok(bytes)
        };
        let name = |bytes: &[u8]| -> anyhow::Result<PathBuf> { Ok(PathBuf::from(std::str::from_utf8(bytes)?)) };
        let (path, other, data) = (name(take(path)?)?, name(take(other)?)?, take(length)?.to_vec());
        let inode = inode.parse()?;
        let operation = match operation {
            "create" => Operation::Create { inode, path },
            "write" => Operation::Write { inode, offset: offset.parse()?, data },
            "truncate" => Operation::Truncate { inode, length: offset.parse()? },
            "sync" => Operation::Sync { inode },
            "syncdir" => Operation::SyncFolder { path },
            "rename" => Operation::Rename { from: path, to: other },
            "unlink" => Operation::Remove { path },
            "mkdir" => Operation::MakeFolder { path },
            other => bail!("{other} is no operation"),
        };
        entries.push(Entry { operation, recorded: at as u64 });
    }
    ensure!(!entries.is_empty(), "nothing was recorded: the shim was not loaded");
    Ok(entries)
}
