//! The command line as people and scripts use it: exit codes, JSON, configuration, the live view, completions.
#![allow(clippy::unwrap_used)]

mod mistakes;
#[path = "../support/mod.rs"]
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{PATIENCE, Yard, eventually, jobs, process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trainyard_wire::RunState;

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A regression that diverges.
fn diverging() -> Value {
    let mut job = jobs::two_unknowns(json!({"name": "gd", "learning_rate": 100.0}));
    job["spec"]["steps"] = json!(5000);
    job
}

/// Writes a job's file into the yard's folder.
fn write_job(yard: &Yard, name: &str, job: &Value) {
    std::fs::write(yard.folder.path().join(name), serde_json::to_string_pretty(job).unwrap()).unwrap();
}

#[tokio::test]
async fn the_exit_code_tells_a_run_that_failed_from_a_mistake_a_refusal_and_a_server_that_is_away() {
    let mut yard = Yard::up(&["--workers", "1"]).await;
    write_job(&yard, "good.json", &jobs::quick());
    write_job(&yard, "bad.json", &diverging());
    assert_eq!(yard.cli(&["submit", "good.json", "--follow"]).await.code, Some(0));
    let failed = yard.cli(&["submit", "bad.json", "--follow"]).await;
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert!(failed.stdout.contains("diverged"), "{}", failed.stdout);
    assert_eq!(yard.cli(&["watch", "1"]).await.code, Some(0));
    assert_eq!(yard.cli(&["watch", "1", "2"]).await.code, Some(1), "one of two failed");

    for usage in
        [&["watch"] as &[&str], &["runs", "--state", "asleep"], &["metrics", "1", "--csv", "--json"], &["runs", "--profile", "none"]]
    {
        assert_eq!(yard.cli(usage).await.code, Some(2), "{usage:?}");
    }
    assert_eq!(yard.cli(&["submit", "missing.json"]).await.code, Some(1));

    for (refused, status, next) in [
        (&["show", "999"] as &[&str], "404", "trainyard runs"),
        (&["watch", "--job", "999"], "404", "trainyard jobs"),
        (&["retry", "1"], "409", "trainyard show"),
        (&["runs", "--token", "wrong"], "401", "admin.token"),
    ] {
        let output = yard.cli(refused).await;
        assert_eq!(output.code, Some(4), "{refused:?}: {}", output.stderr);
        assert!(output.stderr.contains(status) && output.stderr.contains(next), "{refused:?}: {}", output.stderr);
        assert_eq!(output.stdout, "");
    }
    let token = yard.cli(&["tokens", "create", "reader", "--scope", "read"]).await.success();
    let forbidden = yard.cli(&["submit", "good.json", "--token", token.trim()]).await;
    assert_eq!(forbidden.code, Some(4));
    assert!(
        forbidden.stderr.contains("403") && forbidden.stderr.contains("trainyard tokens create NAME --scope submit"),
        "{}",
        forbidden.stderr
    );

    yard.process.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(yard.process.wait().await.success());
    let away = yard.cli(&["runs"]).await;
    assert_eq!(away.code, Some(3), "{}", away.stderr);
    assert!(away.stderr.contains("trainyard up"), "{}", away.stderr);

    let help = yard.cli(&["--help"]).await.success();
    for code in ["0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "74 ", "130 "] {
        assert!(help.split_once("Exit codes:").unwrap().1.lines().any(|line| line.trim_start().starts_with(code)), "{code} in {help}");
    }
}

#[tokio::test]
async fn what_is_no_trainyard_server_has_an_exit_code_of_its_own() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 4\r\nconnection: close\r\n\r\nwhat").await.unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let output = process::run(folder.path(), &["runs", "--url", &url, "--token", "x"], &[]).await;
    assert_eq!(output.code, Some(5), "{}", output.stderr);
    assert!(output.stderr.contains("trainyard config"), "{}", output.stderr);
}

