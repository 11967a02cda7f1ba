//! `trainyard webhooks`.

use std::process::ExitCode;

use trainyard_wire::WebhookId;
use trainyard_wire::external::EndState;
use trainyard_wire::webhook::{CreateWebhook, Delivery, Webhook, WebhookCreated, all_ends};

use super::annotate::tag;
use super::each::each_gone;
use crate::connection::{Connection, ConnectionArgs};
use crate::context::Context;
use crate::terminal::format;
use crate::terminal::table::Table;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum WebhooksCommand {
    /// Have the ends of runs told to an address, and print the key of the signatures; it is never shown again
    Create(CreateArgs),
    /// List the webhooks, without their keys
    List(ConnectionArgs),
    /// Have a message sent that tells of nothing
    Test(OneArgs),
    /// Delete webhooks
    Delete(DeleteArgs),
    /// List the newest messages to a webhook and what became of them
    Deliveries(DeliveriesArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// Where messages go, http or https; the server must have been started with its --webhook-host
    // Its id is not `url`, which is the server's.
    #[arg(id = "target", value_name = "URL")]
    url: String,
    /// What it is for
    #[arg(long)]
    name: Option<String>,
    /// The ends that it is told of: succeeded, failed, cancelled; may be repeated; all unless given
    #[arg(long = "state", value_delimiter = ',', value_name = "STATE")]
    states: Vec<EndState>,
    /// Only runs of this project
    #[arg(long)]
    project: Option<String>,
    /// Only runs with this tag; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
pub(crate) struct OneArgs {
    #[arg(value_name = "ID")]
    id: WebhookId,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    #[arg(required = true, value_name = "ID")]
    ids: Vec<WebhookId>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeliveriesArgs {
    #[arg(value_name = "ID")]
    id: WebhookId,
    /// At most so many
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    connection: Connection,
}

impl WebhooksCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(args) => create(args, context).await?,
            Self::List(args) => {
                let page = args.connection.client(context)?.webhooks().await?;
                context.answer(&page, |page| webhooks(&page.items))?;
            }
            Self::Test(args) => {
                let delivery = args.connection.client(context)?.test_webhook(args.id).await?;
                context.answer(&delivery, |delivery| {
                    format!("message {} is being sent; `trainyard webhooks deliveries {}` says what became of it\n", delivery.id, args.id)
                })?;
            }
            Self::Delete(args) => {
                let client = args.connection.client(context)?;
                each_gone(&args.ids, ("webhook", "deleted"), async |id| client.delete_webhook(id).await, context).await?;
            }
            Self::Deliveries(args) => {
                let page = args.connection.client(context)?.deliveries(args.id, args.limit).await?;
                context.answer(&page, |page| deliveries(&page.items))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn create(args: CreateArgs, context: &Context) -> anyhow::Result<()> {
    let CreateArgs { url, name, states, project, tags, connection } = args;
    let states = if states.is_empty() { all_ends() } else { states };
    let wanted = CreateWebhook { url, name, states, project, tags: tags.into_iter().collect() };
    let created = connection.client(context)?.create_webhook(&wanted).await?;
    let WebhookCreated { webhook: Webhook { id, states, .. }, secret } = &created;
    let remark = format!("webhook {id} ({}); the key of its signatures is shown only this once:", format::list(states));
    context.answer_secret(&created, &remark, secret)
}

fn webhooks(webhooks: &[Webhook]) -> Table {
    let mut table = Table::new(&["WEBHOOK", "NAME", "ADDRESS", "ENDS", "PROJECT", "TAGS", "WAITING", "DISABLED"]);
    for webhook in webhooks {
        let tags: Vec<String> = webhook.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        table.row([
            webhook.id.to_string(),
            webhook.name.clone().unwrap_or_default(),
            webhook.url.clone(),
            format::list(&webhook.states),
            webhook.project.clone().unwrap_or_default(),
            tags.join(", "),
            webhook.waiting.to_string(),
            format::time(webhook.disabled_at),
        ]);
    }
    table
}

fn deliveries(deliveries: &[Delivery]) -> Table {
    let mut table = Table::new(&["MESSAGE", "TYPE", "RUN", "STATE", "ATTEMPTS", "STATUS", "LAST", "NEXT", "ERROR"]);
    for delivery in deliveries {
        table.row([
            delivery.id.to_string(),
            delivery.kind.clone(),
            delivery.run_id.map(|run| run.to_string()).unwrap_or_default(),
            delivery.state.to_string(),
            delivery.attempts.to_string(),
            delivery.last_status.map(|status| status.to_string()).unwrap_or_default(),
            format::time(delivery.last_attempt_at),
            format::time(delivery.next_attempt_at),
            delivery.last_error.clone().unwrap_or_default(),
        ]);
    }
    table
}
