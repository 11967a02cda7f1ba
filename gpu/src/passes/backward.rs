//! The backward half of a training step: gradients of inputs and weights, and the optimizer at its end.

use std::sync::Arc;

use super::{Builder, THREADS};
use crate::arguments::{ConvolveArguments, CorrelateArguments, FinishArguments, FinishSegment, Operand, READY, WEIGHT, ZERO};
use crate::buffers::{Buffer, bytes_of, word};
use crate::driver::Kernel;
use crate::network::Source;
use crate::shapes::{ConvolveShape, CorrelateShape, Epilogue};
use crate::{Optimizer, Result, tiles};

impl Builder<'_> {
    /// From the gradient of the logits to the optimizer.
    pub(super) fn backward(&mut self, forward: usize, optimizer: Option<Optimizer>) -> Result<()> {
        let (mut segments, mut ends, mut before) = (Vec::new(), Vec::new(), forward);
        let mut partials = 0;
        let mut correlations = Vec::new();
        for index in (0..self.stages.len()).rev() {
            let (shape, arguments, grid, threads, shared, segment) = self.correlation(index, &mut partials)?;
            correlations.push((shape, arguments, grid, threads, shared, before));
            segments.extend(self.segments(index, segment)?);
            if self.buffers.stages[index].backward.is_some() {
                before = self.input_gradient(index, before)?;
                ends = vec![before];
            }
        }
        let sums = self.own(4 * partials)?;
        for (shape, mut arguments, grid, threads, shared, after) in correlations {
            arguments.partials = sums.float(arguments.partials as usize);
            ends.push(self.launch(Kernel::Correlate(shape), grid, threads, shared, &arguments, vec![after]));
        }
        let longest = segments.iter().map(|segment| segment.length).max().unwrap_or(0);
        let count = segments.len() as u32;
        let table = Buffer::with(self.driver, self.queue, &bytes_of(&segments))?;
        self.memory.push(Arc::clone(&table.0));
        let mut arguments = FinishArguments {
            segments: table.at(),
            partials: sums.at(),
            gradient: self.buffers.gradient.at(),
            parameters: self.buffers.parameters.at(),
            slot0: self.buffers.slots[0].at(),
            slot1: self.buffers.slots[1].at(),
            rates: self.buffers.rates.at(),
            cursor: self.buffers.cursor.at(),
            counter: self.counter()?,
            ..FinishArguments::default()
        };
        if let Some(optimizer) = optimizer {
            optimizer.fill(&mut arguments);
        }
        self.launch(Kernel::Finish, [longest.div_ceil(THREADS), count, 1], THREADS, 16, &arguments, ends);
        Ok(())
    }

    fn input_gradient(&mut self, index: usize, after: usize) -> Result<usize> {
        let (stage, buffers) = (&self.stages[index], &self.buffers.stages[index]);
        let (Some(packed), Some((Source::Stage(completed), complete))) = (&buffers.backward, stage.inputs.first().copied()) else {
            return Ok(after);
        };
        let (operand, mode) = self.output_gradient(index);
        let shape = ConvolveShape {
            ci: stage.outputs as i32,
            split: stage.outputs as i32,
            mode0: mode as i32,
            co: stage.gradient_channels() as i32,
            out_split: complete as i32,
            accumulate: stage.accumulates.into(),
            ..self.shape_of(packed, stage.output_shrink, stage.input_shrink)
        };
        let (shape, grid, threads, shared) = tiles::convolve(shape, Epilogue::Backward, self.images, self.driver.precision());
        let before = &self.buffers.stages[completed];
        let mut arguments = ConvolveArguments {
            input: [operand, Operand::default()],
            batch: self.batch(),
            weights: self.weights(packed),
            output: before.gradient.at(),
            coefficients: self.coefficients(completed),
            z: before.z.at(),
            training: 1,
            ..ConvolveArguments::default()
        };
        if let Some(norm) = self.stages[completed].places.norm {
            arguments.gradient_weight = self.buffers.gradient.float(norm.weight);
            arguments.gradient_bias = self.buffers.gradient.float(norm.bias);
        }
        if let Some((Source::Stage(other), _)) = stage.inputs.get(1) {
            arguments.output2 = self.buffers.stages[*other].gradient.at();
        }
        self.convolve(shape, grid, (threads, shared), arguments, vec![after])
    }

    /// The correlation of a stage, whose sums begin at `partials` floats, and what the optimizer knows of them.
    #[allow(clippy::type_complexity)]
    fn correlation(
        &self,
        index: usize,
        partials: &mut usize,
    ) -> Result<(CorrelateShape, CorrelateArguments, [u32; 3], u32, u32, FinishSegment)> {
        let stage = &self.stages[index];
        let correlation = stage.convolution.correlation(self.shape.kernel);
        let (input, split, [mode0, mode1]) = self.input(index);
        let (operand, mode) = self.output_gradient(index);
        let of_input = (input, stage.input_channels() as i32, split, [mode0 as i32, mode1 as i32], self.map(stage.input_shrink));
        let outputs = stage.outputs as i32;
        let of_output = ([operand, Operand::default()], outputs, outputs, [mode as i32, 0], self.map(stage.output_shrink));
        let (a, b) = if correlation.input_is_small { (of_input, of_output) } else { (of_output, of_input) };
        let shape = CorrelateShape {
            ca: a.1,
            split_a: a.2,
            mode_a0: a.3[0],
            mode_a1: a.3[1],
            ha: a.4.0,
            wa: a.4.1,
            cb: b.1,
            split_b: b.2,
            mode_b0: b.3[0],
            mode_b1: b.3[1],
            hb: b.4.0,
            wb: b.4.1,
            stride: correlation.stride as i32,
            t: correlation.taps as i32,
            lo: correlation.lo,
            ..CorrelateShape::default()
        };
        let (shape, grid, threads, shared, images_per_split) = tiles::correlate(shape, self.images, self.driver.precision());
        let arguments = CorrelateArguments {
            a: a.0,
            b: b.0,
            batch: self.batch(),
            partials: *partials as u64,
            images_per_split: images_per_split as u32,
            unused: 0,
        };
        let transposed = stage.convolution == crate::taps::Convolution::Up;
        let entries = stage.input_channels() * stage.outputs * correlation.taps * correlation.taps;
        let kernel = self.shape.kernel;
        let mut segment = FinishSegment {
            start: word(stage.places.weight)?,
            length: word(stage.input_channels() * stage.outputs * kernel * kernel)?,
            kind: WEIGHT,
            partials: word(*partials)?,
            splits: grid[0],
            entries: word(entries)?,
            inner: if transposed { stage.outputs as i32 } else { stage.input_channels() as i32 },
            // The weight's first dimension is the output, or the input where it is transposed.
            swapped: (correlation.input_is_small != transposed).into(),
            cb: b.1,
            t: correlation.taps as i32,
            kernel: kernel as i32,
            count: correlation.of_weight.first().map_or(1, |tap| tap.count as i32),
            first: [0; 8],
        };
        for (i, tap) in correlation.of_weight.iter().enumerate() {
            segment.first[i] = tap.first as u8;
        }
        *partials += entries * grid[0] as usize;
        Ok((shape, arguments, grid, threads, shared, segment))
    }

    /// The parameters of a stage, for the optimizer.
    fn segments(&self, index: usize, weight: FinishSegment) -> Result<Vec<FinishSegment>> {
        let stage = &self.stages[index];
        let length = word(stage.outputs)?;
        let segment =
            |start: usize, kind| Ok::<_, crate::GpuError>(FinishSegment { start: word(start)?, length, kind, ..FinishSegment::default() });
        Ok(match stage.places.norm {
            // A constant that is added before batch norm cancels.
            Some(norm) => vec![weight, segment(stage.places.bias, ZERO)?, segment(norm.weight, READY)?, segment(norm.bias, READY)?],
            None => vec![weight, segment(stage.places.bias, READY)?],
        })
    }
}
