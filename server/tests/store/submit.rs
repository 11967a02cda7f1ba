//! Submitting, idempotency keys, inline problems, lists.

use serde_json::json;
use trainyard_server::store::{Idempotency, JobFilter, NewJob, NewRun, RunFilter, SubmitError};
use trainyard_wire::job::Job;
use trainyard_wire::run::Run;
use trainyard_wire::state::Kind;
use trainyard_wire::{RunId, RunState, Spec, Timestamp, TokenId};

use crate::world::{World, job, new_run};

fn with_key(key: &str, body: &str) -> NewJob {
    let idempotency = Idempotency { token: TokenId(1), key: key.to_owned(), body_sha256: body.to_owned() };
    NewJob { idempotency: Some(idempotency), warnings: vec!["careful".to_owned()], ..job(2) }
}

fn all_runs() -> RunFilter {
    RunFilter { limit: 1000, ..RunFilter::default() }
}

fn all_jobs() -> JobFilter {
    JobFilter { kind: None, state: None, before: None, limit: 1000 }
}

fn ids(runs: &[Run]) -> Vec<RunId> {
    runs.iter().map(|run| run.id).collect()
}

#[tokio::test]
async fn a_repeated_submit_with_a_key_makes_one_job() {
    let world = World::new().await;
    let first = world.store.submit(with_key("key", "body")).await.unwrap();
    let second = world.store.submit(with_key("key", "body")).await.unwrap();
    assert!(!first.replayed && second.replayed);
    assert_eq!(first.accepted, second.accepted);
    assert_eq!(first.accepted.warnings, ["careful"]);
    assert_eq!(world.store.jobs(all_jobs()).await.unwrap().items.len(), 1);
    let idempotency = with_key("key", "body").idempotency.unwrap();
    assert_eq!(world.store.earlier_submit(&idempotency).await.unwrap(), Some(first.accepted));
    let unused = Idempotency { key: "unused".to_owned(), ..idempotency.clone() };
    assert_eq!(world.store.earlier_submit(&unused).await.unwrap(), None);
    let others = Idempotency { token: TokenId(2), ..idempotency };
    assert_eq!(world.store.earlier_submit(&others).await.unwrap(), None);
}

