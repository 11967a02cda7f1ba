//! Names, projects, tags, notes, the archive, deleting with undo, and acting on many runs.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use trainyard_wire::annotation::{ActOutcome, BulkAction, RunPatch, RunsAction};
use trainyard_wire::{RunId, RunState};

use super::world::{Answer, World, regression, with};

async fn patch(world: &World, id: i64, patch: Value) -> Answer {
    Answer::of(world.request(Method::PATCH, &format!("/v1/runs/{id}")).json(&patch)).await
}

async fn kinds(world: &World, id: i64) -> Vec<String> {
    let events = world.get(&format!("/v1/runs/{id}/events")).await.expect(StatusCode::OK);
    events["items"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

async fn delete(world: &World, id: i64) -> Answer {
    Answer::of(world.request(Method::DELETE, &format!("/v1/runs/{id}"))).await
}

async fn cancelled(world: &World) -> i64 {
    let id = world.submit_run().await;
    world.post(&format!("/v1/runs/{id}/cancel"), &json!(null)).await.expect(StatusCode::OK);
    id
}

#[tokio::test]
async fn a_run_has_what_its_job_says_until_it_is_given_something_of_its_own() {
    let world = World::start().await;
    let job = with(regression(), "/project", json!("alpha"));
    let job = with(job, "/sweep", json!({"seed": [0, 1]}));
    let accepted = world.post("/v1/jobs", &job).await.expect(StatusCode::CREATED);
    let (first, second) = (accepted["run_ids"][0].as_i64().unwrap(), accepted["run_ids"][1].as_i64().unwrap());
    assert_eq!(world.get(&format!("/v1/jobs/{}", accepted["id"])).await.expect(StatusCode::OK)["project"], "alpha");

    let changes = json!({"name": "best", "project": "beta", "notes": "line\nline", "tags": {"keep": "", "topic": null}});
    let answer = patch(&world, first, changes.clone()).await;
    let tag = answer.header("etag").to_owned();
    let run = answer.expect(StatusCode::OK);
    assert_eq!((&run["name"], &run["project"], &run["notes"]), (&json!("best"), &json!("beta"), &json!("line\nline")));
    assert_eq!((&run["tags"], tag), (&json!({"keep": ""}), format!("W/\"{}\"", run["revision"])));
    let other = world.get(&format!("/v1/runs/{second}")).await.expect(StatusCode::OK);
    assert_eq!((&other["name"], &other["project"]), (&json!("counterexample"), &json!("alpha")));
    assert_eq!((&other["tags"], &other["notes"]), (&json!({"topic": "rmsprop"}), &Value::Null));

    // What is so already takes no revision.
    let again = patch(&world, first, changes).await.expect(StatusCode::OK);
    assert_eq!(again["revision"], run["revision"]);
    let back = patch(&world, first, json!({"name": null, "project": null, "notes": null, "tags": {"keep": null}})).await;
    let back = back.expect(StatusCode::OK);
    assert_eq!((&back["name"], &back["project"], &back["notes"]), (&json!("counterexample"), &Value::Null, &Value::Null));
    assert_eq!(back["tags"], json!({}));
    assert_eq!(kinds(&world, first).await, ["queued", "annotated", "annotated"]);
    let events = world.get(&format!("/v1/runs/{first}/events")).await.expect(StatusCode::OK);
    assert_eq!(events["items"][1]["detail"], json!({"changed": ["name", "project", "tags", "notes"]}));
}

#[tokio::test]
async fn a_patch_is_strict_and_points_at_what_is_wrong() {
    let world = World::start().await;
    let id = world.submit_run().await;
    for (wrong, pointer) in [
        (json!({"name": ""}), "/name"),
        (json!({"name": 1}), "/name"),
        (json!({"project": " x"}), "/project"),
        (json!({"tags": null}), "/tags"),
        (json!({"tags": {"a": "b".repeat(501)}}), "/tags/a"),
        (json!({"archived": null}), "/archived"),
        (json!({"state": "failed"}), "/state"),
        (json!({"notes": "n".repeat(20_001)}), "/notes"),
    ] {
        let answer = patch(&world, id, wrong.clone()).await;
        assert_eq!((answer.status, answer.pointer()), (StatusCode::UNPROCESSABLE_ENTITY, pointer.to_owned()), "{wrong}");
    }
    let most: serde_json::Map<String, Value> = (0..64).map(|tag| (format!("tag {tag}"), json!(""))).collect();
    let answer = patch(&world, id, json!({ "tags": most })).await;
    assert_eq!((answer.status, answer.pointer()), (StatusCode::UNPROCESSABLE_ENTITY, "/tags".to_owned()));
    assert_eq!(kinds(&world, id).await, ["queued"]);
    let wrong = world.post("/v1/jobs", &with(regression(), "/project", json!(""))).await;
    assert_eq!((wrong.status, wrong.pointer()), (StatusCode::UNPROCESSABLE_ENTITY, "/project".to_owned()));
    // The media type of merge patches is one of JSON.
    let merge = world.request(Method::PATCH, &format!("/v1/runs/{id}")).header("content-type", "application/merge-patch+json");
    assert_eq!(Answer::of(merge.body(r#"{"notes": "n"}"#)).await.expect(StatusCode::OK)["notes"], "n");
}

#[tokio::test]
async fn an_archived_run_is_left_out_of_lists_and_of_nothing_else() {
    let world = World::start().await;
    let (one, other) = (world.submit_run().await, world.submit_run().await);
    let run = patch(&world, one, json!({"archived": true})).await.expect(StatusCode::OK);
    assert!(run["archived_at"].is_string());
    let ids = async |query: &str| -> Vec<i64> {
        let list = world.get(&format!("/v1/runs?{query}")).await.expect(StatusCode::OK);
        list["items"].as_array().unwrap().iter().map(|run| run["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids("").await, [other]);
    assert_eq!(ids("archived=false&sort=created").await, [other]);
    assert_eq!(ids("archived=true").await, [one]);
    assert_eq!(ids("archived=all").await, [other, one]);
    assert_eq!(ids("archived=all&state=queued&sort=name").await, [one, other]);
    assert_eq!(world.get(&format!("/v1/runs/{one}")).await.status, StatusCode::OK);
    patch(&world, one, json!({"archived": true})).await.expect(StatusCode::OK);
    patch(&world, one, json!({"archived": false})).await.expect(StatusCode::OK);
    assert_eq!(ids("").await, [other, one]);
    assert_eq!(kinds(&world, one).await, ["queued", "archived", "unarchived"]);
}

#[tokio::test]
async fn a_deleted_run_is_hidden_from_everything_until_it_is_restored() {
    let world = World::start().await;
    let queued = world.submit_run().await;
    assert_eq!(delete(&world, queued).await.status, StatusCode::CONFLICT);
    let id = cancelled(&world).await;
    let job = world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK)["job_id"].clone();
    assert_eq!(delete(&world, id).await.status, StatusCode::NO_CONTENT);
    let run = format!("/v1/runs/{id}");
    let gone = ["", "/events", "/logs", "/metrics", "/artifacts", "/artifacts/model.json", "/certificates", "/theory", "/verify"];
    for path in gone.map(|part| format!("{run}{part}")).into_iter().chain([
        format!("/v1/compare?runs={id}"),
        format!("/v1/events?runs={id}"),
        format!("/v1/jobs/{job}"),
    ]) {
        assert_eq!(world.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/v1/runs", "/v1/runs?archived=all&sort=created", &format!("/v1/runs?job={job}"), "/v1/jobs"] {
        let list = world.get(path).await.expect(StatusCode::OK);
        let listed =
            list["items"].as_array().unwrap().iter().any(|item| item["id"] == json!(id) || (path == "/v1/jobs" && item["id"] == job));
        assert!(!listed, "{path}");
    }
    for action in ["cancel", "pause", "resume", "retry", "verify"] {
        assert_eq!(world.post(&format!("{run}/{action}"), &json!(null)).await.status, StatusCode::NOT_FOUND, "{action}");
    }
    assert_eq!(delete(&world, id).await.status, StatusCode::NOT_FOUND);
    assert_eq!(patch(&world, id, json!({"notes": "n"})).await.status, StatusCode::NOT_FOUND);

    let restored = world.post(&format!("{run}/restore"), &json!(null)).await.expect(StatusCode::OK);
    assert_eq!(restored["state"], "cancelled");
    world.post(&format!("{run}/restore"), &json!(null)).await.expect(StatusCode::OK);
    assert_eq!(kinds(&world, id).await, ["queued", "cancelled", "deleted", "restored"]);
    assert_eq!(world.get(&format!("/v1/jobs/{job}")).await.expect(StatusCode::OK)["run_count"], 1);
    assert_eq!(world.post("/v1/runs/999/restore", &json!(null)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn many_runs_are_acted_on_each_for_itself() {
    let world = World::start().await;
    let client = world.client();
    let (queued, ended) = (world.submit_run().await, cancelled(&world).await);
    let runs = [queued, ended, 999].map(RunId).to_vec();
    let act = async |action| client.act_on_runs(&RunsAction::on(action, runs.clone())).await.unwrap().outcomes;
    let outcomes = async |action| act(action).await.into_iter().map(|acted| (acted.outcome, acted.state)).collect::<Vec<_>>();
    use ActOutcome::{Done, Missing, Refused, Unchanged};
    let missing = (Missing, None);
    let (is_queued, is_cancelled) = (Some(RunState::Queued), Some(RunState::Cancelled));
    assert_eq!(outcomes(BulkAction::Delete).await, [(Refused, is_queued), (Done, None), missing]);
    assert_eq!(outcomes(BulkAction::Delete).await, [(Refused, is_queued), (Unchanged, None), missing]);
    assert_eq!(outcomes(BulkAction::Retry).await, [(Unchanged, is_queued), missing, missing]);
    assert_eq!(outcomes(BulkAction::Restore).await, [(Unchanged, is_queued), (Done, is_cancelled), missing]);
    assert_eq!(outcomes(BulkAction::Archive).await, [(Done, is_queued), (Done, is_cancelled), missing]);
    assert_eq!(outcomes(BulkAction::Archive).await, [(Unchanged, is_queued), (Unchanged, is_cancelled), missing]);
    assert_eq!(outcomes(BulkAction::Unarchive).await, [(Done, is_queued), (Done, is_cancelled), missing]);
    let refused = act(BulkAction::Pause).await;
    assert_eq!((refused[0].state, refused[1].outcome), (Some(RunState::Paused), Refused));
    assert_eq!(refused[1].detail.as_deref(), Some("cannot pause a run that is cancelled"));
    assert_eq!(outcomes(BulkAction::Resume).await[0], (Done, is_queued));
    assert_eq!(outcomes(BulkAction::Cancel).await, [(Done, is_cancelled), (Unchanged, is_cancelled), missing]);

    for wrong in [json!({"action": "verify", "runs": [1]}), json!({"action": "pause", "runs": []}), json!({"action": "pause"})] {
        assert_eq!(world.post("/v1/runs/actions", &wrong).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}

#[tokio::test]
async fn tags_are_set_and_taken_away_on_many_runs_each_for_itself() {
    let world = World::start().await;
    let (one, full) = (world.submit_run().await, world.submit_run().await);
    let most: serde_json::Map<String, Value> = (0..63).map(|tag| (format!("tag {tag}"), json!(""))).collect();
    patch(&world, full, json!({ "tags": most })).await.expect(StatusCode::OK);
    let act = async |asked: Value| world.post("/v1/runs/actions", &asked).await.expect(StatusCode::OK)["outcomes"].clone();
    let outcomes = act(json!({"action": "tag", "runs": [one, full, 999], "tags": {"keep": "", "owner": "ada"}})).await;
    assert_eq!(outcomes[0], json!({"run_id": one, "outcome": "done", "state": "queued"}));
    assert_eq!((&outcomes[1]["outcome"], &outcomes[1]["state"]), (&json!("refused"), &json!("queued")));
    assert_eq!(outcomes[1]["detail"], "a run has at most 64 tags, and this one would have 66");
    assert_eq!(outcomes[2]["outcome"], "missing");

    let matched = json!({"action": "tag", "matching": "tag=topic:rmsprop", "tags": {"keep": null, "topic": null, "seen": "twice"}});
    let outcomes = act(matched.clone()).await;
    assert_eq!(outcomes.as_array().unwrap().iter().map(|acted| &acted["run_id"]).collect::<Vec<_>>(), [&json!(full), &json!(one)]);
    assert!(outcomes.as_array().unwrap().iter().all(|acted| acted["outcome"] == "done"), "{outcomes}");
    assert_eq!(world.get(&format!("/v1/runs/{one}")).await.expect(StatusCode::OK)["tags"], json!({"owner": "ada", "seen": "twice"}));
    assert_eq!(kinds(&world, one).await, ["queued", "annotated", "annotated"]);
    assert_eq!(act(matched).await, json!([]));
    let again = act(json!({"action": "tag", "runs": [one], "tags": {"owner": "ada", "keep": null}})).await;
    assert_eq!(again[0]["outcome"], "unchanged");

    for (wrong, pointer) in [
        (json!({"action": "tag", "runs": [one]}), "/tags"),
        (json!({"action": "archive", "runs": [one], "tags": {"a": ""}}), "/tags"),
        (json!({"action": "tag", "runs": [one], "tags": {"a": "b".repeat(501)}}), "/tags/a"),
        (json!({"action": "tag", "runs": [one], "tags": {"a": 1}}), "/tags/a"),
    ] {
        let answer = world.post("/v1/runs/actions", &wrong).await;
        assert_eq!((answer.status, answer.pointer()), (StatusCode::UNPROCESSABLE_ENTITY, pointer.to_owned()), "{wrong}");
    }
}

#[tokio::test]
async fn all_runs_that_match_a_query_are_acted_on_whatever_page_they_would_be_on() {
    let world = World::start().await;
    let ended = cancelled(&world).await;
    let rates: Vec<f64> = (1..=1200).map(|i| f64::from(i) / 10_000.0).collect();
    let swept = world.post("/v1/jobs", &with(regression(), "/sweep", json!({"optimizer.learning_rate": rates}))).await;
    let (first, last) = (swept.expect(StatusCode::CREATED)["run_ids"][0].clone(), ended + 1200);
    let act = async |action: &str, query: &str| {
        let acted = world.post("/v1/runs/actions", &json!({"action": action, "matching": query})).await.expect(StatusCode::OK);
        acted["outcomes"].as_array().unwrap().clone()
    };
    let paused = act("pause", "state=queued").await;
    assert_eq!(
        (paused.len(), &paused[0], &paused[1199]["run_id"]),
        (1200, &json!({"run_id": last, "outcome": "done", "state": "paused"}), &first)
    );
    assert!(act("pause", "state=queued").await.is_empty());
    let all = act("retry", "").await;
    assert_eq!((all.len(), &all[0]["outcome"]), (1201, &json!("refused")));
    assert_eq!(all[1200], json!({"run_id": ended, "outcome": "done", "state": "queued"}));

    for wrong in [
        json!({"action": "pause", "matching": "state=lost"}),
        json!({"action": "pause", "matching": "state=queued&limit=10"}),
        json!({"action": "pause", "matching": "", "runs": [1]}),
    ] {
        let answer = world.post("/v1/runs/actions", &wrong).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        let pointer = if wrong.get("runs").is_some() { "/runs" } else { "/matching" };
        assert_eq!(answer.problem().errors[0].pointer, pointer);
    }
}

#[tokio::test]
async fn the_client_annotates_finds_and_counts() {
    let world = World::start().await;
    let client = world.client();
    let id = RunId(cancelled(&world).await);
    let note = RunPatch { notes: Some(Some("worth a look".to_owned())), ..RunPatch::default() };
    let place = RunPatch { project: Some(Some("alpha".to_owned())), archived: Some(true), ..RunPatch::default() };
    client.patch_run(id, &note).await.unwrap();
    assert_eq!(client.patch_run(id, &place).await.unwrap().notes.as_deref(), Some("worth a look"));
    let projects = client.projects().await.unwrap().items;
    assert_eq!((projects[0].name.as_str(), projects[0].run_count, projects[0].archived_count), ("alpha", 0, 1));
    client.delete_run(id).await.unwrap();
    assert!(client.projects().await.unwrap().items.is_empty());
    assert_eq!(client.restore_run(id).await.unwrap().project.as_deref(), Some("alpha"));
}
