//! The durability battery.
//!
//! What `docs/reliability.md` promises is tried here: servers and workers are killed, stopped and made to fail, power is cut, and a
//! checker compares what is stored with what was acknowledged.
//!
//! - [`history`] notes every request before it is sent and every answer; [`checker`] judges; [`reader`] reads what is stored
//! - [`load`]: clients that outlive their server; [`fill`]: a server that has seen years
//! - [`receiver`]: where webhooks lead; [`process`]: servers and workers that can be killed; [`dice`]: chance from a seed; [`figures`]: what comes out
//! - the batteries: [`server_kills`], [`worker_kills`], [`zombies`], [`failures`] (failpoints), [`power_cut`], [`histories`]
//!
//! Each battery has a short form in `tests/`, which CI runs every time, and a long form in the program `trainyard-torture`. That the
//! checker can fail is shown by the same batteries with a promise taken out of the code ([`trainyard_faults::Promise`]).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod checker;
pub mod dice;
pub mod failures;
pub mod figures;
pub mod fill;
pub mod histories;
pub mod history;
pub mod load;
pub mod power_cut;
pub mod process;
pub mod reader;
pub mod receiver;
pub mod server_kills;
pub mod worker_kills;
pub mod zombies;
