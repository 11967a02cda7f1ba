//! The secrets of bearer tokens and sessions, and the files that hold the first ones.
//!
//! A secret is 256 random bits; the store keeps only its sha256, so a copy of the store signs nobody in, and looking a secret up by
//! its hash tells a prober nothing through timing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use trainyard_faults::Place;

use crate::blobs::sync_name;

/// Fewest characters of a token that an operator brings along.
pub(crate) const SHORTEST_GIVEN: usize = 32;

/// A secret that is not printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// 256 fresh random bits as `ty_` and base64url.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("ty_{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The text that its owner needs.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What the store keeps of it.
    pub(crate) fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The sha256 of a secret's text.
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Why a token file cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("cannot read or write the token file {path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("the token in {path} must have at least {SHORTEST_GIVEN} visible characters and no spaces")]
    Unfit { path: String },
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// The token in `path`, without the white space around it.
pub(crate) fn read(path: &Path) -> Result<Secret, TokenFileError> {
    let text = fs::read_to_string(path).map_err(|source| io_error(path, source))?;
    let token = text.trim();
    if token.len() < SHORTEST_GIVEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenFileError::Unfit { path: path.display().to_string() });
    }
    Ok(Secret(token.to_owned()))
}

/// The token in `path`; a fresh one, written there for its owner alone, if there is no such file.
pub(crate) fn read_or_create(path: &Path) -> Result<Secret, TokenFileError> {
    if path.exists() {
        return read(path);
    }
    let secret = Secret::random()?;
    // Written under another name first: a start that is cut short leaves no half token behind.
    let partial = path.with_extension("token.partial");
    let write = || -> io::Result<()> {
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        writeln!(file, "{}", secret.expose())?;
        file.sync_all()?;
        trainyard_faults::at(Place::TokenRename)?;
        fs::rename(&partial, path)?;
        trainyard_faults::at(Place::TokenRenamed)?;
        sync_name(path)
    };
    write().map_err(|source| io_error(path, source))?;
    Ok(secret)
}

fn io_error(path: &Path, source: io::Error) -> TokenFileError {
    TokenFileError::Io { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{Secret, TokenFileError, read, read_or_create};

    #[test]
    fn a_token_file_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.token");
        let made = read_or_create(&path).unwrap();
        assert_eq!(read_or_create(&path).unwrap(), made);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(made.expose().starts_with("ty_") && made.expose().len() == 3 + 43);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_secrets_differ_and_neither_shows_in_debug_output() {
        let (one, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(format!("{one:?}"), "Secret(…)");
    }

    #[test]
    fn a_given_token_that_is_short_or_has_spaces_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("given");
        for text in ["short", "", "a token with spaces that is long enough for anyone"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(read(&path), Err(TokenFileError::Unfit { .. })), "{text}");
        }
        std::fs::write(&path, " 0123456789abcdef0123456789abcdef\n").unwrap();
        assert_eq!(read(&path).unwrap().expose(), "0123456789abcdef0123456789abcdef");
    }
}
