//! Jobs from their submit to their results, with a server and workers as real processes.
#![allow(clippy::unwrap_used)]

mod support;

use safetensors::SafeTensors;
use serde_json::{Value, json};
use support::{Yard, jobs};
use trainyard_wire::client::RunQuery;
use trainyard_wire::{RunState, StopReason};

fn weights(run: &trainyard_wire::run::Run) -> Vec<f64> {
    serde_json::from_value(run.result.as_ref().unwrap()["weights"].clone()).unwrap()
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance, "{found:?} is not {expected:?} to {tolerance}");
    }
}

#[tokio::test]
async fn rmsprop_ends_away_from_the_minimum_norm_solution_and_gradient_descent_at_it() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let rmsprop = json!({
        "name": "rmsprop", "learning_rate": 0.01, "beta": 0.9, "epsilon": 1e-8, "weight_decay": 0, "schedule": "cosine"
    });
    let rmsprop = yard.submit(&jobs::two_unknowns(rmsprop)).await;
    let gd = yard.submit(&jobs::two_unknowns(json!({"name": "gd", "learning_rate": 0.1}))).await;

    let run = yard.until(rmsprop, RunState::Succeeded).await;
    assert_near(&weights(&run), &[2.0 / 3.0, 2.0 / 3.0], 1e-6);
    // ‖[2/3, 2/3] − [4/5, 2/5]‖
    assert_near(&[run.summary["distance_to_minimum_norm"].last.0], &[(0.2f64 / 1.5).hypot(0.4 / 1.5)], 1e-6);
    assert!(run.summary["loss"].last.0 < 1e-10);
    assert_eq!(run.stop_reason, Some(StopReason::Completed));
    assert_eq!(run.progress.step, 20_000);

    let run = yard.until(gd, RunState::Succeeded).await;
    assert_near(&weights(&run), &[0.8, 0.4], 1e-9);
    assert!(run.summary["distance_to_minimum_norm"].last.0 < 1e-9);

    let history = yard.client.metrics(rmsprop, None).await.unwrap();
    let loss = history.series.iter().find(|series| series.name == "loss").unwrap();
    assert!(loss.points.len() > 10 && loss.points.windows(2).all(|pair| pair[0].step < pair[1].step));
    assert_eq!(loss.points.last().unwrap().step, 20_000);
}

#[tokio::test]
async fn penalty_and_weight_decay_stay_together_under_gradient_descent_and_part_under_all_others() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let mut job = jobs::regularization_pair(json!({"name": "gd", "learning_rate": 0.1}));
    job["sweep"] = json!({"optimizer.name": ["gd", "momentum", "rmsprop", "adam"]});
    let swept = yard.submit_all(&job).await;
    let sgd = yard.submit(&jobs::regularization_pair(json!({"name": "sgd", "learning_rate": 0.1, "batch_size": 10}))).await;
    for (id, together) in swept.into_iter().zip([true, false, false, false]).chain([(sgd, true)]) {
        let run = yard.until(id, RunState::Succeeded).await;
        let history = yard.client.metrics(id, None).await.unwrap();
        let distances = history.series.iter().find(|series| series.name == "weight_distance").unwrap();
        assert!(distances.points.iter().map(|point| point.step).eq(0..=300));
        let largest = distances.points.iter().map(|point| point.value.0).fold(0.0, f64::max);
        assert!(if together { largest <= 1e-12 } else { largest > 1e-4 }, "{:?}: {largest}", run.sweep_point);
        let result = run.result.unwrap();
        assert_eq!(result["largest_weight_distance"], largest);
        assert_eq!(result["weights_l2"].as_array().unwrap().len(), 10);
        assert_eq!(result["weights_decay"].as_array().unwrap().len(), 10);
        let certificates = yard.client.certificates(id).await.unwrap().certificates;
        assert!(!certificates.is_empty() && certificates.iter().all(|certificate| certificate.holds), "{certificates:?}");
    }
    assert!(yard.cli(&["runs"]).await.success().contains("gd with L2 and with weight decay on synthetic problem"));
    assert_eq!(yard.client.runs(&RunQuery::default()).await.unwrap().items.len(), 5);

    // The numbers of an inline problem are stored and come back; weight decay is not a pair's to give.
    let mut inline = jobs::regularization_pair(json!({"name": "gd", "learning_rate": 0.1}));
    inline["spec"]["problem"] = json!({"source": "inline", "x": [[2, 1]], "t": [2]});
    let id = yard.submit(&inline).await;
    let run = yard.until(id, RunState::Succeeded).await;
    assert_eq!(run.spec.problem().unwrap().x, Some(vec![vec![2.0, 1.0]]));
    inline["spec"]["optimizer"]["weight_decay"] = json!(0.01);
    let refused = yard.request(reqwest::Method::POST, "/v1/jobs").json(&inline).send().await.unwrap();
    assert_eq!(refused.status(), 422);
    assert_eq!(refused.json::<Value>().await.unwrap()["errors"][0]["pointer"], "/spec/optimizer/weight_decay");
}

