//! Submitting a job: the job, its runs and their problems in one transaction.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use trainyard_wire::job::{JobAccepted, SweepPoint};
use trainyard_wire::run::Event;
use trainyard_wire::spec::regression::ProblemSource;
use trainyard_wire::spec::sweep::Sweep;
use trainyard_wire::state::Kind;
use trainyard_wire::theory::RegressionTheory;
use trainyard_wire::{JobId, Revision, RunId, Spec, TokenId};

use super::writer::{Effect, Transaction, WriteError, write_error};
use super::{Store, StoreError};
use crate::blobs::sha256_hex;
use crate::db;
use crate::db::problems::PackedProblem;
use crate::db::runs::NewRunRow;

/// A job to queue.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub name: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub project: Option<String>,
    pub priority: i32,
    pub kind: Kind,
    /// Empty where there was none.
    pub sweep: Sweep,
    /// At least one, in sweep order.
    pub runs: Vec<NewRun>,
    /// Kept with the idempotency key, so that a replay answers them too.
    pub warnings: Vec<String>,
    /// Kept like the warnings.
    pub theory: Vec<RegressionTheory>,
    pub idempotency: Option<Idempotency>,
}

/// A run to queue.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Normalized. An inline problem has its numbers, or only the `sha256` of a problem that is stored already.
    pub spec: Spec,
    pub sweep_point: SweepPoint,
    /// Expected optimizer steps, shown until the worker reports its own count.
    pub total_steps: u64,
    /// So little work that a worker may take several at once.
    pub small: bool,
    /// Bytes that training it takes, by estimate: workers that have fewer pass it over.
    pub memory_bytes: u64,
}

/// What makes a repeated submit the same submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Whose key it is; [`TokenId`] 0 where requests carry no token.
    pub token: TokenId,
    pub key: String,
    /// Of the request's body, lower-case hexadecimal.
    pub body_sha256: String,
}

/// A submit that is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    pub accepted: JobAccepted,
    /// The key was used before with the same body: nothing new was queued.
    pub replayed: bool,
}

