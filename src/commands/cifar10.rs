//! CIFAR-10's binary archive: downloaded from its home page, checked against the checksum published there, and only then unpacked.
//!
//! Sizes are bounded at every step, and nothing is unpacked but the six files of records, each of exactly its known size, into
//! names of our own: an archive cannot fill the disk or choose a path.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;
use md5::{Digest as _, Md5};
use trainyard_wire::client::UploadFile;
use trainyard_wire::dataset::{CIFAR_RECORD_BYTES, FileRole};

use crate::terminal::progress::byte_bar;

/// A published archive of CIFAR records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Archive<'a> {
    pub url: &'a str,
    /// Lower-case hexadecimal.
    pub md5: &'a str,
    /// More than the archive has, in bytes.
    pub most_bytes: u64,
    /// The folder of the files inside the archive.
    pub folder: &'a str,
    /// The files to take, in order.
    pub members: &'a [(FileRole, &'a str)],
    /// Records in each of them.
    pub records: u64,
}

/// The archive as <https://www.cs.toronto.edu/~kriz/cifar.html> has it ("CIFAR-10 binary version"), with its md5sum from there.
pub(crate) const ARCHIVE: Archive<'static> = Archive {
    url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5: "c32a1d4ab5d03f1284b67883e8d87530",
    most_bytes: 180_000_000,
    folder: "cifar-10-batches-bin",
    members: &[
        (FileRole::Train, "data_batch_1.bin"),
        (FileRole::Train, "data_batch_2.bin"),
        (FileRole::Train, "data_batch_3.bin"),
        (FileRole::Train, "data_batch_4.bin"),
        (FileRole::Train, "data_batch_5.bin"),
        (FileRole::Val, "test_batch.bin"),
    ],
    records: 10_000,
};

/// Why the archive cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(
        "cannot download {url}: {reason}. Where this machine has no network, bring the archive's files here by other means and use `trainyard datasets add`"
    )]
    Download { url: String, reason: String },
    #[error("{url} has more than the {most} bytes that are expected; nothing of it is used")]
    TooLarge { url: String, most: u64 },
    #[error("{url} has the md5 checksum {found}, not the published {expected}; nothing of it is used")]
    Checksum { url: String, found: String, expected: String },
    #[error("{name} in the archive has {found} bytes, not {expected}")]
    MemberSize { name: String, found: u64, expected: u64 },
    #[error("the archive has no {name}")]
    MissingMember { name: String },
    #[error("cannot {what}: {source}")]
    Io { what: &'static str, source: io::Error },
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> FetchError {
    move |source| FetchError::Io { what, source }
}

/// Streams the archive into a file in `folder`, hashing it on the way. The file is the published one, or an error.
pub(crate) async fn download(archive: &Archive<'_>, folder: &Path) -> Result<PathBuf, FetchError> {
    let failed = |error: reqwest::Error| FetchError::Download { url: archive.url.to_owned(), reason: chain(&error) };
    let too_large = || FetchError::TooLarge { url: archive.url.to_owned(), most: archive.most_bytes };
    let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).read_timeout(Duration::from_secs(60)).build();
    let response = http.map_err(failed)?.get(archive.url).send().await.and_then(reqwest::Response::error_for_status);
    let mut response = response.map_err(failed)?;
    if response.content_length().is_some_and(|length| length > archive.most_bytes) {
        return Err(too_large());
    }
    let path = folder.join("archive.tar.gz");
    let mut file = File::create_new(&path).map_err(io_error("write the download"))?;
    let bar = byte_bar(&format!("downloading {}", archive.url), response.content_length());
    let mut hash = Md5::new();
    let mut size = 0;
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        size += piece.len() as u64;
        if size > archive.most_bytes {
            return Err(too_large());
        }
        hash.update(&piece);
        file.write_all(&piece).map_err(io_error("write the download"))?;
        bar.inc(piece.len() as u64);
    }
    bar.finish_and_clear();
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != archive.md5 {
        return Err(FetchError::Checksum { url: archive.url.to_owned(), found, expected: archive.md5.to_owned() });
    }
    Ok(path)
}

/// Takes the known files of records out of a checked archive into `folder`.
pub(crate) fn unpack(archive: &Archive<'_>, path: &Path, folder: &Path) -> Result<Vec<UploadFile>, FetchError> {
    let expected = archive.records * CIFAR_RECORD_BYTES;
    let most = (archive.members.len() as u64 + 1) * (expected + (1 << 20));
    let mut compressed = File::open(path).map_err(io_error("read the download"))?;
    compressed.rewind().map_err(io_error("read the download"))?;
    let mut tar = tar::Archive::new(GzDecoder::new(compressed).take(most));
    let mut found: Vec<Option<UploadFile>> = vec![None; archive.members.len()];
    for entry in tar.entries().map_err(io_error("read the archive"))? {
        let mut entry = entry.map_err(io_error("read the archive"))?;
        let inside = entry.path().map_err(io_error("read the archive"))?.into_owned();
        let member = archive.members.iter().position(|(_, name)| inside == Path::new(archive.folder).join(name));
        let Some((position, (role, name))) = member.map(|position| (position, archive.members[position])) else { continue };
        if entry.size() != expected {
            return Err(FetchError::MemberSize { name: name.to_owned(), found: entry.size(), expected });
        }
        let path = folder.join(name);
        let mut file = File::create(&path).map_err(io_error("write an unpacked file"))?;
        let copied = io::copy(&mut entry, &mut file).map_err(io_error("unpack the archive"))?;
        if copied != expected {
            return Err(FetchError::MemberSize { name: name.to_owned(), found: copied, expected });
        }
        found[position] = Some(UploadFile { role, path });
    }
    let named = found.into_iter().zip(archive.members);
    named.map(|(file, (_, name))| file.ok_or_else(|| FetchError::MissingMember { name: (*name).to_owned() })).collect()
}

/// The error with its causes: reqwest's own text stops short of "connection refused".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[cfg(test)]
#[path = "cifar10_tests.rs"]
mod tests;