#[tokio::test]
async fn a_history_of_several_pages_comes_whole() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let mut job = jobs::two_unknowns(json!({"name": "gd", "learning_rate": 1e-6}));
    job["spec"]["record"] = json!("every");
    let id = yard.submit(&job).await;
    yard.until(id, RunState::Succeeded).await;
    let history = yard.client.metrics(id, None).await.unwrap();
    let points: usize = history.series.iter().map(|series| series.points.len()).sum();
    assert!(points > 100_000, "{points} points fit one page");
    for series in &history.series {
        let steps = series.points.iter().map(|point| point.step);
        assert!(steps.eq(0..=20_000), "{}: {} points", series.name, series.points.len());
    }
    let csv = yard.cli(&["metrics", &id.to_string(), "--csv"]).await.success();
    assert_eq!(csv.lines().count(), 1 + points);
}

#[tokio::test]
async fn a_hypergradient_comes_to_the_best_rate_and_shows_how() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let id = yard.submit(&jobs::hypergradient()).await;
    let run = yard.until(id, RunState::Succeeded).await;
    let result = run.result.as_ref().unwrap();
    let (rate, loss) = (result["learning_rate"].as_f64().unwrap(), result["loss"].as_f64().unwrap());
    assert!(result["hypergradient"].as_f64().unwrap().abs() < 1e-9, "{result}");
    assert!((run.summary["loss"].min.0 / loss - 1.0).abs() < 1e-12);

    let history = yard.client.metrics(id, None).await.unwrap();
    let series = |name: &str| &history.series.iter().find(|series| series.name == name).unwrap().points;
    assert_eq!((series("learning_rate")[0].step, series("learning_rate")[0].value.0), (0, 0.01));
    for name in ["learning_rate", "loss", "hypergradient"] {
        assert!(series(name).len() as u64 == run.progress.step + 1 && run.progress.step <= 200, "{name}");
    }
    for (name, growth) in [("forward", 0.0), ("reverse", 80.0), ("autograd", 1280.0)] {
        let points = series(&format!("held_bytes_{name}"));
        assert_eq!(points.iter().map(|point| point.step).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
        assert!(points.windows(2).all(|pair| pair[1].value.0 - pair[0].value.0 == growth), "{name}: {points:?}");
    }

    let certificates = yard.client.certificates(id).await.unwrap().certificates;
    assert!(certificates.iter().all(|certificate| certificate.holds), "{certificates:#?}");
    for words in ["forward and reverse", "forward and autograd", "central difference", "is convex", "exact L̃_k(η) least", "grow linearly"]
    {
        assert!(certificates.iter().any(|certificate| certificate.claim.contains(words)), "no {words} in {certificates:#?}");
    }
    let optimum = certificates.iter().find(|certificate| certificate.claim.contains("exact L̃_k(η) least")).unwrap();
    assert!(optimum.measured.0 == rate && (rate / optimum.predicted.0 - 1.0).abs() < 1e-6);

    let artifacts = yard.client.artifacts(id).await.unwrap().artifacts;
    for (name, content_type, beginning) in [
        ("curve.svg", "image/svg+xml", "<svg "),
        ("held_bytes.svg", "image/svg+xml", "<svg "),
        ("graph.svg", "image/svg+xml", "<svg "),
        ("graph.dot", "text/vnd.graphviz; charset=utf-8", "digraph unrolled {"),
        ("curve.json", "application/json", "{"),
        ("held_bytes.json", "application/json", "{"),
    ] {
        let artifact = artifacts.iter().find(|artifact| artifact.name == name).unwrap_or_else(|| panic!("no {name} in {artifacts:?}"));
        assert_eq!(artifact.content_type, content_type, "{name}");
        let text = String::from_utf8(yard.artifact(id, name).await).unwrap();
        assert!(text.starts_with(beginning), "{name}: {text}");
    }
    assert!(
        yard.cli(&["runs", "--kind", "hypergradient"]).await.success().contains("forward hypergradient of 10 steps on synthetic problem")
    );
    assert!(yard.cli(&["show", &id.to_string()]).await.success().contains("held_bytes.svg"));
}

