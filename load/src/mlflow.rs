//! Batches of metrics through MLflow's tracking API, against this server or any other that speaks it.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::report::{Bound, Report, Times};
use crate::seeds::Draws;
use crate::target::http;
use crate::trainer::timed;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    pub clients: u64,
    /// Of each client.
    pub batches: u64,
    /// Of each batch; MLflow takes at most 1,000.
    pub points: u64,
    /// Different metrics of a batch.
    pub metrics: u64,
    /// Whether the pace is a promise.
    pub promised: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, clients: 20, batches: 50, points: 1000, metrics: 10, promised: true }
    }
}

/// A server that speaks MLflow.
#[derive(Clone, Debug)]
pub struct Tracking {
    pub url: String,
    /// None: it asks for none.
    pub token: Option<String>,
}

impl Tracking {
    fn request(&self, http: &reqwest::Client, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = http.request(method, format!("{}/api/2.0/mlflow/{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

/// A client with its run, and the bodies that it is going to send.
struct Logger {
    http: reqwest::Client,
    run: String,
    bodies: Vec<Vec<u8>>,
}

impl Logger {
    async fn open(tracking: &Tracking, settings: Settings, index: u64) -> anyhow::Result<Self> {
        let Settings { seed, batches, points, metrics, .. } = settings;
        let http = http();
        let body = json!({"experiment_id": "0", "run_name": format!("load {seed} {index}"), "start_time": 1_700_000_000_000_i64});
        let answer = tracking.request(&http, reqwest::Method::POST, "runs/create").json(&body).send().await?.error_for_status()?;
        let created: Value = serde_json::from_slice(&answer.bytes().await?)?;
        let run = created["run"]["info"]["run_id"].as_str().context("the answer names no run")?.to_owned();
        let mut draws = Draws::new(seed, index);
        let mut bodies = Vec::with_capacity(batches as usize);
        for batch in 0..batches {
            let each = points / metrics;
            let point = |number: u64| {
                let (metric, step) = (number % metrics, batch * each + number / metrics);
                json!({"key": format!("metric {metric}"), "value": draws.fraction(), "timestamp": 1_700_000_000_000 + step, "step": step})
            };
            let points: Vec<Value> = (0..each * metrics).map(point).collect();
            bodies.push(serde_json::to_vec(&json!({"run_id": run, "metrics": points}))?);
        }
        Ok(Self { http, run, bodies })
    }

    /// Sends all bodies, one after the other; answers how long each took, and how many failed.
    async fn log(&self, tracking: &Tracking) -> (Times, u64) {
        let (mut times, mut failed) = (Times::default(), 0);
        for body in &self.bodies {
            let request = tracking.request(&self.http, reqwest::Method::POST, "runs/log-batch");
            let request = request.header("content-type", "application/json").body(body.clone());
            let (answer, time) = timed(async { anyhow::Ok(request.send().await?.error_for_status()?.bytes().await?) }).await;
            times.add(time);
            failed += u64::from(answer.is_err());
        }
        (times, failed)
    }

    /// How many points the server has of one metric.
    async fn stored(&self, tracking: &Tracking) -> anyhow::Result<u64> {
        #[derive(Deserialize)]
        struct History {
            #[serde(default)]
            metrics: Vec<Value>,
            next_page_token: Option<String>,
        }
        let (mut count, mut token) = (0, None);
        loop {
            let mut request = tracking.request(&self.http, reqwest::Method::GET, "metrics/get-history");
            request = request.query(&[("run_id", self.run.as_str()), ("metric_key", "metric 0")]);
            if let Some(token) = &token {
                request = request.query(&[("page_token", token)]);
            }
            let page: History = serde_json::from_slice(&request.send().await?.error_for_status()?.bytes().await?)?;
            count += page.metrics.len() as u64;
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(count);
            }
        }
    }
}

/// Every client logs batches of points to its run, one after another. Where no call failed, all points are there afterwards.
///
/// # Errors
/// Where a run cannot be opened or read, and where points are missing.
pub async fn run(tracking: &Tracking, settings: Settings) -> anyhow::Result<Report> {
    let Settings { seed, clients, batches, points, metrics, promised } = settings;
    let loggers = try_join_all((0..clients).map(|index| Logger::open(tracking, settings, index))).await?;
    let begun = Instant::now();
    let done = futures::future::join_all(loggers.iter().map(|logger| logger.log(tracking))).await;
    let seconds = begun.elapsed().as_secs_f64();
    let (mut times, mut failed) = (Times::default(), 0);
    for (of_client, failures) in done {
        times.extend(of_client);
        failed += failures;
    }
    let each = points / metrics;
    if failed == 0 {
        for logger in &loggers {
            let stored = logger.stored(tracking).await?;
            ensure!(stored == batches * each, "run {} has {stored} points of a metric, and should have {}", logger.run, batches * each);
        }
    }
    let mut report = Report::new("mlflow", seed);
    report.tell("clients", clients as f64, "");
    report.tell("points of a batch", (each * metrics) as f64, "");
    let pace = (clients * batches - failed) as f64 * (each * metrics) as f64 / seconds;
    match promised {
        true => report.promise("points a second", pace, "1/s", Bound::AtLeast(100_000.0)),
        false => report.tell("points a second", pace, "1/s"),
    }
    report.promise("failed calls", failed as f64, "", Bound::AtMost(0.0));
    report.times("batch", &mut times, None);
    Ok(report)
}