/// Why a submit was refused.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// 422: the key was used before with another body.
    #[error("the idempotency key was used before with another body")]
    KeyReused,
    /// 422: `/spec/problem/sha256` names no stored problem.
    #[error("no problem with the sha256 {sha256} is stored")]
    UnknownProblem { sha256: String },
    /// 422: `/spec/problem/sha256` is not that of the numbers beside it.
    #[error("the sha256 of x and t is {computed}, not {given}")]
    ProblemMismatch { given: String, computed: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

write_error!(SubmitError, Store);

/// The numbers of an inline problem.
#[derive(Clone, Debug, PartialEq)]
pub struct InlineProblem {
    /// n rows of d numbers.
    pub x: Vec<Vec<f64>>,
    /// n numbers.
    pub t: Vec<f64>,
}

impl Store {
    /// Queues a job with all its runs, or nothing.
    pub async fn submit(&self, job: NewJob) -> Result<Submitted, SubmitError> {
        let prepared = tokio::task::spawn_blocking(move || prepare(job)).await.map_err(|_| StoreError::Panicked)??;
        let prepared = self.complete_shapes(prepared).await?;
        self.inner.writer.write(move |transaction| async move { transaction.submit(prepared).await }.boxed()).await
    }

    /// The answer of an earlier submit with this key, to be given before any costly check; `None` if the key is new.
    pub async fn earlier_submit(&self, idempotency: &Idempotency) -> Result<Option<JobAccepted>, SubmitError> {
        let used = db::idempotency::get(&mut *self.reader().await?, idempotency).await?;
        used.map(|used| replay(idempotency, used)).transpose()
    }

    /// The numbers of a stored inline problem, to check and estimate a submit that gives only their hash.
    pub async fn problem(&self, sha256: &str) -> Result<Option<InlineProblem>, StoreError> {
        let problem = db::problems::get(&mut *self.reader().await?, sha256).await?;
        problem.map(|problem| problem.unpack()).transpose()
    }

    /// Writes rows and columns into the specs that name a stored problem by its hash alone. Problems are never deleted, so what is there
    /// now is there when the job is inserted.
    async fn complete_shapes(&self, mut prepared: Prepared) -> Result<Prepared, SubmitError> {
        let mut conn = self.reader().await?;
        for (run, sha256) in prepared.job.runs.iter_mut().zip(&prepared.problem_of_run) {
            let (Some(problem), Some(sha256)) = (run.spec.problem_mut(), sha256) else { continue };
            if prepared.problems.contains_key(sha256) {
                continue;
            }
            let shape = db::problems::shape(&mut conn, sha256).await?;
            let (rows, columns) = shape.ok_or_else(|| SubmitError::UnknownProblem { sha256: sha256.clone() })?;
            (problem.n, problem.d) = (Some(rows), Some(columns));
        }
        Ok(prepared)
    }
}

/// A job whose specs have no numbers any more, and those numbers.
struct Prepared {
    job: NewJob,
    problem_of_run: Vec<Option<String>>,
    problems: BTreeMap<String, PackedProblem>,
}

/// Takes the numbers of inline problems out of the specs and hashes them, each once.
fn prepare(mut job: NewJob) -> Result<Prepared, SubmitError> {
    let mut problems = BTreeMap::new();
    let mut problem_of_run = Vec::with_capacity(job.runs.len());
    for run in &mut job.runs {
        let Some(problem) = run.spec.problem_mut().filter(|problem| problem.source == ProblemSource::Inline) else {
            problem_of_run.push(None);
            continue;
        };
        if let (Some(x), Some(t)) = (problem.x.take(), problem.t.take()) {
            let packed = PackedProblem::pack(&x, &t);
            let computed = hash(&packed);
            if let Some(given) = problem.sha256.replace(computed.clone()).filter(|given| *given != computed) {
                return Err(SubmitError::ProblemMismatch { given, computed });
            }
            problems.entry(computed).or_insert(packed);
        }
        problem_of_run.push(problem.sha256.clone());
    }
    Ok(Prepared { job, problem_of_run, problems })
}

/// The hash of a problem: of its shape and its numbers, all little-endian.
fn hash(problem: &PackedProblem) -> String {
    let mut bytes = Vec::with_capacity(16 + problem.numbers.len());
    bytes.extend(problem.rows.to_le_bytes());
    bytes.extend(problem.columns.to_le_bytes());
    bytes.extend(&problem.numbers);
    sha256_hex(&bytes)
}

fn replay(idempotency: &Idempotency, used: db::idempotency::Used) -> Result<JobAccepted, SubmitError> {
    if used.body_sha256 == idempotency.body_sha256 { Ok(used.answer) } else { Err(SubmitError::KeyReused) }
}

impl Transaction {
    /// The run that an earlier request with this key made; fails with `reused` where that request had another body.
    pub(super) async fn run_made_before<E: WriteError>(
        &mut self,
        idempotency: Option<&Idempotency>,
        reused: E,
    ) -> Result<Option<RunId>, E> {
        let Some(idempotency) = idempotency else { return Ok(None) };
        let Some(used) = db::idempotency::get(&mut self.conn, idempotency).await? else { return Ok(None) };
        let same = used.body_sha256 == idempotency.body_sha256;
        used.answer.run_ids.first().filter(|_| same).copied().map(Some).ok_or(reused)
    }

    /// Notes the one run that the request with this key has made.
    pub(super) async fn note_made(&mut self, idempotency: &Idempotency, job: JobId, run: RunId) -> Result<(), StoreError> {
        let answer = JobAccepted { id: job, run_ids: vec![run], warnings: Vec::new(), theory: Vec::new() };
        db::idempotency::insert(&mut self.conn, idempotency, &answer, self.now).await
    }

    async fn submit(&mut self, prepared: Prepared) -> Result<Submitted, SubmitError> {
        let Prepared { job, problem_of_run, problems } = prepared;
        if let Some(idempotency) = &job.idempotency
            && let Some(used) = db::idempotency::get(&mut self.conn, idempotency).await?
        {
            return Ok(Submitted { accepted: replay(idempotency, used)?, replayed: true });
        }
        for (sha256, problem) in &problems {
            db::problems::insert(&mut self.conn, sha256, problem).await?;
        }
        let mut rows = Vec::with_capacity(job.runs.len());
        for (run, problem_sha256) in job.runs.iter().zip(problem_of_run) {
            rows.push(NewRunRow {
                spec: db::to_json("spec", &run.spec)?,
                problem_sha256,
                sweep_point: db::to_json("sweep point", &run.sweep_point)?,
                small: run.small,
                // As a number that a column can hold.
                memory_bytes: run.memory_bytes.min(i64::MAX as u64),
                total_steps: run.total_steps,
            });
        }
        // The runs take the next revisions, in order; the job that of the last.
        let (first_revision, last_revision) = (self.upcoming_revision(), self.advance_revision(rows.len()));
        let id = db::jobs::insert(&mut self.conn, &job, last_revision, self.now).await?;
        let first = db::runs::insert(&mut self.conn, id, &job, &rows, first_revision, self.now).await?;
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        db::events::insert_queued(&mut self.conn, first, count, first_revision, self.now).await?;
        let run_ids: Vec<RunId> = (first.0..first.0 + count).map(RunId).collect();
        for (&run_id, revision) in run_ids.iter().zip(first_revision.0..) {
            let (revision, time) = (Revision(revision), self.now);
            let event = Event { revision, run_id, time, kind: "queued".to_owned(), detail: serde_json::json!({}) };
            self.after_commit(Effect::News(event.into()));
        }
        let accepted = JobAccepted { id, run_ids, warnings: job.warnings, theory: job.theory };
        if let Some(idempotency) = &job.idempotency {
            db::idempotency::insert(&mut self.conn, idempotency, &accepted, self.now).await?;
        }
        self.after_commit(Effect::Queued);
        Ok(Submitted { accepted, replayed: false })
    }
}
