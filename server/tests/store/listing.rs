//! Finding runs among ten thousand.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use trainyard_server::store::{NewJob, NewRun, RunSearch, Shelves, Sort, SortKey, Statistic, TagFilter};
use trainyard_wire::worker::{Outcome, Report};
use trainyard_wire::{RunId, RunState};

use crate::world::{TOKEN, World, batch, finish, job, new_run};

const RUNS: i64 = 10_000;

/// A store of ten thousand runs, of which every fifth has succeeded with a loss.
async fn filled() -> World {
    let world = World::new().await;
    for sweep in 0..RUNS / 1000 {
        let run = NewRun { small: true, ..new_run() };
        let tags = [("sweep".to_owned(), sweep.to_string())].into();
        let project = (sweep % 2 == 0).then(|| format!("project {sweep}"));
        let job = NewJob { name: Some(format!("sweep {sweep}")), tags, project, runs: vec![run; 1000], ..job(0) };
        world.store.submit(job).await.unwrap();
    }
    for _ in 0..RUNS / 5 / 500 {
        let claimed = world.try_claim(500).await;
        let reports = claimed.iter().map(|run| {
            let value = ((run.run_id.0 * 7919) % 1009) as f64;
            Report { metrics: vec![batch("loss", &[(1, value)])], ..finish(run.attempt, Outcome::Succeeded) }
        });
        let reports = futures::future::join_all(claimed.iter().zip(reports).map(|(run, told)| world.store.report(TOKEN, run.run_id, told)));
        assert!(reports.await.iter().all(Result::is_ok));
    }
    world
}

fn by(key: SortKey, descending: bool) -> RunSearch {
    RunSearch { sort: Sort { key, descending }, limit: 1000, ..RunSearch::default() }
}

#[tokio::test]
async fn among_ten_thousand_runs_pages_hold_each_once_in_every_order() {
    let world = filled().await;
    let loss = |statistic| SortKey::Metric { name: "loss".to_owned(), statistic };
    let rate = SortKey::Parameter("$.\"optimizer\".\"learning_rate\"".to_owned());
    let mut slowest = Duration::ZERO;
    for (key, descending) in [
        (SortKey::Created, true),
        (SortKey::Created, false),
        (SortKey::Name, false),
        (SortKey::State, true),
        (SortKey::Project, false),
        (SortKey::Duration, true),
        (SortKey::Progress, true),
        (loss(Statistic::Last), false),
        (loss(Statistic::Max), true),
        (rate, false),
    ] {
        let mut search = by(key.clone(), descending);
        let (mut seen, mut losses) = (BTreeSet::new(), Vec::new());
        loop {
            let begun = Instant::now();
            let page = world.store.find_runs(&search).await.unwrap();
            slowest = slowest.max(begun.elapsed());
            assert_eq!(page.total, Some(RUNS as u64), "{key:?}");
            losses.extend(page.runs.iter().filter_map(|run| run.summary.get("loss")).map(|summary| summary.last.0));
            assert!(page.runs.iter().all(|run| seen.insert(run.id)), "{key:?}");
            let Some(next) = page.next else { break };
            search.after = Some(next);
        }
        assert_eq!(seen.len() as i64, RUNS, "{key:?}");
        if matches!(key, SortKey::Metric { .. }) {
            assert!(losses.is_sorted_by(|one, next| if descending { one >= next } else { one <= next }), "{key:?}");
        }
    }
    println!("the slowest page of a thousand took {slowest:?}");

    let filtered = RunSearch {
        tags: vec![TagFilter { key: "sweep".to_owned(), value: Some("4".to_owned()) }],
        text: Some("EEP 4".to_owned()),
        project: Some("project 4".to_owned()),
        state: Some(RunState::Queued),
        shelves: Shelves::ALL,
        limit: 50,
        ..by(SortKey::Name, false)
    };
    let begun = Instant::now();
    let page = world.store.find_runs(&filtered).await.unwrap();
    println!("fifty with all filters took {:?}", begun.elapsed());
    assert_eq!((page.total, page.runs.len()), (Some(1000), 50));
    assert_eq!(page.runs[0].id, RunId(4001));

    let begun = Instant::now();
    let page = world.store.find_runs(&RunSearch { limit: 50, ..RunSearch::default() }).await.unwrap();
    println!("the newest fifty took {:?}", begun.elapsed());
    assert_eq!((page.runs[0].id, page.total), (RunId(RUNS), Some(RUNS as u64)));
    let begun = Instant::now();
    let projects = world.store.projects().await.unwrap();
    println!("the projects took {:?}", begun.elapsed());
    assert_eq!(projects.iter().map(|project| project.run_count).sum::<u64>() as i64, RUNS / 2);
}
