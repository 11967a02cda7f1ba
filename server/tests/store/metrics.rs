//! Histories of metrics: exact, bounded, summarized.

use std::collections::BTreeSet;

use trainyard_server::store::{BucketQuery, MetricQuery};
use trainyard_wire::metric::{Bucket, MetricSummary, Series};
use trainyard_wire::worker::{ClaimedRun, Report};
use trainyard_wire::{Number, Revision};

use crate::world::{TOKEN, World, batch, report};

async fn tell(world: &World, claimed: &ClaimedRun, name: &str, points: &[(u64, f64)]) {
    let report = Report { metrics: vec![batch(name, points)], ..report(claimed.attempt) };
    world.store.report(TOKEN, claimed.run_id, report).await.unwrap();
}

async fn ask(world: &World, claimed: &ClaimedRun, query: MetricQuery) -> Vec<Series> {
    let page = world.store.metrics(claimed.run_id, query).await.unwrap().unwrap();
    assert_eq!(page.next, None);
    page.history.series
}

fn all() -> MetricQuery {
    MetricQuery { limit: 100_000, ..MetricQuery::default() }
}

fn steps(series: &Series) -> Vec<u64> {
    series.points.iter().map(|point| point.step).collect()
}

#[tokio::test]
async fn every_double_comes_back_as_the_same_bits() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let mut values = vec![f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE, f64::EPSILON, 0.1, 1e-8, 5e-324];
    // A linear congruential generator over all bit patterns.
    let mut bits = 1u64;
    while values.len() < 20_000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = f64::from_bits(bits ^ (bits >> 29));
        if !value.is_nan() {
            values.push(value);
        }
    }
    let points: Vec<_> = values.iter().enumerate().map(|(step, value)| (step as u64, *value)).collect();
    tell(&world, &claimed, "loss", &points).await;
    let series = ask(&world, &claimed, all()).await;
    let different: Vec<_> =
        series[0].points.iter().zip(&values).filter(|(point, value)| point.value.0.to_bits() != value.to_bits()).take(5).collect();
    assert_eq!(series[0].points.len(), values.len());
    assert!(different.is_empty(), "{different:?}");
}

#[tokio::test]
async fn nan_and_the_infinities_survive_and_nan_stays_out_of_minimum_and_maximum() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    tell(&world, &claimed, "loss", &[(0, f64::NAN)]).await;
    let summary = world.run(claimed.run_id).await.summary["loss"].clone();
    assert!(summary.last.0.is_nan() && summary.min.0.is_nan() && summary.max.0.is_nan());

    tell(&world, &claimed, "loss", &[(1, 3.0), (2, f64::INFINITY), (3, f64::NEG_INFINITY), (4, 1.0)]).await;
    let summary = world.run(claimed.run_id).await.summary["loss"].clone();
    let (min, max) = (Number(f64::NEG_INFINITY), Number(f64::INFINITY));
    assert_eq!(summary, MetricSummary { last: Number(1.0), last_step: 4, min, max });

    tell(&world, &claimed, "loss", &[(5, f64::NAN)]).await;
    let summary = world.run(claimed.run_id).await.summary["loss"].clone();
    assert!(summary.last.0.is_nan());
    assert_eq!((summary.last_step, summary.min, summary.max), (5, min, max));
    assert!(ask(&world, &claimed, all()).await[0].points[0].value.0.is_nan());
}

#[tokio::test]
async fn a_point_that_is_there_already_is_kept_as_it_was() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    tell(&world, &claimed, "loss", &[(0, 5.0), (2, 3.0)]).await;
    tell(&world, &claimed, "loss", &[(0, 9.0), (1, 4.0), (2, -9.0)]).await;
    let series = ask(&world, &claimed, all()).await;
    assert_eq!(series[0].points.iter().map(|point| (point.step, point.value.0)).collect::<Vec<_>>(), [(0, 5.0), (1, 4.0), (2, 3.0)]);
    let summary = world.run(claimed.run_id).await.summary["loss"].clone();
    assert_eq!(summary, MetricSummary { last: Number(3.0), last_step: 2, min: Number(3.0), max: Number(5.0) });
}

