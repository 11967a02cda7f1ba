//! What people get wrong, and what they are told.

use serde_json::json;

use super::support::{Yard, jobs};
use super::write_job;

#[tokio::test]
async fn a_beginners_mistake_is_told_once_with_its_place_and_what_to_do() {
    let yard = Yard::up(&["--workers", "1"]).await;
    write_job(&yard, "good.json", &jobs::quick());
    yard.cli(&["submit", "good.json", "--follow"]).await.success();
    let mut text_for_number = jobs::quick();
    text_for_number["spec"]["optimizer"]["learning_rate"] = json!("0.1");
    let mut short_path = jobs::quick();
    short_path["sweep"] = json!({"learning_rate": [0.1]});
    for (name, job) in [("bare.json", &jobs::quick()["spec"]), ("text.json", &text_for_number), ("path.json", &short_path)] {
        write_job(&yard, name, job);
    }
    std::fs::write(yard.folder.path().join("comma.json"), "{\"spec\": {\n  \"kind\": \"regression\",\n}}").unwrap();

    for (mistake, code, told) in [
        (&["submit", "comma.json"] as &[&str], 4, &["comma.json is not JSON", "line 3"] as &[&str]),
        (&["submit", "bare.json"], 4, &["bare.json:", "stands under `spec`"]),
        (&["submit", "text.json"], 4, &["expected a number"]),
        (&["submit", "path.json"], 4, &["`optimizer.learning_rate`"]),
        (&["show", "abc"], 2, &["must be a whole number"]),
        (&["runs", "--url", "127.0.0.1:8080"], 2, &["write it like http://"]),
        (&["delete", "99"], 4, &["error: run 99"]),
        (&["compare", "--job", "99"], 4, &["trainyard jobs"]),
        (&["metrics", "1", "--names", "lss"], 0, &["run 1 has no metric lss; it has", "loss"]),
    ] {
        let output = yard.cli(mistake).await;
        assert_eq!(output.code, Some(code), "{mistake:?}: {}", output.stderr);
        for words in told {
            assert!(output.stderr.contains(words), "{mistake:?} does not say {words:?}: {}", output.stderr);
        }
    }
    let unsorted = yard.cli(&["runs", "--sort", "loss"]).await;
    assert_eq!(unsorted.stderr.trim().lines().count(), 1, "{}", unsorted.stderr);

    assert!(yard.cli(&["compare", "--job", "1"]).await.success().contains("RUN 1"));
    assert_eq!(yard.cli(&["logs", "1"]).await.success().trim(), "run 1 has logged nothing");
}

#[tokio::test]
async fn a_server_whose_port_is_taken_says_so_and_how_to_choose_another() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let address = yard.url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let second = yard.cli(&["server", "--data-dir", "second", "--listen", address]).await;
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains("--listen"), "{}", second.stderr);
}
