//! `trainyard demo`: one job of each kind, from nothing to a table of results.
//!
//! Everything it makes is in its data folder, which `trainyard up` opens again afterwards.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use trainyard_server::ServerConfig;
use trainyard_wire::client::Client;
use trainyard_wire::run::Run;
use trainyard_wire::{Page, RunId, RunState};
use trainyard_worker::{DeviceChoice, Precision};

use super::watch::{Watched, until_finished};
use crate::context::Context;
use crate::signals;
use crate::terminal::table::Table;
use crate::terminal::{format, print};
use crate::yard::{WorkersConfig, Yard};

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// The folder of everything the demo makes
    #[arg(long, default_value = "trainyard-demo", value_name = "DIR")]
    data_dir: PathBuf,
    /// Training images of the colourization
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    images: u64,
    /// Epochs of the colourization
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    epochs: u64,
    /// Keep serving afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

impl DemoArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let stop = signals::stop_on_signal()?;
        let workers = WorkersConfig {
            count: 1,
            threads: None,
            memory: None,
            device: DeviceChoice::Auto,
            gpu_precision: Precision::Fp32,
            log: context.log,
            log_filter: "warn",
        };
        let yard = Yard::start(ServerConfig::new(&self.data_dir), &workers).await?;
        let outcome = self.train_and_report(&yard, &stop, context).await;
        yard.shutdown().await;
        outcome
    }

    async fn train_and_report(&self, yard: &Yard, stop: &CancellationToken, context: &Context) -> anyhow::Result<ExitCode> {
        let client = yard.client()?;
        let runs = tokio::select! {
            runs = self.train(&client, context) => runs?,
            () = stop.cancelled() => {
                eprintln!("interrupted; what was done so far is in {}", self.data_dir.display());
                return Ok(ExitCode::from(130));
            }
        };
        let runs = Page { items: runs };
        context.answer(&runs, |runs| results(&runs.items))?;
        let failed: Vec<String> = runs.items.iter().filter(|run| run.state != RunState::Succeeded).map(why).collect();
        for reason in failed.iter().filter(|_| !context.json()) {
            eprintln!("error: {reason}");
        }
        if self.keep {
            if !context.json() {
                print(&format!("\ndashboard    {}\nadmin token  {}\n", yard.dashboard_url(), yard.admin_token_file().display()))?;
            }
            eprintln!("serving until Ctrl-C");
            stop.cancelled().await;
        } else if !context.json() {
            print(&format!(
                "\nEverything is kept in {0}. To see it in the dashboard, run\n  {1} up --data-dir {0}\nand open the address that it prints.\n",
                self.data_dir.display(),
                own_command()
            ))?;
        }
        Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Submits the jobs and follows them; answers their runs as they ended.
    async fn train(&self, client: &Client, context: &Context) -> anyhow::Result<Vec<Run>> {
        let mut ids: Vec<RunId> = Vec::new();
        for job in [counterexample(), penalty_or_decay(), hypergradient(), self.colourization()] {
            let accepted = client.submit(serde_json::to_vec(&job)?, None).await.context("cannot submit the demo's job")?;
            ids.extend(accepted.run_ids);
        }
        until_finished(client, &Watched::Runs(ids.clone()), context).await?;
        let mut runs = Vec::with_capacity(ids.len());
        for id in ids {
            runs.push(client.run(id).await?);
        }
        Ok(runs)
    }

    fn colourization(&self) -> Value {
        json!({
            "name": "demo: colourization",
            "spec": {
                "kind": "colourization",
                "dataset": {"name": "synthetic", "train_images": self.images, "val_images": (self.images / 5).max(1)},
                "network": {"name": "unet", "kernel": 3, "num_filters": 32},
                "num_colours": 24,
                "optimizer": {"name": "adam", "learning_rate": 0.001},
                "batch_size": 100.min(self.images),
                "epochs": self.epochs,
                "seed": 0
            }
        })
    }
}

