//! What clients send beside submits: patches of runs, views, actions, and what programs outside of Trainyard log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trainyard_wire::FieldError;
use trainyard_wire::annotation::{PutView, RunPatch, RunsAction};
use trainyard_wire::external::{FinishRun, LogMetrics, OpenRun, SetParams};
use trainyard_wire::retention::RetentionPolicy;
use trainyard_wire::spec::strict::from_slice;
use trainyard_wire::tools::{ConvolutionQuestion, NetworkQuestion};

/// What is read can be written, and reads back as the same text.
fn read<T: Serialize + DeserializeOwned>(body: &[u8]) -> Option<T> {
    let value = from_slice::<T>(body).ok()?;
    let written = serde_json::to_vec(&value).unwrap();
    let again: T = from_slice(&written).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), written);
    Some(again)
}

fn pointed(errors: Vec<FieldError>) {
    for error in errors {
        assert!(error.pointer.is_empty() || error.pointer.starts_with('/'), "{error:?}");
    }
}

fuzz_target!(|body: &[u8]| {
    pointed(read::<RunPatch>(body).map(|patch| patch.check()).unwrap_or_default());
    if let Some(open) = read::<OpenRun>(body) {
        pointed(open.check().err().unwrap_or_default());
    }
    if let Some(params) = read::<SetParams>(body) {
        pointed(params.check().err().unwrap_or_default());
    }
    read::<LogMetrics>(body);
    read::<FinishRun>(body);
    read::<PutView>(body);
    read::<RunsAction>(body);
    read::<RetentionPolicy>(body);
    read::<NetworkQuestion>(body);
    read::<ConvolutionQuestion>(body);
});
