//! CIFAR binary records, checked while they pass by: a label byte from 0 to 9, then 3072 bytes of picture.

use trainyard_wire::dataset::CIFAR_RECORD_BYTES;

/// Labels of CIFAR-10.
pub(super) const LABELS: usize = 10;

/// What is known of a file of records so far.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: u64,
    labels: [u64; LABELS],
}

impl Records {
    /// Looks at the next piece; says what is wrong with it.
    pub(super) fn read(&mut self, piece: &[u8]) -> Result<(), String> {
        let end = self.bytes + piece.len() as u64;
        let mut record = self.bytes.div_ceil(CIFAR_RECORD_BYTES);
        while record * CIFAR_RECORD_BYTES < end {
            // Smaller than the piece's length, which is a usize.
            let at = (record * CIFAR_RECORD_BYTES - self.bytes) as usize;
            let label = piece[at];
            match self.labels.get_mut(usize::from(label)) {
                Some(count) => *count += 1,
                None => return Err(format!("record {record} has the label {label}; labels are 0 to 9")),
            }
            record += 1;
        }
        self.bytes = end;
        Ok(())
    }

    /// The number of records and how many of them have each label.
    pub(super) fn finish(self) -> Result<(u64, [u64; LABELS]), String> {
        if self.bytes == 0 || !self.bytes.is_multiple_of(CIFAR_RECORD_BYTES) {
            return Err(format!("must be a whole number of {CIFAR_RECORD_BYTES}-byte records, has {} bytes", self.bytes));
        }
        Ok((self.bytes / CIFAR_RECORD_BYTES, self.labels))
    }
}

#[cfg(test)]
mod tests {
    use super::Records;

    fn record(label: u8) -> Vec<u8> {
        let mut record = vec![200; 3073];
        record[0] = label;
        record
    }

    #[test]
    fn records_are_counted_however_the_bytes_are_cut() {
        let bytes = [record(7), record(0), record(7)].concat();
        for size in [1, 2, 1000, 3072, 3073, 3074, 9219] {
            let mut records = Records::default();
            for piece in bytes.chunks(size) {
                records.read(piece).unwrap();
            }
            let (count, labels) = records.finish().unwrap();
            assert_eq!((count, labels[7], labels[0], labels.iter().sum::<u64>()), (3, 2, 1, 3), "in pieces of {size}");
        }
    }

    #[test]
    fn a_label_over_9_and_a_cut_record_are_refused() {
        let mut records = Records::default();
        let error = records.read(&[record(1), record(10)].concat()).unwrap_err();
        assert_eq!(error, "record 1 has the label 10; labels are 0 to 9");
        for bytes in [0, 1, 3072, 3074] {
            let mut records = Records::default();
            records.read(&[record(1), record(1)].concat()[..bytes]).unwrap();
            assert!(records.finish().is_err(), "{bytes} bytes");
        }
    }
}
