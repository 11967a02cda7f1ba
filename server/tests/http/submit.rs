//! Submitting: what is accepted, what is refused and where it is wrong, idempotency, dry runs.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::datasets::{add_images, add_table};
use super::world::{Answer, World, colourization, regression, with};

#[tokio::test]
async fn a_submit_queues_a_run_for_each_point_of_its_sweep() {
    let world = World::start().await;
    let body = with(regression(), "/sweep", json!({"optimizer.learning_rate": [0.1, 0.01], "seed": [0, 1, 2]}));
    let answer = world.post("/v1/jobs", &body).await;
    let location = answer.header("location").to_owned();
    let accepted = answer.expect(StatusCode::CREATED);
    assert_eq!(accepted["run_ids"].as_array().unwrap().len(), 6);
    assert_eq!(location, format!("/v1/jobs/{}", accepted["id"]));

    let job = world.get(&location).await.expect(StatusCode::OK);
    assert_eq!(job["run_ids"], accepted["run_ids"]);
    assert_eq!((&job["name"], &job["states"], &job["run_count"]), (&json!("counterexample"), &json!({"queued": 6}), &json!(6)));

    let run = world.get(&format!("/v1/runs/{}", accepted["run_ids"][5])).await.expect(StatusCode::OK);
    assert_eq!((&run["state"], &run["attempt"], &run["job_id"]), (&json!("queued"), &json!(0), &accepted["id"]));
    assert_eq!(run["sweep_point"], json!({"optimizer.learning_rate": 0.01, "seed": 2}));
    assert_eq!(run["spec"]["problem"]["x"], json!([[2.0, 1.0]]));
    assert_eq!(run["spec"]["record"], json!("logarithmic"));
    let listed = world.get("/v1/runs?limit=1").await.expect(StatusCode::OK);
    assert_eq!(listed["items"][0]["spec"]["problem"].get("x"), None);

    // A run's spec can be submitted again as it stands.
    world.post("/v1/jobs", &json!({"spec": run["spec"]})).await.expect(StatusCode::CREATED);
    world.post("/v1/jobs", &json!({"spec": listed["items"][0]["spec"]})).await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn a_submit_that_is_wrong_queues_nothing_and_its_mended_twin_is_accepted() {
    let world = World::start().await;
    let synthetic = |d: u64| json!({"source": "synthetic", "n": 50, "d": d, "condition": 20});
    let cases: Vec<(Value, &str, Value, Value)> = vec![
        (regression(), "/spec/momentum", json!(0.9), Value::Null),
        (regression(), "/spec/optimizer/warmup", json!(3), Value::Null),
        (regression(), "/spec/optimizer/learning_rate", json!(-0.01), json!(0.01)),
        (colourization(), "/spec/batch_size", json!(1_000_000_000), json!(100)),
        (with(regression(), "/spec/problem", synthetic(10)), "/spec/problem/d", json!(10_000_000), json!(10)),
        (colourization(), "/spec/network/kernel", json!(0), json!(3)),
        (colourization(), "/spec/network/num_filters", json!(1_000_000), json!(8)),
        (colourization(), "/spec/epochs", json!(0), json!(1)),
        (regression(), "/spec/steps", json!(0), json!(10)),
        (regression(), "/priority", json!(5000), json!(5)),
        (regression(), "/colour", json!("red"), Value::Null),
    ];
    for (queued, (base, pointer, wrong, mended)) in cases.into_iter().enumerate() {
        let answer = world.post("/v1/jobs", &with(base.clone(), pointer, wrong.clone())).await;
        assert!(answer.status.is_client_error(), "{pointer} = {wrong}: {}", answer.status);
        assert_eq!(answer.pointer(), pointer, "{wrong}");
        assert_eq!(world.jobs().await, queued, "{pointer} = {wrong} queued a job");
        let mended = if mended.is_null() { base } else { with(base, pointer, mended) };
        world.post("/v1/jobs", &mended).await.expect(StatusCode::CREATED);
    }
}

#[tokio::test]
async fn a_run_over_the_servers_limits_is_refused_by_the_value_to_blame() {
    let world = World::start_with(|config| {
        config.limits.run_memory_bytes = 1 << 30;
        config.limits.run_multiply_adds = 100_000_000_000_000;
        config.limits.problem_numbers = 1_000_000;
    })
    .await;
    let images = json!({"name": "synthetic", "train_images": 100_000, "val_images": 100, "size": 64});
    for (body, pointer) in [
        (with(colourization(), "/spec/network/num_filters", json!(1024)), "/spec/network/num_filters"),
        (
            with(
                with(colourization(), "/spec/batch_size", json!(10_000)),
                "/spec/dataset",
                json!({"name": "synthetic", "train_images": 20_000}),
            ),
            "/spec/batch_size",
        ),
        (with(colourization(), "/spec/dataset", images), "/spec/dataset/train_images"),
        (with(with(colourization(), "/spec/epochs", json!(10_000)), "/spec/network/num_filters", json!(32)), "/spec/epochs"),
        (with(regression(), "/spec/problem", json!({"source": "synthetic", "n": 100, "d": 100_000, "condition": 2})), "/spec/problem/d"),
        (with(colourization(), "/sweep", json!({"network.num_filters": [8, 1024]})), "/sweep/network.num_filters/1"),
    ] {
        let answer = world.post("/v1/jobs", &body).await;
        assert_eq!((answer.status, answer.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, pointer));
    }
    assert_eq!(world.jobs().await, 0);
}

#[tokio::test]
async fn a_sweep_of_too_many_points_is_refused() {
    let world = World::start_with(|config| config.limits.runs_per_sweep = 10).await;
    let sweep = |count: u64| with(regression(), "/sweep", json!({"seed": (0..count).collect::<Vec<_>>()}));
    let answer = world.post("/v1/jobs", &sweep(11)).await;
    assert_eq!((answer.status, answer.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "/sweep"));
    world.post("/v1/jobs", &sweep(10)).await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn one_idempotency_key_makes_one_job() {
    let world = World::start().await;
    let submit = async |token: &str, key: &str, body: &Value| {
        Answer::of(world.bare(Method::POST, "/v1/jobs").bearer_auth(token).header("idempotency-key", key).json(body)).await
    };
    let first = submit(world.admin(), "a-key", &regression()).await;
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let again = submit(world.admin(), "a-key", &regression()).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!((again.status, again.header("location")), (StatusCode::CREATED, first.header("location")));
    assert_eq!(first.json(), again.json());
    assert_eq!(world.jobs().await, 1);

    let other = submit(world.admin(), "a-key", &with(regression(), "/name", json!("another"))).await;
    assert_eq!((other.status, other.problem().r#type.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "/problems/idempotency-key-reused"));
    assert_eq!(world.jobs().await, 1);

    // The key belongs to its token.
    let submitter = world.token(&["submit"]).await;
    let theirs = submit(&submitter, "a-key", &regression()).await;
    assert!(!theirs.headers.contains_key("idempotency-replayed"));
    assert_eq!(world.jobs().await, 2);

    for key in ["", "with space", &"x".repeat(256)] {
        assert_eq!(submit(world.admin(), key, &regression()).await.status, StatusCode::BAD_REQUEST, "{key:?}");
    }
    assert_eq!(world.jobs().await, 2);
}

#[tokio::test]
async fn many_submits_at_once_with_one_key_make_one_job() {
    let world = World::start().await;
    let submits = (0..8).map(|_| Answer::of(world.request(Method::POST, "/v1/jobs").header("idempotency-key", "one").json(&regression())));
    let answers = futures::future::join_all(submits).await;
    let ids: Vec<Value> = answers.into_iter().map(|answer| answer.expect(StatusCode::CREATED)["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(world.jobs().await, 1);
}

#[tokio::test]
async fn a_dry_run_tells_what_would_run_and_queues_nothing() {
    let world = World::start().await;
    let body = with(colourization(), "/sweep", json!({"network.name": ["pool_upsample", "conv_transpose", "unet"]}));
    let body = with(body, "/spec/network", json!({"name": "unet"}));
    let answer = world.post("/v1/jobs?dry_run=true", &body).await.expect(StatusCode::OK);
    assert_eq!(answer["run_count"], 3);
    let parameters: Vec<_> = (0..3).map(|run| answer["runs"][run]["estimate"]["parameters"].as_u64().unwrap()).collect();
    assert_eq!(parameters, [49_728, 49_728, 56_856]);
    assert_eq!(answer["runs"][0]["estimate"]["steps"], 20);
    assert_eq!(answer["runs"][2]["spec"]["num_colours"], 24);
    let refused = world.post("/v1/jobs?dry_run=true", &with(body, "/spec/epochs", json!(0))).await;
    assert_eq!(refused.pointer(), "/spec/epochs");
    assert_eq!(world.jobs().await, 0);
}

#[tokio::test]
async fn a_doubtful_learning_rate_is_warned_of() {
    let world = World::start().await;
    let body = with(regression(), "/spec/optimizer", json!({"name": "gd", "learning_rate": 0.5}));
    let accepted = world.post("/v1/jobs", &body).await.expect(StatusCode::CREATED);
    assert!(accepted["warnings"][0].as_str().unwrap().contains("stability limit"), "{accepted}");
    assert_eq!(world.post("/v1/jobs", &regression()).await.expect(StatusCode::CREATED).get("warnings"), None);
}

#[tokio::test]
async fn a_dataset_is_checked_and_pinned() {
    let world = World::start().await;
    let images = add_images(&world, "horses", &[7, 7, 7], &[7, 1]).await.expect(StatusCode::CREATED);
    let table = add_table(&world, "prices", "size,rooms,price\n1,2,3\n4,5,6\n7,8,10\n").await.expect(StatusCode::CREATED);
    let with_images = |dataset: Value| with(colourization(), "/spec/dataset", dataset);
    let with_table = |problem: Value| with(regression(), "/spec/problem", problem);
    for (body, pointer) in [
        (with_images(json!({"name": "cats"})), "/spec/dataset/name"),
        (with_images(json!({"name": "prices"})), "/spec/dataset/name"),
        (with_images(json!({"name": "horses", "category": "ship"})), "/spec/dataset/category"),
        (with_images(json!({"name": "horses", "sha256": "0".repeat(64)})), "/spec/dataset/sha256"),
        (with_table(json!({"source": "dataset", "name": "houses", "target": "price"})), "/spec/problem/name"),
        (with_table(json!({"source": "dataset", "name": "horses", "target": "price"})), "/spec/problem/name"),
        (with_table(json!({"source": "dataset", "name": "prices", "target": "cost"})), "/spec/problem/target"),
        (with_table(json!({"source": "dataset", "name": "prices", "target": "price", "n": 4})), "/spec/problem/n"),
    ] {
        let answer = world.post("/v1/jobs", &body).await;
        assert_eq!((answer.status, answer.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, pointer));
    }
    let large_batch = with(
        with_table(json!({"source": "dataset", "name": "prices", "target": "price"})),
        "/spec/optimizer",
        json!({"name": "sgd", "learning_rate": 0.1, "batch_size": 4}),
    );
    assert_eq!(world.post("/v1/jobs", &large_batch).await.pointer(), "/spec/optimizer/batch_size");
    assert_eq!(world.jobs().await, 0);

    let accepted = world.post("/v1/jobs", &with_images(json!({"name": "horses", "category": "horse"}))).await.expect(StatusCode::CREATED);
    let run = world.get(&format!("/v1/runs/{}", accepted["run_ids"][0])).await.expect(StatusCode::OK);
    assert_eq!(run["spec"]["dataset"]["sha256"], images["sha256"]);
    let problem = json!({"source": "dataset", "name": "prices", "target": "price", "intercept": true});
    let accepted = world.post("/v1/jobs", &with_table(problem)).await.expect(StatusCode::CREATED);
    let run = world.get(&format!("/v1/runs/{}", accepted["run_ids"][0])).await.expect(StatusCode::OK);
    assert_eq!(run["spec"]["problem"]["sha256"], table["sha256"]);
}

#[tokio::test]
async fn actions_are_idempotent_and_a_409_names_the_state() {
    let world = World::start().await;
    let run = world.submit_run().await;
    let act = async |action: &str| Answer::of(world.request(Method::POST, &format!("/v1/runs/{run}/{action}"))).await;
    for _ in 0..2 {
        assert_eq!(act("pause").await.expect(StatusCode::OK)["state"], "paused");
    }
    assert_eq!(act("resume").await.expect(StatusCode::OK)["state"], "queued");
    for _ in 0..2 {
        assert_eq!(act("cancel").await.expect(StatusCode::OK)["state"], "cancelled");
    }
    let refused = act("pause").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.problem().detail.contains("cancelled"));
    assert_eq!(act("retry").await.expect(StatusCode::OK)["state"], "queued");
    assert_eq!(act("explode").await.status, StatusCode::NOT_FOUND);
    let job = Answer::of(world.request(Method::POST, "/v1/jobs/1/cancel")).await.expect(StatusCode::OK);
    assert_eq!(job["states"], json!({"cancelled": 1}));
}

fn pair() -> Value {
    json!({"name": "pair", "spec": {"kind": "regularization_pair", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]},
        "optimizer": {"name": "gd", "learning_rate": 0.1}, "l2": 0.05, "steps": 100}})
}

#[tokio::test]
async fn a_pair_is_admitted_and_stored_as_a_regression_is() {
    let world = World::start().await;
    let table = add_table(&world, "prices", "size,rooms,price\n1,2,3\n4,5,6\n7,8,10\n").await.expect(StatusCode::CREATED);
    let from_table = with(pair(), "/spec/problem", json!({"source": "dataset", "name": "prices", "target": "price"}));
    for (body, pointer) in [
        (with(pair(), "/spec/l2", json!(0)), "/spec/l2"),
        (with(pair(), "/spec/l2", json!(5)), "/spec/l2"),
        (with(pair(), "/spec/optimizer/weight_decay", json!(0.01)), "/spec/optimizer/weight_decay"),
        (with(pair(), "/spec/optimizer/name", json!("adamw")), "/spec/optimizer/name"),
        (with(pair(), "/spec/gradient_tolerance", json!(0.1)), "/spec/gradient_tolerance"),
        (with(pair(), "/spec/problem/sha256", json!("0".repeat(64))), "/spec/problem/sha256"),
        (with(from_table.clone(), "/spec/problem/target", json!("cost")), "/spec/problem/target"),
        (
            with(from_table.clone(), "/spec/optimizer", json!({"name": "sgd", "learning_rate": 0.1, "batch_size": 4})),
            "/spec/optimizer/batch_size",
        ),
        (with(from_table.clone(), "/spec/initial_weights", json!([1])), "/spec/initial_weights"),
        (with(pair(), "/sweep", json!({"l2": [0.05, -1]})), "/sweep/l2/1"),
        (with(pair(), "/spec/problem", json!({"source": "synthetic", "n": 10_000, "d": 100_000, "condition": 2})), "/spec/problem/d"),
    ] {
        let answer = world.post("/v1/jobs", &body).await;
        assert_eq!((answer.status, answer.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, pointer));
    }
    assert_eq!(world.jobs().await, 0);

    let planned = world.post("/v1/jobs?dry_run=true", &with(pair(), "/sweep", json!({"l2": [0.05, 0.5]}))).await.expect(StatusCode::OK);
    assert_eq!((&planned["run_count"], &planned["runs"][0]["estimate"]["parameters"]), (&json!(2), &json!(4)));
    assert_eq!(planned["runs"][0]["spec"]["problem"].get("x"), None);
    // η(λ_max + 2λ̃) = 0.19·(10 + 1) > 2.
    let fast = with(with(pair(), "/spec/l2", json!(0.5)), "/spec/optimizer/learning_rate", json!(0.19));
    let warned = world.post("/v1/jobs", &fast).await.expect(StatusCode::CREATED);
    assert!(warned["warnings"][0].as_str().unwrap().contains("stability limit"), "{warned}");

    let accepted = world.post("/v1/jobs", &with(pair(), "/sweep", json!({"seed": [0, 1, 2]}))).await.expect(StatusCode::CREATED);
    let run = world.get(&format!("/v1/runs/{}", accepted["run_ids"][2])).await.expect(StatusCode::OK);
    assert_eq!((&run["spec"]["problem"]["x"], &run["spec"]["record"]), (&json!([[2.0, 1.0]]), &json!("every")));
    assert_eq!(run["spec"]["optimizer"].get("weight_decay"), None);
    let listed = world.get("/v1/runs?kind=regularization_pair&limit=1").await.expect(StatusCode::OK);
    assert_eq!(listed["items"][0]["spec"]["problem"].get("x"), None);
    // A run's spec can be submitted again as it stands, also by the hash of its problem alone.
    world.post("/v1/jobs", &json!({"spec": run["spec"]})).await.expect(StatusCode::CREATED);
    world.post("/v1/jobs", &json!({"spec": listed["items"][0]["spec"]})).await.expect(StatusCode::CREATED);
    let accepted = world.post("/v1/jobs", &from_table).await.expect(StatusCode::CREATED);
    let run = world.get(&format!("/v1/runs/{}", accepted["run_ids"][0])).await.expect(StatusCode::OK);
    assert_eq!(run["spec"]["problem"]["sha256"], table["sha256"]);
    assert_eq!(world.get("/v1/runs?kind=regression").await.expect(StatusCode::OK)["items"], json!([]));
}
