//! Load and faults for a server: each module is one scenario, with settings, a run against a [`Target`], and a [`Report`].
//!
//! - [`submits`], [`claims`], [`metrics`], [`chart`], [`subscribers`]: how fast the server is at one thing
//! - [`polling`], [`comparison`]: what many dashboards cost, and how fast the page of a large sweep is
//! - [`mlflow`]: how fast it, or an MLflow server, takes metrics through MLflow's API
//! - [`mixed`]: everything at once for a long time; does memory stay flat?
//! - [`disk_full`]: a file system that fills up and is freed again
//! - [`proxy`]: a network that resets, delays, loses and repeats
//!
//! A scenario fails where something is wrong (an effect that is missing, or there twice), however fast it was. Times are reported beside
//! their bounds, and only the command line turns a missed bound into an exit code: how fast a machine is is no matter of tests.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod chart;
pub mod claims;
pub mod comparison;
pub mod disk_full;
pub mod metrics;
pub mod mixed;
pub mod mlflow;
pub mod polling;
pub mod proxy;
pub mod report;
pub mod seeds;
pub mod submits;
pub mod subscribers;
pub mod target;
pub mod trainer;

pub use report::Report;
pub use target::Target;
