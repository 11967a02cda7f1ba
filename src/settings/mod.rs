//! What the command line is told beside its arguments: flags, then the environment, then a file.
//!
//! The file is `~/.config/trainyard/config.toml` ([`mod@file`]) and may have named profiles. A profile that `--profile` names stands for flags, so
//! it goes before the environment; one that the environment or the file chooses goes after it. Every value keeps its [`Source`], which
//! `trainyard config` shows, and a token never leaves [`Secret`] as text for people.

mod file;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use trainyard_wire::state::UnknownWord;

use file::File;

/// Where the server is unless something says so.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// Never with the offending text, which may be a token.
    #[error("{}:{line}: {reason}", path.display())]
    Syntax { path: PathBuf, line: usize, reason: String },
    #[error("{}: `{key}` {reason}", path.display())]
    Value { path: PathBuf, key: String, reason: &'static str },
    #[error("there is no profile `{name}` ({source_}) in {}; it has {}", path.display(), known(.profiles))]
    NoProfile { name: String, source_: Source, path: PathBuf, profiles: Vec<String> },
    #[error("{variable}: {unknown}")]
    Environment { variable: &'static str, unknown: UnknownWord },
    #[error(
        "there is no folder for a configuration file: neither XDG_CONFIG_HOME nor HOME is an absolute path; TRAINYARD_CONFIG may name a file"
    )]
    NoFolder,
}

fn known(profiles: &[String]) -> String {
    if profiles.is_empty() { "none".to_owned() } else { profiles.join(", ") }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(&'static str),
    Environment(&'static str),
    Profile(String),
    File,
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Environment(name) => f.write_str(name),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::File => f.write_str("file"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value with its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sourced<T> {
    pub value: T,
    pub source: Source,
}

/// A token, which is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// The token, or the file that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Given(Secret),
    File(PathBuf),
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    Text,
    Json,
}

impl OutputFormat {
    pub(crate) fn as_str(self) -> &'static str {
        if self == Self::Json { "json" } else { "text" }
    }
}

impl std::str::FromStr for OutputFormat {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(UnknownWord { found: other.to_owned(), known: &["text", "json"] }),
        }
    }
}

/// What one level says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Values {
    pub url: Option<String>,
    pub token: Option<Token>,
    pub output: Option<OutputFormat>,
}

/// The levels under the flags.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The configuration file, whether it is there or not; none without a home.
    pub path: Option<PathBuf>,
    pub file_exists: bool,
    pub profile: Option<Sourced<String>>,
    /// The first that says something counts.
    levels: Vec<(Level, Values)>,
}

/// What kind of level: sources of its values follow from it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Environment,
    Profile(String),
    File,
}

impl Level {
    /// The source of a value that the environment has under this name.
    fn source(&self, variable: &'static str) -> Source {
        match self {
            Self::Environment => Source::Environment(variable),
            Self::Profile(name) => Source::Profile(name.clone()),
            Self::File => Source::File,
        }
    }
}

