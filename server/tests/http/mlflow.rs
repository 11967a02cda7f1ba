//! MLflow's tracking API, by its requests; `tests/mlflow.rs` of the root package has its client speak.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{Answer, World};

const BASE: &str = "/api/2.0/mlflow";

async fn ask(world: &World, path: &str, body: Value) -> Value {
    world.post(&format!("{BASE}/{path}"), &body).await.expect(StatusCode::OK)
}

async fn create(world: &World, body: Value) -> String {
    ask(world, "runs/create", body).await["run"]["info"]["run_id"].as_str().unwrap().to_owned()
}

/// The error code of a refusal.
async fn refused(world: &World, path: &str, body: Value) -> String {
    let answer = world.post(&format!("{BASE}/{path}"), &body).await;
    assert!(answer.status.is_client_error(), "{path} {body}: {answer:?}");
    answer.mlflow_error();
    answer.json()["error_code"].as_str().unwrap().to_owned()
}

async fn search(world: &World, filter: &str, order_by: &[&str]) -> Vec<String> {
    let body = json!({"experiment_ids": ["0", "1", "2", "3", "4"], "filter": filter, "order_by": order_by});
    let found = ask(world, "runs/search", body).await;
    found["runs"].as_array().unwrap().iter().map(|run| run["info"]["run_name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_run_is_opened_logged_to_read_and_ended() {
    let world = World::start().await;
    let created = ask(
        &world,
        "runs/create",
        json!({"experiment_id": "0", "user_id": "ada", "start_time": "1700000000000", "run_name": "first", "unknown": 1,
            "tags": [{"key": "mlflow.source.git.commit", "value": "4b825dc"}, {"key": "mlflow.source.name", "value": "fit.py"}]}),
    )
    .await;
    let info = &created["run"]["info"];
    let id = info["run_id"].as_str().unwrap();
    assert_eq!((&info["status"], &info["start_time"], &info["user_id"]), (&json!("RUNNING"), &json!(1_700_000_000_000_i64), &json!("ada")));
    let batch = json!({"run_id": id, "metrics": [{"key": "loss", "value": 0.5, "timestamp": 10, "step": 1}, {"key": "loss", "value": "NaN", "timestamp": "20", "step": "2"}],
        "params": [{"key": "alpha", "value": "0.1"}], "tags": [{"key": "topic", "value": "baseline"}]});
    for _ in 0..2 {
        assert_eq!(ask(&world, "runs/log-batch", batch.clone()).await, json!({}));
    }
    ask(&world, "runs/log-metric", json!({"run_uuid": id, "run_id": id, "key": "loss", "value": 0.25, "timestamp": 30, "step": 3})).await;
    ask(&world, "runs/log-parameter", json!({"run_id": id, "key": "beta", "value": "2"})).await;
    assert_eq!(refused(&world, "runs/log-parameter", json!({"run_id": id, "key": "beta", "value": "3"})).await, "INVALID_PARAMETER_VALUE");
    ask(&world, "runs/set-tag", json!({"run_id": id, "key": "mlflow.runName", "value": "renamed"})).await;
    ask(&world, "runs/delete-tag", json!({"run_id": id, "key": "topic"})).await;
    assert_eq!(refused(&world, "runs/delete-tag", json!({"run_id": id, "key": "topic"})).await, "RESOURCE_DOES_NOT_EXIST");

    let run = world.get(&format!("{BASE}/runs/get?run_id={id}&run_uuid={id}")).await.expect(StatusCode::OK)["run"].clone();
    assert_eq!(run["data"]["metrics"], json!([{"key": "loss", "value": 0.25, "timestamp": 30, "step": 3}]));
    assert_eq!(run["data"]["params"], json!([{"key": "alpha", "value": "0.1"}, {"key": "beta", "value": "2"}]));
    let tags = run["data"]["tags"].as_array().unwrap();
    assert!(
        tags.contains(&json!({"key": "mlflow.runName", "value": "renamed"})) && !tags.iter().any(|tag| tag["key"] == "topic"),
        "{tags:?}"
    );
    let history = world.get(&format!("{BASE}/metrics/get-history?run_id={id}&metric_key=loss&max_results=2")).await.expect(StatusCode::OK);
    assert_eq!(history["metrics"][1], json!({"key": "loss", "value": "NaN", "timestamp": 20, "step": 2}));
    let token = history["next_page_token"].as_str().unwrap();
    let rest =
        world.get(&format!("{BASE}/metrics/get-history?run_id={id}&metric_key=loss&page_token={token}")).await.expect(StatusCode::OK);
    assert_eq!((rest["metrics"].as_array().unwrap().len(), &rest["next_page_token"]), (1, &Value::Null));

    let ended = ask(&world, "runs/update", json!({"run_id": id, "status": "FINISHED", "end_time": 1_700_000_001_000_i64})).await;
    assert_eq!((&ended["run_info"]["status"], &ended["run_info"]["end_time"]), (&json!("FINISHED"), &json!(1_700_000_001_000_i64)));
    // Its own page in Trainyard's words.
    let own = world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK);
    assert_eq!((&own["state"], &own["name"], &own["spec"]["git_commit"]), (&json!("succeeded"), &json!("renamed"), &json!("4b825dc")));
    // After the end as MLflow has it: evaluated late, and opened again.
    ask(&world, "runs/log-metric", json!({"run_id": id, "key": "test", "value": 1, "timestamp": 40})).await;
    assert_eq!(ask(&world, "runs/update", json!({"run_id": id, "status": "RUNNING"})).await["run_info"]["status"], "RUNNING");
}

#[tokio::test]
async fn runs_are_found_by_what_they_have_and_in_the_order_that_is_asked_for() {
    let world = World::start().await;
    for (name, loss, solver) in [("a", "0.5", "svd"), ("b", "0.1", "qr"), ("c", "\"NaN\"", "svd")] {
        let id = create(&world, json!({"run_name": name, "start_time": 1000})).await;
        let value: Value = serde_json::from_str(loss).unwrap();
        let batch = json!({"run_id": id, "metrics": [{"key": "loss", "value": value, "timestamp": 1, "step": 0}], "params": [{"key": "solver", "value": solver}]});
        ask(&world, "runs/log-batch", batch).await;
    }
    create(&world, json!({"run_name": "d", "start_time": 2000, "tags": [{"key": "team", "value": "vision"}]})).await;
    world.submit_run().await;
    let table: &[(&str, &[&str], &[&str])] = &[
        ("", &["metrics.loss ASC"], &["b", "a", "c", "counterexample", "d"]),
        ("", &["metrics.loss DESC", "attributes.run_name DESC"], &["a", "b", "c", "d", "counterexample"]),
        ("metrics.loss < 0.3", &[], &["b"]),
        ("params.solver = 'svd' AND metrics.loss > 0", &[], &["a"]),
        ("params.solver LIKE 's%'", &["attributes.run_name ASC"], &["a", "c"]),
        ("tags.team ILIKE 'VIS%'", &[], &["d"]),
        ("attributes.start_time < 1500", &["run_name"], &["a", "b", "c"]),
        ("params.optimizer.name = 'rmsprop' AND params.steps = '20000'", &[], &["counterexample"]),
        ("tags.trainyard.kind = 'regression' AND status = 'SCHEDULED'", &[], &["counterexample"]),
        ("tags.topic = 'rmsprop'", &[], &["counterexample"]),
        ("attributes.run_id IN ('1', '4')", &["run_id"], &["a", "d"]),
    ];
    for (filter, order, expected) in table {
        assert_eq!(search(&world, filter, order).await, *expected, "{filter} {order:?}");
    }
    let body = json!({"experiment_ids": ["0"], "filter": "metrics.loss < 1 OR metrics.loss > 2"});
    assert_eq!(refused(&world, "runs/search", body).await, "INVALID_PARAMETER_VALUE");
}

#[tokio::test]
async fn pages_hold_each_run_once_though_runs_come_in_between() {
    let world = World::start().await;
    for number in 0..7 {
        create(&world, json!({"run_name": format!("{number}"), "start_time": 1000 + number / 2})).await;
    }
    let (mut seen, mut token) = (Vec::new(), Value::Null);
    loop {
        let body = json!({"experiment_ids": ["0"], "max_results": 2, "order_by": ["attributes.start_time ASC"], "page_token": token});
        let page = ask(&world, "runs/search", body).await;
        seen.extend(page["runs"].as_array().unwrap().iter().map(|run| run["info"]["run_name"].as_str().unwrap().to_owned()));
        token = page["next_page_token"].clone();
        if token.is_null() {
            break;
        }
        create(&world, json!({"run_name": "early", "start_time": 5})).await;
    }
    assert_eq!(seen, ["1", "0", "3", "2", "5", "4", "6"]);
}

#[tokio::test]
async fn experiments_group_external_runs_and_each_kind_has_one_that_stays() {
    let world = World::start().await;
    let made = ask(&world, "experiments/create", json!({"name": "mine", "tags": [{"key": "team", "value": "x"}]})).await;
    let id = made["experiment_id"].as_str().unwrap();
    assert_eq!(refused(&world, "experiments/create", json!({"name": "mine"})).await, "RESOURCE_ALREADY_EXISTS");
    let by_name = world.get(&format!("{BASE}/experiments/get-by-name?experiment_name=mine")).await.expect(StatusCode::OK);
    assert_eq!(by_name["experiment"]["tags"], json!([{"key": "team", "value": "x"}]));
    let missing = world.get(&format!("{BASE}/experiments/get-by-name?experiment_name=nothing")).await;
    assert_eq!((missing.status, &missing.json()["error_code"]), (StatusCode::NOT_FOUND, &json!("RESOURCE_DOES_NOT_EXIST")));

    let names = async |body| -> Vec<String> {
        let found = ask(&world, "experiments/search", body).await;
        found["experiments"].as_array().unwrap().iter().map(|found| found["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(json!({"filter": "name LIKE 'mi%' AND tags.team = 'x'"})).await, ["mine"]);
    let all = ["Default", "colourization", "hypergradient", "mine", "regression", "regularization_pair"];
    assert_eq!(names(json!({"order_by": ["name ASC"]})).await, all);
    let first = ask(&world, "experiments/search", json!({"order_by": ["name"], "max_results": 2})).await;
    let next = json!({"order_by": ["name"], "max_results": 2, "page_token": first["next_page_token"]});
    assert_eq!(names(next).await, all[2..4]);

    ask(&world, "experiments/update", json!({"experiment_id": id, "new_name": "ours"})).await;
    ask(&world, "experiments/set-experiment-tag", json!({"experiment_id": id, "key": "a", "value": "b"})).await;
    ask(&world, "experiments/delete-experiment-tag", json!({"experiment_id": id, "key": "team"})).await;
    ask(&world, "experiments/delete", json!({"experiment_id": id})).await;
    assert_eq!(names(json!({"filter": "name = 'ours'"})).await, [""; 0]);
    assert_eq!(names(json!({"filter": "tags.a = 'b'", "view_type": "DELETED_ONLY"})).await, ["ours"]);
    assert_eq!(refused(&world, "runs/create", json!({"experiment_id": id})).await, "RESOURCE_DOES_NOT_EXIST");
    ask(&world, "experiments/restore", json!({"experiment_id": id})).await;
    create(&world, json!({"experiment_id": id})).await;

    for (path, body) in [
        ("experiments/delete", json!({"experiment_id": "0"})),
        ("experiments/delete", json!({"experiment_id": "1"})),
        ("experiments/update", json!({"experiment_id": "1", "new_name": "mine"})),
        ("runs/create", json!({"experiment_id": "1"})),
    ] {
        assert_eq!(refused(&world, path, body).await, "INVALID_STATE");
    }
}

#[tokio::test]
async fn a_trained_run_is_read_and_tagged_and_not_written_to() {
    let world = World::start().await;
    let id = world.submit_run().await.to_string();
    let run = world.get(&format!("{BASE}/runs/get?run_id={id}")).await.expect(StatusCode::OK)["run"].clone();
    assert_eq!((&run["info"]["experiment_id"], &run["info"]["status"]), (&json!("1"), &json!("SCHEDULED")));
    let params = run["data"]["params"].as_array().unwrap();
    assert!(params.contains(&json!({"key": "optimizer.learning_rate", "value": "0.01"})), "{params:?}");
    ask(&world, "runs/set-tag", json!({"run_id": id, "key": "seen", "value": "yes"})).await;
    assert_eq!(search(&world, "tags.seen = 'yes'", &[]).await, ["counterexample"]);
    for (path, body) in [
        ("runs/log-metric", json!({"run_id": id, "key": "loss", "value": 1})),
        ("runs/log-parameter", json!({"run_id": id, "key": "a", "value": "1"})),
        ("runs/log-batch", json!({"run_id": id, "metrics": []})),
        ("runs/update", json!({"run_id": id, "status": "FINISHED"})),
    ] {
        assert_eq!(refused(&world, path, body).await, "INVALID_STATE", "{path}");
    }
    ask(&world, "runs/delete", json!({"run_id": id})).await;
    assert_eq!(search(&world, "", &[]).await, [""; 0]);
    assert_eq!(world.get(&format!("/v1/runs/{id}")).await.status, StatusCode::OK);
    ask(&world, "runs/restore", json!({"run_id": id})).await;
    assert_eq!(search(&world, "", &[]).await, ["counterexample"]);
}

#[tokio::test]
async fn files_go_through_the_proxy_and_are_listed_by_folder() {
    let world = World::start().await;
    let id = create(&world, json!({})).await;
    let proxy = |name: &str| format!("/api/2.0/mlflow-artifacts/artifacts/0/{id}/artifacts/{name}");
    for (name, bytes) in [("a.txt", "one"), ("plots/loss.png", "two")] {
        assert_eq!(Answer::of(world.request(Method::PUT, &proxy(name)).body(bytes)).await.expect(StatusCode::OK), json!({}));
    }
    assert_eq!(world.get(&proxy("plots/loss.png")).await.text(), "two");
    let listed = world.get(&format!("{BASE}/artifacts/list?run_id={id}")).await.expect(StatusCode::OK);
    let files = json!([{"path": "a.txt", "is_dir": false, "file_size": 3}, {"path": "plots", "is_dir": true}]);
    assert_eq!((&listed["files"], &listed["root_uri"]), (&files, &json!(format!("mlflow-artifacts:/0/{id}/artifacts"))));
    let inner = world.get(&format!("{BASE}/artifacts/list?run_id={id}&path=plots")).await.expect(StatusCode::OK);
    assert_eq!(inner["files"][0]["path"], "plots/loss.png");
    let proxied = world.get(&format!("/api/2.0/mlflow-artifacts/artifacts?path=0/{id}/artifacts/plots")).await.expect(StatusCode::OK);
    assert_eq!(proxied["files"], json!([{"path": "loss.png", "is_dir": false, "file_size": 3}]));
    let bad = Answer::of(world.request(Method::PUT, &proxy("a%20b")).body("x")).await;
    assert_eq!(bad.json()["error_code"], "INVALID_PARAMETER_VALUE");
}

#[tokio::test]
async fn the_document_tells_which_errors_have_mlflows_shape() {
    let document = World::start().await.get("/v1/openapi.json").await.expect(StatusCode::OK);
    let mut of_mlflow = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let (media, schema) = match path.starts_with("/api/") {
            true => ("application/json", "#/components/schemas/MlflowError"),
            false => ("application/problem+json", "#/components/schemas/Problem"),
        };
        for operation in item.as_object().unwrap().values() {
            let other = &operation["responses"]["default"]["content"];
            assert_eq!(other, &json!({media: {"schema": {"$ref": schema}}}), "{path}");
            of_mlflow += usize::from(path.starts_with("/api/"));
        }
    }
    assert!(of_mlflow > 20, "{of_mlflow}");
    let fields = document["components"]["schemas"]["MlflowError"]["properties"].as_object().unwrap();
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["error_code", "message", "request_id"]);
}

#[tokio::test]
async fn errors_have_mlflows_shape_under_its_paths_and_nowhere_else() {
    let world = World::start().await;
    let gone = world.get("/api/3.0/mlflow/traces/search").await;
    assert_eq!((gone.status, &gone.json()["error_code"]), (StatusCode::NOT_FOUND, &json!("ENDPOINT_NOT_FOUND")));
    let anonymous = Answer::of(world.bare(Method::GET, &format!("{BASE}/runs/get?run_id=1"))).await;
    assert_eq!((anonymous.status, &anonymous.json()["error_code"]), (StatusCode::UNAUTHORIZED, &json!("UNAUTHENTICATED")));
    let reader = world.token(&["read"]).await;
    let create = world.bare(Method::POST, &format!("{BASE}/runs/create")).bearer_auth(&reader).json(&json!({}));
    assert_eq!(Answer::of(create).await.json()["error_code"], "PERMISSION_DENIED");
    let search = world.bare(Method::POST, &format!("{BASE}/runs/search")).bearer_auth(&reader).json(&json!({"experiment_ids": ["0"]}));
    assert_eq!(Answer::of(search).await.expect(StatusCode::OK)["runs"], json!([]));
    let malformed =
        Answer::of(world.request(Method::POST, &format!("{BASE}/runs/log-batch")).header("content-type", "application/json").body("[1"))
            .await;
    assert_eq!(malformed.json()["error_code"], "INVALID_PARAMETER_VALUE");
    assert_eq!(refused(&world, "runs/log-batch", json!([1])).await, "INVALID_PARAMETER_VALUE");
    let wrong = json!({"run_id": "1", "metrics": [{"key": "a", "value": "x"}]});
    assert_eq!(refused(&world, "runs/log-batch", wrong).await, "INVALID_PARAMETER_VALUE");
    world.get("/v1/nothing").await.problem();
}
