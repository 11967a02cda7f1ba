//! `trainyard tokens`.

use std::process::ExitCode;

use serde_json::json;
use trainyard_wire::TokenId;
use trainyard_wire::token::{CreateToken, Scope, Token};

use super::units::seconds;
use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::table::Table;
use crate::terminal::{print, print_json};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum TokensCommand {
    /// Create a token and print it; it is never shown again
    Create(CreateArgs),
    /// List the tokens, without their secrets
    List(ListArgs),
    /// Revoke tokens
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// What the token is for
    name: String,
    /// What it may do: read, submit, worker, admin; may be repeated
    #[arg(long = "scope", required = true, value_delimiter = ',', value_name = "SCOPE")]
    scopes: Vec<Scope>,
    /// When it expires, such as 12h or 30d; never unless given
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires_in: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    #[arg(required = true, value_name = "ID")]
    ids: Vec<TokenId>,
    #[command(flatten)]
    connection: Connection,
}

impl TokensCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(args) => create(args, context).await?,
            Self::List(args) => list(args, context).await?,
            Self::Revoke(args) => {
                let client = args.connection.client(context)?;
                for id in &args.ids {
                    client.revoke_token(*id).await?;
                    if !context.json() {
                        print(&format!("token {id} is revoked"))?;
                    }
                }
                if context.json() {
                    print_json(&json!({"revoked": args.ids}))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The token alone goes to stdout, so that a script can take it.
async fn create(args: CreateArgs, context: &Context) -> anyhow::Result<()> {
    let wanted = CreateToken { name: args.name, scopes: args.scopes, expires_in_seconds: args.expires_in };
    let created = args.connection.client(context)?.create_token(&wanted).await?;
    if context.json() {
        return print_json(&created);
    }
    eprintln!("token {} ({}); it is shown only this once:", created.id, words(&created.scopes));
    print(&created.token)?;
    Ok(())
}

async fn list(args: ListArgs, context: &Context) -> anyhow::Result<()> {
    let page = args.connection.client(context)?.tokens().await?;
    context.answer(&page, |page| table(&page.items))
}

fn table(tokens: &[Token]) -> Table {
    let mut table = Table::new(&["TOKEN", "NAME", "SCOPES", "CREATED", "EXPIRES", "REVOKED"]);
    for token in tokens {
        let time = |time: Option<trainyard_wire::Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        table.row([
            token.id.to_string(),
            token.name.clone(),
            words(&token.scopes),
            token.created_at.to_string(),
            time(token.expires_at),
            time(token.revoked_at),
        ]);
    }
    table
}

fn words(scopes: &[Scope]) -> String {
    scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
