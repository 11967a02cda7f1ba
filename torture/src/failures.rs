//! Failpoints: an error, a panic and an abort at every commit, rename and acknowledgement boundary.
//!
//! After each of them nothing that was acknowledged is lost, and the system goes on: after an error or a panic the same process, after
//! an abort the next one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::StreamExt as _;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use trainyard_faults::{Place, VARIABLE, told};
use trainyard_server::check;
use trainyard_wire::client::{Client, UploadFile};
use trainyard_wire::dataset::FileRole;
use trainyard_wire::webhook::{CreateWebhook, DeliveryState, all_ends};
use trainyard_wire::worker::{ClaimRequest, Register};
use trainyard_wire::{JobId, RunId, RunState};

use crate::checker::{Breach, Violation, check as compare};
use crate::dice::Dice;
use crate::figures::Summary;
use crate::history::History;
use crate::load::{Load, hexadecimal, job};
use crate::process::{Process, Site, eventually};
use crate::receiver::Receiver;
use crate::worker_kills::LASTING;
use crate::{reader, server_kills};

/// What happens at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Error,
    Panic,
    Abort,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Error, Self::Panic, Self::Abort];

    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Abort => "abort",
        }
    }
}

/// What is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `trainyard-torture`, which can be made to fail.
    pub torture: PathBuf,
    pub folder: PathBuf,
    pub seed: u64,
    /// How long the clients work while something fails.
    pub time: Duration,
    /// How often each place fails in each way.
    pub times: usize,
    /// Failures at one time, each with a server of its own.
    pub at_once: usize,
}

/// Does it.
///
/// # Errors
/// Where the battery itself cannot go on; what the system does wrong is in the summary.
pub async fn run(plan: &Plan) -> anyhow::Result<Summary> {
    let mut summary = Summary::new("failpoints", plan.seed);
    let places = (0..plan.times).flat_map(|time| Place::ALL.iter().flat_map(move |place| Kind::ALL.map(|kind| (time, *place, kind))));
    let cases: Vec<_> = places.collect();
    let tried = futures::stream::iter(cases.iter().enumerate()).map(|(number, &(time, place, kind))| {
        let folder = plan.folder.join(format!("{}-{}-{time}", place.name(), kind.word()));
        let dice = Dice::new(plan.seed, (number as u64 + 1) * 1000);
        Case { plan, place, kind, folder, dice }.try_it()
    });
    summary.violations = tried.buffer_unordered(plan.at_once).collect::<Vec<_>>().await.concat();
    summary.violations.sort();
    summary.count("places", Place::ALL.len());
    summary.count("failures", cases.len());
    Ok(summary)
}

struct Case<'a> {
    plan: &'a Plan,
    place: Place,
    kind: Kind,
    folder: PathBuf,
    dice: Dice,
}

