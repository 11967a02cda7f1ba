//! Verifying finished runs: each is executed again by a worker, as a run that lists leave out, and the two are compared.
//!
//! What is compared are the bits: every metric, the result, and every file, but for what tells of time and of the way to the end
//! ([`TIMES`], [`MACHINE`], [`SAMPLED`], [`WAYS`]). The comparison reads a snapshot and holds no write up. Where nothing differs the second execution has served
//! and its outputs go; else they stay, to be looked at.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use trainyard_wire::metric::{MACHINE, TIMES};
use trainyard_wire::run::LeftOut;
use trainyard_wire::state::Kind;
use trainyard_wire::verification::{Compared, Determinism, DeterminismClass, Findings, FirstDifference, Platform, Verdict, Verification};
use trainyard_wire::{RunId, RunState};

use super::writer::{Effect, Transaction, write_error};
use super::{Store, StoreError};
use crate::db;

/// Metrics that are recorded at some steps and whenever it is time: an execution may have steps that another has not.
const SAMPLED: [&str; 1] = ["train_batch_loss"];
/// Files that belong to the way and not to the end: checkpoints are written by the clock.
const WAYS: [&str; 1] = ["checkpoint.safetensors"];
/// Pictures under this folder may be given up by a worker that could not reach its server for long.
const DISPENSABLE: &str = "samples/";

/// Why a run is not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// 404.
    #[error("there is no such run")]
    NotFound,
    /// 409.
    #[error("only a run that has succeeded can be verified, and this one is {0}")]
    NotSucceeded(RunState),
    /// 409.
    #[error("a run of a program outside of Trainyard cannot be executed again here")]
    External,
    /// 409.
    #[error("the run is itself the verification of another")]
    IsVerification,
    /// 409.
    #[error("a coloured picture is not executed again")]
    Picture,
    #[error(transparent)]
    Store(#[from] StoreError),
}

write_error!(VerifyError, Store);

impl Store {
    /// Has a run executed again and compared. While that is under way, and once it has come to a verdict, a repeat answers the same
    /// verification, unless `anew`.
    pub async fn verify(&self, id: RunId, anew: bool) -> Result<Verification, VerifyError> {
        let write = self.inner.writer.write::<_, VerifyError, _>(move |transaction| {
            async move {
                transaction.verify(id, anew).await?;
                db::verifications::get(&mut transaction.conn, id).await?.ok_or(VerifyError::NotFound)
            }
            .boxed()
        });
        write.await
    }

    /// The verification of a run; `None` if there is no such run, or none was asked for.
    pub async fn verification(&self, id: RunId) -> Result<Option<Verification>, StoreError> {
        db::verifications::get(&mut *self.reader().await?, id).await
    }

    /// Compares the runs whose second execution has ended; answers how many.
    pub async fn conclude_verifications(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        let open = db::verifications::to_compare(&mut *self.reader().await?).await?;
        for (original, again) in open {
            let findings = compare(&mut *self.snapshot().await?, original, again).await?;
            let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
                async move { transaction.conclude(original, again, &findings).await }.boxed()
            });
            count += u64::from(write.await?);
        }
        Ok(count)
    }
}

impl Transaction {
    async fn verify(&mut self, id: RunId, anew: bool) -> Result<(), VerifyError> {
        let run = db::runs::core(&mut self.conn, id).await?.filter(|run| !run.deleted).ok_or(VerifyError::NotFound)?;
        if run.kind == Kind::External {
            return Err(VerifyError::External);
        }
        if run.kind == Kind::Picture {
            return Err(VerifyError::Picture);
        }
        if run.state != RunState::Succeeded {
            return Err(VerifyError::NotSucceeded(run.state));
        }
        if db::verifications::is_verification(&mut self.conn, run.job_id).await? {
            return Err(VerifyError::IsVerification);
        }
        if let Some(earlier) = db::verifications::get(&mut self.conn, id).await? {
            let stands = match earlier.verdict {
                None => true,
                Some(Verdict::SameBits | Verdict::Differs) => !anew,
                Some(Verdict::Inconclusive) => false,
            };
            if stands {
                return Ok(());
            }
        }
        let upcoming = self.upcoming_revision();
        let again = db::verifications::queue(&mut self.conn, &run, upcoming, self.now).await?;
        self.event(again, "queued", json!({ "verifies": id })).await?;
        self.after_commit(Effect::Queued);
        Ok(())
    }