#[tokio::test]
async fn many_submits_with_one_key_at_once_make_one_job() {
    let world = World::new().await;
    let submits = (0..20).map(|_| {
        let store = world.store.clone();
        tokio::spawn(async move { store.submit(with_key("key", "body")).await.unwrap() })
    });
    let mut answers = Vec::new();
    for submit in submits.collect::<Vec<_>>() {
        answers.push(submit.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.accepted == answers[0].accepted));
    assert_eq!(world.store.jobs(all_jobs()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_key_with_another_body_is_refused() {
    let world = World::new().await;
    world.store.submit(with_key("key", "body")).await.unwrap();
    assert!(matches!(world.store.submit(with_key("key", "other body")).await, Err(SubmitError::KeyReused)));
    assert_eq!(world.store.jobs(all_jobs()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn an_old_key_is_forgotten() {
    let world = World::new().await;
    world.store.submit(with_key("key", "body")).await.unwrap();
    assert_eq!(world.store.forget_idempotency_keys(Timestamp::now()).await.unwrap(), 0);
    let in_a_month = Timestamp(Timestamp::now().0 + 30 * 24 * 3_600_000);
    assert_eq!(world.store.forget_idempotency_keys(in_a_month).await.unwrap(), 1);
    assert!(!world.store.submit(with_key("key", "other body")).await.unwrap().replayed);
}

fn inline(problem: serde_json::Value) -> NewJob {
    let spec = json!({"kind": "regression", "problem": problem, "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 10});
    let spec = Spec::from_value(spec, "/spec").unwrap();
    NewJob { runs: vec![NewRun { spec, ..new_run() }], ..job(0) }
}

fn problem_of(spec: &Spec) -> &trainyard_wire::spec::regression::ProblemSpec {
    spec.problem().unwrap()
}

#[tokio::test]
async fn every_kind_of_run_on_a_problem_shares_its_numbers() {
    let world = World::new().await;
    let numbers = json!({"source": "inline", "x": [[2.0, 0.1], [1e-300, -3.0]], "t": [2.0, 0.3]});
    let regression = world.store.submit(inline(numbers.clone())).await.unwrap().accepted.run_ids[0];
    let mut ids = vec![regression];
    for problem in [numbers, json!({"source": "inline", "sha256": problem_of(&world.run(regression).await.spec).sha256})] {
        let spec = json!({"kind": "hypergradient", "problem": problem, "inner_steps": 2, "learning_rate": 0.1});
        let run = NewRun { spec: Spec::from_value(spec, "/spec").unwrap(), ..new_run() };
        let job = NewJob { kind: Kind::Hypergradient, runs: vec![run], ..job(0) };
        ids.push(world.store.submit(job).await.unwrap().accepted.run_ids[0]);
    }
    for id in &ids[1..] {
        assert_eq!(problem_of(&world.run(*id).await.spec), problem_of(&world.run(regression).await.spec));
    }
    let listed = world.store.runs(RunFilter { kind: Some(Kind::Hypergradient), ..all_runs() }).await.unwrap().items;
    assert!(listed.len() == 2 && listed.iter().all(|run| problem_of(&run.spec).x.is_none()), "{listed:?}");
}

#[tokio::test]
async fn the_numbers_of_an_inline_problem_are_stored_once_and_left_out_of_lists() {
    let world = World::new().await;
    let numbers = json!({"source": "inline", "x": [[2.0, 0.1], [1e-300, -3.0]], "t": [2.0, 0.3]});
    let id = world.store.submit(inline(numbers.clone())).await.unwrap().accepted.run_ids[0];

    let listed = world.store.runs(all_runs()).await.unwrap().items.remove(0);
    let problem = problem_of(&listed.spec);
    assert_eq!((&problem.x, &problem.t, problem.n, problem.d), (&None, &None, Some(2), Some(2)));
    let sha256 = problem.sha256.clone().unwrap();

    let run = world.run(id).await;
    let problem = problem_of(&run.spec);
    assert_eq!(problem.x, Some(vec![vec![2.0, 0.1], vec![1e-300, -3.0]]));
    assert_eq!(problem.t, Some(vec![2.0, 0.3]));
    assert_eq!(world.claim().await.spec, run.spec);

    // By its hash alone, and with the numbers beside the right hash.
    let by_hash = world.store.submit(inline(json!({"source": "inline", "sha256": sha256}))).await.unwrap().accepted.run_ids[0];
    assert_eq!(world.run(by_hash).await.spec, run.spec);
    world.store.submit(inline(json!({"source": "inline", "x": numbers["x"], "t": numbers["t"], "sha256": sha256}))).await.unwrap();
    assert_eq!(world.store.problem(&sha256).await.unwrap().unwrap().t, [2.0, 0.3]);
}

#[tokio::test]
async fn an_unknown_or_a_wrong_hash_of_a_problem_is_refused() {
    let world = World::new().await;
    let unknown = world.store.submit(inline(json!({"source": "inline", "sha256": "00"}))).await;
    assert!(matches!(unknown, Err(SubmitError::UnknownProblem { sha256 }) if sha256 == "00"));
    let wrong = world.store.submit(inline(json!({"source": "inline", "x": [[1.0]], "t": [1.0], "sha256": "00"}))).await;
    assert!(matches!(wrong, Err(SubmitError::ProblemMismatch { given, .. }) if given == "00"));
    assert!(world.store.jobs(all_jobs()).await.unwrap().items.is_empty());
    assert!(world.store.runs(all_runs()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages() {
    let world = World::new().await;
    let submitted = world.submit_many(7).await.run_ids;
    let (mut listed, mut before) = (Vec::new(), None);
    loop {
        let page = world.store.runs(RunFilter { before, limit: 3, ..all_runs() }).await.unwrap();
        assert!(page.items.len() <= 3);
        before = page.items.last().map(|run| run.id);
        listed.extend(ids(&page.items));
        if !page.more {
            break;
        }
    }
    assert_eq!(listed, submitted.into_iter().rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn filters_narrow_the_lists() {
    let world = World::new().await;
    let first = world.submit_many(2).await;
    let second = world.submit_many(1).await;
    let claimed = world.claim().await;
    let runs = async |filter| ids(&world.store.runs(filter).await.unwrap().items);
    assert_eq!(runs(RunFilter { state: Some(RunState::Running), ..all_runs() }).await, [claimed.run_id]);
    assert_eq!(runs(RunFilter { job: Some(first.id), ..all_runs() }).await, [first.run_ids[1], first.run_ids[0]]);
    let queued_of_first = RunFilter { job: Some(first.id), state: Some(RunState::Queued), ..all_runs() };
    assert_eq!(runs(queued_of_first).await, [first.run_ids[1]]);
    assert_eq!(runs(RunFilter { kind: Some(Kind::Colourization), ..all_runs() }).await, []);
    assert_eq!(runs(RunFilter { kind: Some(Kind::Regression), state: Some(RunState::Failed), ..all_runs() }).await, []);
    let by_id = world.store.runs_by_id(&[second.run_ids[0], RunId(99), first.run_ids[0]]).await.unwrap();
    assert_eq!(ids(&by_id), [first.run_ids[0], second.run_ids[0]]);
    assert_eq!(world.store.run_counts().await.unwrap(), [(RunState::Queued, 2), (RunState::Running, 1)].into());

    let jobs = async |filter| world.store.jobs(filter).await.unwrap().items.iter().map(|job: &Job| job.id).collect::<Vec<_>>();
    assert_eq!(jobs(all_jobs()).await, [second.id, first.id]);
    assert_eq!(jobs(JobFilter { state: Some(RunState::Running), ..all_jobs() }).await, [first.id]);
    let job = world.store.job(first.id).await.unwrap().unwrap();
    assert_eq!((job.run_ids, job.run_count), (first.run_ids, 2));
    assert_eq!(job.states, [(RunState::Queued, 1), (RunState::Running, 1)].into());
}
