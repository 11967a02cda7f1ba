//! The store that the page is shown with.

use serde_json::json;
use trainyard_wire::Number;
use trainyard_wire::client::Client;
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::Progress;
use trainyard_wire::worker::{ClaimRequest, Finish, Outcome, Register, Report, Reports, RunReport};

use crate::support::{Yard, jobs};

/// Ten sweeps of a thousand runs. The first 2,000 have ended, every tenth of them badly, with losses; one runs; the others wait.
pub(crate) async fn filled() -> Yard {
    // The run that runs has no worker that would keep it.
    let yard = Yard::server(&["--lease-seconds", "3600"]).await;
    for sweep in 0..10 {
        let mut job = jobs::two_unknowns(json!({"name": "gd", "learning_rate": 0.1}));
        (job["name"], job["project"]) = (json!(format!("sweep {sweep}")), json!(format!("project {}", sweep % 3)));
        job["tags"] = json!({"sweep": sweep.to_string()});
        job["sweep"] = json!({
            "optimizer.learning_rate": (1..=100).map(|rate| f64::from(rate) / 1000.0).collect::<Vec<_>>(),
            "seed": (0..10).collect::<Vec<_>>(),
        });
        assert_eq!(yard.submit_all(&job).await.len(), 1000);
    }
    let token = std::fs::read_to_string(yard.data_dir().join("worker.token")).unwrap().trim().to_owned();
    let worker = Client::new(&yard.url, Some(token)).unwrap();
    let worker_id = worker.register(&Register::cpu("filler")).await.unwrap().worker_id;
    let mut ended = 0;
    while ended < 2000 {
        let claim = ClaimRequest { worker_id, max: 64.min(2000 - ended), small: false, wait_seconds: 0.0 };
        let runs = worker.claim(&claim).await.unwrap().runs;
        let reports = runs.iter().map(|run| {
            let outcome = if run.run_id.0 % 10 == 0 { Outcome::Failed } else { Outcome::Succeeded };
            let finish = Finish { outcome, stop_reason: None, error: None, result: None };
            let loss = ((run.run_id.0 * 7919) % 2003) as f64 / 1000.0;
            let report = Report { metrics: vec![points("loss", &[2.0, loss])], finish: Some(finish), ..told(run.attempt) };
            RunReport { run_id: run.run_id, report }
        });
        ended += runs.len() as u32;
        let answers = worker.report_all(&Reports { reports: reports.collect() }).await.unwrap();
        assert!(answers.iter().all(Result::is_ok));
    }
    let running = worker.claim(&ClaimRequest { worker_id, max: 1, small: false, wait_seconds: 0.0 }).await.unwrap().runs.remove(0);
    let progress = Progress { step: 5000, total_steps: 20_000, epoch: None, eta_seconds: Some(75.0) };
    worker.report(running.run_id, &Report { progress: Some(progress), ..told(running.attempt) }).await.unwrap();
    yard
}

fn told(attempt: trainyard_wire::Attempt) -> Report {
    Report { attempt, metrics: Vec::new(), progress: None, logs: Vec::new(), certificates: Vec::new(), left_out: Vec::new(), finish: None }
}

fn points(name: &str, values: &[f64]) -> SeriesBatch {
    SeriesBatch {
        name: name.to_owned(),
        steps: (1..=values.len() as u64).collect(),
        values: values.iter().copied().map(Number).collect(),
        times: vec![1_700_000_000_000; values.len()],
    }
}
