//! `trainyard datasets`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use trainyard_wire::client::{Client, UploadFile};
use trainyard_wire::dataset::{Dataset, FileRole};

use super::cifar10;
use crate::connection::{Connection, ConnectionArgs};
use crate::context::Context;
use crate::terminal::format;
use crate::terminal::progress::{byte_bar, spinner};
use crate::terminal::table::Table;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum DatasetsCommand {
    /// Upload a dataset: CIFAR binary records, or a CSV table
    Add(AddArgs),
    /// List the datasets
    List(ConnectionArgs),
    /// Download a published dataset to this machine, check it, and upload it to the server
    #[command(subcommand)]
    Fetch(FetchCommand),
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// The dataset's name
    name: String,
    /// CIFAR binary records to train on
    #[arg(long, num_args = 1.., value_name = "FILE", required_unless_present = "csv", requires = "val")]
    train: Vec<PathBuf>,
    /// CIFAR binary records to validate on
    #[arg(long, num_args = 1.., value_name = "FILE", requires = "train")]
    val: Vec<PathBuf>,
    /// A table with a header line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["train", "val"])]
    csv: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum FetchCommand {
    /// CIFAR-10, from its home page (170 MB)
    Cifar10(Cifar10Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Cifar10Args {
    /// The dataset's name on the server
    #[arg(long, default_value = "cifar10")]
    name: String,
    /// Another address of the same archive
    #[arg(long, hide = true, default_value = cifar10::ARCHIVE.url, value_name = "URL")]
    archive_url: String,
    #[command(flatten)]
    connection: Connection,
}

impl DatasetsCommand {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(args) => add(args, context).await?,
            Self::List(args) => list(args, context).await?,
            Self::Fetch(FetchCommand::Cifar10(args)) => fetch_cifar10(args, context).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn add(args: AddArgs, context: &Context) -> anyhow::Result<()> {
    let client = args.connection.client(context)?;
    let of = |role: FileRole, paths: Vec<PathBuf>| paths.into_iter().map(move |path| UploadFile { role, path });
    let files: Vec<UploadFile> = of(FileRole::Train, args.train)
        .chain(of(FileRole::Val, args.val))
        .chain(of(FileRole::Csv, args.csv.into_iter().collect()))
        .collect();
    let dataset = upload(&client, &args.name, &files).await?;
    context.answer(&dataset, description)
}

async fn upload(client: &Client, name: &str, files: &[UploadFile]) -> anyhow::Result<Dataset> {
    let mut size = 0;
    for file in files {
        size += std::fs::metadata(&file.path).with_context(|| format!("cannot read {}", file.path.display()))?.len();
    }
    let bar = byte_bar(&format!("uploading {name}"), Some(size));
    let sent = bar.clone();
    let dataset = client.add_dataset(name, files, move |bytes| sent.inc(bytes)).await?;
    bar.finish_and_clear();
    Ok(dataset)
}

fn description(dataset: &Dataset) -> String {
    let files: Vec<String> = dataset.files.iter().map(|file| format!("{} {} in {}", file.records, file.role, file.name)).collect();
    format!("dataset {} ({}): {}\nsha256 {}\n", dataset.name, dataset.kind, files.join(", "), dataset.sha256)
}

async fn list(args: ConnectionArgs, context: &Context) -> anyhow::Result<()> {
    let page = args.connection.client(context)?.datasets().await?;
    context.answer(&page, |page| table(&page.items))
}

fn table(datasets: &[Dataset]) -> Table {
    let mut table = Table::new(&["NAME", "KIND", "TRAIN", "VAL", "ROWS", "SIZE", "ADDED", "SHA256"]);
    for dataset in datasets {
        let records = |role: FileRole| {
            let count: u64 = dataset.files.iter().filter(|file| file.role == role).map(|file| file.records).sum();
            if count == 0 { String::new() } else { count.to_string() }
        };
        table.row([
            dataset.name.clone(),
            dataset.kind.to_string(),
            records(FileRole::Train),
            records(FileRole::Val),
            records(FileRole::Csv),
            indicatif::BinaryBytes(dataset.size).to_string(),
            format::ago(dataset.created_at),
            dataset.sha256.clone(),
        ]);
    }
    table
}

async fn fetch_cifar10(args: Cifar10Args, context: &Context) -> anyhow::Result<()> {
    let client = args.connection.client(context)?;
    let there = client.datasets().await?.items.into_iter().any(|dataset| dataset.name == args.name);
    anyhow::ensure!(!there, "the server has a dataset {} already; datasets never change (--name chooses another name)", args.name);
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let archive = cifar10::Archive { url: &args.archive_url, ..cifar10::ARCHIVE };
    let download = cifar10::download(&archive, folder.path()).await?;
    let unpacking = spinner("unpacking");
    let files = cifar10::unpack(&archive, &download, folder.path())?;
    unpacking.finish_and_clear();
    let dataset = upload(&client, &args.name, &files).await?;
    context.answer(&dataset, description)
}