#[tokio::test]
async fn json_is_the_apis_answer_on_stdout_and_a_problem_on_stderr() {
    let yard = Yard::up(&["--workers", "1"]).await;
    write_job(&yard, "job.json", &jobs::quick());
    std::fs::write(yard.folder.path().join("table.csv"), "x,y\n1,2\n2,4\n3,6\n").unwrap();
    let json = async |arguments: &[&str]| {
        let output = yard.cli(&[arguments, &["--json"]].concat()).await;
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{arguments:?}: {}", output.stdout);
        parsed(&output.stdout)
    };
    assert_eq!(json(&["submit", "job.json", "--dry-run"]).await["run_count"], 1);
    assert_eq!(json(&["submit", "job.json"]).await["run_ids"], json!([1]));
    assert_eq!(json(&["watch", "1"]).await["items"][0]["state"], "succeeded");
    assert_eq!(json(&["submit", "job.json", "--follow"]).await["items"][0]["id"], 2);
    let created = json(&["tokens", "create", "ci", "--scope", "read"]).await;
    assert!(created["token"].is_string(), "{created}");
    let token = created["id"].to_string();
    for (arguments, pointer) in [
        (&["runs"] as &[&str], "/items/0/id"),
        (&["show", "1"], "/spec/kind"),
        (&["jobs"], "/items/0/run_count"),
        (&["metrics", "1"], "/series/0/points/0/value"),
        (&["compare", "1", "2"], "/metrics/loss/0/last"),
        (&["logs", "1"], "/items"),
        (&["artifacts", "1"], "/artifacts"),
        (&["datasets", "add", "lines", "--csv", "table.csv"], "/sha256"),
        (&["datasets", "list"], "/items/0/name"),
        (&["tokens", "list"], "/items/0/scopes"),
        (&["tokens", "revoke", &token], "/revoked/0"),
        (&["prune", "--older-than", "1h", "--dry-run"], "/dry_run"),
        (&["workers"], "/items/0/pid"),
        (&["verify", "1"], "/verdict"),
        (&["backup", "-o", "backup.tar"], "/size"),
        (&["export", "1", "--format", "csv"], "/items/0/points"),
        (&["network", "unet"], "/weights"),
        (&["convolution", "--input", "[[1]]", "--kernel", "[[1]]"], "/output/0/0"),
        (&["health"], "/ready"),
        (&["config"], "/settings/0/key"),
    ] {
        let answer = json(arguments).await;
        assert!(answer.pointer(pointer).is_some_and(|value| !value.is_null()), "{arguments:?}: {answer}");
    }
    let run = yard.request(reqwest::Method::GET, "/v1/runs/1").send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(json(&["show", "1"]).await, run, "the same as the API's");

    for (arguments, status, code) in [
        (&["show", "999", "--json"] as &[&str], json!(404), 4),
        (&["--json", "retry", "1"], json!(409), 4),
        (&["watch", "--json"], Value::Null, 2),
        (&["runs", "--json", "--url", "http://127.0.0.1:1"], Value::Null, 3),
    ] {
        let output = yard.cli(arguments).await;
        let problem = parsed(&output.stderr);
        assert_eq!(output.code, Some(code), "{problem}");
        assert_eq!((&problem["status"], &problem["exit_code"]), (&status, &json!(code)), "{problem}");
        assert!(problem["detail"].is_string() && problem["title"].is_string(), "{problem}");
    }
    let refused = yard.cli(&["show", "999"]).await;
    assert!(refused.stderr.starts_with("error: ") && refused.stderr.contains("\nhint: "), "{}", refused.stderr);
}

#[tokio::test]
async fn a_mistake_in_a_jobs_file_is_shown_where_it_stands() {
    let yard = Yard::server(&[]).await;
    let text = "{\n  \"spec\": {\n    \"kind\": \"regression\",\n    \"problem\": {\"source\": \"inline\", \"x\": [[2, 1]], \"t\": [2]},\n    \"optimizer\": {\"name\": \"gd\", \"learning_rate\": -1},\n    \"steps\": 10\n  }\n}\n";
    std::fs::write(yard.folder.path().join("job.json"), text).unwrap();
    for more in [&[] as &[&str], &["--dry-run"], &["--name", "other"]] {
        let refused = yard.cli(&[&["submit", "job.json"], more].concat()).await;
        assert_eq!(refused.code, Some(4));
        assert!(refused.stderr.contains("job.json:5:50 /spec/optimizer/learning_rate"), "{}", refused.stderr);
        let lines: Vec<&str> = refused.stderr.lines().collect();
        let at = lines.iter().position(|line| line.contains("5 | \"optimizer\"")).unwrap_or_else(|| panic!("{}", refused.stderr));
        let mark = lines[at + 1].find('^').unwrap();
        assert!(lines[at][mark..].starts_with("-1"), "{}", refused.stderr);
    }
    let syntax = text.replace("\"steps\": 10", "\"steps\" 10");
    std::fs::write(yard.folder.path().join("job.json"), syntax).unwrap();
    let refused = yard.cli(&["submit", "job.json"]).await;
    assert!(refused.stderr.contains("line 6"), "{}", refused.stderr);
}

