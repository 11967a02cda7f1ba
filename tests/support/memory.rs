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

/// The most bytes that a process ever had resident; `None` once it has ended.
pub fn high_water(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    in_bytes(&status, "VmHWM:")
}

fn in_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn bytes(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    in_bytes(&status, name).unwrap()
}
