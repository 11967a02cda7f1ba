//! What a server is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use trainyard_wire::retention::RetentionPolicy;

use crate::store::DELETED_KEPT;
use crate::webhooks::{PublicUrl, WebhookHost};

/// Everything [`Server::start`](crate::Server::start) needs to know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The folder of the store, the blobs and the token files; made if it is not there.
    pub data_dir: PathBuf,
    /// Where to listen; port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// Host names, beside the loopback ones, under which clients may address the server.
    pub allowed_hosts: Vec<String>,
    /// How long a worker holds a run without a heartbeat.
    pub lease: Duration,
    /// A file with the admin token. Without it one is made at the first start, in `data_dir/admin.token`.
    pub admin_token_file: Option<PathBuf>,
    /// A file with a worker token. Without it one is made at the first start, in `data_dir/worker.token`.
    pub worker_token_file: Option<PathBuf>,
    /// Which files of finished runs the server lets go of by itself; all are kept without.
    pub retention: Option<RetentionPolicy>,
    /// How long a deleted run can be restored before it is removed for good.
    pub deleted_kept: Duration,
    /// The hosts that webhooks may name; none unless given.
    pub webhook_hosts: Vec<WebhookHost>,
    /// Where the server is reached from outside, for the addresses in messages to webhooks.
    pub public_url: Option<PublicUrl>,
    pub limits: Limits,
}

impl ServerConfig {
    /// A server on a free loopback port with a lease of 20 s and the default limits.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allowed_hosts: Vec::new(),
            lease: Duration::from_secs(20),
            admin_token_file: None,
            worker_token_file: None,
            retention: None,
            deleted_kept: DELETED_KEPT,
            webhook_hosts: Vec::new(),
            public_url: None,
            limits: Limits::default(),
        }
    }
}

/// What one request, one run and one sweep may cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of a JSON body, which may hold an inline problem.
    pub json_body_bytes: u64,
    /// Bytes of one dataset upload.
    pub upload_bytes: u64,
    /// Bytes of one artifact.
    pub artifact_bytes: u64,
    /// Runs of one sweep.
    pub runs_per_sweep: u64,
    /// Bytes that a run's training may need.
    pub run_memory_bytes: u64,
    /// Bytes that a run may leave on the server's disk.
    pub run_disk_bytes: u64,
    /// Multiply-adds of a whole run.
    pub run_multiply_adds: u64,
    /// Numbers in the matrix X of a regression.
    pub problem_numbers: u64,
    /// Connections at one time; fewer where the process may not open as many files.
    pub connections: usize,
    /// Streams of `GET /v1/events` at one time.
    pub subscribers: usize,
    /// How long a client may take to send the head of a request, or leave its connection idle.
    pub header_timeout: Duration,
    /// How long the server waits for a client to send or to take 10 KiB, whatever comes in between: a body that is slower is answered
    /// with 408, an answer that is taken slower is broken off.
    pub patience: Duration,
    /// The longest that one request may be held by `Prefer: wait` or a claim; shorter than the minute of silence at which clients give up.
    pub longest_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            json_body_bytes: 8 << 20,
            upload_bytes: 2 << 30,
            artifact_bytes: 1 << 30,
            runs_per_sweep: 10_000,
            run_memory_bytes: 4 << 30,
            run_disk_bytes: 16 << 30,
            run_multiply_adds: 1_000_000_000_000_000_000,
            problem_numbers: 20_000_000,
            connections: 4096,
            subscribers: 512,
            header_timeout: Duration::from_secs(8),
            patience: Duration::from_secs(8),
            longest_wait: Duration::from_secs(50),
        }
    }
}
