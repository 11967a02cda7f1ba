//! The pure mathematics of Trainyard: everything about an experiment that can be known without
//! running it, and the arithmetic that a run is compared with.
//!
//! - [`random`]: the seeded generator, and permutations as functions of (seed, epoch)
//! - [`regression`]: least-squares problems, their spectra, closed-form solutions, exact paths
//! - [`hypergradient`]: the derivative of unrolled gradient descent in its learning rate
//! - [`schedule`]: learning rates over the steps of a run
//! - [`log_schedule`]: which steps of a long run are recorded
//! - [`network`]: the layers of the colourization networks and their accounting
//! - [`convolution`]: two-dimensional convolution and cross-correlation of small planes
//! - [`receptive_field`]: which inputs one output of a network depends on
//! - [`regularization`]: an L2 penalty beside the weight decay that equals it under gradient descent
//! - [`checkerboard`]: how much of a picture is the pattern that strides of two leave
//! - [`classes`]: what predictors come to that never look at a picture
//! - [`replication`]: the same setting under several seeds, and whether two settings differ by more than that
//! - [`certificate`]: claims of theory checked against the numbers that a run measured
//!
//! No function here does I/O, reads a clock or depends on the number of threads that it is given:
//! equal arguments give equal bits on one machine.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod certificate;
pub mod checkerboard;
pub mod classes;
pub mod convolution;
pub mod hypergradient;
pub mod log_schedule;
pub mod network;
pub mod random;
pub mod receptive_field;
pub mod regression;
pub mod regularization;
pub mod replication;
pub mod schedule;