#[tokio::test]
async fn a_sweep_over_methods_comes_to_one_rate() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let mut job = jobs::hypergradient();
    job["sweep"] = json!({"method": ["forward", "reverse", "autograd"]});
    let mut rates = Vec::new();
    for id in yard.submit_all(&job).await {
        let run = yard.until(id, RunState::Succeeded).await;
        rates.push(run.result.unwrap()["learning_rate"].as_f64().unwrap());
    }
    assert_eq!(rates.len(), 3);
    assert_near(&rates, &[rates[0]; 3], 1e-9);
}

#[tokio::test]
async fn a_colourization_leaves_a_model_its_description_and_pictures() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let mut job = jobs::colourization(3);
    job["spec"]["sample_every"] = json!(2);
    let id = yard.submit(&job).await;
    let run = yard.until(id, RunState::Succeeded).await;
    assert_eq!(run.progress.epoch, Some(3));
    for name in ["train_loss", "val_loss", "val_accuracy", "epoch_seconds"] {
        assert_eq!(run.summary[name].last_step, 3, "{name}");
    }

    let names = yard.artifact_names(id).await;
    for name in ["model.safetensors", "model.json", "samples/epoch-002.png", "samples/epoch-003.png"] {
        assert!(names.iter().any(|other| other == name), "no {name} among {names:?}");
    }
    let model = yard.artifact(id, "model.safetensors").await;
    let model = SafeTensors::deserialize(&model).unwrap();
    assert_eq!(model.tensor("layer1.0.weight").unwrap().shape(), [4, 1, 3, 3]);
    assert_eq!(model.tensor("layer1.1.running_mean").unwrap().shape(), [4]);
    assert_eq!(model.tensor("layer5.weight").unwrap().shape(), [8, 9, 3, 3]);
    let description: Value = serde_json::from_slice(&yard.artifact(id, "model.json").await).unwrap();
    let palette: Vec<[f64; 3]> = serde_json::from_value(description["palette"].clone()).unwrap();
    assert_eq!(palette.len(), 8);
    assert!(palette.iter().flatten().all(|channel| (0.0..=1.0).contains(channel)));
    assert_eq!(yard.artifact(id, "samples/epoch-003.png").await[..8], *b"\x89PNG\r\n\x1a\n");
}

#[tokio::test]
async fn a_sweep_is_one_run_a_point_and_follow_ends_with_its_last_run() {
    let yard = Yard::up(&["--workers", "2"]).await;
    let mut job = jobs::quick();
    job["sweep"] = json!({"optimizer.learning_rate": [0.1, 0.05, 0.01], "seed": [0, 1]});
    std::fs::write(yard.folder.path().join("sweep.json"), job.to_string()).unwrap();
    let output = yard.cli(&["submit", "sweep.json", "--follow", "--name", "rates", "--tag", "topic=sweep"]).await.success();
    assert_eq!(output.lines().filter(|line| line.contains("succeeded")).count(), 6, "{output}");

    let runs = yard.client.runs(&RunQuery::default()).await.unwrap().items;
    assert_eq!(runs.len(), 6);
    assert!(runs.iter().all(|run| run.name.as_deref() == Some("rates") && run.tags["topic"] == "sweep"));
    let mut points: Vec<String> = runs.iter().map(|run| serde_json::to_string(&run.sweep_point).unwrap()).collect();
    points.sort();
    points.dedup();
    assert_eq!(points.len(), 6);
    let job = yard.client.job(runs[0].job_id).await.unwrap();
    assert_eq!(job.states[&RunState::Succeeded], 6);
}

