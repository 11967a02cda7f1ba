//! What workers send: reports, registrations, claims, heartbeats, and tokens that are asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trainyard_wire::spec::strict::from_slice;
use trainyard_wire::token::CreateToken;
use trainyard_wire::worker::{ClaimRequest, Heartbeat, Register, Reports};

/// What is read can be written, and reads back as the same text.
fn read<T: Serialize + DeserializeOwned>(body: &[u8]) {
    let Ok(value) = from_slice::<T>(body) else { return };
    let written = serde_json::to_vec(&value).unwrap();
    let again: T = from_slice(&written).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), written);
}

fuzz_target!(|body: &[u8]| {
    read::<Reports>(body);
    read::<Register>(body);
    read::<ClaimRequest>(body);
    read::<Heartbeat>(body);
    read::<CreateToken>(body);
});
