//! The HTTP API as its clients see it: real servers on loopback ports, real requests.
#![allow(clippy::unwrap_used)]

mod access;
mod annotations;
mod charts;
mod colourize;
mod colours;
mod datasets;
mod events;
mod examples;
mod external;
mod hosts;
mod lifecycle;
mod listing;
mod matrix;
mod mlflow;
mod polling;
mod problems;
mod storage;
mod submit;
mod theory;
mod tools;
mod webhooks;
mod worker_protocol;
mod world;
