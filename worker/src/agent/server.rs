//! The server, as the agent sees it: the calls of the worker protocol and the few kinds of errors that call for different things.

use std::io;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use trainyard_faults::{self as faults, Place};
use trainyard_wire::RunId;
use trainyard_wire::client::{Client, ClientError};
use trainyard_wire::dataset::Dataset;
use trainyard_wire::worker::{
    ClaimRequest, Claims, Heartbeat, HeartbeatAnswer, HeldRun, Register, Registered, Report, ReportAnswer, Reports,
};

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// No answer, or one that says "later": the same call may succeed.
    #[error("{0}")]
    Transient(String),
    /// The run is no longer this attempt's: drop it.
    #[error("{0}")]
    Stale(String),
    /// The server does not know the worker, the run or the file.
    #[error("{0}")]
    NotFound(String),
    /// The token is not accepted.
    #[error("{0}")]
    Unauthorized(String),
    /// The server will never take this.
    #[error("{0}")]
    Refused(String),
}

impl From<ClientError> for CallError {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        match error.status() {
            _ if error.is_transient() => Self::Transient(text),
            Some(StatusCode::CONFLICT) => Self::Stale(text),
            Some(StatusCode::NOT_FOUND) => Self::NotFound(text),
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Self::Unauthorized(text),
            _ => Self::Refused(text),
        }
    }
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        Self::Transient(error.to_string())
    }
}

/// A file on its way to the server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Upload {
    pub(super) name: String,
    pub(super) bytes: Bytes,
    pub(super) sha256: String,
    /// Of a checkpoint.
    pub(super) checkpoint_step: Option<u64>,
}

/// The bytes of a file as they arrive.
pub(super) type Pieces = BoxStream<'static, Result<Bytes, CallError>>;

/// What the agent needs of a server; [`Client`] is the real one.
pub(super) trait Server: Send + Sync + 'static {
    fn register(&self, register: &Register) -> impl Future<Output = Result<Registered, CallError>> + Send;
    fn claim(&self, claim: &ClaimRequest) -> impl Future<Output = Result<Claims, CallError>> + Send;
    fn heartbeat(&self, heartbeat: &Heartbeat) -> impl Future<Output = Result<HeartbeatAnswer, CallError>> + Send;
    fn report(&self, run: RunId, report: &Report) -> impl Future<Output = Result<ReportAnswer, CallError>> + Send;
    /// Reports of several runs; what became of each, in their order.
    fn report_all(&self, reports: &Reports) -> impl Future<Output = Result<Vec<Result<ReportAnswer, CallError>>, CallError>> + Send;
    fn upload(&self, run: HeldRun, upload: &Upload) -> impl Future<Output = Result<(), CallError>> + Send;
    fn checkpoint(&self, run: HeldRun) -> impl Future<Output = Result<Bytes, CallError>> + Send;
    /// A file of the run that is no checkpoint.
    fn input(&self, run: HeldRun, name: &str) -> impl Future<Output = Result<Bytes, CallError>> + Send;
    fn dataset(&self, name: &str) -> impl Future<Output = Result<Dataset, CallError>> + Send;
    fn dataset_file(&self, name: &str, sha256: &str) -> impl Future<Output = Result<Pieces, CallError>> + Send;
}

/// The name of the file that a run is resumed from.
pub(super) const CHECKPOINT: &str = "checkpoint.safetensors";

impl Server for Client {
    async fn register(&self, register: &Register) -> Result<Registered, CallError> {
        Ok(Client::register(self, register).await?)
    }

    async fn claim(&self, claim: &ClaimRequest) -> Result<Claims, CallError> {
        let claims = Client::claim(self, claim).await?;
        faults::at(Place::ClaimAnswered)?;
        Ok(claims)
    }

    async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, CallError> {
        Ok(Client::heartbeat(self, heartbeat).await?)
    }

    async fn report(&self, run: RunId, report: &Report) -> Result<ReportAnswer, CallError> {
        faults::at(Place::ReportSend)?;
        let answer = Client::report(self, run, report).await?;
        faults::at(Place::ReportAnswered)?;
        Ok(answer)
    }

    async fn report_all(&self, reports: &Reports) -> Result<Vec<Result<ReportAnswer, CallError>>, CallError> {
        faults::at(Place::ReportSend)?;
        let answers = Client::report_all(self, reports).await?;
        faults::at(Place::ReportAnswered)?;
        Ok(answers.into_iter().map(|answer| answer.map_err(CallError::from)).collect())
    }

    async fn upload(&self, run: HeldRun, upload: &Upload) -> Result<(), CallError> {
        let Upload { name, bytes, sha256, checkpoint_step } = upload;
        faults::at(Place::UploadSend)?;
        self.put_artifact(run.run_id, run.attempt, name, sha256, *checkpoint_step, bytes.clone()).await?;
        Ok(faults::at(Place::UploadAnswered)?)
    }

    async fn checkpoint(&self, run: HeldRun) -> Result<Bytes, CallError> {
        Ok(self.held_artifact(run.run_id, run.attempt, CHECKPOINT).await?)
    }

    async fn input(&self, run: HeldRun, name: &str) -> Result<Bytes, CallError> {
        Ok(self.held_artifact(run.run_id, run.attempt, name).await?)
    }

    async fn dataset(&self, name: &str) -> Result<Dataset, CallError> {
        Ok(self.worker_dataset(name).await?)
    }

    async fn dataset_file(&self, name: &str, sha256: &str) -> Result<Pieces, CallError> {
        Ok(self.worker_dataset_file(name, sha256).await?.map_err(CallError::from).boxed())
    }
}
