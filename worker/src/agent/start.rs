//! The start of a worker process.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use trainyard_gpu::Precision;
use trainyard_wire::client::Client;
use trainyard_wire::worker::Register;

use super::backlog::Backlog;
use super::courier::Courier;
use super::held::HeldRuns;
use super::memory::{self, Memory};
use super::timing::Timing;
use super::{Agent, WorkerError};
use crate::WorkerConfig;
use crate::data::FileStore;
use crate::data::files::{MOST_BYTES, sha256};
use crate::kernels::blocked::Isa;
use crate::networks::{DeviceChoice, Found};
use crate::trainers::{self, Card, Workshop};

/// Works for the server until `stop` is cancelled, then gives its runs back and returns.
///
/// Bounds the process's global rayon pool to the wanted threads, unless something made that pool before.
///
/// # Errors
/// [`WorkerError`] where the worker cannot start, or where the server refuses it for good. A server that is not there is waited for.
pub async fn run(config: WorkerConfig, stop: CancellationToken) -> Result<(), WorkerError> {
    memory::volunteer();
    let memory = Memory::new(config.memory_bytes);
    let found = config.device.find(&config.cache_dir.join("kernels"), config.gpu_precision)?;
    tracing::info!(device = found.text, "trains on this device");
    if config.gpu_precision == Precision::Tf32 && found.driver.as_ref().is_none_or(|driver| driver.precision() == Precision::Fp32) {
        tracing::warn!(device = found.text, "there is no TF32 on this device: it computes in FP32");
    }
    let threads = bound_threads(config.threads);
    let client = Client::new(&config.server, Some(config.token))?;
    let files = FileStore::open(&config.cache_dir, MOST_BYTES);
    let files = files.map_err(|source| WorkerError::Cache { path: config.cache_dir.clone(), source })?;
    let threads = u32::try_from(threads).unwrap_or(u32::MAX);
    let register = Register {
        pid: std::process::id(),
        host: nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok()).unwrap_or_default(),
        device: found.text.clone(),
        threads,
        memory_bytes: memory.for_runs(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: build(),
        instructions: Isa::detect().to_string(),
    };
    let agent = Agent {
        server: client,
        register,
        worker_id: AtomicI64::new(0),
        registering: Mutex::new(()),
        held: HeldRuns::default(),
        backlog: Arc::new(Backlog::new(threads)),
        courier: Courier::new(),
        files,
        download: Mutex::new(()),
        workshop: workshop(found, config.device),
        train: trainers::train,
        claim_at_once: config.claim_at_once.max(1),
        timing: Timing::default(),
        memory,
        draining: watch::Sender::new(false),
        stop,
        given_up: CancellationToken::new(),
    };
    Arc::new(agent).work().await
}

/// Bounds the cores that training takes; returns how many these are.
fn bound_threads(wanted: Option<usize>) -> usize {
    if let Some(wanted) = wanted {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(wanted.max(1));
        if let Err(error) = pool.thread_name(|index| format!("train-{index}")).build_global() {
            tracing::warn!(%error, "the number of threads was settled before the worker started");
        }
    }
    // Without a wish, rayon itself reads RAYON_NUM_THREADS and else takes all cores.
    rayon::current_num_threads().min(wanted.unwrap_or(usize::MAX)).max(1)
}

/// What runs share: the GPU where one was found.
fn workshop(found: Found, wanted: DeviceChoice) -> Workshop {
    let workshop = Workshop::new(found.device);
    match found.driver {
        Some(driver) => workshop.with_card(Card::new(driver, wanted == DeviceChoice::Cuda).with_monitor(found.monitor)),
        None => workshop,
    }
}

/// The version with a hash of this program's file: of two programs with different files nobody knows that they compute alike.
fn build() -> String {
    let hash = std::env::current_exe().and_then(std::fs::read).map(|program| sha256(&program));
    match hash {
        Ok(hash) => format!("{}+{}", env!("CARGO_PKG_VERSION"), &hash[..12]),
        Err(error) => {
            tracing::warn!(%error, "this program's file cannot be read: results do not say which build they are from");
            String::new()
        }
    }
}