impl Case<'_> {
    async fn try_it(self) -> Vec<Violation> {
        let name = format!("{} at {}", self.kind.word(), self.place.name());
        let violations = match self.run().await {
            Ok(violations) => violations,
            Err(error) => vec![Violation { breach: Breach::Damaged, detail: format!("it does not go on: {error:#}") }],
        };
        let named = |violation: Violation| Violation { detail: format!("{name}: {}", violation.detail), ..violation };
        violations.into_iter().map(named).collect()
    }

    async fn run(mut self) -> anyhow::Result<Vec<Violation>> {
        let site = Site::new(&self.plan.torture, &self.folder, 1)?;
        match self.place {
            Place::CommitBefore
            | Place::CommitAfter
            | Place::AnswerBefore
            | Place::BlobFsync
            | Place::BlobRename
            | Place::BlobRenamed
            | Place::BlobPublished
            | Place::ReplyBefore => self.under_load(site).await,
            Place::TokenRename | Place::TokenRenamed => self.at_the_start(site).await,
            Place::SessionRename | Place::SessionRenamed => self.at_a_sign_in(site).await,
            Place::SweepDelete | Place::CheckpointBefore | Place::CheckpointAfter => self.at_upkeep(site).await,
            Place::ReportSend
            | Place::ReportAnswered
            | Place::UploadSend
            | Place::UploadAnswered
            | Place::ClaimAnswered
            | Place::CacheRename => self.in_a_worker(site).await,
            Place::DeliverySend | Place::DeliveryAnswered => self.at_a_delivery(site).await,
        }
    }

    /// The variable that has the place fail once, after so many times that it did not.
    fn environment(&self, after: u64) -> Vec<(String, String)> {
        let first = if after > 0 { format!("{after}*off->") } else { String::new() };
        vec![(VARIABLE.to_owned(), format!("{}={first}1*return({})", self.place.name(), self.kind.word()))]
    }

    fn failed(&self, log: &Path) -> anyhow::Result<()> {
        let log = std::fs::read_to_string(log)?;
        ensure!(log.contains(&told(self.place.name())), "the place was never come to");
        Ok(())
    }

    async fn under_load(&mut self, mut site: Site) -> anyhow::Result<Vec<Violation>> {
        let after = self.dice.below(20);
        site.environment = self.environment(after);
        let since = Instant::now();
        let mut server = site.start()?;
        let started = site.ready(&mut server, since).await?.is_some();
        if !started {
            // It came so early that the server could not start.
            self.failed(&site.log())?;
            site.environment.clear();
            (server, _) = site.start_ready().await?;
        }
        let client = site.client()?;
        let mut load = Load::new(History::new(&self.folder.join("history.jsonl"), None)?, self.dice.below(u64::MAX));
        let stop = CancellationToken::new();
        let watching = async {
            let log = site.log();
            let failed = eventually("the place to be come to", async || self.failed(&log).ok()).await;
            tokio::time::sleep(self.plan.time).await;
            stop.cancel();
            failed
        };
        let ((), failed) = tokio::join!(load.work(&client, &stop), watching);
        failed?;
        site.environment.clear();
        let ended = server.ended()?;
        ensure!(ended.is_some() == (started && self.kind == Kind::Abort), "the server is still there, or not: {ended:?}");
        if ended.is_some() {
            (server, _) = site.start_ready().await?;
        }
        load.finish(&client).await?;
        let mut violations = self.verify(&client, &load).await?;
        // And it is so on the disk as well.
        server.kill()?;
        violations.extend(server_kills::folder(&site.data_dir()).await?);
        let (_server, _) = site.start_ready().await?;
        violations.extend(self.verify(&client, &load).await?);
        Ok(violations)
    }

    async fn verify(&self, client: &Client, load: &Load) -> anyhow::Result<Vec<Violation>> {
        let stored = reader::read(client, JobId(1), &Default::default(), &Default::default()).await?;
        Ok(compare(&load.shared.history.exchanges(), &stored))
    }

    async fn at_the_start(&self, mut site: Site) -> anyhow::Result<Vec<Violation>> {
        site.environment = self.environment(0);
        let mut first = site.start()?;
        ensure!(!first.wait().await?.success(), "the start succeeded");
        self.failed(&site.log())?;
        site.environment.clear();
        let (mut second, _) = site.start_ready().await?;
        let accepted = site.client()?.submit(job("first", 1, 0).to_string().into_bytes(), Some("first")).await?;
        second.kill()?;
        let (_third, _) = site.start_ready().await?;
        site.client()?.job(accepted.id).await?;
        Ok(Vec::new())
    }

    async fn at_a_sign_in(&self, mut site: Site) -> anyhow::Result<Vec<Violation>> {
        site.environment = self.environment(0);
        let (mut server, _) = site.start_ready().await?;
        site.environment.clear();
        let token = std::fs::read_to_string(site.data_dir().join("admin.token"))?;
        let http = reqwest::Client::new();
        let session = format!("{}/v1/session", site.url());
        let sign_in = || http.post(&session).bearer_auth(token.trim()).send();
        let refused = sign_in().await.and_then(reqwest::Response::error_for_status).is_err();
        ensure!(refused, "a sign-in that was not stored was acknowledged");
        self.failed(&site.log())?;
        if self.kind == Kind::Abort {
            server.wait().await?;
            (server, _) = site.start_ready().await?;
        }
        let signed_in = sign_in().await?.error_for_status()?;
        let cookie = signed_in.headers().get("set-cookie").context("a cookie")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        server.kill()?;
        let (_server, _) = site.start_ready().await?;
        let session = http.get(&session).header("cookie", cookie).send().await?;
        if session.status().is_success() {
            return Ok(Vec::new());
        }
        Ok(vec![Violation { breach: Breach::Lost, detail: "a sign-in that was acknowledged is gone".to_owned() }])
    }

    /// A sweep of contents that nothing needs, and the emptying of the write-ahead log when the store is closed.
    async fn at_upkeep(&self, site: Site) -> anyhow::Result<Vec<Violation>> {
        let (mut server, _) = site.start_ready().await?;
        let client = site.client()?;
        let register = Register::cpu("here");
        let worker_id = client.register(&register).await?.worker_id;
        client.submit(job("first", 1, 0).to_string().into_bytes(), None).await?;
        let claim = ClaimRequest { worker_id, max: 1, small: false, wait_seconds: 0.0 };
        let run = client.claim(&claim).await?.runs.pop().context("a run")?;
        for text in ["replaced", "kept"] {
            let bytes = Bytes::from(text);
            client.put_artifact(run.run_id, run.attempt, "file", &hexadecimal(&bytes), None, bytes).await?;
        }
        server.kill()?;
        let data = site.data_dir();
        let arguments = ["upkeep", "--data-dir", data.to_str().context("the folder's name is not UTF-8")?];
        let log = site.folder.join("upkeep.log");
        let mut failing = Process::start(&site.program, &arguments, &self.environment(0), &log)?;
        ensure!(!failing.wait().await?.success(), "what failed ended well");
        self.failed(&log)?;
        let mut violations = server_kills::folder(&data).await?;
        let mut again = Process::start(&site.program, &arguments, &[], &log)?;
        ensure!(again.wait().await?.success(), "the next turn fails too");
        let report = check::check(&data).await?;
        if !report.ok || !report.unreferenced.is_empty() || report.contents != 1 {
            violations.push(Violation { breach: Breach::Damaged, detail: format!("after the next turn: {report:?}") });
        }
        Ok(violations)
    }

    /// A message to a webhook.
    async fn at_a_delivery(&self, mut site: Site) -> anyhow::Result<Vec<Violation>> {
        let receiver = Receiver::start().await?;
        site.webhook_host = Some(receiver.host());
        site.environment = self.environment(0);
        let (mut server, _) = site.start_ready().await?;
        site.environment.clear();
        let client = site.client()?;
        let webhook = CreateWebhook { url: receiver.url(), name: None, states: all_ends(), project: None, tags: Default::default() };
        let webhook = client.create_webhook(&webhook).await?.webhook.id;
        let run = client.submit(job("first", 1, 0).to_string().into_bytes(), None).await?.run_ids[0];
        // The server may end before it can say that it is done.
        let cancelled = client.run_action(run, "cancel").await;
        ensure!(cancelled.is_ok() || self.kind == Kind::Abort, "the run is not cancelled: {cancelled:?}");
        let log = site.log();
        eventually("the place to be come to", async || self.failed(&log).ok()).await?;
        if self.kind == Kind::Abort {
            server.wait().await?;
            (server, _) = site.start_ready().await?;
        }
        let delivered = eventually("the message to be delivered", async || {
            let messages = client.deliveries(webhook, 10).await.ok()?.items;
            messages.iter().all(|message| message.state == DeliveryState::Delivered).then_some(messages)
        });
        let messages = delivered.await?;
        server.kill()?;
        let received = receiver.received();
        let is_one = messages.len() == 1 && messages[0].run_id == Some(run);
        if is_one && !received.is_empty() && received.iter().all(|id| *id == messages[0].message_id) {
            return Ok(Vec::new());
        }
        Ok(vec![Violation { breach: Breach::Lost, detail: format!("{messages:?} were told as {received:?}") }])
    }

    async fn in_a_worker(&self, site: Site) -> anyhow::Result<Vec<Violation>> {
        let (_server, _) = site.start_ready().await?;
        let client = site.client()?;
        let table = site.folder.join("table.csv");
        std::fs::write(&table, "a,b\n1,2\n2,3\n3,5\n4,4\n")?;
        client.add_dataset("line", &[UploadFile { role: FileRole::Csv, path: table }], |_| ()).await?;
        let mut ends = Vec::new();
        for (name, environment) in [("failing", self.environment(0)), ("undisturbed", Vec::new())] {
            let mut worker = site.worker(name, &environment)?;
            let mut runs = Vec::new();
            for spec in [table_regression(), small_colourization()] {
                runs.extend(client.submit(spec.to_string().into_bytes(), None).await?.run_ids);
            }
            let ended = eventually("the runs to end", async || {
                if let Ok(Some(_)) = worker.ended() {
                    // As `trainyard up` does.
                    worker = site.worker(name, &[]).ok()?;
                }
                let mut ended = true;
                for id in &runs {
                    let run = client.run(*id).await.ok()?;
                    ended &= run.state.is_finished();
                    // A worker whose own disk fails says so, and a retry helps.
                    if run.error.is_some_and(|error| error.contains(&told(self.place.name()))) {
                        client.run_action(*id, "retry").await.ok()?;
                        ended = false;
                    }
                }
                ended.then_some(())
            });
            ended.await?;
            // It has nothing to give back.
            worker.signal(Signal::SIGTERM)?;
            worker.wait().await?;
            ends.push(self.ends(&client, &runs).await?);
        }
        self.failed(&site.folder.join("failing.log"))?;
        if ends[0] == ends[1] {
            return Ok(Vec::new());
        }
        Ok(vec![Violation { breach: Breach::Changed, detail: format!("{:?} instead of {:?}", ends[0], ends[1]) }])
    }

    /// What some runs came to, without what tells the time.
    async fn ends(&self, client: &Client, runs: &[RunId]) -> anyhow::Result<Vec<(RunState, Option<String>, usize)>> {
        let mut ends = Vec::new();
        for id in runs {
            let run = reader::run(client, *id).await?.context("a run")?;
            let model = run.artifacts.iter().find(|(name, _)| name == "model.safetensors").map(|(_, sha256)| sha256.clone());
            let weights = client.run(*id).await?.result.and_then(|result| result.get("weights").map(Value::to_string));
            // A network's `train_batch_loss` is reported by time.
            let lasting = |name: &str| LASTING.contains(&name) || (model.is_none() && name == "loss");
            let losses = run.points.iter().filter(|point| lasting(&point.name)).count();
            ends.push((run.state, model.or(weights), losses));
        }
        Ok(ends)
    }
}

fn table_regression() -> Value {
    json!({"spec": {
        "kind": "regression", "problem": {"source": "dataset", "name": "line", "target": "b"},
        "optimizer": {"name": "gd", "learning_rate": 0.01}, "steps": 50,
    }})
}

fn small_colourization() -> Value {
    json!({"spec": {
        "kind": "colourization",
        "dataset": {"name": "synthetic", "train_images": 32, "val_images": 8, "size": 16},
        "network": {"name": "unet", "kernel": 3, "num_filters": 4},
        "num_colours": 8,
        "optimizer": {"name": "adam", "learning_rate": 0.001},
        "batch_size": 16, "epochs": 3, "shuffle": true, "sample_every": 0, "sample_images": 4, "seed": 0,
    }})
}
