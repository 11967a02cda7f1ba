//! `trainyard tokens`.

use std::process::ExitCode;

use trainyard_wire::TokenId;
use trainyard_wire::token::{CreateToken, Scope, Token};

use super::each::each_gone;
use super::units::seconds;
use crate::connection::{Connection, ConnectionArgs};
use crate::context::Context;
use crate::terminal::format;
use crate::terminal::table::Table;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum TokensCommand {
    /// Create a token and print it; it is never shown again
    Create(CreateArgs),
    /// List the tokens, without their secrets
    List(ConnectionArgs),
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
            Self::List(args) => {
                let page = args.connection.client(context)?.tokens().await?;
                context.answer(&page, |page| table(&page.items))?;
            }
            Self::Revoke(args) => {
                let client = args.connection.client(context)?;
                each_gone(&args.ids, ("token", "revoked"), async |id| client.revoke_token(id).await, context).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn create(args: CreateArgs, context: &Context) -> anyhow::Result<()> {
    let wanted = CreateToken { name: args.name, scopes: args.scopes, expires_in_seconds: args.expires_in };
    let created = args.connection.client(context)?.create_token(&wanted).await?;
    let remark = format!("token {} ({}); it is shown only this once:", created.id, format::list(&created.scopes));
    context.answer_secret(&created, &remark, &created.token)
}

fn table(tokens: &[Token]) -> Table {
    let mut table = Table::new(&["TOKEN", "NAME", "SCOPES", "CREATED", "EXPIRES", "REVOKED"]);
    for token in tokens {
        table.row([
            token.id.to_string(),
            token.name.clone(),
            format::list(&token.scopes),
            token.created_at.to_string(),
            format::time(token.expires_at),
            format::time(token.revoked_at),
        ]);
    }
    table
}