    /// Stores what was found; answers whether it was still wanted.
    async fn conclude(&mut self, original: RunId, again: RunId, findings: &Findings) -> Result<bool, StoreError> {
        let verdict = findings.verdict;
        if !db::verifications::set_findings(&mut self.conn, original, again, verdict, findings, self.now).await? {
            return Ok(false);
        }
        if verdict == Verdict::SameBits
            && let Some(again) = db::runs::core(&mut self.conn, again).await?
        {
            self.forget_outputs(&again).await?;
        }
        let Some(run) = db::runs::core(&mut self.conn, original).await? else { return Ok(true) };
        let detail = json!({ "verdict": verdict, "verification_run_id": again });
        let revision = self.event(original, "verified", detail).await?;
        db::runs::set_revision(&mut self.conn, &run, revision).await?;
        Ok(true)
    }
}

async fn compare(conn: &mut SqliteConnection, original: RunId, again: RunId) -> Result<Findings, StoreError> {
    let mut runs = db::run_rows::by_id(conn, &[original, again]).await?.into_iter();
    let mut run = |id| runs.find(|run| run.id == id).ok_or_else(|| StoreError::from(sqlx::Error::RowNotFound));
    let (mut one, mut other) = (run(original)?, run(again)?);
    let (platforms_of_one, platforms_of_other) = (platforms(conn, original).await?, platforms(conn, again).await?);
    if other.state != RunState::Succeeded {
        let error = other.error.unwrap_or_else(|| format!("the run that executes it again is {}", other.state));
        return Ok(Findings {
            verdict: Verdict::Inconclusive,
            first_difference: None,
            determinism: Determinism { class: None, original: platforms_of_one, again: platforms_of_other },
            compared: Compared::default(),
            left_out: Vec::new(),
            error: Some(error),
        });
    }
    let mut comparison = Comparison::default();
    let in_metrics = comparison.metrics(conn, original, again).await?;
    let in_result = first_in_json("", one.result.take().unwrap_or_default(), other.result.take().unwrap_or_default());
    let in_files = comparison.files(conn, original, again).await?;
    let first_difference = in_metrics.or(in_result).or(in_files);
    Ok(Findings {
        verdict: if first_difference.is_none() { Verdict::SameBits } else { Verdict::Differs },
        determinism: determinism(first_difference.is_none(), platforms_of_one, platforms_of_other),
        first_difference,
        compared: comparison.compared,
        left_out: comparison.left_out,
        error: None,
    })
}

/// What computed the attempts of a run, as far as it is known.
async fn platforms(conn: &mut SqliteConnection, run: RunId) -> Result<Vec<Platform>, StoreError> {
    let claims = db::verifications::claims(conn, run).await?;
    let known: BTreeSet<Platform> =
        claims.into_iter().filter_map(|mut claim| serde_json::from_value(claim["platform"].take()).ok()).collect();
    Ok(known.into_iter().collect())
}

fn determinism(same: bool, original: Vec<Platform>, again: Vec<Platform>) -> Determinism {
    let class = (!original.is_empty() && !again.is_empty()).then(|| match (same, original.len() == 1 && original == again) {
        (true, true) => DeterminismClass::SameOnThis,
        (true, false) => DeterminismClass::SameAcross,
        (false, true) => DeterminismClass::DifferentOnThis,
        (false, false) => DeterminismClass::DifferentAcross,
    });
    Determinism { class, original, again }
}

#[derive(Default)]
struct Comparison {
    compared: Compared,
    left_out: Vec<LeftOut>,
}

impl Comparison {
    fn leave_out(&mut self, what: impl Into<String>, reason: &str) {
        self.left_out.push(LeftOut { claim: what.into(), reason: reason.to_owned() });
    }

    async fn metrics(&mut self, conn: &mut SqliteConnection, original: RunId, again: RunId) -> Result<Option<FirstDifference>, StoreError> {
        let (one, other) = (db::verifications::series(conn, original).await?, db::verifications::series(conn, again).await?);
        let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        let mut first: Option<FirstDifference> = None;
        for name in names {
            if TIMES.contains(&name.as_str()) {
                self.leave_out(name.clone(), "it tells how long something took");
                continue;
            }
            if MACHINE.contains(&name.as_str()) {
                self.leave_out(name.clone(), "it tells what was taken of the machine");
                continue;
            }
            self.compared.metrics += 1;
            self.compared.points += one.get(name).map_or(0, |(_, points)| *points);
            let id = |series: &BTreeMap<String, (i64, u64)>| series.get(name).map_or(-1, |(id, _)| *id);
            let sampled = SAMPLED.contains(&name.as_str()) && one.contains_key(name) && other.contains_key(name);
            if sampled {
                self.leave_out(format!("{name} at steps that one execution has alone"), "it is also recorded by the clock");
            }
            let parting = db::verifications::parting(conn, id(&one), id(&other), sampled).await?;
            // The names come in order, so of one step the first by name stays.
            if let Some(parting) = parting.filter(|parting| first.as_ref().is_none_or(|first| Some(parting.step) < first.step)) {
                let (original, again) = (json!(parting.original), json!(parting.again));
                first = Some(FirstDifference {
                    metric: Some(name.clone()),
                    step: Some(parting.step),
                    original,
                    again,
                    ..FirstDifference::default()
                });
            }
        }
        Ok(first)
    }