#[tokio::test]
async fn a_dry_run_tells_what_would_run_and_queues_nothing() {
    let yard = Yard::server(&[]).await;
    let mut job = jobs::colourization(5);
    job["sweep"] = json!({"network.name": ["pool_upsample", "conv_transpose", "unet"]});
    let planned = yard.client.dry_run(serde_json::to_vec(&job).unwrap()).await.unwrap();
    assert_eq!(planned.run_count, 3);
    // 32 images in batches of 16, 5 epochs.
    assert!(planned.runs.iter().all(|run| run.estimate.steps == 10));
    std::fs::write(yard.folder.path().join("job.json"), job.to_string()).unwrap();
    let output = yard.cli(&["submit", "job.json", "--dry-run"]).await.success();
    assert!(output.contains("nothing was queued"), "{output}");
    assert!(yard.client.runs(&RunQuery::default()).await.unwrap().items.is_empty());
    assert!(yard.client.jobs(10).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_running_run_is_paused_resumed_cancelled_and_retried() {
    let yard = Yard::up(&["--workers", "1", "--lease-seconds", "4"]).await;
    let id = yard.submit(&jobs::long_colourization()).await;
    yard.until_epoch(id, 2).await;
    let run = id.to_string();

    yard.cli(&["pause", &run]).await.success();
    let paused = yard.until(id, RunState::Paused).await;
    assert!(paused.progress.step > 0);
    let refused = yard.cli(&["retry", &run]).await;
    assert_eq!(refused.code, Some(4));
    assert!(refused.stderr.contains("409") && refused.stderr.contains("paused"), "{}", refused.stderr);

    yard.cli(&["resume", &run]).await.success();
    // Not from the beginning: it goes on behind the epoch that it had reached.
    let resumed = yard.until_epoch(id, paused.progress.epoch.unwrap() + 1).await;
    assert!(resumed.attempt > paused.attempt);
    let train_loss = yard.client.metrics(id, None).await.unwrap().series.into_iter().find(|series| series.name == "train_loss").unwrap();
    let epochs: Vec<u64> = train_loss.points.iter().map(|point| point.step).collect();
    assert_eq!(epochs, (1..=epochs.len() as u64).collect::<Vec<_>>(), "every epoch once");

    yard.cli(&["cancel", &run]).await.success();
    let cancelled = yard.until(id, RunState::Cancelled).await;
    assert_eq!(cancelled.stop_reason, Some(StopReason::Cancelled));
    let watched = yard.cli(&["watch", &run]).await;
    assert_eq!(watched.code, Some(1), "watch fails for a run that did not succeed");

    yard.cli(&["retry", &run]).await.success();
    yard.until(id, RunState::Succeeded).await;
}

#[tokio::test]
async fn runs_of_higher_priority_go_first_and_older_ones_before_younger() {
    let yard = Yard::server(&[]).await;
    let mut ids = Vec::new();
    for priority in [0, 5, -1, 5, 0] {
        let mut job = jobs::quick();
        // Too many steps to be a small run, of which a worker takes several at once.
        job["spec"]["steps"] = json!(300_000);
        job["priority"] = json!(priority);
        ids.push((yard.submit(&job).await, priority));
    }
    let _worker = yard.worker("worker");
    let mut claimed = Vec::new();
    for (id, priority) in ids {
        yard.until(id, RunState::Succeeded).await;
        let claim = yard.events(id).await.into_iter().find(|event| event.kind == "claimed").unwrap();
        claimed.push((claim.revision, -priority, id));
    }
    claimed.sort();
    let order: Vec<_> = claimed.iter().map(|(_, priority, id)| (*priority, *id)).collect();
    assert!(order.is_sorted(), "claimed in the order {order:?}");
}

#[tokio::test]
async fn a_diverging_run_fails_and_says_so() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let id = yard.submit(&jobs::two_unknowns(json!({"name": "gd", "learning_rate": 10.0}))).await;
    let run = yard.until(id, RunState::Failed).await;
    assert_eq!(run.stop_reason, Some(StopReason::Diverged));
    assert!(run.error.is_some());
    let watched = yard.cli(&["watch", &id.to_string()]).await;
    assert_eq!(watched.code, Some(1));
    assert!(watched.stdout.contains("diverged"), "{}", watched.stdout);
}

#[tokio::test]
async fn a_table_is_uploaded_and_fitted() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let rows: Vec<String> = (0..20).map(|i| format!("{},{},{}\n", i, (i * 7) % 5, 3 * i - 2 * ((i * 7) % 5))).collect();
    std::fs::write(yard.folder.path().join("table.csv"), format!("a,b,y\n{}", rows.concat())).unwrap();
    let output = yard.cli(&["datasets", "add", "lines", "--csv", "table.csv"]).await.success();
    assert!(output.contains("20 csv"), "{output}");
    let mut job = jobs::two_unknowns(json!({"name": "gd", "learning_rate": 0.003}));
    job["spec"]["problem"] = json!({"source": "dataset", "name": "lines", "target": "y"});
    let run = yard.submit(&job).await;
    assert_near(&weights(&yard.until(run, RunState::Succeeded).await), &[3.0, -2.0], 1e-6);

    // A dataset never changes: its bytes may come again, others may not.
    yard.cli(&["datasets", "add", "lines", "--csv", "table.csv"]).await.success();
    std::fs::write(yard.folder.path().join("table.csv"), "a,b,y\n1,2,3\n").unwrap();
    let other = yard.cli(&["datasets", "add", "lines", "--csv", "table.csv"]).await;
    assert_eq!(other.code, Some(4));
    assert!(other.stderr.contains("409"), "{}", other.stderr);
    assert!(yard.cli(&["datasets", "list"]).await.success().contains("lines"));
}

