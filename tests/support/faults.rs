//! Faults in a process of the binary and its children: a disk that is full or fails to sync, a wall clock that jumps, a trainer that grows.
//!
//! `faults.c` is compiled once a test and loaded before the C library; what it does is written into a file that it reads over and over.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The faults of one process.
pub struct Faults {
    library: PathBuf,
    file: PathBuf,
}

impl Faults {
    /// Compiles the library into `folder`; without a fault so far.
    pub fn new(folder: &Path) -> Self {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/faults.c");
        let (library, file) = (folder.join("faults.so"), folder.join("faults"));
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let status = Command::new(compiler)
            .args(["-shared", "-fPIC", "-pthread", "-O1", "-o"])
            .arg(&library)
            .args([source, "-ldl"])
            .status()
            .unwrap();
        assert!(status.success(), "{source} does not compile");
        let faults = Self { library, file };
        faults.none();
        faults
    }

    /// The environment of a process that is to have the faults.
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("FAULTS_FILE", &self.file)]
    }

    pub fn none(&self) {
        self.set("none -");
    }

    /// Files under `folder` cannot grow.
    pub fn full(&self, folder: &Path) {
        self.set(&format!("full {}", folder.display()));
    }

    /// Files under `folder` cannot be fsynced.
    pub fn unsynced(&self, folder: &Path) {
        self.set(&format!("unsynced {}", folder.display()));
    }

    /// The wall clock is so many seconds off.
    pub fn clock(&self, seconds: i64) {
        self.set(&format!("clock {seconds}"));
    }

    /// The next trainer takes so many MiB for as long as it trains.
    pub fn grow(&self, mebibytes: u64) {
        self.set(&format!("grow {mebibytes}"));
    }

    /// At once for whoever reads: the file is replaced as a whole.
    fn set(&self, line: &str) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, line).unwrap();
        std::fs::rename(next, &self.file).unwrap();
    }
}