#[tokio::test]
async fn a_poller_gets_only_what_is_newer_than_its_revision() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    tell(&world, &claimed, "loss", &[(0, 1.0), (10, 2.0)]).await;
    let revision = world.store.revision();
    tell(&world, &claimed, "accuracy", &[(1, 0.5)]).await;
    // New points may come at steps before known ones.
    tell(&world, &claimed, "loss", &[(5, 1.5), (10, 2.0), (11, 3.0)]).await;
    let series = ask(&world, &claimed, MetricQuery { after_revision: Some(revision), ..all() }).await;
    assert_eq!(
        series.iter().map(|series| (series.name.as_str(), steps(series))).collect::<Vec<_>>(),
        [("accuracy", vec![1]), ("loss", vec![5, 11])]
    );
    let now = world.store.metrics(claimed.run_id, all()).await.unwrap().unwrap().history.revision;
    assert_eq!(now, world.store.revision());
    assert_eq!(ask(&world, &claimed, MetricQuery { after_revision: Some(now), ..all() }).await, []);
}

#[tokio::test]
async fn a_poller_gets_what_is_new_to_it_before_and_after_a_series_grows_long() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    // Every second report is behind the one before it, and each brings two points that are there already.
    let reports: Vec<Vec<u64>> = (0..12_u64).map(|report| (0..120).map(|point| (report ^ 1) * 118 + point).collect()).collect();
    let mut told: Vec<(Revision, Vec<u64>)> = Vec::new();
    for report in &reports {
        let known: BTreeSet<u64> = told.iter().flat_map(|(_, steps)| steps).copied().collect();
        let before = world.store.revision();
        tell(&world, &claimed, "loss", &report.iter().map(|step| (*step, *step as f64)).collect::<Vec<_>>()).await;
        told.push((before, report.iter().copied().filter(|step| !known.contains(step)).collect()));
        for (index, (revision, _)) in told.iter().enumerate() {
            let series = ask(&world, &claimed, MetricQuery { after_revision: Some(*revision), ..all() }).await;
            let mut new: Vec<u64> = told[index..].iter().flat_map(|(_, steps)| steps).copied().collect();
            new.sort_unstable();
            assert_eq!(steps(&series[0]), new, "after revision {revision} of {} reports", told.len());
        }
        let summary = world.run(claimed.run_id).await.summary["loss"].clone();
        let last = told.iter().flat_map(|(_, steps)| steps).max().copied().unwrap();
        let first = told.iter().flat_map(|(_, steps)| steps).min().copied().unwrap();
        assert_eq!((summary.last_step, summary.last.0, summary.min.0), (last, last as f64, first as f64));
    }
}

#[tokio::test]
async fn pages_of_any_size_add_up_to_the_whole() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    for name in ["a", "b", "c"] {
        tell(&world, &claimed, name, &[(0, 1.0), (3, 2.0), (7, 3.0), (9, 4.0)]).await;
    }
    let whole: Vec<_> = ask(&world, &claimed, all())
        .await
        .into_iter()
        .flat_map(|series| series.points.into_iter().map(move |point| (series.name.clone(), point.step)))
        .collect();
    assert_eq!(whole.len(), 12);
    for limit in 1..=13 {
        let (mut paged, mut cursor) = (Vec::new(), None);
        loop {
            let query = MetricQuery { limit, cursor, ..MetricQuery::default() };
            let page = world.store.metrics(claimed.run_id, query).await.unwrap().unwrap();
            let count: usize = page.history.series.iter().map(|series| series.points.len()).sum();
            assert!(count <= limit as usize);
            for series in page.history.series {
                paged.extend(series.points.into_iter().map(|point| (series.name.clone(), point.step)));
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(paged, whole, "limit {limit}");
    }
}

#[tokio::test]
async fn names_and_steps_narrow_a_history() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    for name in ["a", "b", "c"] {
        tell(&world, &claimed, name, &[(0, 1.0), (3, 2.0), (7, 3.0)]).await;
    }
    let query = MetricQuery { names: vec!["c".to_owned(), "a".to_owned()], from: Some(3), to: Some(6), ..all() };
    let series = ask(&world, &claimed, query).await;
    assert_eq!(series.iter().map(|series| (series.name.as_str(), steps(series))).collect::<Vec<_>>(), [("a", vec![3]), ("c", vec![3])]);
    assert_eq!(world.store.metrics(trainyard_wire::RunId(99), all()).await.unwrap(), None);
}

