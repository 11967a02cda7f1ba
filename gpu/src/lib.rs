//! Trainyard's networks on an NVIDIA GPU.
//!
//! The networks are tiny, so that a step is all launch latency: few, fused kernels, one graph a step, and nothing that moves between
//! host and card but which images come next. From the top:
//!
//! - [`engine`]: a network's state on a device; training, evaluation and predictions in bursts.
//! - `network`, `taps`, `tiles`, `passes`, `buffers`: what is computed, in which blocks, by which launches, in which memory.
//! - [`driver`]: the seam. `cuda` implements it on a card, whose libraries are looked for at run time, the crate
//!   `trainyard-gpu-emulator` on the CPU, so that everything above the seam, kernels included, is tested without a card.
//! - `kernels/*.cu`: CUDA C++ without headers, specialized for the shapes at hand.
//!
//! No float is added atomically and every order of sums follows from shapes: the same bits every time on the same card.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_precision_loss, clippy::cast_sign_loss)]

mod arguments;
mod buffers;
pub mod cuda;
pub mod data;
pub mod driver;
pub mod engine;
mod error;
pub mod monitor;
mod network;
mod optimizer;
mod passes;
pub mod regression;
pub mod shapes;
pub mod sources;
mod taps;
mod tiles;

pub use buffers::BURST;
pub use data::DataSet;
pub use driver::{Driver, Precision};
pub use engine::{BatchScore, Engine};
pub use error::{GpuError, Result};
pub use monitor::{Monitor, Reading};
pub use network::{NetworkKind, NetworkShape, NormPlaces, StagePlaces};
pub use optimizer::{Optimizer, Rates};
pub use regression::Regression;
