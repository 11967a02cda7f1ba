//! Finding runs: every filter, every order, pages, views.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use trainyard_wire::client::RunQuery;
use trainyard_wire::worker::{Finish, Outcome, Report};
use trainyard_wire::{RunId, RunState};

use super::worker_protocol::{Worker, report, series};
use super::world::{Answer, World, colourization, regression, with};

/// Eight runs: six regressions over learning rates, of which the first four are finished with a loss of 4/id (the fourth of NaN), and two
/// colourizations in a project of their own.
async fn eight_runs() -> World {
    let world = World::start().await;
    let rates = json!({"optimizer.learning_rate": [0.3, 0.1, 0.2, 0.4, 0.6, 0.5]});
    world.post("/v1/jobs", &with(regression(), "/sweep", rates)).await.expect(StatusCode::CREATED);
    let worker = Worker::register(&world).await;
    for _ in 0..4 {
        let claimed = worker.claim(0.0).await.remove(0);
        let last = if claimed.run_id == RunId(4) { f64::NAN } else { 4.0 / claimed.run_id.0 as f64 };
        let finish = Finish { outcome: Outcome::Succeeded, stop_reason: None, error: None, result: None };
        let told = Report { metrics: vec![series("loss", &[9.0, last])], finish: Some(finish), ..report(claimed.attempt) };
        worker.client.report(claimed.run_id, &told).await.unwrap();
    }
    let job = with(colourization(), "/project", json!("Colours"));
    let job = with(job, "/tags", json!({"palette": "24:rgb"}));
    let job = with(job, "/sweep", json!({"network.name": ["unet", "conv_transpose"]}));
    world.post("/v1/jobs", &job).await.expect(StatusCode::CREATED);
    world
}

async fn find(world: &World, query: &str) -> (Vec<i64>, String) {
    let answer = world.get(&format!("/v1/runs?{query}")).await;
    let total = answer.header("x-total-count").to_owned();
    let items = answer.expect(StatusCode::OK)["items"].as_array().unwrap().clone();
    (items.iter().map(|run| run["id"].as_i64().unwrap()).collect(), total)
}

#[tokio::test]
async fn every_filter_holds_alone_and_with_others() {
    let world = eight_runs().await;
    for (id, patch) in [(1, json!({"name": "Best one", "notes": "Looks FINE", "tags": {"keep": ""}})), (2, json!({"project": "Colours"}))] {
        Answer::of(world.request(Method::PATCH, &format!("/v1/runs/{id}")).json(&patch)).await.expect(StatusCode::OK);
    }
    for (query, expected) in [
        ("", &[8, 7, 6, 5, 4, 3, 2, 1][..]),
        ("state=succeeded", &[4, 3, 2, 1]),
        ("kind=colourization", &[8, 7]),
        ("job=1&state=queued", &[6, 5]),
        ("project=Colours", &[8, 7, 2]),
        ("project=", &[6, 5, 4, 3, 1]),
        ("tag=topic", &[6, 5, 4, 3, 2, 1]),
        ("tag=topic:rmsprop&tag=keep", &[1]),
        ("tag=palette:24:rgb", &[8, 7]),
        ("tag=palette:24", &[]),
        ("q=best", &[1]),
        ("q=fine", &[1]),
        ("q=7", &[7]),
        ("q=%25", &[]),
        ("optimizer=rmsprop&state=queued", &[6, 5]),
        ("optimizer=adam", &[8, 7]),
        ("network=unet", &[7]),
        ("metric=loss%3C2", &[3]),
        ("metric=loss%3C%3D2", &[3, 2]),
        ("metric=loss.max%3E%3D9", &[4, 3, 2, 1]),
        ("metric=loss%3E1&metric=loss%3C3", &[3, 2]),
        ("created_after=2000-01-01T00:00:00Z&state=queued&kind=regression", &[6, 5]),
        ("created_before=2000-01-01T00:00:00Z", &[]),
    ] {
        let (found, total) = find(&world, query).await;
        assert_eq!((found.as_slice(), total), (expected, expected.len().to_string()), "{query}");
    }
}

