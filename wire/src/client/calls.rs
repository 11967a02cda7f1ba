//! The calls that a person makes: submit, ask, cancel, upload, download.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, Response, multipart};

use super::{ByteStream, Client, ClientError};
use crate::colourize::Colourized;
use crate::compare::Comparison;
use crate::dataset::{Dataset, FileRole};
use crate::job::{DryRun, Job, JobAccepted};
use crate::queue::QueuePosition;
use crate::retention::{Pruned, RetentionPolicy};
use crate::run::{Artifacts, Certificates, Event, LogLine, Run};
use crate::spec::picture::PictureFormat;
use crate::theory::RegressionTheory;
use crate::token::{CreateToken, Token, TokenCreated};
use crate::verification::Verification;
use crate::webhook::{CreateWebhook, Delivery, Webhook, WebhookCreated};
use crate::worker::Worker;
use crate::{JobId, Page, Revision, RunId, TokenId, WebhookId};

/// A file to upload into a dataset.
#[derive(Clone, Debug)]
pub struct UploadFile {
    pub role: FileRole,
    pub path: std::path::PathBuf,
}

impl Client {
    /// Submits a job; with an `idempotency_key` a repeat of the same body makes no second job.
    pub async fn submit(&self, body: Vec<u8>, idempotency_key: Option<&str>) -> Result<JobAccepted, ClientError> {
        let mut request = self.request(Method::POST, &["v1", "jobs"]).header("content-type", "application/json").body(body);
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        self.json(request).await
    }

    /// What a submit of `body` would run.
    pub async fn dry_run(&self, body: Vec<u8>) -> Result<DryRun, ClientError> {
        let request = self.request(Method::POST, &["v1", "jobs"]).query(&[("dry_run", true)]);
        self.json(request.header("content-type", "application/json").body(body)).await
    }

    pub async fn job(&self, id: JobId) -> Result<Job, ClientError> {
        self.get(&["v1", "jobs", &id.to_string()]).await
    }

    /// The newest jobs, newest first.
    pub async fn jobs(&self, limit: u32) -> Result<Page<Job>, ClientError> {
        self.json(self.request(Method::GET, &["v1", "jobs"]).query(&[("limit", limit)])).await
    }

    pub async fn run(&self, id: RunId) -> Result<Run, ClientError> {
        self.get(&["v1", "runs", &id.to_string()]).await
    }

    /// Where a run stands in the queue, and what it waits for.
    pub async fn queue_position(&self, id: RunId) -> Result<QueuePosition, ClientError> {
        self.get(&["v1", "runs", &id.to_string(), "queue"]).await
    }

