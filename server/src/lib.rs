//! Trainyard's server: the HTTP API, the store, upkeep and the dashboard. It never depends on candle.
//!
//! - [`server`]: [`Server::start`] opens the store, sees to the tokens, binds, serves; [`Server::shutdown`] drains
//! - [`config`]: what a server is started with, and what requests and runs may cost
//! - [`store`]: everything the server remembers; [`blobs`]: file contents by hash
//! - [`check`]: whether the data folder of a server that is stopped is whole
//! - `comparison`: runs side by side, and what seeds alone explain
//! - `disk`: what a full disk and a failed fsync mean
//! - `names`: names that mean something else than a file
//! - `http`: the routes, who may use them, and what an error looks like
//! - `admission`: whether a submit may be queued, and at what cost
//! - `telemetry`: the figures of `/metrics`
//! - [`tools`]: the calculators of `/v1/tools`
//! - `tokens`: secrets and the files that hold the first ones
//! - [`webhooks`]: who is told of the ends of runs, and how
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
pub mod blobs;
pub mod check;
mod comparison;
pub mod config;
mod db;
mod disk;
mod figures;
mod http;
mod leases;
mod names;
pub mod server;
pub mod store;
mod telemetry;
mod tokens;
pub mod tools;
pub mod webhooks;

pub use config::{Limits, ServerConfig};
pub use server::{Server, StartError};
pub use tokens::TokenFileError;
