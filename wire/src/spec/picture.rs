//! The spec of a run that colours one picture with the model of another run. Nobody submits it: `POST /v1/runs/{id}/colourize` makes one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::RunId;
use crate::state::words;

/// Most pixels of a picture: those of 1024×1024.
pub const MOST_PICTURE_PIXELS: u64 = 1 << 20;
/// Most bytes of a picture's file.
pub const MOST_PICTURE_BYTES: u64 = 10 << 20;

/// The names of the files that the worker needs; all are artifacts of the run that colours, the first two until it has ended.
pub const MODEL: &str = "model.safetensors";
pub const DESCRIPTION: &str = "model.json";
/// The names of the pictures that the worker makes, all PNG of the original's size: the network's answer, what it saw, and both beside each
/// other (with the original where that has colours).
pub const COLOURIZED: &str = "colourized.png";
pub const GREY: &str = "grey.png";
pub const COMPARISON: &str = "comparison.png";

/// Which picture is coloured, and with what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PictureSpec {
    /// The run whose model it is.
    pub model_run_id: RunId,
    /// Of its `model.safetensors`.
    pub model_sha256: String,
    /// Of its `model.json`, which has the network's sizes and the palette.
    pub description_sha256: String,
    pub picture: PictureFile,
}

/// A picture's file, as far as its head tells. Its pixels are looked at by the worker alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PictureFile {
    pub format: PictureFormat,
    /// In pixels, as they lie in the file: a photograph may have to be turned.
    pub width: u64,
    pub height: u64,
    /// Bytes of the file.
    pub size: u64,
    pub sha256: String,
}

words!(
    /// How a picture is encoded.
    PictureFormat {
        Png = "png",
        Jpeg = "jpeg",
    }
);

impl PictureFormat {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }

    /// The name of the artifact that the picture is as it was sent.
    pub fn original_name(self) -> &'static str {
        match self {
            Self::Png => "original.png",
            Self::Jpeg => "original.jpg",
        }
    }

    /// What the first bytes of a file say that it is.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            Some(Self::Jpeg)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PictureFormat;

    #[test]
    fn the_first_bytes_tell_a_png_from_a_jpeg_and_from_everything_else() {
        assert_eq!(PictureFormat::of(b"\x89PNG\r\n\x1a\nIHDR"), Some(PictureFormat::Png));
        assert_eq!(PictureFormat::of(b"\xff\xd8\xff\xe0"), Some(PictureFormat::Jpeg));
        for other in [b"GIF89a".as_slice(), b"", b"\x89PN", b"<svg>", b"\xff\xd8"] {
            assert_eq!(PictureFormat::of(other), None);
        }
    }
}
