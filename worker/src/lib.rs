//! Trainyard's worker: it claims runs, trains them on candle and streams metrics back.
//!
//! `agent → trainers → {networks, optimizers, data, drawing} → kernels`; below `agent` nothing knows HTTP.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod agent;
mod config;
pub mod data;
pub mod doctor;
mod drawing;
pub mod kernels;
pub mod networks;
pub mod optimizers;
pub mod trainers;

pub use agent::{OWN_BYTES, WorkerError, machine_bytes, run};
pub use config::WorkerConfig;
pub use networks::DeviceChoice;
pub use trainyard_gpu::Precision;