#[tokio::test]
async fn settings_come_from_flags_then_the_environment_then_the_file_and_a_token_is_never_shown() {
    let yard = Yard::server(&[]).await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".config/trainyard");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config.toml");
    let token_file = yard.data_dir().join("admin.token");
    let write = |text: String| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    // An empty TRAINYARD_CONFIG is none.
    let own = [("HOME", home.path().to_str().unwrap()), ("XDG_CONFIG_HOME", ""), ("TRAINYARD_CONFIG", "")];
    let run = async |arguments: &[&str], more: &[(&str, &str)]| process::run(home.path(), arguments, &[&own, more].concat()).await;

    write(format!("url = \"{}\"\ntoken_file = \"{}\"\n[profile.away]\nurl = \"http://127.0.0.1:1\"\n", yard.url, token_file.display()));
    assert_eq!(run(&["config", "path"], &[]).await.success().trim(), file.to_str().unwrap());
    assert_eq!(run(&["runs"], &[]).await.code, Some(0), "by the file alone");
    assert_eq!(run(&["runs"], &[("TRAINYARD_URL", "http://127.0.0.1:1")]).await.code, Some(3), "the environment goes first");
    assert_eq!(run(&["runs", "--url", &yard.url], &[("TRAINYARD_URL", "http://127.0.0.1:1")]).await.code, Some(0), "and a flag before it");
    assert_eq!(run(&["runs", "--profile", "away"], &[]).await.code, Some(3));
    assert_eq!(run(&["runs"], &[("TRAINYARD_PROFILE", "away")]).await.code, Some(3));
    assert_eq!(run(&["runs", "--profile", "none"], &[]).await.code, Some(2));

    let source = async |arguments: &[&str], more: &[(&str, &str)], key: &str| {
        let shown = parsed(&run(&[arguments, &["config", "--json"]].concat(), more).await.success());
        let settings = shown["settings"].as_array().unwrap().clone();
        settings.into_iter().find(|setting| setting["key"] == key).unwrap()["source"].clone()
    };
    assert_eq!(source(&[], &[], "url").await, "file");
    assert_eq!(source(&[], &[("TRAINYARD_URL", "http://x")], "url").await, "TRAINYARD_URL");
    assert_eq!(source(&["--profile", "away"], &[("TRAINYARD_URL", "http://x")], "url").await, "profile away");
    assert_eq!(source(&[], &[("TRAINYARD_TOKEN", "x")], "token").await, "TRAINYARD_TOKEN");

    // A token in the file: masked everywhere, also where the file is wrong; and a warning where others can read it.
    write(format!("url = \"{}\"\ntoken = \"{}\"\noutput = \"json\"\n", yard.url, yard.token));
    let fine = run(&["runs"], &[]).await;
    assert_eq!((fine.code, fine.stderr.as_str()), (Some(0), ""));
    assert_eq!(parsed(&fine.stdout)["items"], json!([]), "output = \"json\"");
    let text = run(&["runs", "--json=false"], &[]).await.success();
    assert!(text.starts_with("RUN"), "{text}");
    let shown = run(&["config", "--json=false"], &[]).await;
    assert!(shown.stdout.contains("token") && shown.stdout.contains("********"), "{}", shown.stdout);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let warned = run(&["runs", "--json=false"], &[]).await;
    assert!(warned.stderr.contains("chmod 600") && warned.stderr.contains("config.toml"), "{}", warned.stderr);
    std::fs::write(&file, format!("token = \"{}\"\ntoken = \"{}\n", yard.token, yard.token)).unwrap();
    let wrong = run(&["runs"], &[]).await;
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("config.toml:2"), "{}", wrong.stderr);
    assert_eq!(run(&["network", "unet"], &[]).await.code, Some(0), "a command without a server does not care");
    for output in [&fine, &shown, &warned, &wrong] {
        assert!(!output.stdout.contains(&yard.token) && !output.stderr.contains(&yard.token), "{output:?}");
    }

    let readable = home.path().join("readable.token");
    std::fs::write(&readable, &yard.token).unwrap();
    std::fs::set_permissions(&readable, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::remove_file(&file).unwrap();
    let warned = run(&["runs", "--url", &yard.url, "--token-file", "readable.token"], &[]).await;
    assert_eq!(warned.code, Some(0));
    assert!(warned.stderr.contains("readable.token") && warned.stderr.contains("chmod 600"), "{}", warned.stderr);
    let absent = run(&["config"], &[]).await.success();
    assert!(absent.contains("(not there)") && absent.contains("default"), "{absent}");
}

