//! Unfolding an image so that a convolution becomes a matrix product, and its adjoint.

use super::convolution::Geometry;

/// The output columns whose input column, for the kernel column `offset`, lies inside the image.
fn inside(offset: usize, padding: usize, stride: usize, size: usize, out_size: usize) -> std::ops::Range<usize> {
    let first = padding.saturating_sub(offset).div_ceil(stride).min(out_size);
    let end = (size + padding).saturating_sub(offset).div_ceil(stride).min(out_size);
    first..end.max(first)
}

/// Writes `columns[(c·K + ky)·K + kx][oy·OW + ox] = image[c][oy·S + ky − P][ox·S + kx − P]`, zero outside the image.
pub(super) fn im2col(geometry: &Geometry, image: &[f32], columns: &mut [f32]) {
    let Geometry { kernel, stride, padding, height, width, .. } = *geometry;
    let (out_height, out_width) = geometry.output_size();
    let mut rows = columns.chunks_exact_mut(out_height * out_width);
    for plane in image.chunks_exact(height * width) {
        for ky in 0..kernel {
            let inside_y = inside(ky, padding, stride, height, out_height);
            for kx in 0..kernel {
                let Some(row) = rows.next() else { return };
                let inside_x = inside(kx, padding, stride, width, out_width);
                for (oy, out) in row.chunks_exact_mut(out_width).enumerate() {
                    if !inside_y.contains(&oy) || inside_x.is_empty() {
                        out.fill(0.0);
                        continue;
                    }
                    let line = &plane[(oy * stride + ky - padding) * width..][..width];
                    let line = &line[inside_x.start * stride + kx - padding..];
                    out[..inside_x.start].fill(0.0);
                    out[inside_x.end..].fill(0.0);
                    let out = &mut out[inside_x.clone()];
                    if stride == 1 {
                        out.copy_from_slice(&line[..out.len()]);
                    } else {
                        for (o, &x) in out.iter_mut().zip(line.iter().step_by(stride)) {
                            *o = x;
                        }
                    }
                }
            }
        }
    }
}

/// The adjoint of [`im2col`]: adds each element of `columns` to the pixel it came from.
pub(super) fn col2im(geometry: &Geometry, columns: &[f32], image: &mut [f32]) {
    let Geometry { kernel, stride, padding, height, width, .. } = *geometry;
    let (out_height, out_width) = geometry.output_size();
    let mut rows = columns.chunks_exact(out_height * out_width);
    for plane in image.chunks_exact_mut(height * width) {
        for ky in 0..kernel {
            let inside_y = inside(ky, padding, stride, height, out_height);
            for kx in 0..kernel {
                let Some(row) = rows.next() else { return };
                let inside_x = inside(kx, padding, stride, width, out_width);
                if inside_x.is_empty() {
                    continue;
                }
                for oy in inside_y.clone() {
                    let line = &mut plane[(oy * stride + ky - padding) * width..][..width];
                    let line = &mut line[inside_x.start * stride + kx - padding..];
                    let columns = &row[oy * out_width..][inside_x.clone()];
                    if stride == 1 {
                        for (x, &c) in line.iter_mut().zip(columns) {
                            *x += c;
                        }
                    } else {
                        for (x, &c) in line.iter_mut().step_by(stride).zip(columns) {
                            *x += c;
                        }
                    }
                }
            }
        }
    }
}
