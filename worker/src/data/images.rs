//! Colour images in memory, as CIFAR lays them out.

use super::DataError;

/// Images of one size: for each the red plane, then the green one, then the blue one, rows first; a byte is 256 times the value in
/// `[0, 1)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    pub height: usize,
    pub width: usize,
    bytes: Vec<u8>,
}

impl Images {
    /// # Errors
    /// Where the bytes are not a whole number of images.
    pub fn new(height: usize, width: usize, bytes: Vec<u8>) -> Result<Self, DataError> {
        let size = 3 * height * width;
        if size == 0 || !bytes.len().is_multiple_of(size) {
            return Err(DataError::Records(format!("{} bytes are not images of {height} × {width} pixels", bytes.len())));
        }
        Ok(Self { height, width, bytes })
    }

    /// Number of images.
    pub fn count(&self) -> usize {
        self.bytes.len() / (3 * self.pixels())
    }

    /// Pixels of one image.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// The red, green and blue planes of one image.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn planes(&self, image: usize) -> [&[u8]; 3] {
        let pixels = self.pixels();
        let image = &self.bytes[image * 3 * pixels..][..3 * pixels];
        [&image[..pixels], &image[pixels..2 * pixels], &image[2 * pixels..]]
    }

    /// The colour of pixel `index` of all, counted through the images.
    ///
    /// # Panics
    /// If there is no such pixel.
    pub fn colour(&self, index: usize) -> [u8; 3] {
        let [red, green, blue] = self.planes(index / self.pixels());
        let pixel = index % self.pixels();
        [red[pixel], green[pixel], blue[pixel]]
    }

    /// All bytes, image after image.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_is_one_byte_of_each_plane() {
        let images = Images::new(1, 2, vec![1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60]).unwrap();
        assert_eq!(images.count(), 2);
        assert_eq!(images.planes(1), [&[10, 20], &[30, 40], &[50, 60]]);
        assert_eq!((0..4).map(|pixel| images.colour(pixel)).collect::<Vec<_>>(), [[1, 3, 5], [2, 4, 6], [10, 30, 50], [20, 40, 60]]);
        assert!(Images::new(1, 2, vec![0; 5]).is_err());
        assert!(Images::new(0, 2, Vec::new()).is_err());
    }
}