#[tokio::test]
async fn every_order_goes_both_ways_with_what_is_missing_last() {
    let world = eight_runs().await;
    Answer::of(world.request(Method::PATCH, "/v1/runs/3").json(&json!({"name": "a first"}))).await.expect(StatusCode::OK);
    for (sort, up, down) in [
        ("created", &[1, 2, 3, 4, 5, 6, 7, 8][..], &[8, 7, 6, 5, 4, 3, 2, 1][..]),
        ("name", &[3, 1, 2, 4, 5, 6, 7, 8], &[6, 5, 4, 2, 1, 3, 8, 7]),
        ("state", &[5, 6, 7, 8, 1, 2, 3, 4], &[4, 3, 2, 1, 8, 7, 6, 5]),
        ("kind", &[7, 8, 1, 2, 3, 4, 5, 6], &[6, 5, 4, 3, 2, 1, 8, 7]),
        ("project", &[7, 8, 1, 2, 3, 4, 5, 6], &[8, 7, 6, 5, 4, 3, 2, 1]),
        ("metric.loss.last", &[3, 2, 1, 4, 5, 6, 7, 8], &[1, 2, 3, 8, 7, 6, 5, 4]),
        ("param.optimizer.learning_rate", &[7, 8, 2, 3, 1, 4, 6, 5], &[5, 6, 4, 1, 3, 2, 8, 7]),
        ("param.network.name", &[8, 7, 1, 2, 3, 4, 5, 6], &[7, 8, 6, 5, 4, 3, 2, 1]),
    ] {
        assert_eq!(find(&world, &format!("sort={sort}")).await.0, up, "{sort}");
        assert_eq!(find(&world, &format!("sort=-{sort}")).await.0, down, "-{sort}");
        // Page after page it is the same.
        for (sort, expected) in [(sort.to_owned(), up), (format!("-{sort}"), down)] {
            let (client, mut next, mut paged) = (world.client(), None, Vec::new());
            loop {
                let query = RunQuery { sort: Some(sort.clone()), limit: Some(3), ..RunQuery::default() };
                let page = client.run_page(&query, next.as_ref()).await.unwrap();
                assert_eq!(page.total, Some(8));
                paged.extend(page.items.iter().map(|run| run.id.0));
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
            assert_eq!(paged, expected, "{sort} in pages");
        }
    }
    assert_eq!(find(&world, "sort=-duration").await.0.len(), 8);
    assert_eq!(find(&world, "sort=-progress").await.0.len(), 8);
}

#[tokio::test]
async fn a_query_that_says_nothing_is_refused_with_its_parameter() {
    let world = World::start().await;
    for (query, pointer) in [
        ("state=lost", "?state"),
        ("sort=colour", "?sort"),
        ("metric=loss", "?metric"),
        ("archived=maybe", "?archived"),
        ("created_after=now", "?created_after"),
        ("q=", "?q"),
        ("colour=red", "?colour"),
        ("cursor=made-up", "?cursor"),
    ] {
        let answer = world.get(&format!("/v1/runs?{query}")).await;
        assert_eq!((answer.status, answer.pointer()), (StatusCode::BAD_REQUEST, pointer.to_owned()), "{query}");
    }
}

#[tokio::test]
async fn projects_count_their_runs_by_state() {
    let world = eight_runs().await;
    Answer::of(world.request(Method::PATCH, "/v1/runs/1").json(&json!({"project": "alpha"}))).await.expect(StatusCode::OK);
    Answer::of(world.request(Method::PATCH, "/v1/runs/8").json(&json!({"archived": true}))).await.expect(StatusCode::OK);
    let answer = world.get("/v1/projects").await;
    let tag = answer.header("etag").to_owned();
    let expected = json!([
        {"name": "alpha", "run_count": 1, "states": {"succeeded": 1}, "archived_count": 0},
        {"name": "Colours", "run_count": 1, "states": {"queued": 1}, "archived_count": 1},
    ]);
    assert_eq!(answer.expect(StatusCode::OK)["items"], expected);
    let again = Answer::of(world.request(Method::GET, "/v1/projects").header("if-none-match", tag)).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_view_keeps_a_query_of_the_list() {
    let world = World::start().await;
    let client = world.client();
    let view = client.put_view("failed / slow", "state=failed&sort=-duration").await.unwrap();
    assert_eq!(view.created_at, view.updated_at);
    let path = "/v1/views/failed%20%2F%20slow";
    let put = async |body: Value| Answer::of(world.request(Method::PUT, path).json(&body)).await;
    assert_eq!(put(json!({"query": "state=failed&sort=-duration"})).await.status, StatusCode::OK);
    assert_eq!(put(json!({"query": "tag=keep"})).await.expect(StatusCode::OK)["query"], "tag=keep");
    for (wrong, pointer) in [
        (json!({"query": "state=lost"}), "/query"),
        (json!({"query": "colour=red"}), "/query"),
        (json!({"query": 1}), "/query"),
        (json!({"query": "", "more": 1}), "/more"),
    ] {
        let answer = put(wrong.clone()).await;
        assert_eq!((answer.status, answer.pointer()), (StatusCode::UNPROCESSABLE_ENTITY, pointer.to_owned()), "{wrong}");
    }
    client.put_view("All", "").await.unwrap();
    let names: Vec<String> = client.views().await.unwrap().items.into_iter().map(|view| view.name).collect();
    assert_eq!(names, ["All", "failed / slow"]);
    client.delete_view("failed / slow").await.unwrap();
    assert_eq!(client.delete_view("failed / slow").await.unwrap_err().status(), Some(StatusCode::NOT_FOUND));
    assert_eq!(client.runs(&RunQuery { state: Some(RunState::Failed), ..RunQuery::default() }).await.unwrap().items, []);
}
