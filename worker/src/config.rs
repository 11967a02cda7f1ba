//! What a worker is started with.

use std::path::PathBuf;

use trainyard_gpu::Precision;

use crate::networks::DeviceChoice;

/// The settings of one worker process.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The server's address, such as `http://127.0.0.1:8080`.
    pub server: String,
    /// A bearer token with the scope `worker`.
    pub token: String,
    /// What networks are trained on.
    pub device: DeviceChoice,
    /// How a GPU makes products; the CPU has FP32.
    pub gpu_precision: Precision,
    /// Cores that training may take; `RAYON_NUM_THREADS`, or all of them, where it is not given.
    pub threads: Option<usize>,
    /// Bytes that the process may take, [`OWN_BYTES`](crate::OWN_BYTES) of them for itself; no bound where it is not given.
    pub memory_bytes: Option<u64>,
    /// Where the files of datasets are kept between runs. Made if it is not there.
    pub cache_dir: PathBuf,
    /// Most runs to claim at once. The server gives more than one of small runs only.
    pub claim_at_once: u32,
}
