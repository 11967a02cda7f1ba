//! Where the server is and which token opens it, for every client command.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use trainyard_wire::client::Client;

use crate::UsageError;

/// Where `trainyard up` keeps its data unless it is told otherwise.
pub(crate) const DEFAULT_DATA_DIR: &str = "trainyard-data";

/// The server to talk to.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct Connection {
    /// The server's address
    #[arg(long, env = "TRAINYARD_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// A bearer token
    #[arg(long, env = "TRAINYARD_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// A file with the bearer token; goes before --token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Connection {
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let token = match (&self.token_file, &self.token) {
            (Some(path), _) => read_token(path)?,
            (None, Some(token)) if !token.trim().is_empty() => token.trim().to_owned(),
            (None, _) => return Err(UsageError(no_token()).into()),
        };
        Client::new(&self.url, Some(token)).map_err(|error| UsageError(error.to_string()).into())
    }
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
        "set TRAINYARD_TOKEN, or give --token-file; the server keeps the admin token in admin.token in its data folder".to_owned()
    };
    format!("no token: {hint}")
}
