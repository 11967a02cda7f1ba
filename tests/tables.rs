//! A real table, uploaded and fitted with curl, against closed forms that NumPy computed.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::Yard;
use tokio::process::Command;
use trainyard_wire::{RunId, RunState, StopReason};

/// What curl answered: the status and the body.
async fn curl(yard: &Yard, path: &str, arguments: &[&str]) -> (u16, Value) {
    let mut command = Command::new("curl");
    command.args(["-sS", "-w", "\n%{http_code}", "-H", &format!("Authorization: Bearer {}", yard.token)]);
    let output = command.args(arguments).arg(format!("{}{path}", yard.url)).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

async fn submit(yard: &Yard, optimizer: Value, l2: f64) -> RunId {
    let problem = json!({"source": "dataset", "name": "diabetes", "target": "progression", "standardize": true, "intercept": true});
    let spec = json!({"kind": "regression", "problem": problem, "optimizer": optimizer, "l2": l2, "gradient_tolerance": 1e-11,
        "steps": 200_000});
    let body = json!({ "spec": spec }).to_string();
    let (status, accepted) = curl(yard, "/v1/jobs", &["-H", "Content-Type: application/json", "-d", &body]).await;
    assert_eq!(status, 201, "{accepted}");
    serde_json::from_value(accepted["run_ids"][0].clone()).unwrap()
}

/// The greatest difference of a converged run's weights from a solution.
async fn difference(yard: &Yard, id: RunId, solution: &Value) -> f64 {
    let run = yard.until(id, RunState::Succeeded).await;
    assert_eq!(run.stop_reason, Some(StopReason::Converged));
    let weights: Vec<f64> = serde_json::from_value(run.result.unwrap()["weights"].clone()).unwrap();
    let solution: Vec<f64> = serde_json::from_value(solution.clone()).unwrap();
    assert_eq!(weights.len(), solution.len());
    weights.iter().zip(&solution).map(|(weight, exact)| (weight - exact).abs()).fold(0.0, f64::max)
}

#[tokio::test]
async fn least_squares_and_ridge_on_a_real_table_reach_the_closed_forms() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let file = concat!("csv=@", env!("CARGO_MANIFEST_DIR"), "/tests/data/diabetes.csv");
    let (status, dataset) = curl(&yard, "/v1/datasets", &["-F", "name=diabetes", "-F", file]).await;
    assert_eq!((status, &dataset["files"][0]["records"]), (201, &json!(442)), "{dataset}");
    let solutions: Value = serde_json::from_str(include_str!("data/diabetes_solutions.json")).unwrap();

    let rate = json!({"name": "gd", "learning_rate": 0.24});
    let least_squares = submit(&yard, rate.clone(), 0.0).await;
    let found = difference(&yard, least_squares, &solutions["ols"]).await;
    println!("least squares: {found:e} from NumPy's");
    assert!(found <= 1e-8, "{found}");
    for ridge in solutions["ridge"].as_array().unwrap() {
        let l2 = ridge["l2"].as_f64().unwrap();
        for optimizer in [rate.clone(), json!({"name": "momentum", "learning_rate": 0.1})] {
            let mut optimizer = optimizer;
            // λ_max(H̃) is some 8 + 2·l2.
            optimizer["learning_rate"] = json!(optimizer["learning_rate"].as_f64().unwrap() / (1.0 + l2 / 4.0));
            let id = submit(&yard, optimizer.clone(), l2).await;
            let found = difference(&yard, id, &ridge["weights"]).await;
            println!("ridge, l2 = {l2}, {optimizer}: {found:e} from NumPy's");
            assert!(found <= 1e-8, "{found}");
            let distance = yard.run(id).await.summary["distance_to_ridge_solution"].last.0;
            assert!(distance <= 1e-8, "{distance}");
        }
    }
    let certificates = yard.client.certificates(least_squares).await.unwrap().certificates;
    assert!(certificates.len() >= 5 && certificates.iter().all(|certificate| certificate.holds), "{certificates:?}");
    let shown = yard.cli(&["show", &least_squares.to_string()]).await.success();
    assert!(shown.contains("docs/theory.md#exact-path"), "{shown}");
}

#[tokio::test]
async fn a_cell_that_is_no_number_is_refused_with_its_row_and_column() {
    let yard = Yard::server(&[]).await;
    let table = include_str!("data/diabetes.csv");
    for (wrong, shown) in [(table.replacen(",32.1,", ",,", 1), "``"), (table.replacen(",32.1,", ",n/a,", 1), "`n/a`")] {
        let path = yard.folder.path().join("wrong.csv");
        std::fs::write(&path, wrong).unwrap();
        let (status, problem) = curl(&yard, "/v1/datasets", &["-F", "name=wrong", "-F", &format!("csv=@{}", path.display())]).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/csv/0")), "{problem}");
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains("row 1 (line 2), column `bmi`") && detail.contains(shown), "{detail}");
    }
}
