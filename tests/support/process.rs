//! Processes of the real binary.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PATIENCE, eventually};

/// The binary under test: that of the tests' own profile, or the one that is measured.
fn program() -> PathBuf {
    let measured = std::env::var_os("TRAINYARD_BINARY");
    // It is started in other folders.
    measured.map_or_else(|| env!("CARGO_BIN_EXE_trainyard").into(), |path| std::path::absolute(path).unwrap())
}

/// A process of the binary; killed and waited for when it is dropped.
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts the binary; what it prints goes into files in `folder`.
    pub fn start(name: &str, folder: &Path, arguments: &[&str], paths: &[&Path]) -> Self {
        Self::start_in(name, folder, arguments, paths, &[])
    }

    /// As [`start`](Self::start), in an environment with more.
    pub fn start_in(name: &str, folder: &Path, arguments: &[&str], paths: &[&Path], environment: &[(&str, &Path)]) -> Self {
        let (stdout, stderr) = (folder.join(format!("{name}.stdout")), folder.join(format!("{name}.stderr")));
        // A second process of one name goes on in the log of the first; its stdout is read and begins anew.
        let append = |path: &Path| OpenOptions::new().create(true).append(true).open(path).unwrap();
        File::create(&stdout).unwrap();
        let child = binary(folder)
            .args(arguments)
            .args(paths)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(append(&stdout))
            .stderr(append(&stderr))
            .spawn()
            .unwrap();
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap()
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// How the process ended, once it has.
    pub async fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        eventually(&format!("{name} to end"), async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may be stopped or end just now; either way it is gone after these.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            for (stream, path) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
                let text = std::fs::read_to_string(path).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let tail = lines[lines.len().saturating_sub(60)..].join("\n");
                eprintln!("--- {stream} of {} ---\n{tail}", self.name);
            }
        }
    }
}

/// Sends a signal to a process that a test or its yard started.
pub fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// Whether a process with this pid exists and has not ended.
pub fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands after the name in parentheses; Z is one that ended and was not waited for.
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Its stdout; panics unless it ended with exit code 0.
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// Runs a command of the binary in `folder` to its end.
pub async fn run(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = tokio::process::Command::from(binary(folder));
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(2 * PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("trainyard {} did not end", arguments.join(" "))).unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// [`program`], in `folder`, without what the machine's environment might tell it.
fn binary(folder: &Path) -> Command {
    let mut command = Command::new(program());
    command.current_dir(folder);
    let variables = ["URL", "TOKEN", "TOKEN_FILE", "OUTPUT", "PROFILE"].map(|name| format!("TRAINYARD_{name}"));
    for name in variables.iter().map(String::as_str).chain(["RUST_LOG", "RAYON_NUM_THREADS"]) {
        command.env_remove(name);
    }
    // Not the configuration of whoever runs the tests.
    command.env("TRAINYARD_CONFIG", "/dev/null");
    command
}
