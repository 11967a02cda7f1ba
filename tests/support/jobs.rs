//! Jobs that the tests submit.

use serde_json::{Value, json};

/// One equation in two unknowns, with the optimizer given.
pub fn two_unknowns(optimizer: Value) -> Value {
    json!({"spec": {
        "kind": "regression",
        "problem": {"source": "inline", "x": [[2, 1]], "t": [2]},
        "initial_weights": "zeros",
        "optimizer": optimizer,
        "l2": 0,
        "steps": 20000,
        "seed": 0
    }})
}

/// A regression that is done in a moment.
pub fn quick() -> Value {
    let mut job = two_unknowns(json!({"name": "gd", "learning_rate": 0.1}));
    job["spec"]["steps"] = json!(10);
    job
}

/// An L2 penalty and weight decay side by side on a small problem, at matched coefficients.
pub fn regularization_pair(optimizer: Value) -> Value {
    json!({"spec": {
        "kind": "regularization_pair",
        "problem": {"source": "synthetic", "n": 50, "d": 10, "condition": 20, "noise": 0.1},
        "initial_weights": "normal",
        "optimizer": optimizer,
        "l2": 0.05,
        "steps": 300
    }})
}

/// The hypergradient that the design documents.
pub fn hypergradient() -> Value {
    json!({"spec": {
        "kind": "hypergradient",
        "problem": {"source": "synthetic", "n": 50, "d": 10, "condition": 20, "noise": 0.1, "seed": 0},
        "l2": 0.1,
        "inner_steps": 10,
        "learning_rate": 0.01,
        "method": "forward",
        "outer_steps": 200
    }})
}

/// A small colourization of built-in images: two steps an epoch.
pub fn colourization(epochs: u64) -> Value {
    json!({"spec": {
        "kind": "colourization",
        "dataset": {"name": "synthetic", "train_images": 32, "val_images": 8, "size": 16},
        "network": {"name": "unet", "kernel": 3, "num_filters": 4},
        "num_colours": 8,
        "optimizer": {"name": "adam", "learning_rate": 0.001},
        "batch_size": 16,
        "epochs": epochs,
        "shuffle": true,
        "sample_every": 0,
        "sample_images": 4,
        "seed": 0
    }})
}

/// A colourization that takes some seconds, so that something can happen to it on the way.
pub fn long_colourization() -> Value {
    let mut job = colourization(60);
    job["spec"]["dataset"]["train_images"] = json!(256);
    job["spec"]["dataset"]["size"] = json!(32);
    job["spec"]["network"]["num_filters"] = json!(16);
    job
}
