//! The configuration file.
//!
//! ```toml
//! url = "http://127.0.0.1:8080"
//! token_file = "~/trainyard-data/admin.token"
//! output = "text"
//! default_profile = "gpu-box"   # unless --profile or TRAINYARD_PROFILE names another
//!
//! [profile.gpu-box]             # the same keys
//! url = "https://gpu-box.example"
//! token = "…"
//! ```
//!
//! It is taken apart by hand: serde's errors quote what they do not like, and that may be a token. A relative `token_file` is looked for
//! beside this file.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Secret, SettingsError, Token, Values};

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct File {
    pub values: Values,
    pub profile: Option<String>,
    pub profiles: BTreeMap<String, Values>,
}

impl File {
    /// `None` where there is no such file and none was asked for.
    pub(super) fn read(path: &Path, must_exist: bool, home: Option<&Path>) -> Result<Option<Self>, SettingsError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path, home).map(Some),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) && !must_exist => Ok(None),
            Err(source) => Err(SettingsError::Read { path: path.to_owned(), source }),
        }
    }

    pub(super) fn parse(text: &str, path: &Path, home: Option<&Path>) -> Result<Self, SettingsError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            SettingsError::Syntax { path: path.to_owned(), line, reason: "this is not TOML".to_owned() }
        })?;
        let reader = Reader { path, home };
        let mut file = Self::default();
        let mut own = Table::new();
        for (key, value) in table {
            match key.as_str() {
                "profile" => {
                    let Value::Table(profiles) = value else { return Err(reader.wrong(key, "must be tables ([profile.NAME])")) };
                    for (name, value) in profiles {
                        let Value::Table(profile) = value else { return Err(reader.wrong(format!("profile.{name}"), "must be a table")) };
                        let values = reader.values(profile, &format!("profile.{name}."))?;
                        file.profiles.insert(name, values);
                    }
                }
                "default_profile" => file.profile = Some(reader.text(&key, value)?),
                _ => drop(own.insert(key, value)),
            }
        }
        file.values = reader.values(own, "")?;
        Ok(file)
    }
}

struct Reader<'a> {
    path: &'a Path,
    home: Option<&'a Path>,
}

impl Reader<'_> {
    fn values(&self, table: Table, prefix: &str) -> Result<Values, SettingsError> {
        let mut values = Values::default();
        let mut token = None;
        for (key, value) in table {
            let full = format!("{prefix}{key}");
            match key.as_str() {
                "url" => values.url = Some(self.text(&full, value)?),
                "token" => token = Some(Token::Given(Secret(self.text(&full, value)?.trim().to_owned()))),
                "token_file" => values.token = Some(Token::File(self.file(&self.text(&full, value)?))),
                "output" => {
                    let word = self.text(&full, value)?;
                    values.output = Some(word.parse().map_err(|_| self.wrong(full, "must be text or json"))?);
                }
                _ => {
                    return Err(
                        self.wrong(full, "is not known; there are url, token_file, token, output, default_profile and [profile.NAME]")
                    );
                }
            }
        }
        // The file goes first, as everywhere.
        values.token = values.token.or(token);
        Ok(values)
    }

    fn text(&self, key: &str, value: Value) -> Result<String, SettingsError> {
        match value {
            Value::String(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(self.wrong(key.to_owned(), "must be text, and not empty")),
        }
    }

    /// A path, from the home folder (`~/`) or from this file's.
    fn file(&self, text: &str) -> PathBuf {
        if let (Some(rest), Some(home)) = (text.strip_prefix("~/"), self.home) {
            return home.join(rest);
        }
        self.path.parent().unwrap_or(Path::new("")).join(text)
    }

    fn wrong(&self, key: String, reason: &'static str) -> SettingsError {
        SettingsError::Value { path: self.path.to_owned(), key, reason }
    }
}
