//! Where the server is and which token opens it, for every client command.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use trainyard_wire::client::Client;

use crate::UsageError;
use crate::context::Context;
use crate::settings::{Secret, Settings, Sourced, Token};

/// Where `trainyard up` keeps its data unless it is told otherwise.
pub(crate) const DEFAULT_DATA_DIR: &str = "trainyard-data";

/// Where the server is.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct Address {
    /// The server's address; else TRAINYARD_URL, the configuration's url, http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

impl Address {
    pub(crate) fn url(&self, settings: &Settings) -> Sourced<String> {
        settings.url(self.url.as_deref())
    }
}

/// The server to talk to.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct Connection {
    #[command(flatten)]
    pub address: Address,
    /// A bearer token; else TRAINYARD_TOKEN, the configuration's token
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// A file with the bearer token, goes before --token; else TRAINYARD_TOKEN_FILE, the configuration's token_file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

// Without documentation, which clap would show as that of the commands.
#[derive(clap::Args, Debug)]
pub(crate) struct ConnectionArgs {
    #[command(flatten)]
    pub connection: Connection,
}

impl Connection {
    pub(crate) fn client(&self, context: &Context) -> anyhow::Result<Client> {
        let settings = context.settings()?;
        let token = match self.token(settings).map(|found| found.value) {
            Some(Token::File(path)) => {
                let token = read_token(&path)?;
                self.warn_if_readable(&path, context);
                token
            }
            Some(Token::Given(Secret(token))) => {
                if let (Some(path), true) = (&settings.path, settings.has_token_in_file()) {
                    self.warn_if_readable(path, context);
                }
                token
            }
            None => return Err(UsageError(no_token()).into()),
        };
        Client::new(&self.address.url(settings).value, Some(token)).map_err(|error| UsageError(error.to_string()).into())
    }

    pub(crate) fn token(&self, settings: &Settings) -> Option<Sourced<Token>> {
        settings.token(self.token_file.as_deref(), self.token.as_deref())
    }

    /// A warning where others than its owner may read a file that holds a token.
    fn warn_if_readable(&self, path: &Path, context: &Context) {
        if is_readable_by_others(path) {
            context.warn(&format!("{0} holds a token and others can read it: chmod 600 {0}", path.display()));
        }
    }
}

fn is_readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    // One that cannot be looked at was just read; what its mode is then does not matter.
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o044 != 0)
}

/// The token in a file, without the white space around it.
pub(crate) fn read_token(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the token file {}", path.display()))?;
    Ok(text.trim().to_owned())
}

fn no_token() -> String {
    let beside = Path::new(DEFAULT_DATA_DIR).join("admin.token");
    let hint = if beside.exists() {
        format!("set it with: export TRAINYARD_TOKEN=$(cat {})", beside.display())
    } else {
        "set TRAINYARD_TOKEN, or give --token-file; the server keeps the admin token in admin.token in its data folder, and `trainyard config path` tells which file may name it (token_file)".to_owned()
    };
    format!("no token: {hint}")
}