impl Settings {
    /// The configuration file, whether it is there, and can be used, or not.
    pub(crate) fn file_path() -> Option<PathBuf> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        variable("TRAINYARD_CONFIG").map(PathBuf::from).or_else(|| user_file(variable))
    }

    /// Reads the environment and the file; `profile` is that of `--profile`.
    pub(crate) fn load(profile: Option<&str>) -> Result<Self, SettingsError> {
        Self::from(profile, |name| std::env::var_os(name))
    }

    fn from(profile: Option<&str>, variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        // An empty variable is as good as none.
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let named = variable("TRAINYARD_CONFIG").map(PathBuf::from);
        let path = named.clone().or_else(|| user_file(variable));
        let file = match &path {
            Some(path) => File::read(path, named.is_some(), variable("HOME").as_deref().map(Path::new))?,
            None => None,
        };
        let file_exists = file.is_some();
        let file = file.unwrap_or_default();

        let chosen = profile.map(|name| (name.to_owned(), Source::Flag("--profile")));
        let chosen = chosen.or_else(|| text("TRAINYARD_PROFILE").map(|name| (name, Source::Environment("TRAINYARD_PROFILE"))));
        let chosen = chosen.or_else(|| file.profile.clone().map(|name| (name, Source::File)));
        let profile = chosen.map(|(value, source)| Sourced { value, source });
        let mut profiles = file.profiles;
        let of_profile = match &profile {
            None => None,
            Some(chosen) => Some(profiles.remove(&chosen.value).ok_or_else(|| SettingsError::NoProfile {
                name: chosen.value.clone(),
                source_: chosen.source.clone(),
                path: path.clone().unwrap_or_default(),
                profiles: profiles.keys().cloned().collect(),
            })?),
        };

        let output = text("TRAINYARD_OUTPUT").map(|word| word.parse::<OutputFormat>()).transpose();
        let output = output.map_err(|unknown| SettingsError::Environment { variable: "TRAINYARD_OUTPUT", unknown })?;
        let token_file = variable("TRAINYARD_TOKEN_FILE").map(|path| Token::File(path.into()));
        let token = token_file.or_else(|| text("TRAINYARD_TOKEN").map(|token| Token::Given(Secret(token.trim().to_owned()))));
        let mut levels = vec![(Level::Environment, Values { url: text("TRAINYARD_URL"), token, output })];
        if let (Some(chosen), Some(values)) = (&profile, of_profile) {
            let place = usize::from(chosen.source != Source::Flag("--profile"));
            levels.insert(place, (Level::Profile(chosen.value.clone()), values));
        }
        levels.push((Level::File, file.values));
        Ok(Self { path, file_exists, profile, levels })
    }

    /// The server's address.
    pub(crate) fn url(&self, flag: Option<&str>) -> Sourced<String> {
        let flag = flag.map(|url| Sourced { value: url.to_owned(), source: Source::Flag("--url") });
        let found = flag.or_else(|| self.first("TRAINYARD_URL", |values| values.url.clone()));
        found.unwrap_or_else(|| Sourced { value: DEFAULT_URL.to_owned(), source: Source::Default })
    }

    /// The token, if one is given. On one level its file goes first.
    pub(crate) fn token(&self, flag_file: Option<&Path>, flag: Option<&str>) -> Option<Sourced<Token>> {
        let file = flag_file.map(|path| Sourced { value: Token::File(path.to_owned()), source: Source::Flag("--token-file") });
        let given = flag.filter(|token| !token.trim().is_empty()).map(|token| token.trim().to_owned());
        let flag = file.or_else(|| given.map(|token| Sourced { value: Token::Given(Secret(token)), source: Source::Flag("--token") }));
        flag.or_else(|| self.first("TRAINYARD_TOKEN", |values| values.token.clone())).map(|found| match (&found.value, &found.source) {
            (Token::File(_), Source::Environment(_)) => Sourced { source: Source::Environment("TRAINYARD_TOKEN_FILE"), ..found },
            _ => found,
        })
    }

    /// Whether the configuration file itself holds a token that could be used.
    pub(crate) fn has_token_in_file(&self) -> bool {
        let in_file = |level: &Level| *level != Level::Environment;
        self.levels.iter().any(|(level, values)| in_file(level) && matches!(values.token, Some(Token::Given(_))))
    }

    /// How answers are printed where `--json` does not say.
    pub(crate) fn output(&self) -> Sourced<OutputFormat> {
        let found = self.first("TRAINYARD_OUTPUT", |values| values.output);
        found.unwrap_or(Sourced { value: OutputFormat::Text, source: Source::Default })
    }

    fn first<T>(&self, variable: &'static str, value: impl Fn(&Values) -> Option<T>) -> Option<Sourced<T>> {
        self.levels.iter().find_map(|(level, values)| Some(Sourced { value: value(values)?, source: level.source(variable) }))
    }
}

/// `$XDG_CONFIG_HOME/trainyard/config.toml`, or where the XDG base directory specification puts it without that.
fn user_file(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| variable(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(config.join("trainyard").join("config.toml"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
