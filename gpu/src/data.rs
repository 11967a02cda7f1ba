//! Images that lie on a device as long as they are trained on.

use std::sync::Arc;

use crate::buffers::Buffer;
use crate::driver::{Driver, Memory};
use crate::{GpuError, Result};

/// Images with their classes.
#[derive(Debug, Clone)]
pub struct DataSet {
    pub(crate) images: Buffer,
    pub(crate) classes: Buffer,
    /// How many images there are.
    pub(crate) count: usize,
    pub(crate) channels: usize,
    pub(crate) size: (usize, usize),
}

impl DataSet {
    /// Puts images `[N, channels, height, width]` and classes `[N, height, width]` on a device.
    ///
    /// # Errors
    /// Where lengths do not fit, or the device has no room.
    pub fn new(driver: &dyn Driver, images: &[f32], classes: &[u8], channels: usize, (height, width): (usize, usize)) -> Result<Self> {
        let mut set = Self::empty(driver, classes.len() / (height * width).max(1), channels, (height, width))?;
        set.fill(driver, images, classes)?;
        Ok(set)
    }

    /// Room for some images.
    ///
    /// # Errors
    /// Where the device has no room.
    pub fn empty(driver: &dyn Driver, count: usize, channels: usize, (height, width): (usize, usize)) -> Result<Self> {
        let pixels = count * height * width;
        let (images, classes) = (Buffer::floats(driver, pixels * channels)?, Buffer::new(driver, pixels)?);
        Ok(Self { images, classes, count, channels, size: (height, width) })
    }

    /// Replaces the images, or the first of them.
    ///
    /// # Errors
    /// Where lengths do not fit, or the device fails.
    pub fn fill(&mut self, driver: &dyn Driver, images: &[f32], classes: &[u8]) -> Result<()> {
        let plane = self.size.0 * self.size.1;
        if classes.len() * self.channels != images.len() || !classes.len().is_multiple_of(plane) || classes.len() > self.count * plane {
            return Err(GpuError::Input(format!("{} values and {} classes for images of {:?}", images.len(), classes.len(), self.size)));
        }
        let mut queue = driver.queue()?;
        queue.upload(&*self.images.0, 0, bytes(images))?;
        queue.upload(&*self.classes.0, 0, classes)?;
        queue.wait()
    }

    /// How many images there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn memory(&self) -> [Arc<dyn Memory>; 2] {
        [Arc::clone(&self.images.0), Arc::clone(&self.classes.0)]
    }
}

/// The bytes of floats.
#[allow(unsafe_code)]
pub(crate) fn bytes<T: Number>(values: &[T]) -> &[u8] {
    // SAFETY: numbers have no padding, and any bytes may be read.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The bytes of floats, to write.
#[allow(unsafe_code)]
pub(crate) fn bytes_mut<T: Number>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: numbers have no padding, and any bytes are a number.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

/// A number without padding, of which any bytes are one.
pub(crate) trait Number: Copy {}
impl Number for u8 {}
impl Number for u32 {}
impl Number for f32 {}
impl Number for f64 {}
