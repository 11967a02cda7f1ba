//! Trainyard's worker: it claims runs, trains them on candle and streams metrics back.
//!
//! `agent → trainers → {networks, optimizers, data} → kernels`; below `agent` nothing knows HTTP.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod kernels;
pub mod optimizers;
