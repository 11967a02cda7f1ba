//! The commands of README.md, run as they stand there.
//!
//! A block's word after `sh` says how: `up` and `server` are started and stay, `worker` too; a block without a word is a part of one
//! script that runs from top to bottom. `ci` blocks are what `.ci/run` runs, `docker` ones what `scripts/check-compose` runs.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use support::{PATIENCE, eventually, jobs};
use trainyard_wire::client::{Client, RunQuery};
use trainyard_wire::{RunId, RunState};

const README: &str = include_str!("../README.md");

/// A shell block: its word, and its commands.
struct Block {
    word: String,
    commands: String,
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in README.lines() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(info)) => {
                let mut words = info.split_whitespace();
                if words.next() == Some("sh") {
                    open = Some(Block { word: words.next().unwrap_or_default().to_owned(), commands: String::new() });
                }
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.commands.push_str(line.strip_prefix("  ").filter(|_| line.starts_with("  trainyard")).unwrap_or(line));
                block.commands.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

fn commands(word: &str) -> String {
    blocks().into_iter().filter(|block| block.word == word).map(|block| block.commands).collect()
}

/// A shell in which `trainyard` is the binary under test and the README's address is `address`.
fn shell(folder: &Path, script: &str, address: &str) -> tokio::process::Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_trainyard"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = tokio::process::Command::new("bash");
    command.arg("-c").arg(format!("set -euo pipefail\n{}", script.replace("127.0.0.1:8080", address)));
    command.current_dir(folder).env("PATH", path).env("HOME", folder).env_remove("XDG_CACHE_HOME").env_remove("XDG_CONFIG_HOME");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Starts a command that stays. `exec` makes the shell the command itself, so that killing it kills the command.
fn start(folder: &Path, word: &str, address: &str) -> tokio::process::Child {
    let log = std::fs::File::create(folder.join(format!("{word}.log"))).unwrap();
    let mut command = shell(folder, &format!("exec {}", commands(word).trim()), address);
    command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

async fn client(folder: &Path, address: &str) -> Client {
    let token = eventually("the admin token", async || std::fs::read_to_string(folder.join("trainyard-data/admin.token")).ok()).await;
    let client = Client::new(&format!("http://{address}"), Some(token.trim().to_owned())).unwrap();
    eventually("the server to be ready", async || client.ready().await.ok()).await;
    client
}

/// What the README takes for given: the reader's own files.
fn own_files(folder: &Path) {
    for (name, records) in [("data_batch_1.bin", 12u8), ("test_batch.bin", 4)] {
        let bytes: Vec<u8> = (0..records)
            .flat_map(|record| std::iter::once(7).chain((0..3072u32).map(move |i| (i * (u32::from(record) + 3) % 251) as u8)))
            .collect();
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let rows: String = (0..40).map(|i| format!("{},{},{}\n", i, (i * 7) % 11, 2 * i - (i * 7) % 11 + 5)).collect();
    std::fs::write(folder.join("wine.csv"), format!("acidity,sugar,quality\n{rows}")).unwrap();
}

#[tokio::test]
async fn every_command_from_top_to_bottom_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    own_files(folder.path());
    let address = free_address();
    let _up = start(folder.path(), "up", &address);
    let client = client(folder.path(), &address).await;

    let output = tokio::time::timeout(2 * PATIENCE, shell(folder.path(), &commands(""), &address).output()).await.unwrap().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(!stdout.contains("\"status\":4") && !stdout.contains("\"status\":5"), "a problem among the answers: {stdout}");
    assert!(stdout.contains(r#""run_ids":[1]"#), "{stdout}");
    assert!(stdout.contains(r#""run_ids":[2,3,4,5,6,7]"#), "{stdout}");

    let counterexample = client.run(RunId(1)).await.unwrap().result.unwrap();
    for weight in counterexample["weights"].as_array().unwrap() {
        assert!((weight.as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-6, "{counterexample}");
    }
    let model = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    assert!(safetensors::SafeTensors::deserialize(&model).unwrap().names().contains(&"layer1.0.weight"));
    let table = RunQuery { job: Some(trainyard_wire::JobId(4)), ..RunQuery::default() };
    eventually("the run on the table", async || {
        let runs = client.runs(&table).await.unwrap().items;
        (runs[0].state == RunState::Succeeded).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_and_a_worker_started_apart_train_together() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let _server = start(folder.path(), "server", &address);
    let client = client(folder.path(), &address).await;
    let _worker = start(folder.path(), "worker", &address);
    let run = client.submit(jobs::quick().to_string().into_bytes(), None).await.unwrap().run_ids[0];
    eventually("the run to succeed", async || (client.run(run).await.unwrap().state == RunState::Succeeded).then_some(())).await;
}

#[test]
fn the_two_commands_are_what_the_checks_run() {
    let checks = include_str!("../.ci/run");
    let commands = commands("ci");
    assert_eq!(commands.lines().count(), 2);
    for command in commands.lines() {
        assert!(checks.lines().any(|line| line.trim().starts_with(command)), "{command}");
    }
}