    async fn files(&mut self, conn: &mut SqliteConnection, original: RunId, again: RunId) -> Result<Option<FirstDifference>, StoreError> {
        if db::verifications::is_pruned(conn, original).await? {
            self.leave_out("artifacts", "the run's files were removed by a retention policy");
            return Ok(None);
        }
        let (one, other) = (hashes(conn, original).await?, hashes(conn, again).await?);
        let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        let mut first = None;
        for name in names {
            let (original, again) = (one.get(name), other.get(name));
            if WAYS.contains(&name.as_str()) {
                self.leave_out(name.clone(), "it belongs to the way and not to the end");
            } else if name.starts_with(DISPENSABLE) && (original.is_none() || again.is_none()) {
                self.leave_out(name.clone(), "a worker that could not reach its server gave the picture up");
            } else {
                self.compared.artifacts += 1;
                if original != again && first.is_none() {
                    let (original, again) = (json!(original), json!(again));
                    first = Some(FirstDifference { artifact: Some(name.clone()), original, again, ..FirstDifference::default() });
                }
            }
        }
        Ok(first)
    }
}

async fn hashes(conn: &mut SqliteConnection, run: RunId) -> Result<BTreeMap<String, String>, StoreError> {
    let artifacts = db::artifacts::list(conn, run).await?;
    Ok(artifacts.into_iter().map(|artifact| (artifact.name, artifact.sha256)).collect())
}

/// The first place at which two JSON values differ, walking objects and arrays in their order.
fn first_in_json(pointer: &str, one: Value, other: Value) -> Option<FirstDifference> {
    match (one, other) {
        (one, other) if one == other => None,
        (Value::Object(one), Value::Object(mut other)) => {
            let mut fields: Vec<(String, Value, Value)> =
                one.into_iter().map(|(name, value)| (name.clone(), value, other.remove(&name).unwrap_or_default())).collect();
            fields.extend(other.into_iter().map(|(name, value)| (name, Value::Null, value)));
            let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
            fields.into_iter().find_map(|(name, one, other)| first_in_json(&format!("{pointer}/{}", escaped(&name)), one, other))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.into_iter().zip(other).enumerate();
            pairs.find_map(|(index, (one, other))| first_in_json(&format!("{pointer}/{index}"), one, other))
        }
        (original, again) => Some(FirstDifference { result: Some(pointer.to_owned()), original, again, ..FirstDifference::default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_at_which_two_results_differ_is_told() {
        let one = json!({"weights": [1.0, 2.0], "loss": 0.5});
        assert_eq!(first_in_json("", one.clone(), one.clone()), None);
        let found = first_in_json("", one.clone(), json!({"weights": [1.0, 2.5], "loss": 0.25})).unwrap();
        assert_eq!((found.result.as_deref(), found.original, found.again), (Some("/weights/1"), json!(2.0), json!(2.5)));
        let found = first_in_json("", one, json!({"weights": [1.0, 2.0], "loss": 0.5, "steps": 3})).unwrap();
        assert_eq!((found.result.as_deref(), found.original, found.again), (Some("/steps"), Value::Null, json!(3)));
    }

    #[test]
    fn a_class_is_told_only_where_it_is_known_what_computed_both() {
        let on = |build: &str| vec![Platform { build: build.to_owned(), device: "cpu".to_owned() }];
        let class = |same, original, again| determinism(same, original, again).class;
        assert_eq!(class(true, on("a"), on("a")), Some(DeterminismClass::SameOnThis));
        assert_eq!(class(true, on("a"), on("b")), Some(DeterminismClass::SameAcross));
        assert_eq!(class(false, on("a"), on("a")), Some(DeterminismClass::DifferentOnThis));
        assert_eq!(class(false, on("a"), on("b")), Some(DeterminismClass::DifferentAcross));
        assert_eq!(class(true, Vec::new(), on("a")), None);
        let tf32 = vec![Platform { build: "a".to_owned(), device: "cpu, TF32".to_owned() }];
        assert_eq!(class(false, tf32, on("a")), Some(DeterminismClass::DifferentAcross));
        let both = [on("a"), on("b")].concat();
        assert_eq!(class(true, both.clone(), both), Some(DeterminismClass::SameAcross));
    }
}
