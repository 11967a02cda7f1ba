//! Between PyTorch's `[N, C, H, W]` and blocked maps.

use super::geometry::View;
use super::isa::for_each_isa;
use super::softmax::{Classes, NO_CLASS};
use super::vector::Lanes;

for_each_isa! {
    /// Puts up to sixteen images `[n, C, H, W]` into some channels of one block; dead lanes become zero.
    pub fn load_images[V](images: &[f32], block: &mut [Lanes], view: View) {
        let (height, width) = (view.geometry.height, view.geometry.width);
        let plane = height * width;
        for row in 0..height {
            for c in 0..view.channels {
                let into = &mut block[view.row(row, c)];
                into.fill(Lanes::ZERO);
                for (lane, image) in images.chunks_exact(view.channels * plane).enumerate() {
                    let from = &image[c * plane + row * width..][..width];
                    for (into, &value) in into.iter_mut().zip(from) {
                        into.0[lane] = value;
                    }
                }
            }
        }
    }
}

for_each_isa! {
    /// Takes up to sixteen images `[n, C, H, W]` from one block.
    pub fn store_images[V](block: &[Lanes], view: View, images: &mut [f32]) {
        let (height, width) = (view.geometry.height, view.geometry.width);
        let plane = height * width;
        for row in 0..height {
            for c in 0..view.channels {
                let from = &block[view.row(row, c)];
                for (lane, image) in images.chunks_exact_mut(view.channels * plane).enumerate() {
                    let into = &mut image[c * plane + row * width..][..width];
                    for (into, from) in into.iter_mut().zip(from) {
                        *into = from.0[lane];
                    }
                }
            }
        }
    }
}

/// Puts the classes `[n, pixels]` of up to sixteen images into one block `[pixels]`.
#[allow(clippy::cast_precision_loss)] // palettes are far below 2²⁴
pub fn load_classes(classes: &[u32], block: &mut [Classes]) {
    let pixels = block.len();
    block.fill(Lanes::splat(NO_CLASS));
    for (lane, image) in classes.chunks_exact(pixels).enumerate() {
        for (into, &class) in block.iter_mut().zip(image) {
            into.0[lane] = class as f32;
        }
    }
}
