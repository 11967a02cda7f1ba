//! CIFAR records, however the bytes are cut into pieces. The first bytes are the pieces' sizes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../server/src/http/datasets/images.rs"]
mod images;

const RECORD: usize = 3073;

fuzz_target!(|input: &[u8]| {
    let Some((&[a, b], labels)) = input.split_first_chunk::<2>() else { return };
    // A record is mostly pixels, which nobody looks at: a label each is what matters, and what is left at the end.
    let mut bytes = vec![0; RECORD * labels.len()];
    labels.iter().enumerate().for_each(|(record, label)| bytes[record * RECORD] = *label);
    bytes.truncate(bytes.len().saturating_sub(usize::from(a % 3)));
    let mut records = images::Records::default();
    let mut outcome = Ok(());
    for piece in bytes.chunks(1 + usize::from(b) * 97) {
        outcome = records.read(piece);
        if outcome.is_err() {
            break;
        }
    }
    let valid = labels.iter().all(|label| *label < 10) && !labels.is_empty() && bytes.len() == RECORD * labels.len();
    match outcome.and_then(|()| records.finish()) {
        Ok((count, by_label)) => {
            assert!(valid);
            assert_eq!((count, by_label.iter().sum::<u64>()), (labels.len() as u64, labels.len() as u64));
        }
        Err(reason) => assert!(!valid, "{reason}"),
    }
});
