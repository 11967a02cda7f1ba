//! The memory of a process, as Linux tells it.

/// What a process takes from one moment on, at most.
pub struct Peak {
    pid: u32,
    before: u64,
}

impl Peak {
    /// From now on.
    pub fn since_now(pid: u32) -> Self {
        // 5 sets the high-water mark back to what is resident now.
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        Self { pid, before: bytes(pid, "VmRSS:") }
    }

    /// By how many bytes the process grew meanwhile, at its largest.
    pub fn growth(&self) -> u64 {
        bytes(self.pid, "VmHWM:").saturating_sub(self.before)
    }
}

fn bytes(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}
