//! What every command is told beside its own arguments.

use std::fmt;

use serde::Serialize;

use crate::UsageError;
use crate::logging::LogFormat;
use crate::settings::{OutputFormat, Settings, SettingsError};
use crate::terminal::{plain, print, print_json};

/// How this process logs and prints, and its settings.
#[derive(Debug)]
pub(crate) struct Context {
    pub log: LogFormat,
    /// `--json`, if it was given.
    json: Option<bool>,
    /// What is wrong with them matters to those commands alone that need them.
    settings: Result<Settings, SettingsError>,
}

impl Context {
    pub(crate) fn new(log: LogFormat, json: Option<bool>, profile: Option<&str>) -> Self {
        Self { log, json, settings: Settings::load(profile) }
    }

    pub(crate) fn settings(&self) -> Result<&Settings, UsageError> {
        self.settings.as_ref().map_err(|error| UsageError(error.to_string()))
    }

    pub(crate) fn json_flag(&self) -> Option<bool> {
        self.json
    }

    /// Whether answers and errors are JSON.
    pub(crate) fn json(&self) -> bool {
        let default = || self.settings.as_ref().is_ok_and(|settings| settings.output().value == OutputFormat::Json);
        self.json.unwrap_or_else(default)
    }

    /// As [`json`](Self::json), where `flag`, if it was `given`, asks for something else.
    pub(crate) fn json_unless(&self, flag: &str, given: bool) -> Result<bool, UsageError> {
        match (given, self.json) {
            (true, Some(true)) => Err(UsageError(format!("{flag} and --json cannot be used together"))),
            (true, _) => Ok(false),
            (false, _) => Ok(self.json()),
        }
    }

    /// Prints an answer: as the API gave it, or as text.
    pub(crate) fn answer<T: Serialize, D: fmt::Display>(&self, value: &T, text: impl FnOnce(&T) -> D) -> anyhow::Result<()> {
        if self.json() { print_json(value) } else { Ok(print(&text(value).to_string())?) }
    }

    /// Prints an answer that holds a secret. As text the secret alone goes to stdout, so that a script can take it, and the remark to stderr.
    pub(crate) fn answer_secret<T: Serialize>(&self, value: &T, remark: &str, secret: &str) -> anyhow::Result<()> {
        if self.json() {
            return print_json(value);
        }
        eprintln!("{remark}");
        Ok(print(secret)?)
    }

    /// A remark on stderr for people; in JSON nothing but errors is there.
    pub(crate) fn warn(&self, text: &str) {
        if !self.json() {
            eprintln!("warning: {}", plain(text));
        }
    }
}
