//! A network's memory on a device, allocated once: maps, numbers of channels, parameters, tables of batches.

use std::sync::Arc;

use crate::arguments::{NormSegment, PackSegment, Plain};
use crate::driver::{Driver, Memory, Queue};
use crate::network::{NetworkShape, Stage};
use crate::taps::{Axis, Convolution};
use crate::{GpuError, Result};

/// Batches that are told to the device at a time.
pub const BURST: usize = 64;

/// Numbers of a channel: `COEFFICIENTS` of `prelude.cu`.
pub(crate) const COEFFICIENTS: usize = 8;

/// A piece of memory with its address.
#[derive(Debug, Clone)]
pub(crate) struct Buffer(pub(crate) Arc<dyn Memory>);

impl Buffer {
    pub(crate) fn new(driver: &dyn Driver, bytes: usize) -> Result<Self> {
        // Nothing has length zero, so that every address is one.
        Ok(Self(driver.allocate(bytes.max(16))?))
    }

    pub(crate) fn floats(driver: &dyn Driver, count: usize) -> Result<Self> {
        Self::new(driver, 4 * count)
    }

    /// With some content.
    pub(crate) fn with(driver: &dyn Driver, queue: &mut dyn Queue, bytes: &[u8]) -> Result<Self> {
        let buffer = Self::new(driver, bytes.len())?;
        queue.upload(&*buffer.0, 0, bytes)?;
        Ok(buffer)
    }

    pub(crate) fn at(&self) -> u64 {
        self.0.address()
    }

    /// The address of a float of it.
    pub(crate) fn float(&self, index: usize) -> u64 {
        self.at() + 4 * index as u64
    }
}

/// Structures one after another.
pub(crate) fn bytes_of<T: Plain>(items: &[T]) -> Vec<u8> {
    items.iter().flat_map(|item| item.words().into_iter().flat_map(u64::to_le_bytes)).collect()
}

/// The packed weights of a stage in one direction: where each phase begins.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub(crate) axis: Axis,
    pub(crate) begins: Vec<usize>,
}

/// The maps of one stage.
#[derive(Debug, Clone)]
pub(crate) struct StageBuffers {
    /// Batch norm's input; the logits' gradient in the last stage.
    pub(crate) z: Buffer,
    /// The gradient of the activation.
    pub(crate) gradient: Buffer,
    pub(crate) argmax: Buffer,
    /// Index of its first channel among the coefficients.
    pub(crate) coefficients: usize,
    pub(crate) forward: Packed,
    pub(crate) backward: Option<Packed>,
}

/// All memory that passes share.
#[derive(Debug, Clone)]
pub(crate) struct Buffers {
    pub(crate) parameters: Buffer,
    pub(crate) gradient: Buffer,
    pub(crate) slots: [Buffer; 2],
    pub(crate) running: Buffer,
    pub(crate) training_coefficients: Buffer,
    pub(crate) evaluation_coefficients: Buffer,
    pub(crate) packed: Buffer,
    pub(crate) pack_segments: Buffer,
    /// Segments, and elements of the longest one.
    pub(crate) packs: (usize, usize),
    pub(crate) norm_segments: Buffer,
    pub(crate) norms: usize,
    pub(crate) stages: Vec<StageBuffers>,
    pub(crate) cursor: Buffer,
    /// `[BURST][most images]`
    pub(crate) table: Buffer,
    /// `[BURST]` of four floats
    pub(crate) rates: Buffer,
    /// `[BURST]` of two doubles
    pub(crate) scores: Buffer,
    pub(crate) predictions: Buffer,
    pub(crate) logits: Buffer,
    pub(crate) most_images: usize,
}

