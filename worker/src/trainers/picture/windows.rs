//! The class of each pixel of a picture of any size, found window by window.

use candle_core::{Device, Tensor};
use trainyard_theory::network::tiling::{Span, Tiling, WINDOWS_AT_ONCE, spans};
use trainyard_theory::network::{Architecture, NetworkConfig as Counted};

use super::super::TrainError;
use super::super::colourization::predict as predict_images;
use super::super::pace::Pace;
use super::super::session::{Session, Stop};
use crate::networks::{ColourizationNetwork, NetworkKind, SIZE_MULTIPLE};

/// The most likely class of each pixel of a grey picture of `(height, width)`, rows first, or why it is to stop. The session is asked before
/// each pass through the network.
///
/// A picture whose sides are no multiples of [`SIZE_MULTIPLE`] goes on at its bottom and right with its last row and column.
///
/// # Errors
/// Where the network cannot be run.
pub(super) fn predict(
    network: &dyn ColourizationNetwork,
    grey: &[f32],
    size: (usize, usize),
    session: &dyn Session,
) -> Result<Result<Vec<u8>, Stop>, TrainError> {
    let tiling = tiling(network, size)?;
    in_windows(network, grey, size, tiling, session)
}

/// The windows for a network and a picture.
fn tiling(network: &dyn ColourizationNetwork, (height, width): (usize, usize)) -> Result<Tiling, TrainError> {
    let config = network.config();
    let counted = Counted {
        architecture: match config.kind {
            NetworkKind::PoolUpsample => Architecture::PoolUpsample,
            NetworkKind::ConvTranspose => Architecture::ConvTranspose,
            NetworkKind::UNet => Architecture::Unet,
        },
        kernel: config.kernel as u64,
        dilation: 1,
        num_filters: config.num_filters as u64,
        in_channels: config.in_channels as u64,
        num_colours: config.num_colours as u64,
        height: height.next_multiple_of(SIZE_MULTIPLE) as u64,
        width: width.next_multiple_of(SIZE_MULTIPLE) as u64,
    };
    counted.tiling().map_err(|error| TrainError::Spec(error.to_string()))
}

pub(super) fn in_windows(
    network: &dyn ColourizationNetwork,
    grey: &[f32],
    (height, width): (usize, usize),
    tiling: Tiling,
    session: &dyn Session,
) -> Result<Result<Vec<u8>, Stop>, TrainError> {
    let padded = |side: usize| side.next_multiple_of(SIZE_MULTIPLE) as u64;
    let (rows, columns) = (spans(padded(height), tiling.height, tiling.halo), spans(padded(width), tiling.width, tiling.halo));
    let windows: Vec<(Span, Span)> = rows.iter().flat_map(|row| columns.iter().map(move |column| (*row, *column))).collect();
    let (window_height, window_width) = (tiling.height as usize, tiling.width as usize);
    let mut classes = vec![0; height * width];
    let at_once = WINDOWS_AT_ONCE as usize;
    let passes = windows.len().div_ceil(at_once) as u64;
    let pace = Pace::new(0, passes);
    for (pass, windows) in (0..).zip(windows.chunks(at_once)) {
        session.progress(pace.progress(pass, None));
        if let Some(stop) = session.stop() {
            return Ok(Err(stop));
        }
        let mut values = Vec::with_capacity(windows.len() * window_height * window_width);
        for (row, column) in windows {
            for y in row.start as usize..row.start as usize + window_height {
                let line = &grey[y.min(height - 1) * width..][..width];
                let across = column.start as usize..column.start as usize + window_width;
                values.extend(across.map(|x| line[x.min(width - 1)]));
            }
        }
        let images = Tensor::from_vec(values, (windows.len(), 1, window_height, window_width), &Device::Cpu)?;
        let images = images.to_device(network.parameters().device())?;
        let found = predict_images(network, &images, at_once)?;
        for ((row, column), found) in windows.iter().zip(found.chunks(window_height * window_width)) {
            // What lies beyond the picture is not taken.
            let (first, end) = (column.first as usize, (column.end as usize).min(width));
            for y in row.first as usize..(row.end as usize).min(height) {
                let line = &found[(y - row.start as usize) * window_width..][..window_width];
                let from = first - column.start as usize;
                classes[y * width..][first..end].copy_from_slice(&line[from..from + (end - first)]);
            }
        }
    }
    session.progress(pace.progress(passes, None));
    Ok(Ok(classes))
}
