//! The head of a picture's file: how large it says it is. Its pixels are not looked at here.

use std::io::{self, Read, Seek};

use trainyard_wire::spec::picture::PictureFormat;

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) format: PictureFormat,
    /// In pixels, at least 1.
    pub(super) width: u64,
    pub(super) height: u64,
}

/// Why a file is no picture that is taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    #[error("{0}")]
    Invalid(&'static str),
    #[error("cannot read the staged file: {0}")]
    Io(io::Error),
}

impl From<io::Error> for HeadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Invalid("the picture ends before it says how large it is"),
            _ => Self::Io(error),
        }
    }
}

/// Reads a head, from the first byte on. Takes in little, however long what stands before a JPEG's size is.
pub(super) fn read(mut bytes: impl Read + Seek) -> Result<Head, HeadError> {
    let start = array::<3>(&mut bytes).map_err(|_| HeadError::Invalid("is neither a PNG nor a JPEG"))?;
    let (format, (width, height)) = if PictureFormat::of(&start) == Some(PictureFormat::Jpeg) {
        bytes.seek_relative(-1)?;
        (PictureFormat::Jpeg, jpeg(bytes)?)
    } else {
        let rest = array::<5>(&mut bytes).map_err(|_| HeadError::Invalid("is neither a PNG nor a JPEG"))?;
        if PictureFormat::of(&[&start[..], &rest].concat()) != Some(PictureFormat::Png) {
            return Err(HeadError::Invalid("is neither a PNG nor a JPEG"));
        }
        (PictureFormat::Png, png(bytes)?)
    };
    if width == 0 || height == 0 {
        return Err(HeadError::Invalid("the picture says that it has no pixels"));
    }
    Ok(Head { format, width, height })
}

/// Behind the signature: the first chunk of a PNG is its header.
fn png(mut bytes: impl Read) -> Result<(u64, u64), HeadError> {
    let chunk = array::<8>(&mut bytes)?;
    if chunk != *b"\0\0\0\x0dIHDR" {
        return Err(HeadError::Invalid("the PNG does not begin with its header"));
    }
    let [width, height] = [u32::from_be_bytes(array(&mut bytes)?), u32::from_be_bytes(array(&mut bytes)?)];
    Ok((width.into(), height.into()))
}

/// Behind the first marker: a JPEG's size stands in the header of its frame, behind segments of any length.
fn jpeg(mut bytes: impl Read + Seek) -> Result<(u64, u64), HeadError> {
    const NO_FRAME: HeadError = HeadError::Invalid("the JPEG has no frame header before its data");
    loop {
        let [mut byte] = array(&mut bytes)?;
        if byte != 0xff {
            return Err(HeadError::Invalid("the JPEG is damaged before its frame header"));
        }
        // Any number of fill bytes.
        while byte == 0xff {
            [byte] = array(&mut bytes)?;
        }
        match byte {
            // No length follows.
            0x01 | 0xd0..=0xd7 => continue,
            // Begin and end of the image, and of the data.
            0x00 | 0xd8 | 0xd9 | 0xda => return Err(NO_FRAME),
            _ => {}
        }
        let length = i64::from(u16::from_be_bytes(array(&mut bytes)?));
        // All frame headers, but for what has the numbers of tables between them.
        if matches!(byte, 0xc0..=0xcf) && !matches!(byte, 0xc4 | 0xc8 | 0xcc) {
            let [_precision, height, height_low, width, width_low] = array(&mut bytes)?;
            return Ok((u16::from_be_bytes([width, width_low]).into(), u16::from_be_bytes([height, height_low]).into()));
        }
        if length < 2 {
            return Err(HeadError::Invalid("the JPEG is damaged before its frame header"));
        }
        bytes.seek_relative(length - 2)?;
    }
}

fn array<const N: usize>(bytes: &mut impl Read) -> io::Result<[u8; N]> {
    let mut array = [0; N];
    bytes.read_exact(&mut array)?;
    Ok(array)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn of(bytes: &[u8]) -> Result<(PictureFormat, u64, u64), String> {
        read(Cursor::new(bytes)).map(|head| (head.format, head.width, head.height)).map_err(|error| error.to_string())
    }

    fn png_of(width: u32, height: u32) -> Vec<u8> {
        [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".as_slice(), &width.to_be_bytes(), &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat()
    }

    /// A JPEG up to its frame header, with a segment of `before` bytes before it.
    fn jpeg_of(frame: u8, width: u16, height: u16, before: usize) -> Vec<u8> {
        let length = (before as u16 + 2).to_be_bytes();
        let (width, height) = (width.to_be_bytes(), height.to_be_bytes());
        [&[0xff, 0xd8, 0xff, 0xe1][..], &length, &vec![0xff; before], &[0xff, 0xff, frame, 0, 17, 8], &height, &width].concat()
    }

    #[test]
    fn the_size_is_read_from_the_head_alone() {
        assert_eq!(of(&png_of(640, 480)), Ok((PictureFormat::Png, 640, 480)));
        assert_eq!(of(&png_of(u32::MAX, 1)), Ok((PictureFormat::Png, u64::from(u32::MAX), 1)));
        for (frame, before) in [(0xc0, 0), (0xc2, 65_000), (0xc1, 7)] {
            assert_eq!(of(&jpeg_of(frame, 640, 480, before)), Ok((PictureFormat::Jpeg, 640, 480)));
        }
    }

    #[test]
    fn what_has_no_size_is_refused_with_the_reason() {
        for (bytes, reason) in [
            (b"".to_vec(), "neither"),
            (b"GIF89a\x01\x00".to_vec(), "neither"),
            (b"\x89PNG\r\n\x1a\x0b\0\0\0\x0dIHDR".to_vec(), "neither"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIDAT12345678".to_vec(), "its header"),
            (png_of(3, 5)[..20].to_vec(), "ends before"),
            (png_of(0, 5), "no pixels"),
            (jpeg_of(0xc0, 3, 0, 4), "no pixels"),
            (jpeg_of(0xc4, 3, 5, 4), "ends before"),
            (jpeg_of(0xda, 3, 5, 4), "no frame"),
            (b"\xff\xd8\xff\xd9".to_vec(), "no frame"),
            (b"\xff\xd8\xff\xe1\x00\x01".to_vec(), "damaged"),
            (b"\xff\xd8\xff\xe1\x00\x02\x00".to_vec(), "damaged"),
            (b"\xff\xd8\xff\xe1\xff\xff".to_vec(), "ends before"),
            (b"\xff\xd8\xff".to_vec(), "ends before"),
        ] {
            let refused = of(&bytes).unwrap_err();
            assert!(refused.contains(reason), "{bytes:x?}: {refused}");
        }
    }

    #[test]
    fn every_beginning_of_a_picture_is_read_or_refused() {
        for whole in [png_of(3, 5), jpeg_of(0xc0, 3, 5, 40)] {
            for end in 0..=whole.len() {
                let read = of(&whole[..end]);
                assert!(read.is_err() || end >= 24, "{end}");
            }
        }
    }
}