#[tokio::test]
async fn watching_prints_plain_lines_where_there_is_no_terminal_and_ends_with_the_last_run() {
    let yard = Yard::server(&[]).await;
    let mut sweep = jobs::quick();
    sweep["sweep"] = json!({"seed": [0, 1, 2, 3, 4]});
    yard.submit_all(&sweep).await;
    let mut watch = yard.client_process("watch", &["watch", "--job", "1"]);
    eventually("the runs to be seen waiting", async || (watch.stderr().matches("queued").count() == 5).then_some(())).await;
    eventually("the reason to be told", async || watch.stderr().contains("run 1 waits: no worker is connected").then_some(())).await;
    let shown = yard.cli(&["show", "1"]).await.success();
    assert!(shown.lines().any(|line| line.starts_with("waits") && line.contains("no worker is connected")), "{shown}");
    assert!(watch.is_running());
    let _worker = yard.worker("worker");
    assert!(watch.wait().await.success());
    assert_eq!(watch.stderr().matches("waits: no worker").count(), 1, "{}", watch.stderr());
    assert_eq!(watch.stderr().matches("succeeded: completed, after").count(), 5, "{}", watch.stderr());
    assert_eq!(watch.stdout().lines().count(), 6, "{}", watch.stdout());
    assert!(!watch.stdout().contains('\u{1b}') && !watch.stderr().contains('\u{1b}'), "no escape sequences");
}

#[tokio::test]
async fn watching_outlasts_a_restart_of_the_server() {
    let mut yard = Yard::server(&[]).await;
    let run = yard.submit(&jobs::quick()).await;
    let mut watch = yard.client_process("watch", &["watch", "1"]);
    eventually("the run to be seen waiting", async || watch.stderr().contains("queued").then_some(())).await;
    yard.process.signal(nix::sys::signal::Signal::SIGKILL);
    yard.restart_server(&[]).await;
    let _worker = yard.worker("worker");
    yard.until(run, RunState::Succeeded).await;
    assert!(watch.wait().await.success(), "{}", watch.stderr());
    assert!(watch.stdout().contains("succeeded"), "{}", watch.stdout());
}

#[tokio::test]
async fn on_a_terminal_watching_draws_bars_with_the_time_left_the_pace_and_the_curve() {
    if !Path::new("/usr/bin/script").exists() {
        eprintln!("skipped: util-linux's script, which gives a command a terminal, is not there");
        return;
    }
    let yard = Yard::up(&["--workers", "1"]).await;
    yard.submit(&jobs::long_colourization()).await;
    let mut second = jobs::quick();
    second["priority"] = json!(-1);
    yard.submit(&second).await;
    let command = format!("stty rows 50 cols 100; {} watch 1 2", env!("CARGO_BIN_EXE_trainyard"));
    let mut script = tokio::process::Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).current_dir(yard.folder.path()).stdin(Stdio::null());
    script.env("TRAINYARD_CONFIG", "/dev/null").env("TRAINYARD_URL", &yard.url).env("TRAINYARD_TOKEN", &yard.token).env("TERM", "xterm");
    let output = tokio::time::timeout(2 * PATIENCE, script.kill_on_drop(true).output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    for part in ["run 1 unet on synthetic, epoch", "left", "images/s", "loss", "(best", "accuracy", "of 2 runs done"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(text.contains(['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']), "a curve: {text}");
    assert!(text.contains('\u{1b}'), "it is drawn in place");
    assert_eq!(text.matches("succeeded: completed").count(), 4, "two notes and two rows: {text}");
}

#[tokio::test]
async fn completions_and_manual_pages_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let run = async |arguments: &[&str]| process::run(folder.path(), arguments, &[]).await.success();
    let help = run(&["help"]).await;
    let (_, commands) = help.split_once("Commands:").unwrap();
    let commands = commands.lines().skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() >= 30 && commands.contains(&"export"), "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]).await;
        for command in &commands {
            assert!(script.contains(command), "{command} in the completions of {shell}");
        }
    }
    std::fs::write(folder.path().join("completions.bash"), run(&["completions", "bash"]).await).unwrap();
    let line =
        "source completions.bash; COMP_WORDS=(trainyard exp); COMP_CWORD=1; _trainyard trainyard exp trainyard; echo \"${COMPREPLY[@]}\"";
    let completed = std::process::Command::new("bash").args(["-c", line]).current_dir(folder.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "export", "{}", String::from_utf8_lossy(&completed.stderr));
    assert!(run(&["man"]).await.contains(".TH trainyard 1"));
    run(&["man", "-o", "man"]).await;
    for command in commands.iter().filter(|command| **command != "help") {
        assert!(folder.path().join(format!("man/trainyard-{command}.1")).exists(), "a page for {command}");
    }
}