/// RMSProp on one equation in two unknowns: it does not end at the solution of least norm, [4/5, 2/5].
fn counterexample() -> Value {
    json!({
        "name": "demo: counterexample",
        "priority": 1,
        "spec": {
            "kind": "regression",
            "problem": {"source": "inline", "x": [[2, 1]], "t": [2]},
            "initial_weights": "zeros",
            "optimizer": {"name": "rmsprop", "learning_rate": 0.01, "beta": 0.9, "epsilon": 1e-8, "weight_decay": 0, "schedule": "cosine"},
            "l2": 0,
            "steps": 20000,
            "seed": 0
        }
    })
}

/// An L2 penalty beside the weight decay that equals it under gradient descent, and under momentum does not.
fn penalty_or_decay() -> Value {
    json!({
        "name": "demo: penalty or decay",
        "priority": 1,
        "spec": {
            "kind": "regularization_pair",
            "problem": {"source": "synthetic", "n": 50, "d": 10, "condition": 20, "noise": 0.1},
            "initial_weights": "normal",
            "optimizer": {"name": "gd", "learning_rate": 0.1},
            "l2": 0.05,
            "steps": 300
        },
        "sweep": {"optimizer.name": ["gd", "momentum"]}
    })
}

/// The best learning rate of ten steps of gradient descent, found by the derivative of the loss that they end at.
fn hypergradient() -> Value {
    json!({
        "name": "demo: learning rate",
        "priority": 1,
        "spec": {
            "kind": "hypergradient",
            "problem": {"source": "synthetic", "n": 50, "d": 10, "condition": 20, "noise": 0.1, "seed": 0},
            "l2": 0.1,
            "inner_steps": 10,
            "learning_rate": 0.01,
            "method": "forward",
            "outer_steps": 200
        }
    })
}

fn results(runs: &[Run]) -> Table {
    let mut table = Table::new(&["RUN", "WHAT", "STATE", "RESULT", "TOOK"]);
    for run in runs {
        let name = run.name.as_deref().unwrap_or_default().trim_start_matches("demo: ");
        table.row([run.id.to_string(), format!("{name} ({})", format::what(run)), format::state(run), result(run), format::took(run)]);
    }
    table
}

fn result(run: &Run) -> String {
    let mut parts = Vec::new();
    if let Some(weights) = run.result.as_ref().and_then(|result| result.get("weights")).and_then(Value::as_array) {
        let weights: Vec<String> = weights.iter().filter_map(Value::as_f64).map(format::number).collect();
        parts.push(format!("weights [{}]", weights.join(", ")));
    }
    if let Some(rate) = run.result.as_ref().and_then(|result| result.get("learning_rate")).and_then(Value::as_f64) {
        parts.push(format!("best learning rate {}", format::number(rate)));
    }
    if let Some(distance) = format::last(run, &["distance_to_minimum_norm"]) {
        parts.push(format!("{} from the minimum-norm solution", format::number(distance)));
    }
    if let Some(distance) = run.result.as_ref().and_then(|result| result.get("largest_weight_distance")).and_then(Value::as_f64) {
        parts.push(format!("weights at most {} apart", format::number(distance)));
    }
    parts.extend(format::accuracy(run).map(|accuracy| format!("{accuracy} of the pixels in the right colour")));
    if let Some(loss) = format::last(run, &["val_loss"]) {
        parts.push(format!("validation loss {}", format::number(loss)));
    }
    parts.join(", ")
}

/// How this program was called: it need not be on the `PATH`.
fn own_command() -> String {
    std::env::args_os().next().map_or_else(|| "trainyard".to_owned(), |program| program.to_string_lossy().into_owned())
}

fn why(run: &Run) -> String {
    format!("run {} ({}) {}: {}", run.id, format::what(run), format::state(run), run.error.as_deref().unwrap_or("no reason was given"))
}
