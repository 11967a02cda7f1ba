//! Whether a submit may be queued, and at what cost.
//!
//! The spec is valid by itself already ([`trainyard_wire::spec`]). Here it meets the world: [`facts`] looks up the datasets and problems that it names and
//! pins their hashes into it, [`estimate`] counts what each run will take, the counts are compared with the [`Limits`], [`theory`] says what is known of each
//! run before it runs, and [`warnings`] what is doubtful about it. All of it happens off the runtime's threads, and nothing is queued unless every run passes.

pub(crate) mod estimate;
mod facts;
mod refusal;
mod table;
mod theory;
mod warnings;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use trainyard_wire::job::{DryRun, Estimate, PlannedRun};
use trainyard_wire::spec::regression::ProblemSource;
use trainyard_wire::spec::submit::Submission;
use trainyard_wire::spec::sweep::Sweep;
use trainyard_wire::state::Kind;
use trainyard_wire::theory::RegressionTheory;
use trainyard_wire::{FieldError, Spec};

pub(crate) use crate::blobs::hex;
use crate::config::Limits;
use crate::store::{Store, StoreError};
use facts::Facts;
use theory::Theorist;

/// A run with at most so many multiply-adds takes well under a second: a worker may claim several at once.
const SMALL_RUN: u64 = 100_000_000;
/// And leaves at most so many bytes behind.
const SMALL_DISK: u64 = 4 << 20;
/// And needs at most so many bytes: a claim brings many runs, maybe each with the numbers of its own problem.
const SMALL_MEMORY: u64 = 8 << 20;
/// Of so many runs of a job the submit's answer tells the theory.
const MOST_THEORIES: usize = 100;
/// Checks that compute at one time.
static TURNS: Semaphore = Semaphore::const_new(2);

/// What is asked of a check.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Only validate: tell the theory of every run.
    pub(crate) dry_run: bool,
    /// Refuse what would be warned of.
    pub(crate) strict: bool,
}

/// Why a submit is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmissionError {
    /// 422.
    #[error("the job asks for what there is not, or for too much")]
    Refused(Vec<FieldError>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the check broke off: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

/// A job that may be queued.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) project: Option<String>,
    pub(crate) priority: i32,
    pub(crate) kind: Kind,
    pub(crate) sweep: Sweep,
    pub(crate) runs: Vec<PlannedRun>,
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// What `?dry_run=true` answers. Where a sweep repeats an inline problem, its numbers are left out.
    pub(crate) fn dry_run(mut self) -> DryRun {
        if self.runs.len() > 1 {
            for run in &mut self.runs {
                if let Some(problem) = run.spec.problem_mut().filter(|problem| problem.source == ProblemSource::Inline) {
                    (problem.x, problem.t) = (None, None);
                }
            }
        }
        DryRun { run_count: self.runs.len() as u64, runs: self.runs, warnings: self.warnings }
    }
}

/// Checks a submission against the store and the limits.
pub(crate) async fn admit(store: &Store, limits: &Arc<Limits>, submission: Submission, asked: Asked) -> Result<Plan, AdmissionError> {
    let facts = Facts::gather(store, submission.points.iter().map(|point| &point.spec)).await?;
    let limits = Arc::clone(limits);
    in_turn(move || plan(submission, &facts, &limits, asked)).await?.map_err(AdmissionError::Refused)
}

/// What theory says of a regression; none for other kinds.
pub(crate) async fn theory(store: &Store, spec: Spec) -> Result<Option<RegressionTheory>, AdmissionError> {
    let facts = Facts::gather(store, std::iter::once(&spec)).await?;
    in_turn(move || Theorist::new(&facts).theory(&spec)).await
}

async fn in_turn<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> Result<T, AdmissionError> {
    // The semaphore is never closed.
    let turn = TURNS.acquire().await.ok();
    let computed = tokio::task::spawn_blocking(move || {
        // Held until the work is done, also where nobody waits for it any more.
        let _turn = turn;
        compute()
    });
    Ok(computed.await?)
}

fn plan(submission: Submission, facts: &Facts, limits: &Limits, asked: Asked) -> Result<Plan, Vec<FieldError>> {
    let Submission { name, tags, project, priority, sweep, points } = submission;
    // A submission has at least one point, and all of one kind.
    let kind = points.first().map_or(Kind::Regression, |point| point.spec.kind());
    let mut runs = Vec::with_capacity(points.len());
    for mut point in points {
        let admitted = facts.apply(&mut point.spec).and_then(|size| {
            let estimate = estimate::estimate(&point.spec, size);
            refusal::check(&point.spec, size, &estimate, limits)?;
            Ok(estimate)
        });
        match admitted {
            Ok(estimate) => runs.push(PlannedRun { sweep_point: point.sets, spec: point.spec, estimate, theory: None }),
            Err(error) => return Err(vec![refusal::into_sweep(error, &point.sets, &sweep)]),
        }
    }
    let mut theorist = Theorist::new(facts);
    let doubts = warnings::of(&runs, &mut theorist);
    if asked.strict && !doubts.is_empty() {
        let place = |doubt: warnings::Doubt<'_>| {
            let error = FieldError { pointer: doubt.pointer.to_owned(), detail: doubt.warning };
            refusal::into_sweep(error, doubt.sets, &sweep)
        };
        return Err(doubts.into_iter().map(place).collect());
    }
    let warnings = doubts.into_iter().map(|doubt| doubt.warning).collect();
    let told = if asked.dry_run { runs.len() } else { MOST_THEORIES };
    for run in runs.iter_mut().take(told) {
        run.theory = theorist.theory(&run.spec);
    }
    Ok(Plan { name, tags, project, priority, kind, sweep, runs, warnings })
}

/// Whether a worker may take the run together with others.
pub(crate) fn is_small(estimate: &Estimate) -> bool {
    estimate.multiply_adds <= SMALL_RUN && estimate.disk_bytes <= SMALL_DISK && estimate.memory_bytes <= SMALL_MEMORY
}