impl Buffers {
    pub(crate) fn new(
        driver: &dyn Driver,
        queue: &mut dyn Queue,
        shape: &NetworkShape,
        stages: &[Stage],
        (height, width): (usize, usize),
        most_images: usize,
    ) -> Result<Self> {
        let floats = |count| Buffer::floats(driver, count);
        let (mut segments, mut norms, mut packed, mut channels) = (Vec::new(), Vec::new(), 0, 0);
        let mut of_stages = Vec::new();
        for stage in stages {
            let pixels = |shrink: usize| (height / shrink) * (width / shrink);
            let map = most_images * stage.outputs * pixels(stage.normalized_shrink());
            let forward = pack(stage, shape.kernel, true, &mut segments, &mut packed);
            let backward = (stage.gradient_channels() > 0).then(|| pack(stage, shape.kernel, false, &mut segments, &mut packed));
            of_stages.push(StageBuffers {
                z: floats(map)?,
                gradient: floats(if stage.places.norm.is_some() { map } else { 0 })?,
                argmax: Buffer::new(driver, if stage.pooled { map } else { 0 })?,
                coefficients: channels,
                forward,
                backward,
            });
            if let Some(norm) = stage.places.norm {
                norms.push(NormSegment {
                    channels: word(stage.outputs)?,
                    weight: word(norm.weight)?,
                    bias: word(norm.bias)?,
                    mean: word(norm.running_mean)?,
                    variance: word(norm.running_var)?,
                    coefficients: word(channels * COEFFICIENTS)?,
                });
            }
            // The biggest map bounds all indices of the kernels, which are 32 bits wide.
            word(most_images * stage.outputs.max(stage.input_channels()) * pixels(stage.input_shrink.min(stage.output_shrink)))?;
            channels += stage.outputs;
        }
        let longest = segments.iter().map(|segment| segment.length as usize).max().unwrap_or(0);
        let pixels = height * width;
        let buffers = Self {
            parameters: floats(shape.parameters)?,
            gradient: floats(shape.parameters)?,
            slots: [floats(shape.parameters)?, floats(shape.parameters)?],
            running: floats(shape.running)?,
            training_coefficients: floats(channels * COEFFICIENTS)?,
            evaluation_coefficients: floats(channels * COEFFICIENTS)?,
            packed: floats(packed)?,
            pack_segments: Buffer::with(driver, queue, &bytes_of(&segments))?,
            packs: (segments.len(), longest),
            norm_segments: Buffer::with(driver, queue, &bytes_of(&norms))?,
            norms: norms.len(),
            stages: of_stages,
            cursor: Buffer::with(driver, queue, &[0; 16])?,
            table: floats(BURST * most_images)?,
            rates: floats(BURST * 4)?,
            scores: Buffer::new(driver, BURST * 16)?,
            predictions: Buffer::new(driver, BURST * most_images * pixels)?,
            logits: floats(most_images * shape.num_colours * pixels)?,
            most_images,
        };
        queue.upload(&*buffers.slots[0].0, 0, &vec![0; 4 * shape.parameters])?;
        queue.upload(&*buffers.slots[1].0, 0, &vec![0; 4 * shape.parameters])?;
        Ok(buffers)
    }

    /// All of it, for programs to keep.
    pub(crate) fn memory(&self) -> Vec<Arc<dyn Memory>> {
        let maps = self.stages.iter().flat_map(|stage| [&stage.z, &stage.gradient, &stage.argmax]);
        let own = [
            &self.parameters,
            &self.gradient,
            &self.slots[0],
            &self.slots[1],
            &self.running,
            &self.training_coefficients,
            &self.evaluation_coefficients,
            &self.packed,
            &self.pack_segments,
            &self.norm_segments,
            &self.cursor,
            &self.table,
            &self.rates,
            &self.scores,
            &self.predictions,
            &self.logits,
        ];
        maps.chain(own).map(|buffer| Arc::clone(&buffer.0)).collect()
    }
}

/// A size that the kernels' 31 bits hold.
pub(crate) fn word(value: usize) -> Result<u32> {
    match u32::try_from(value) {
        Ok(word) if i32::try_from(word).is_ok() => Ok(word),
        _ => Err(GpuError::Input(format!("{value} numbers in one map are more than the GPU's kernels count"))),
    }
}

/// Appends the segments of one direction of a stage.
fn pack(stage: &Stage, kernel: usize, forward: bool, segments: &mut Vec<PackSegment>, packed: &mut usize) -> Packed {
    let axis = if forward { stage.convolution.forward(kernel) } else { stage.convolution.backward(kernel) };
    let square = kernel * kernel;
    // Weights are [out][in] for convolutions and [in][out] for transposed ones.
    let (of_input, of_output) = match stage.convolution {
        Convolution::Up => (stage.outputs * square, square),
        _ => (square, stage.input_channels() * square),
    };
    let (inputs, outputs, strides) = if forward {
        (stage.input_channels(), stage.outputs, (of_input, of_output))
    } else {
        (stage.outputs, stage.gradient_channels(), (of_output, of_input))
    };
    let padded = outputs.next_multiple_of(4);
    let mut begins = Vec::new();
    for rows in &axis.phases {
        for columns in &axis.phases {
            begins.push(*packed);
            let length = inputs * rows.taps.len() * columns.taps.len() * padded;
            if length > 0 {
                let mut segment = PackSegment {
                    from: stage.places.weight as u32,
                    to: *packed as u32,
                    length: length as u32,
                    inputs: inputs as i32,
                    outputs: outputs as i32,
                    padded: padded as i32,
                    rows: rows.taps.len() as i32,
                    columns: columns.taps.len() as i32,
                    input_stride: strides.0 as i32,
                    output_stride: strides.1 as i32,
                    kernel: kernel as i32,
                    ..PackSegment::default()
                };
                for (i, tap) in rows.taps.iter().enumerate() {
                    (segment.row_first[i], segment.row_count[i]) = (tap.first as u8, tap.count as u8);
                }
                for (i, tap) in columns.taps.iter().enumerate() {
                    (segment.column_first[i], segment.column_count[i]) = (tap.first as u8, tap.count as u8);
                }
                segments.push(segment);
            }
            *packed += length;
        }
    }
    Packed { axis, begins }
}
