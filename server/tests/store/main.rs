//! The store through its public calls, each test on a data folder of its own.
#![allow(clippy::unwrap_used)]

mod actions;
mod annotations;
mod artifacts;
mod backup;
mod check;
mod datasets;
mod external;
mod leases;
mod listing;
mod metrics;
mod pictures;
mod queue;
mod reports;
mod restart;
mod retention;
mod submit;
mod tokens;
mod verification;
mod webhooks;
mod world;