    /// Runs side by side, in this order.
    pub async fn compare(&self, ids: &[RunId]) -> Result<Comparison, ClientError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        self.json(self.request(Method::GET, &["v1", "compare"]).query(&[("runs", ids.join(","))])).await
    }

    /// All runs of a job side by side.
    pub async fn compare_job(&self, id: JobId) -> Result<Comparison, ClientError> {
        self.json(self.request(Method::GET, &["v1", "compare"]).query(&[("job", id.to_string())])).await
    }

    /// `cancel`, `pause`, `resume` or `retry` of a run; answers the run as it is then.
    pub async fn run_action(&self, id: RunId, action: &str) -> Result<Run, ClientError> {
        self.json(self.request(Method::POST, &["v1", "runs", &id.to_string(), action])).await
    }

    /// `cancel`, `pause`, `resume` or `retry` of all runs of a job for which it is legal; answers the job as it is then.
    pub async fn job_action(&self, id: JobId, action: &str) -> Result<Job, ClientError> {
        self.json(self.request(Method::POST, &["v1", "jobs", &id.to_string(), action])).await
    }

    pub async fn events(&self, id: RunId) -> Result<Page<Event>, ClientError> {
        self.all(&["v1", "runs", &id.to_string(), "events"]).await
    }

    pub async fn logs(&self, id: RunId) -> Result<Page<LogLine>, ClientError> {
        self.all(&["v1", "runs", &id.to_string(), "logs"]).await
    }

    /// What theory says of a regression before it runs; 404 for other kinds.
    pub async fn theory(&self, id: RunId) -> Result<RegressionTheory, ClientError> {
        self.get(&["v1", "runs", &id.to_string(), "theory"]).await
    }

    pub async fn certificates(&self, id: RunId) -> Result<Certificates, ClientError> {
        self.get(&["v1", "runs", &id.to_string(), "certificates"]).await
    }

    /// Has a run executed again and compared; `anew` although there is a verdict. Repeating it while it is under way changes nothing.
    pub async fn verify(&self, id: RunId, anew: bool) -> Result<Verification, ClientError> {
        self.json(self.request(Method::POST, &["v1", "runs", &id.to_string(), "verify"]).query(&[("anew", anew)])).await
    }

    /// The verification of a run, as it is now.
    pub async fn verification(&self, id: RunId) -> Result<Verification, ClientError> {
        self.get(&["v1", "runs", &id.to_string(), "verify"]).await
    }

    /// Has a picture coloured with a run's model, and waits for it for so long at most. With an `idempotency_key` a repeat of the same
    /// picture is coloured once.
    pub async fn colourize(
        &self,
        id: RunId,
        format: PictureFormat,
        picture: Bytes,
        wait: Duration,
        idempotency_key: Option<&str>,
    ) -> Result<Colourized, ClientError> {
        let size = picture.len() as u64;
        let mut request = self.upload(Method::POST, &["v1", "runs", &id.to_string(), "colourize"], size);
        if !wait.is_zero() {
            request = request.header("prefer", format!("wait={}", wait.as_secs()));
        }
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        self.json(request.header("content-type", format.media_type()).body(picture)).await
    }

    /// The pictures that were sent to be coloured with a run's model, newest first.
    pub async fn colourized(&self, id: RunId) -> Result<Page<Colourized>, ClientError> {
        self.get(&["v1", "runs", &id.to_string(), "colourized"]).await
    }

    /// What happens to these runs (to all, if there are none) after a revision, or from now on, as `text/event-stream`; each message's data
    /// is a [`News`](crate::run::News).
    pub async fn follow(&self, ids: &[RunId], after: Option<Revision>) -> Result<ByteStream, ClientError> {
        // Through the connections without a bound on silence: the stream's keep-alives are for those in between.
        let mut request = self.request_through(&self.uploads, Method::GET, &["v1", "events"]);
        if !ids.is_empty() {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            request = request.query(&[("runs", ids.join(","))]);
        }
        if let Some(after) = after {
            request = request.header("last-event-id", after.0);
        }
        self.stream(request).await
    }

    pub async fn artifacts(&self, id: RunId) -> Result<Artifacts, ClientError> {
        self.get(&["v1", "runs", &id.to_string(), "artifacts"]).await
    }

    /// The bytes of an artifact. `name` may hold slashes (`samples/epoch-025.png`).
    pub async fn artifact(&self, id: RunId, name: &str) -> Result<ByteStream, ClientError> {
        let id = id.to_string();
        let mut path = vec!["v1", "runs", &id, "artifacts"];
        path.extend(name.split('/'));
        self.stream(self.request(Method::GET, &path)).await
    }

    pub async fn workers(&self) -> Result<Page<Worker>, ClientError> {
        self.all(&["v1", "workers"]).await
    }

    pub async fn datasets(&self) -> Result<Page<Dataset>, ClientError> {
        self.all(&["v1", "datasets"]).await
    }

    pub async fn dataset(&self, name: &str) -> Result<Dataset, ClientError> {
        self.get(&["v1", "datasets", name]).await
    }

    /// Uploads a dataset from files, streaming them. `on_bytes` is told of each piece that was handed to the connection.
    pub async fn add_dataset(
        &self,
        name: &str,
        files: &[UploadFile],
        on_bytes: impl Fn(u64) + Clone + Send + Sync + 'static,
    ) -> Result<Dataset, ClientError> {
        let mut form = multipart::Form::new().text("name", name.to_owned());
        let mut bytes = 0;
        for file in files {
            let (part, size) = file_part(&file.path, on_bytes.clone()).await?;
            form = form.part(file.role.as_str(), part);
            bytes += size;
        }
        self.json(self.upload(Method::POST, &["v1", "datasets"], bytes).multipart(form)).await
    }

    pub async fn create_token(&self, token: &CreateToken) -> Result<TokenCreated, ClientError> {
        self.post(&["v1", "tokens"], token).await
    }

    pub async fn tokens(&self) -> Result<Page<Token>, ClientError> {
        self.all(&["v1", "tokens"]).await
    }

    pub async fn revoke_token(&self, id: TokenId) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &["v1", "tokens", &id.to_string()])).await.map(drop)
    }

    /// Has the ends of runs told to an address; the answer alone holds the secret.
    pub async fn create_webhook(&self, webhook: &CreateWebhook) -> Result<WebhookCreated, ClientError> {
        self.post(&["v1", "webhooks"], webhook).await
    }

    pub async fn webhooks(&self) -> Result<Page<Webhook>, ClientError> {
        self.all(&["v1", "webhooks"]).await
    }

    pub async fn webhook(&self, id: WebhookId) -> Result<Webhook, ClientError> {
        self.get(&["v1", "webhooks", &id.to_string()]).await
    }

    pub async fn delete_webhook(&self, id: WebhookId) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &["v1", "webhooks", &id.to_string()])).await.map(drop)
    }

    /// Has a message of type `ping` sent, which says nothing.
    pub async fn test_webhook(&self, id: WebhookId) -> Result<Delivery, ClientError> {
        self.json(self.request(Method::POST, &["v1", "webhooks", &id.to_string(), "test"])).await
    }

    /// The newest messages to a webhook, newest first; at most 1000.
    pub async fn deliveries(&self, id: WebhookId, limit: u32) -> Result<Page<Delivery>, ClientError> {
        self.json(self.request(Method::GET, &["v1", "webhooks", &id.to_string(), "deliveries"]).query(&[("limit", limit)])).await
    }

    /// The whole store as a tar archive. How long the copy of the database takes depends on its size, so the server may keep silent for
    /// as long as the connection lives.
    pub async fn backup(&self) -> Result<ByteStream, ClientError> {
        self.stream(self.request_through(&self.uploads, Method::POST, &["v1", "backups"])).await
    }

    /// Removes files of finished runs by a policy, or with `dry_run` only tells which.
    pub async fn prune(&self, policy: &RetentionPolicy, dry_run: bool) -> Result<Pruned, ClientError> {
        let request = self.request_through(&self.uploads, Method::POST, &["v1", "retention"]);
        self.json(request.query(&[("dry_run", dry_run)]).json(policy)).await
    }

    /// Whether the server is up and its store answers. Needs no token.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.send(self.request(Method::GET, &["readyz"])).await.map(|_: Response| ())
    }
}

/// A file as a part of a form, and its bytes.
async fn file_part(path: &Path, on_bytes: impl Fn(u64) + Send + Sync + 'static) -> Result<(multipart::Part, u64), ClientError> {
    use futures::StreamExt as _;
    let error = |source| ClientError::File { path: path.display().to_string(), source };
    let file = tokio::fs::File::open(path).await.map_err(error)?;
    let size = file.metadata().await.map_err(error)?.len();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let pieces = tokio_util::io::ReaderStream::with_capacity(file, 1 << 16).inspect(move |piece| {
        if let Ok(piece) = piece {
            on_bytes(piece.len() as u64);
        }
    });
    Ok((multipart::Part::stream_with_length(reqwest::Body::wrap_stream(pieces), size).file_name(name), size))
}
