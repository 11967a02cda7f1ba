//! TensorBoard's event files: `Event` messages of protocol buffers in TFRecord frames.
//!
//! A frame is the length (u64, little-endian), its masked CRC-32C, the bytes, and their masked CRC-32C. Of `Event` and `Summary`
//! (tensorflow/core/util/event.proto and framework/summary.proto) four fields are needed; their numbers stand at the constants. Scalars are
//! `simple_value`, which every version and reader of these files knows, in single precision.

use std::io::{self, Write};

use trainyard_wire::Timestamp;
use trainyard_wire::metric::Point;

/// What the first event of a file must say.
const FILE_VERSION: &[u8] = b"brain.Event:2";
/// Added to a rotated checksum, so that a checksum over data with checksums in it is sound.
const MASK_DELTA: u32 = 0xa282_ead8;

/// Keys of the fields: number · 8 + wire type (0 variable-length integer, 1 eight bytes, 2 length and bytes, 5 four bytes).
const EVENT_WALL_TIME: u8 = (1 << 3) | 1;
const EVENT_STEP: u8 = 2 << 3;
const EVENT_FILE_VERSION: u8 = (3 << 3) | 2;
const EVENT_SUMMARY: u8 = (5 << 3) | 2;
const SUMMARY_VALUE: u8 = (1 << 3) | 2;
const VALUE_TAG: u8 = (1 << 3) | 2;
const VALUE_SIMPLE_VALUE: u8 = (2 << 3) | 5;

/// Writes an event file.
pub(super) struct EventWriter<W> {
    out: W,
}

impl<W: Write> EventWriter<W> {
    pub(super) fn begin(out: W, time: Timestamp) -> io::Result<Self> {
        let mut event = wall_time(time);
        bytes(&mut event, EVENT_FILE_VERSION, FILE_VERSION);
        let mut writer = Self { out };
        writer.record(&event)?;
        Ok(writer)
    }

    /// A value of the metric `tag`. Beyond the range of single precision it is ±∞, as TensorBoard would show it anyway.
    pub(super) fn scalar(&mut self, tag: &str, point: &Point) -> io::Result<()> {
        let mut value = Vec::with_capacity(tag.len() + 8);
        bytes(&mut value, VALUE_TAG, tag.as_bytes());
        value.push(VALUE_SIMPLE_VALUE);
        value.extend((point.value.0 as f32).to_le_bytes());
        let mut summary = Vec::with_capacity(value.len() + 4);
        bytes(&mut summary, SUMMARY_VALUE, &value);
        let mut event = wall_time(point.time);
        event.push(EVENT_STEP);
        variable_length(&mut event, point.step);
        bytes(&mut event, EVENT_SUMMARY, &summary);
        self.record(&event)
    }

    pub(super) fn into_inner(self) -> W {
        self.out
    }

    fn record(&mut self, data: &[u8]) -> io::Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        self.out.write_all(&length)?;
        self.out.write_all(&masked_crc(&length).to_le_bytes())?;
        self.out.write_all(data)?;
        self.out.write_all(&masked_crc(data).to_le_bytes())
    }
}

fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(MASK_DELTA)
}

/// An event with its time, in seconds.
fn wall_time(time: Timestamp) -> Vec<u8> {
    let mut event = Vec::with_capacity(64);
    event.push(EVENT_WALL_TIME);
    event.extend((time.0 as f64 / 1e3).to_le_bytes());
    event
}

fn bytes(message: &mut Vec<u8>, key: u8, value: &[u8]) {
    message.push(key);
    variable_length(message, value.len() as u64);
    message.extend(value);
}

/// Seven bits a byte, the lowest first; all bytes but the last have the eighth bit.
fn variable_length(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use trainyard_wire::metric::Point;
    use trainyard_wire::{Number, Timestamp};

    use super::{EventWriter, masked_crc};

    #[test]
    fn checksums_are_crc_32c_as_published() {
        // RFC 3720, B.4.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // The frame of a first event of 24 bytes, as TensorFlow's own files begin.
        assert_eq!(masked_crc(&24u64.to_le_bytes()).to_le_bytes(), [0xa3, 0x7f, 0x4b, 0x22]);
    }

    /// The records of a file, whose checksums must be right.
    fn records(mut file: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        while !file.is_empty() {
            let length: [u8; 8] = file[..8].try_into().unwrap();
            assert_eq!(file[8..12], masked_crc(&length).to_le_bytes());
            let end = 12 + usize::try_from(u64::from_le_bytes(length)).unwrap();
            assert_eq!(file[end..end + 4], masked_crc(&file[12..end]).to_le_bytes());
            records.push(file[12..end].to_vec());
            file = &file[end + 4..];
        }
        records
    }

    #[test]
    fn an_event_file_begins_with_its_version_and_has_a_record_a_point() {
        let mut writer = EventWriter::begin(Vec::new(), Timestamp(1_500)).unwrap();
        let point = |step, value| Point { step, value: Number(value), time: Timestamp(2_000) };
        writer.scalar("loss", &point(300, 0.5)).unwrap();
        writer.scalar("loss", &point(301, f64::NAN)).unwrap();
        let file = writer.into_inner();
        assert_eq!(file[..12], [24, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
        let records = records(&file);
        assert_eq!(records[0][..9], [&[0x09][..], &1.5f64.to_le_bytes()].concat());
        assert_eq!(records[0][9..], [&[0x1a, 13][..], b"brain.Event:2"].concat());
        let value = [&[0x0a, 4][..], b"loss", &[0x15], &0.5f32.to_le_bytes()].concat();
        let event = [&[0x09][..], &2f64.to_le_bytes(), &[0x10, 0xac, 0x02], &[0x2a, 13, 0x0a, 11], &value].concat();
        assert_eq!(records[1], event);
        assert!(f32::from_le_bytes(records[2][records[2].len() - 4..].try_into().unwrap()).is_nan());
    }
}
