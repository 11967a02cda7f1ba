//! The programs in `examples/`, each run as its own text says, on a server with a worker.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::PathBuf;
use std::process::Stdio;

use support::{PATIENCE, Yard};

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// What a program prints that must end well, or `None` where the machine does not have it.
async fn run(yard: &Yard, program: &str, arguments: &[PathBuf], environment: &[(&str, &str)]) -> Option<String> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).current_dir(yard.folder.path()).stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command.env("TRAINYARD_URL", &yard.url).env("TRAINYARD_TOKEN", &yard.token).env("PYTHONDONTWRITEBYTECODE", "1");
    command.envs(environment.iter().copied()).env_remove("http_proxy").env_remove("HTTP_PROXY").env_remove("all_proxy");
    let output = match tokio::time::timeout(2 * PATIENCE, command.output()).await.unwrap() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: {program} is not there");
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(stdout)
}

#[tokio::test]
async fn curl_submits_waits_compares_and_exports() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let Some(told) = run(&yard, "bash", &[example("curl.sh")], &[]).await else { return };
    for part in ["run 1 has ended", "run 2 has ended", "\"buckets\":[", "\"differences\":[{\"path\":\"optimizer", "wrote ./run-2.csv"] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    let csv = std::fs::read_to_string(yard.folder.path().join("run-2.csv")).unwrap();
    assert!(csv.starts_with("name,step,value,time\n") && csv.lines().any(|line| line.starts_with("loss,2000,")), "{csv}");
}

#[tokio::test]
async fn pythons_standard_library_is_client_enough() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let Some(told) = run(&yard, "python3", &[example("client.py")], &[]).await else { return };
    let rows: Vec<&str> = told.lines().filter(|line| line.contains(" loss 0.")).collect();
    assert_eq!(rows.len(), 3, "{told}");
    for name in ["gd", "momentum", "adam"] {
        assert!(rows.iter().any(|row| row.starts_with(name) && row.contains("after 500 steps")), "{told}");
    }
}

#[tokio::test]
async fn the_walk_through_the_three_networks_comes_to_its_pictures() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let small = [("EPOCHS", "2"), ("IMAGES", "40")];
    let Some(told) = run(&yard, "python3", &[example("three_networks.py")], &small).await else { return };
    assert!(told.contains("the least validation loss has "), "{told}");
    for network in ["pool_upsample", "conv_transpose", "unet"] {
        assert!(told.lines().any(|line| line.starts_with(network) && line.contains("weights")), "{told}");
        let picture = std::fs::read(yard.folder.path().join(format!("{network}.png"))).unwrap();
        assert_eq!(picture[..8], *b"\x89PNG\r\n\x1a\n", "{network}");
    }
}