#[tokio::test]
async fn buckets_hold_minimum_maximum_first_last_and_count() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    tell(&world, &claimed, "loss", &[(0, 4.0), (1, 9.0), (4, 2.0), (5, f64::NAN), (20, 1.0), (29, 0.5)]).await;
    let query = BucketQuery { buckets: 3, ..BucketQuery::default() };
    let history = world.store.metric_buckets(claimed.run_id, query.clone()).await.unwrap().unwrap();
    assert_eq!(history.revision, world.store.revision());
    let mut buckets = history.series[0].buckets.clone();
    assert!(buckets[0].last.0.is_nan());
    buckets[0].last = Number(0.0);
    let bucket = |steps: (u64, u64), ends: (f64, f64), extremes: (f64, f64), count| Bucket {
        first_step: steps.0,
        last_step: steps.1,
        first: Number(ends.0),
        last: Number(ends.1),
        min: Number(extremes.0),
        max: Number(extremes.1),
        count,
    };
    assert_eq!(buckets, [bucket((0, 5), (4.0, 0.0), (2.0, 9.0), 4), bucket((20, 29), (1.0, 0.5), (0.5, 1.0), 2)]);

    let one = BucketQuery { from: Some(1), to: Some(4), buckets: 1, ..query };
    let history = world.store.metric_buckets(claimed.run_id, one).await.unwrap().unwrap();
    assert_eq!(history.series[0].buckets, [bucket((1, 4), (9.0, 2.0), (2.0, 9.0), 2)]);
}

#[tokio::test]
async fn a_chart_of_any_stretch_and_width_sums_up_the_very_points_that_are_in_it() {
    // Over all levels of blocks, in reports that make the series long at once or little by little; and one that stays short.
    for (points, points_of_a_report) in [(30_000, 1777), (9_000, 97), (450, 50)] {
        charts_sum_up(points, points_of_a_report).await;
    }
}

async fn charts_sum_up(points: u64, points_of_a_report: usize) {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    // Out of order, with gaps, and a report that comes twice.
    let steps: Vec<u64> = (0..points).map(|index| index * 3 + index % 2).filter(|step| step % 1000 > 40).collect();
    let value = |step: u64| ((step * 7919) % 10_007) as f64 / 17.0;
    let batches: Vec<Vec<(u64, f64)>> =
        steps.chunks(points_of_a_report).map(|steps| steps.iter().map(|step| (*step, value(*step))).collect()).collect();
    for batch in batches.iter().rev().chain(&batches[3..4]) {
        tell(&world, &claimed, "loss", batch).await;
    }
    for (from, to) in
        [(None, None), (Some(0), Some(90_000)), (Some(17), Some(4200)), (Some(4096), Some(8191)), (Some(50_000), None), (None, Some(60))]
    {
        for buckets in [1, 3, 20, 250, 5000] {
            let query = BucketQuery { names: vec!["loss".to_owned()], from, to, buckets };
            let history = world.store.metric_buckets(claimed.run_id, query.clone()).await.unwrap().unwrap();
            assert_eq!(history, world.store.metric_buckets(claimed.run_id, query).await.unwrap().unwrap());
            let none = Vec::new();
            let charted = history.series.first().map_or(&none, |series| &series.buckets);
            assert!(charted.len() <= buckets as usize, "{from:?} to {to:?} in {buckets}: {}", charted.len());
            let mut asked =
                steps.iter().copied().filter(|step| from.is_none_or(|from| *step >= from) && to.is_none_or(|to| *step <= to)).peekable();
            for bucket in charted {
                let mut within = Vec::new();
                while let Some(step) = asked.next_if(|step| *step <= bucket.last_step) {
                    within.push(step);
                }
                let values = || within.iter().map(|step| value(*step));
                let expected = Bucket {
                    first_step: within[0],
                    last_step: within[within.len() - 1],
                    first: Number(value(within[0])),
                    last: Number(value(within[within.len() - 1])),
                    min: Number(values().fold(f64::INFINITY, f64::min)),
                    max: Number(values().fold(f64::NEG_INFINITY, f64::max)),
                    count: within.len() as u64,
                };
                assert_eq!(*bucket, expected, "{from:?} to {to:?} in {buckets}");
            }
            assert_eq!(asked.next(), None, "{from:?} to {to:?} in {buckets}");
        }
    }
}

#[tokio::test]
async fn the_revision_counts_up_with_every_visible_change() {
    let world = World::new().await;
    let watch = world.store.revision_watch();
    assert_eq!(world.store.revision(), Revision(0));
    let claimed = world.submit_and_claim().await;
    let before = world.store.revision();
    tell(&world, &claimed, "loss", &[(0, 1.0)]).await;
    assert_eq!(world.store.revision(), Revision(before.0 + 1));
    assert_eq!(*watch.borrow(), world.store.revision());
    assert_eq!(world.store.run_revision(claimed.run_id).await.unwrap(), Some(world.store.revision()));
}
