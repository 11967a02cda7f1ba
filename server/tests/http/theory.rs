//! What theory says of a submit: in a dry run, in the answer to a submit, and beside the run.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::datasets::add_table;
use super::world::{Answer, World, colourization, regression, with};

/// Gradient descent on the counterexample: λ_max = 10, so that rates under 0.2 are stable.
fn descent(rate: f64) -> Value {
    let body = with(regression(), "/spec/optimizer", json!({"name": "gd", "learning_rate": rate}));
    with(body, "/spec/gradient_tolerance", json!(1e-6))
}

async fn strictly(world: &World, path: &str, body: &Value) -> Answer {
    Answer::of(world.request(Method::POST, path).header("prefer", "handling=strict").json(body)).await
}

fn assert_near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{found} is no number"));
    assert!((found / expected - 1.0).abs() < 1e-12, "{found} is not {expected}");
}

#[tokio::test]
async fn the_theory_of_a_regression_is_told_before_at_and_after_its_submit() {
    let world = World::start().await;
    let planned = world.post("/v1/jobs?dry_run=true", &descent(0.05)).await.expect(StatusCode::OK);
    let theory = planned["runs"][0]["theory"].clone();
    assert_eq!((&theory["rank"], theory.get("left_out")), (&json!(1), None));
    for (figure, expected) in [
        ("lambda_max", 10.0),
        ("lambda_min_positive", 10.0),
        ("condition", 1.0),
        ("largest_stable_rate", 0.2),
        ("best_fixed_rate", 0.1),
        // 8.94·½^k ≤ 10⁻⁶, from the gradient −2·2·(2, 1).
        ("predicted_steps", 24.0),
    ] {
        assert_near(&theory[figure], expected);
    }
    let accepted = world.post("/v1/jobs", &descent(0.05)).await.expect(StatusCode::CREATED);
    assert_eq!(accepted["theory"], json!([theory]));
    assert_eq!(world.get("/v1/runs/1/theory").await.expect(StatusCode::OK), theory);
    assert_eq!(world.client().theory(trainyard_wire::RunId(1)).await.unwrap().rank, Some(1));

    // The stored problem by its hash alone.
    let run = world.get("/v1/runs?limit=1").await.expect(StatusCode::OK)["items"][0].clone();
    let planned = world.post("/v1/jobs?dry_run=true", &json!({"spec": run["spec"]})).await.expect(StatusCode::OK);
    assert_eq!(planned["runs"][0]["theory"], theory);

    world.post("/v1/jobs", &colourization()).await.expect(StatusCode::CREATED);
    let other = world.get("/v1/runs/2/theory").await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
    other.problem();
    assert_eq!(world.get("/v1/runs/3/theory").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn each_run_of_a_sweep_has_its_own_theory() {
    let world = World::start().await;
    let problem = json!({"source": "synthetic", "n": 50, "d": 10, "condition": 20, "noise": 0.1});
    let body = with(with(descent(0.1), "/spec/problem", problem), "/sweep", json!({"l2": [0, 1], "problem.condition": [20, 5]}));
    let accepted = world.post("/v1/jobs", &body).await.expect(StatusCode::CREATED);
    let theory = accepted["theory"].as_array().unwrap();
    assert_eq!(theory.len(), 4);
    assert_near(&theory[0]["largest_stable_rate"], 1.0);
    assert_near(&theory[2]["largest_stable_rate"], 0.5);
    assert_near(&theory[3]["condition"], 5.0);
    assert!(theory[0]["predicted_steps"].as_u64() > theory[1]["predicted_steps"].as_u64());
}

#[tokio::test]
async fn a_problem_too_large_to_be_decomposed_at_the_submit_says_so() {
    let world = World::start().await;
    let column = |i: usize| (0..300).map(|j| f64::from(u32::from(i % 300 == j)) + 0.001 * (i * j % 7) as f64).collect::<Vec<_>>();
    let problem = json!({"source": "inline", "x": (0..300).map(column).collect::<Vec<_>>(), "t": vec![1.0; 300]});
    let body = with(descent(0.1), "/spec/problem", problem);
    let planned = world.post("/v1/jobs?dry_run=true", &body).await.expect(StatusCode::OK);
    let theory = &planned["runs"][0]["theory"];
    assert_eq!(theory["lambda_max"], Value::Null);
    assert!(theory["left_out"].as_str().unwrap().contains("the worker computes it"), "{theory}");
}

#[tokio::test]
async fn a_table_has_its_theory_too() {
    let world = World::start().await;
    add_table(&world, "lines", "a, b,y\n1,0,1\n0, 2,1\n").await.expect(StatusCode::CREATED);
    let body = with(descent(0.3), "/spec/problem", json!({"source": "dataset", "name": "lines", "target": "y"}));
    let planned = world.post("/v1/jobs?dry_run=true", &body).await.expect(StatusCode::OK);
    // H = (2/2)·diag(1, 4).
    assert_eq!(planned["runs"][0]["theory"]["rank"], 2);
    assert_near(&planned["runs"][0]["theory"]["lambda_max"], 4.0);
    assert_near(&planned["runs"][0]["theory"]["condition"], 4.0);
    let answer = strictly(&world, "/v1/jobs", &with(body, "/spec/optimizer/learning_rate", json!(0.5))).await;
    assert_eq!((answer.status, answer.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "/spec/optimizer/learning_rate"));
}

#[tokio::test]
async fn a_rate_at_or_over_the_limit_is_a_warning_and_an_error_to_the_strict() {
    let world = World::start().await;
    for rate in [0.2, 0.5] {
        let planned = world.post("/v1/jobs?dry_run=true", &descent(rate)).await.expect(StatusCode::OK);
        assert!(planned["warnings"][0].as_str().unwrap().contains("stability limit"), "{planned}");
        for path in ["/v1/jobs", "/v1/jobs?dry_run=true"] {
            let refused = strictly(&world, path, &descent(rate)).await;
            assert_eq!((refused.status, refused.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "/spec/optimizer/learning_rate"));
            assert_eq!(refused.header("preference-applied"), "handling=strict");
        }
    }
    assert_eq!(world.jobs().await, 0);

    let swept = with(descent(0.1), "/sweep", json!({"seed": [0, 1], "optimizer.learning_rate": [0.1, 0.3]}));
    let refused = strictly(&world, "/v1/jobs", &swept).await;
    assert_eq!(refused.pointer(), "/sweep/optimizer.learning_rate/1");
    assert_eq!(refused.problem().errors.len(), 1);
    assert_eq!(world.post("/v1/jobs", &swept).await.expect(StatusCode::CREATED)["warnings"].as_array().unwrap().len(), 1);

    let accepted = strictly(&world, "/v1/jobs", &descent(0.19)).await;
    assert_eq!(accepted.header("preference-applied"), "handling=strict");
    accepted.expect(StatusCode::CREATED);
    let lenient = world.post("/v1/jobs", &descent(0.3)).await;
    assert!(!lenient.headers.contains_key("preference-applied"));
    lenient.expect(StatusCode::CREATED);
}