#[tokio::test]
async fn comparing_marks_the_best_and_writes_csv() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let mut sweep = jobs::quick();
    sweep["sweep"] = json!({"optimizer.learning_rate": [0.1, 0.01, 0.001]});
    for run in yard.submit_all(&sweep).await {
        yard.until(run, RunState::Succeeded).await;
    }
    let table = yard.cli(&["compare", "1", "2", "3"]).await.success();
    let row = |name: &str| table.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name} in {table}"));
    assert!(row("optimizer.learning_rate").starts_with("setting"), "{table}");
    assert_eq!(row("loss").matches('*').count(), 1, "{table}");
    assert!(row("weights").contains('[') && table.contains("* the best of its row"), "{table}");
    let csv = yard.cli(&["compare", "1", "2", "3", "--csv"]).await.success();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.headers().unwrap(), vec!["what", "name", "1", "2", "3"]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let loss = rows.iter().find(|row| &row[0] == "metric" && &row[1] == "loss").unwrap();
    for (column, id) in [(2, 1), (3, 2), (4, 3)] {
        let run = yard.run(trainyard_wire::RunId(id)).await;
        assert_eq!(loss[column].parse::<f64>().unwrap(), run.summary["loss"].last.0, "every digit");
    }
}

#[tokio::test]
async fn runs_are_named_tagged_found_put_away_and_brought_back() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let mut job = jobs::quick();
    job["project"] = json!("first");
    let (one, two) = (yard.submit(&job).await, yard.submit(&jobs::quick()).await);
    for run in [one, two] {
        yard.until(run, RunState::Succeeded).await;
    }
    let (first, second) = (one.to_string(), two.to_string());
    let noted =
        yard.cli(&["annotate", &second, "--name", "mine", "--project", "first", "--tag", "lr=small", "--tag", "keep"]).await.success();
    assert_eq!(noted, format!("run {two}: mine, in first, keep, lr=small\n"));
    assert_eq!(yard.cli(&["annotate", &second]).await.code, Some(2));
    assert_eq!(yard.cli(&["annotate", "999", "--notes", "x"]).await.code, Some(4));
    let tag = ["annotate", "--matching", "project=first&tag=keep", "--tag", "seen", "--untag", "keep"];
    assert_eq!(yard.cli(&tag).await.success(), format!("run {two}: tagged so\n"));
    assert_eq!(yard.run(two).await.tags, [("lr".to_owned(), "small".to_owned()), ("seen".to_owned(), String::new())].into());
    assert_eq!(yard.cli(&tag).await.success(), "no run matches\n");

    let found = async |words: &[&str]| -> Vec<i64> {
        let words = [&["runs", "--json"], words].concat();
        let page = parsed(&yard.cli(&words).await.success());
        page["items"].as_array().unwrap().iter().map(|run| run["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(found(&["--project", "first", "--sort", "created"]).await, [one.0, two.0]);
    assert_eq!(found(&["--project", "first", "--sort", "-created"]).await, [two.0, one.0]);
    assert_eq!(found(&["--tag", "lr:small", "-q", "min"]).await, [two.0]);
    assert_eq!(found(&["--metric", "loss<-1"]).await, [0i64; 0]);
    assert!(yard.cli(&["projects"]).await.success().contains("2 succeeded"));

    assert_eq!(yard.cli(&["archive", &first]).await.success(), format!("run {one}: archived\n"));
    assert_eq!(found(&[]).await, [two.0]);
    assert_eq!(found(&["--archived", "true"]).await, [one.0]);
    yard.cli(&["unarchive", &first]).await.success();
    let deleted = yard.cli(&["delete", &first, "999"]).await;
    assert_eq!(deleted.code, Some(4), "{}", deleted.stderr);
    assert!(deleted.stderr.contains("run 999: there is no such run"), "{}", deleted.stderr);
    assert_eq!(yard.cli(&["show", &first]).await.code, Some(4));
    yard.cli(&["restore", &first]).await.success();
    assert_eq!(found(&["--sort", "created"]).await, [one.0, two.0]);
}