#[tokio::test]
async fn the_listing_commands_show_what_the_api_holds() {
    let yard = Yard::up(&["--workers", "1", "--threads", "1"]).await;
    let id = yard.submit(&jobs::colourization(1)).await;
    yard.until(id, RunState::Succeeded).await;
    let run = id.to_string();
    assert!(yard.cli(&["runs"]).await.success().contains("unet on synthetic"));
    assert!(yard.cli(&["runs", "--state", "failed"]).await.success().lines().count() == 1);
    let listed: Value = serde_json::from_str(&yard.cli(&["runs", "--json", "--limit", "1"]).await.success()).unwrap();
    assert_eq!(listed["items"][0]["id"], json!(id));
    assert!(yard.cli(&["jobs"]).await.success().contains("1 succeeded"));
    assert!(yard.cli(&["show", &run]).await.success().contains("model.safetensors"));
    assert!(yard.cli(&["metrics", &run, "--names", "val_loss"]).await.success().contains("val_loss"));
    let csv = yard.cli(&["metrics", &run, "--names", "val_loss", "--csv"]).await.success();
    assert_eq!(csv.lines().next(), Some("run,name,step,value,time"));
    assert_eq!(csv.lines().count(), 2);
    assert!(yard.cli(&["workers"]).await.success().contains("cpu"));
    yard.cli(&["logs", &run]).await.success();
    yard.cli(&["artifacts", &run, "model.json", "-o", "here.json"]).await.success();
    let downloaded = std::fs::read(yard.folder.path().join("here.json")).unwrap();
    assert_eq!(downloaded, yard.artifact(id, "model.json").await);
    let other = yard.submit(&jobs::colourization(2)).await;
    yard.until(other, RunState::Succeeded).await;
    let compared = yard.cli(&["compare", &run, &other.to_string()]).await.success();
    let epochs: Vec<&str> = compared.lines().find(|line| line.starts_with("setting")).unwrap().split_whitespace().collect();
    assert_eq!(epochs, ["setting", "epochs", "1", "2"], "{compared}");
    assert!(yard.cli(&["network", "unet"]).await.success().contains("56856"));
}

#[tokio::test]
async fn the_calculators_say_the_same_on_the_command_line_and_over_http() {
    let yard = Yard::server(&[]).await;
    let ask = async |path: &str, question: Value| {
        yard.request(reqwest::Method::POST, path).json(&question).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let question = json!({"name": "unet", "kernel": 5, "num_filters": 32, "in_channels": 1, "num_colours": 24, "height": 32, "width": 32});
    let printed = yard.cli(&["network", "unet", "--kernel", "5", "--json"]).await.success();
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), ask("/v1/tools/network", question).await);
    let table = yard.cli(&["network", "pool_upsample"]).await.success();
    assert!(table.contains("22 to 26") && table.contains("outputs = 2880·NF + 3328·NC = 172032"), "{table}");
    assert!(yard.cli(&["network", "unet", "--kernel", "8"]).await.stderr.contains("the kernel must be 1 to 7"));

    let (input, kernel) = ("[[1, 2], [3, 4]]", "[[0, 1], [2, 3]]");
    let question = json!({"input": [[1, 2], [3, 4]], "kernel": [[0, 1], [2, 3]], "mode": "full", "operation": "cross_correlation"});
    let options = ["--mode", "full", "--operation", "cross_correlation", "--json"];
    let printed = yard.cli(&[&["convolution", "--input", input, "--kernel", kernel][..], &options].concat()).await.success();
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), ask("/v1/tools/convolution", question).await);
    std::fs::write(yard.folder.path().join("rows.json"), input).unwrap();
    let printed = yard.cli(&["convolution", "--input", "rows.json", "--kernel", "[[-1]]"]).await.success();
    assert_eq!(printed, "-1 -2\n-3 -4\n");
    assert_eq!(yard.cli(&["convolution", "--input", "[[1], [2, 3]]", "--kernel", "[[1]]"]).await.code, Some(1));
}
