//! Checkpoints: safetensors files, whose heads may say anything.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../worker/src/trainers/checkpoint.rs"]
#[allow(dead_code)]
mod checkpoint;

#[path = "../../worker/src/optimizers/state.rs"]
#[allow(dead_code)]
mod state;

/// What the reader needs of the optimizers.
mod optimizers {
    pub use super::state::{OptimizerState, StateError};

    pub trait Float: Copy + std::fmt::Debug + PartialEq + 'static {}
    impl Float for f32 {}
    impl Float for f64 {}
}

use checkpoint::CheckpointReader;
// As the state's file finds it beside itself.
use optimizers::{Float, OptimizerState};

fuzz_target!(|bytes: &[u8]| {
    let Ok(reader) = CheckpointReader::new(bytes) else { return };
    let _ = reader.position::<serde_json::Value>();
    for len in [0, 1, 3, usize::MAX] {
        let read = reader.vector::<f64>("weights", len);
        assert!(read.is_err() || read.is_ok_and(|values| values.len() == len));
        let read = reader.vector::<f32>("weights", len);
        assert!(read.is_err() || read.is_ok_and(|values| values.len() == len));
    }
    let fresh = OptimizerState { steps: 0, slots: vec![("velocity".to_owned(), vec![0.0f64; 3])] };
    let _ = reader.optimizer("", &fresh, 1);
});
