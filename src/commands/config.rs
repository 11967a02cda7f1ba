//! `trainyard config`: the settings of client commands as they are now, and where each comes from.

use std::process::ExitCode;

use serde::Serialize;

use crate::UsageError;
use crate::connection::Connection;
use crate::context::Context;
use crate::settings::{Settings, SettingsError, Source, Sourced, Token};
use crate::terminal::print;
use crate::terminal::table::Table;

/// Under the command's help.
const HELP: &str = r#"Flags go before the environment, and that goes before the configuration file:

  url = "http://127.0.0.1:8080"
  token_file = "~/trainyard-data/admin.token"    # or token = "…"
  output = "text"                                # or "json"
  default_profile = "gpu-box"

  [profile.gpu-box]                              # the same keys
  url = "https://gpu-box.example"

Variables: TRAINYARD_URL, TRAINYARD_TOKEN_FILE, TRAINYARD_TOKEN, TRAINYARD_OUTPUT, TRAINYARD_PROFILE, and TRAINYARD_CONFIG, which
names another file. A profile that --profile names goes before the environment, one that is chosen otherwise after it."#;

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: Option<ConfigCommand>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigCommand {
    /// Print where the configuration file is, or would be
    Path,
}

/// One setting; a token is masked.
#[derive(Debug, Serialize)]
struct Setting {
    key: &'static str,
    value: Option<String>,
    source: Option<String>,
}

#[derive(Debug, Serialize)]
struct Shown {
    file: Option<String>,
    file_exists: bool,
    settings: Vec<Setting>,
}

impl ConfigArgs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        if let Some(ConfigCommand::Path) = self.command {
            // A file that cannot be used is just what somebody may be looking for.
            let path = Settings::file_path().ok_or_else(|| UsageError(SettingsError::NoFolder.to_string()))?;
            print(&path.display().to_string())?;
            return Ok(ExitCode::SUCCESS);
        }
        let settings = context.settings()?;
        let shown = Shown {
            file: settings.path.as_ref().map(|path| path.display().to_string()),
            file_exists: settings.file_exists,
            settings: self.settings(settings, context),
        };
        context.answer(&shown, text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn settings(&self, settings: &Settings, context: &Context) -> Vec<Setting> {
        let shown = |key, found: Option<(String, String)>| {
            let (value, source) = found.unzip();
            Setting { key, value, source }
        };
        let token = self.connection.token(settings);
        let token_file = token.as_ref().and_then(|token| match &token.value {
            Token::File(path) => Some((path.display().to_string(), token.source.to_string())),
            Token::Given(_) => None,
        });
        let given = token.as_ref().filter(|token| matches!(token.value, Token::Given(_)));
        let output = match context.json_flag() {
            Some(json) => (if json { "json" } else { "text" }.to_owned(), Source::Flag("--json").to_string()),
            None => pair(settings.output(), |format| format.as_str().to_owned()),
        };
        vec![
            shown("profile", settings.profile.clone().map(|profile| pair(profile, |name| name))),
            shown("url", Some(pair(self.connection.address.url(settings), |url| url))),
            shown("token_file", token_file),
            shown("token", given.map(|token| ("********".to_owned(), token.source.to_string()))),
            shown("output", Some(output)),
        ]
    }
}

fn pair<T>(found: Sourced<T>, text: impl Fn(T) -> String) -> (String, String) {
    (text(found.value), found.source.to_string())
}

fn text(shown: &Shown) -> String {
    let mut table = Table::new(&["KEY", "VALUE", "SOURCE"]);
    for setting in &shown.settings {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        table.row([setting.key.to_owned(), or_none(&setting.value), or_none(&setting.source)]);
    }
    let file = shown.file.as_deref().unwrap_or("-");
    format!("{table}\nfile {file}{}\n", if shown.file_exists { "" } else { " (not there)" })
}
