//! Decoding a picture that somebody sent, whatever its bytes hold.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, RgbImage};
use trainyard_wire::spec::picture::{MOST_PICTURE_PIXELS, PictureFile, PictureFormat};

use super::super::TrainError;

/// Bytes a pixel that decoding may take: twice the four channels of 16 bits that there are at most.
const PIXEL_BYTES: u64 = 16;
/// What it may take beside them, for a picture's profile and its tables.
const MORE_BYTES: u64 = 16 << 20;

/// The picture's colours, turned as its metadata say, over white where it is transparent. It must be as large as `file` says, and no
/// larger than any picture may be; a file whose data hold more than that is broken off.
///
/// # Errors
/// [`TrainError::Unreadable`] where the bytes are no such picture.
pub(super) fn decode(bytes: &[u8], file: &PictureFile) -> Result<RgbImage, TrainError> {
    let unreadable = |error: image::ImageError| TrainError::Unreadable(error.to_string());
    let format = match file.format {
        PictureFormat::Png => ImageFormat::Png,
        PictureFormat::Jpeg => ImageFormat::Jpeg,
    };
    let pixels = file.width.saturating_mul(file.height);
    if pixels > MOST_PICTURE_PIXELS {
        return Err(TrainError::Unreadable(format!("{}×{} pixels are more than {MOST_PICTURE_PIXELS}", file.width, file.height)));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = u32::try_from(file.width).ok();
    limits.max_image_height = u32::try_from(file.height).ok();
    limits.max_alloc = Some(PIXEL_BYTES * pixels + MORE_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    if (u64::from(width), u64::from(height)) != (file.width, file.height) || decoder.total_bytes() > PIXEL_BYTES * pixels {
        return Err(TrainError::Unreadable(format!("it has {width}×{height} pixels, not {}×{}", file.width, file.height)));
    }
    // What cannot be told is not turned.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    picture.apply_orientation(orientation);
    Ok(if picture.color().has_alpha() { over_white(&picture) } else { picture.into_rgb8() })
}

fn over_white(picture: &DynamicImage) -> RgbImage {
    let picture = picture.to_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        // Rounded; at most 255.
        let over = |channel: u8| ((u32::from(channel) * u32::from(alpha) + 255 * (255 - u32::from(alpha)) + 127) / 255) as u8;
        image::Rgb([over(red), over(green), over(blue)])
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use image::{ExtendedColorType, ImageEncoder as _, Rgba, RgbaImage};

    use super::*;

    fn file(format: PictureFormat, width: u64, height: u64, bytes: &[u8]) -> PictureFile {
        PictureFile { format, width, height, size: bytes.len() as u64, sha256: String::new() }
    }

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 7) as u8, (y * 5) as u8, (x + y) as u8]))
    }

    #[test]
    fn what_is_transparent_is_seen_over_white() {
        let pixels = [[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]];
        let picture = RgbaImage::from_fn(3, 1, |x, _| Rgba(pixels[x as usize]));
        let bytes = encoded(&picture.into(), ImageFormat::Png);
        let decoded = decode(&bytes, &file(PictureFormat::Png, 3, 1, &bytes)).unwrap();
        let seen: Vec<[u8; 3]> = decoded.pixels().map(|pixel| pixel.0).collect();
        assert_eq!(seen, [[10, 20, 30], [255, 255, 255], [204, 224, 244]]);
    }

    #[test]
    fn sixteen_bits_grey_and_palettes_are_read_as_bytes() {
        let deep = image::ImageBuffer::<image::Rgb<u16>, _>::from_fn(2, 1, |x, _| image::Rgb([65_535, 257 * 100, x as u16]));
        let bytes = encoded(&DynamicImage::from(deep), ImageFormat::Png);
        let decoded = decode(&bytes, &file(PictureFormat::Png, 2, 1, &bytes)).unwrap();
        assert_eq!(decoded.get_pixel(1, 0).0, [255, 100, 0]);
        let grey = image::GrayImage::from_pixel(3, 2, image::Luma([77]));
        for (format, encoding) in [(PictureFormat::Png, ImageFormat::Png), (PictureFormat::Jpeg, ImageFormat::Jpeg)] {
            let bytes = encoded(&DynamicImage::from(grey.clone()), encoding);
            assert_eq!(decode(&bytes, &file(format, 3, 2, &bytes)).unwrap().get_pixel(2, 1).0, [77; 3]);
        }
    }

    #[test]
    fn a_photograph_is_turned_as_its_metadata_say() {
        let (red, blue) = (image::Rgb([250, 10, 10]), image::Rgb([10, 10, 250]));
        let lying = RgbImage::from_fn(32, 16, |x, _| if x < 16 { red } else { blue });
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
        // An EXIF header in little-endian order whose only entry is the orientation: turn by a quarter, clockwise.
        let exif = [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[6, 0, 0, 0], &[0, 0, 0, 0]].concat();
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(&lying, 32, 16, ExtendedColorType::Rgb8).unwrap();
        let upright = decode(&bytes, &file(PictureFormat::Jpeg, 32, 16, &bytes)).unwrap();
        assert_eq!(upright.dimensions(), (16, 32));
        assert!(upright.get_pixel(8, 2).0[0] > 200 && upright.get_pixel(8, 30).0[2] > 200);
    }

    #[test]
    fn a_picture_of_another_size_than_was_looked_at_is_refused() {
        let bytes = encoded(&gradient(8, 6).into(), ImageFormat::Png);
        for (width, height) in [(8, 5), (7, 6), (9, 6), (6, 8), (1 << 20, 2)] {
            assert!(matches!(decode(&bytes, &file(PictureFormat::Png, width, height, &bytes)), Err(TrainError::Unreadable(_))));
        }
        assert!(matches!(decode(&bytes, &file(PictureFormat::Jpeg, 8, 6, &bytes)), Err(TrainError::Unreadable(_))));
    }

    #[test]
    fn every_beginning_of_a_picture_is_refused_or_read_and_nothing_panics() {
        for (format, encoding) in [(PictureFormat::Png, ImageFormat::Png), (PictureFormat::Jpeg, ImageFormat::Jpeg)] {
            let bytes = encoded(&gradient(24, 16).into(), encoding);
            for end in 0..bytes.len() {
                let cut = &bytes[..end];
                if let Ok(picture) = decode(cut, &file(format, 24, 16, cut)) {
                    assert_eq!(picture.dimensions(), (24, 16));
                }
                let mut damaged = bytes.clone();
                damaged[end] ^= 0x55;
                let _ = decode(&damaged, &file(format, 24, 16, &damaged));
            }
            assert!(decode(&bytes[..60], &file(format, 24, 16, &bytes)).is_err());
        }
    }

    /// A chunk of a PNG.
    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let mut sum = flate2::Crc::new();
        sum.update(kind);
        sum.update(data);
        [&(data.len() as u32).to_be_bytes()[..], kind, data, &sum.sum().to_be_bytes()].concat()
    }

    #[test]
    fn a_bomb_takes_no_memory() {
        let bomb = {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            let zeros = vec![0; 1 << 20];
            (0..200).for_each(|_| encoder.write_all(&zeros).unwrap());
            encoder.finish().unwrap()
        };
        let header = |width: u32, height: u32| {
            let data = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
            [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &data)].concat()
        };
        // 200 MiB of pixels where four are announced: what comes after those is passed over.
        let small = [header(2, 2), chunk(b"IDAT", &bomb), chunk(b"IEND", &[])].concat();
        let decoded = decode(&small, &file(PictureFormat::Png, 2, 2, &small));
        assert!(decoded.is_err() || decoded.is_ok_and(|picture| picture.dimensions() == (2, 2)));
        // As many as are announced, which are more than was looked at.
        let large = [header(8192, 8192), chunk(b"IDAT", &bomb), chunk(b"IEND", &[])].concat();
        assert!(decode(&large, &file(PictureFormat::Png, 2, 2, &large)).is_err());
        // In a profile.
        let profile = [b"x\0\0".to_vec(), bomb].concat();
        let profiled = [header(2, 2), chunk(b"iCCP", &profile), chunk(b"IDAT", &[]), chunk(b"IEND", &[])].concat();
        assert!(decode(&profiled, &file(PictureFormat::Png, 2, 2, &profiled)).is_err());
    }
}
