//! Submits: what is taken is a spec that reads back as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trainyard_wire::Spec;
use trainyard_wire::spec::submit::{Submission, SubmitError};

fuzz_target!(|body: &[u8]| {
    match Submission::parse(body, 100) {
        Ok(submission) => {
            assert!((1..=100).contains(&submission.points.len()));
            for point in submission.points {
                let written = serde_json::to_value(&point.spec).unwrap();
                assert_eq!(Spec::from_value(written, "/spec").unwrap(), point.spec, "a normalized spec is not its own normal form");
            }
        }
        Err(SubmitError::Syntax(_)) => {}
        Err(SubmitError::Invalid(errors)) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(error.pointer.is_empty() || error.pointer.starts_with('/'), "{error:?}");
            }
        }
    }
});
