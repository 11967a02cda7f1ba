//! The dashboard's sessions: hashes of cookies, each standing for a token.
//!
//! They outlive a restart, so that an open dashboard goes on by itself; but they are no part of what a backup should hold, so they lie in a small file of their
//! own beside the store.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trainyard_faults::Place;
use trainyard_wire::{Timestamp, TokenId};

use crate::blobs::sync_name;
use crate::tokens;

/// The cookie's name.
pub(crate) const COOKIE: &str = "trainyard_session";
/// How long a session lasts.
pub(crate) const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most sessions; the oldest end first.
const MOST: usize = 1000;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Session {
    secret_sha256: [u8; 32],
    token: TokenId,
    expires_at: Timestamp,
}

/// All sessions of a server, in the order of their beginnings.
#[derive(Debug)]
pub(crate) struct Sessions {
    path: PathBuf,
    open: Mutex<Vec<Session>>,
}

impl Sessions {
    /// The sessions in the file `path`, if there is one. A file that cannot be read signs everyone out, no more.
    pub(crate) fn load(path: PathBuf) -> Self {
        let read = fs::read(&path).map(|bytes| serde_json::from_slice::<Vec<Session>>(&bytes));
        let open = match read {
            Ok(Ok(sessions)) => sessions,
            Ok(Err(error)) => {
                tracing::warn!(path = %path.display(), %error, "the sessions cannot be read: everyone has to sign in again");
                Vec::new()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the sessions cannot be read: everyone has to sign in again");
                Vec::new()
            }
        };
        Self { path, open: Mutex::new(open) }
    }

    /// The token that `secret` stands for.
    pub(crate) fn token_of(&self, secret: &str, now: Timestamp) -> Option<TokenId> {
        let hash = tokens::hash(secret);
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().find(|session| session.secret_sha256 == hash && now < session.expires_at).map(|session| session.token)
    }

    /// Opens a session for `token`. Writes a file: not for the runtime's own threads.
    pub(crate) fn begin(&self, secret_sha256: [u8; 32], token: TokenId, now: Timestamp) -> io::Result<()> {
        let lifetime = i64::try_from(LIFETIME.as_millis()).unwrap_or(i64::MAX);
        let session = Session { secret_sha256, token, expires_at: Timestamp(now.0.saturating_add(lifetime)) };
        self.change(|open| {
            open.retain(|session| now < session.expires_at);
            let surplus = (open.len() + 1).saturating_sub(MOST);
            open.drain(..surplus);
            open.push(session);
        })
    }

    /// Ends the session of `secret`, if there is one. Writes a file, as [`Sessions::begin`].
    pub(crate) fn end(&self, secret: &str) -> io::Result<()> {
        let hash = tokens::hash(secret);
        self.change(|open| open.retain(|session| session.secret_sha256 != hash))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Session>)) -> io::Result<()> {
        // The lock is held while the file is written: two changes at once would write it in either order.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut open);
        let partial = self.path.with_extension("partial");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(&serde_json::to_vec(&*open)?)?;
        file.sync_all()?;
        trainyard_faults::at(Place::SessionRename)?;
        fs::rename(&partial, &self.path)?;
        trainyard_faults::at(Place::SessionRenamed)?;
        sync_name(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use trainyard_wire::{Timestamp, TokenId};

    use super::{LIFETIME, Sessions};
    use crate::tokens::hash;

    #[test]
    fn a_session_outlives_a_restart_and_ends_by_time_or_by_wish() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.json");
        let now = Timestamp(1_000);
        let sessions = Sessions::load(path.clone());
        sessions.begin(hash("one"), TokenId(1), now).unwrap();
        sessions.begin(hash("two"), TokenId(2), now).unwrap();
        let sessions = Sessions::load(path.clone());
        assert_eq!(sessions.token_of("one", now), Some(TokenId(1)));
        assert_eq!(sessions.token_of("three", now), None);
        sessions.end("one").unwrap();
        assert_eq!(sessions.token_of("one", now), None);
        let late = Timestamp(now.0 + LIFETIME.as_millis() as i64);
        assert_eq!(Sessions::load(path).token_of("two", late), None);
    }
}
