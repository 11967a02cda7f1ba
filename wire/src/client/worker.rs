//! The worker protocol's calls.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, RequestBuilder};

use super::{ByteStream, Client, ClientError};
use crate::dataset::Dataset;
use crate::worker::{
    ClaimRequest, Claims, Heartbeat, HeartbeatAnswer, Register, Registered, Report, ReportAnswer, Reports, ReportsAnswer, RunReportAnswer,
};
use crate::{Attempt, RunId};

impl Client {
    pub async fn register(&self, register: &Register) -> Result<Registered, ClientError> {
        self.post(&["v1", "worker", "register"], register).await
    }

    /// Waits up to `claim.wait_seconds` for work.
    pub async fn claim(&self, claim: &ClaimRequest) -> Result<Claims, ClientError> {
        let patience = Duration::from_secs_f64(claim.wait_seconds.clamp(0.0, 300.0) + 10.0);
        self.json(self.request(Method::POST, &["v1", "worker", "claims"]).json(claim).timeout(patience)).await
    }

    pub async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, ClientError> {
        let request = self.request(Method::POST, &["v1", "worker", "heartbeats"]).json(heartbeat);
        self.json(request.timeout(Duration::from_secs(5))).await
    }

    pub async fn report(&self, id: RunId, report: &Report) -> Result<ReportAnswer, ClientError> {
        self.post(&["v1", "worker", "runs", &id.to_string(), "reports"], report).await
    }

    /// Reports of several runs in one request; what became of each, in their order.
    pub async fn report_all(&self, reports: &Reports) -> Result<Vec<Result<ReportAnswer, ClientError>>, ClientError> {
        let ReportsAnswer { answers } = self.post(&["v1", "worker", "reports"], reports).await?;
        let answer = |answer| match answer {
            RunReportAnswer::Stored(answer) => Ok(answer),
            RunReportAnswer::Refused { problem } => Err(ClientError::Problem(Box::new(problem))),
        };
        Ok(answers.into_iter().map(answer).collect())
    }

    /// Stores an artifact; `checkpoint_step` marks it as the checkpoint of that step.
    pub async fn put_artifact(
        &self,
        id: RunId,
        attempt: Attempt,
        name: &str,
        sha256: &str,
        checkpoint_step: Option<u64>,
        body: Bytes,
    ) -> Result<(), ClientError> {
        let size = body.len() as u64;
        let request = worker_artifact(id, attempt, name, |path| self.upload(Method::PUT, path, size));
        let mut request = request.query(&[("sha256", sha256)]).body(body);
        if let Some(step) = checkpoint_step {
            request = request.query(&[("checkpoint_step", step)]);
        }
        self.send(request).await.map(drop)
    }

    /// The bytes of an artifact of a run that this worker holds: its checkpoint, mostly.
    pub async fn held_artifact(&self, id: RunId, attempt: Attempt, name: &str) -> Result<Bytes, ClientError> {
        let request = worker_artifact(id, attempt, name, |path| self.request(Method::GET, path));
        Ok(self.send(request).await?.bytes().await?)
    }

    pub async fn worker_dataset(&self, name: &str) -> Result<Dataset, ClientError> {
        self.get(&["v1", "worker", "datasets", name]).await
    }

    pub async fn worker_dataset_file(&self, name: &str, sha256: &str) -> Result<ByteStream, ClientError> {
        self.stream(self.request(Method::GET, &["v1", "worker", "datasets", name, "files", sha256])).await
    }
}

/// What `request` makes of the address of an artifact that the holder of a run asks for.
fn worker_artifact(id: RunId, attempt: Attempt, name: &str, request: impl FnOnce(&[&str]) -> RequestBuilder) -> RequestBuilder {
    let id = id.to_string();
    let mut path = vec!["v1", "worker", "runs", &id, "artifacts"];
    path.extend(name.split('/'));
    request(&path).query(&[("attempt", attempt)])
}
