//! `/v1/backups`: the whole store as one tar archive, streamed.
//!
//! The archive goes to whoever asks and never into a path on the server. It holds what a data folder holds, but for secrets, so an
//! unpacked one is a data folder.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _, stream};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;
use trainyard_wire::{Problem, Timestamp};

use super::app::Shared;
use super::problem::ApiError;
use crate::store::{Backup, BackupFile, StoreError};

/// Bytes read from disk at a time.
const PIECE: usize = 1 << 17;
/// Pieces that wait for the client.
const WAITING: usize = 8;
/// A tar archive consists of these.
const BLOCK: u64 = 512;

/// A backup of everything but secrets, as it is at one moment while the server goes on.
///
/// The answer is a tar archive of `trainyard.db` and `blobs/`; unpacked into an empty folder it is a data folder. One backup is made at
/// a time. A client that takes nothing for eight seconds is given up.
#[utoipa::path(post, path = "/v1/backups", tag = "store",
    responses((status = 200, description = "The archive", content_type = "application/x-tar", body = Vec<u8>),
        (status = 503, description = "Another backup is under way", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(State(app): State<Shared>) -> Result<Response, ApiError> {
    let permit = app.backups.clone().try_acquire_owned();
    let permit = permit.map_err(|_| ApiError::Unavailable("another backup is under way".to_owned()))?;
    let mut backup = app.store.backup().await?;
    let (pieces, receiver) = mpsc::channel(WAITING);
    let archive = Archive { pieces, patience: app.limits.patience, time: Timestamp::now() };
    tokio::spawn(async move {
        let _permit = permit;
        if let Err(error) = archive.write(&mut backup).await {
            tracing::error!(%error, "a backup was broken off");
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"trainyard-backup.tar\"")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(pieces_of(receiver))).into_response())
}

enum Piece {
    Bytes(Bytes),
    /// The archive is complete.
    End,
}

/// The archive as a body. Where the writer ended before the archive did, the body breaks off too: a client must not take a part for the
/// whole.
fn pieces_of(receiver: mpsc::Receiver<Piece>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(receiver), async |receiver| {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(receiver))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the backup broke off")), None)),
        }
    })
}

/// The archive on its way to the client.
struct Archive {
    pieces: mpsc::Sender<Piece>,
    /// How long the client may take to make room for a piece.
    patience: Duration,
    time: Timestamp,
}

impl Archive {
    async fn write(&self, backup: &mut Backup) -> Result<(), StoreError> {
        while let Some(file) = backup.next_file().await? {
            self.file(file).await?;
        }
        // Two empty blocks end an archive.
        self.send(Piece::Bytes(Bytes::from_static(&[0; 2 * BLOCK as usize]))).await?;
        Ok(self.send(Piece::End).await?)
    }

    async fn file(&self, BackupFile { name, size, file }: BackupFile) -> io::Result<()> {
        self.send(Piece::Bytes(header_block(&name, size, self.time)?)).await?;
        let mut pieces = ReaderStream::with_capacity(file.take(size), PIECE);
        let mut left = size;
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            left -= piece.len() as u64;
            self.send(Piece::Bytes(piece)).await?;
        }
        if left > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} ended {left} bytes early")));
        }
        let padding = size.next_multiple_of(BLOCK) - size;
        self.send(Piece::Bytes(Bytes::from_static(&[0; BLOCK as usize]).slice(..padding as usize))).await
    }

    async fn send(&self, piece: Piece) -> io::Result<()> {
        match tokio::time::timeout(self.patience, self.pieces.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client went away")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client took nothing for too long")),
        }
    }
}

fn header_block(name: &str, size: u64, time: Timestamp) -> io::Result<Bytes> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(time.0 / 1000).unwrap_or(0));
    header.set_cksum();
    Ok(Bytes::copy_from_slice(header.as_bytes()))
}
