//! The launches of a pass through a network, with what each must come after.

use std::sync::Arc;

use crate::arguments::{
    Batch, ConvolveArguments, CorrelateArguments, EvaluationArguments, FinishArguments, FinishSegment, Operand, PackArguments, Plain,
    READY, WEIGHT, ZERO,
};
use crate::buffers::{Buffer, Buffers, COEFFICIENTS, Packed, bytes_of, word};
use crate::data::DataSet;
use crate::driver::{Driver, Kernel, Launch, Memory, Queue};
use crate::network::{NetworkShape, Source, Stage};
use crate::shapes::{ConvolveShape, CorrelateShape, Epilogue, Mode};
use crate::{Optimizer, Result, tiles};

/// Threads of the kernels that have one for each number.
const THREADS: u32 = 256;

/// What a pass does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pass {
    /// Loss, gradient, and the optimizer's step where there is one.
    Train(Option<Optimizer>),
    /// Scores, in evaluation mode.
    Score,
    /// The most likely classes.
    Predict,
    /// The logits of one batch.
    Logits,
}

/// Launches, and all memory that they touch.
type Built = (Vec<Launch>, Vec<Arc<dyn Memory>>);

/// Puts a pass together.
pub(crate) struct Builder<'a> {
    pub(crate) driver: &'a dyn Driver,
    pub(crate) queue: &'a mut dyn Queue,
    pub(crate) shape: &'a NetworkShape,
    pub(crate) stages: &'a [Stage],
    pub(crate) size: (usize, usize),
    pub(crate) buffers: &'a Buffers,
    pub(crate) data: &'a DataSet,
    pub(crate) pass: Pass,
    pub(crate) images: usize,
    pub(crate) launches: Vec<Launch>,
    pub(crate) memory: Vec<Arc<dyn Memory>>,
}

impl Builder<'_> {
    /// The launches, and all memory that they touch.
    pub(crate) fn build(mut self) -> Result<Built> {
        self.memory.extend(self.buffers.memory());
        self.memory.extend(self.data.memory());
        let first = self.pack();
        let mut before = vec![first];
        if !self.training() {
            before.push(self.evaluation_coefficients());
        }
        for index in 0..self.stages.len() {
            before = vec![self.forward(index, before)?];
        }
        if let Pass::Train(optimizer) = self.pass {
            self.backward(before[0], optimizer)?;
        }
        Ok((self.launches, self.memory))
    }

    fn training(&self) -> bool {
        matches!(self.pass, Pass::Train(_))
    }

    fn launch(&mut self, kernel: Kernel, grid: [u32; 3], threads: u32, shared: u32, arguments: &impl Plain, after: Vec<usize>) -> usize {
        self.launches.push(Launch { kernel, grid, threads, shared, arguments: arguments.words(), after });
        self.launches.len() - 1
    }

    /// Memory of this pass alone.
    fn own(&mut self, bytes: usize) -> Result<Buffer> {
        let buffer = Buffer::new(self.driver, bytes)?;
        self.memory.push(Arc::clone(&buffer.0));
        Ok(buffer)
    }

    /// A counter of blocks, which is zero between launches.
    fn counter(&mut self) -> Result<u64> {
        let buffer = Buffer::with(self.driver, self.queue, &[0; 16])?;
        self.memory.push(Arc::clone(&buffer.0));
        Ok(buffer.at())
    }

    fn batch(&self) -> Batch {
        Batch {
            cursor: self.buffers.cursor.at(),
            images: self.buffers.table.at(),
            stride: self.buffers.most_images as u32,
            count: self.images as u32,
        }
    }

    fn pack(&mut self) -> usize {
        let (segments, longest) = self.buffers.packs;
        let arguments = PackArguments {
            segments: self.buffers.pack_segments.at(),
            parameters: self.buffers.parameters.at(),
            packed: self.buffers.packed.at(),
        };
        let grid = [(longest as u32).div_ceil(THREADS), segments as u32, 1];
        self.launch(Kernel::Pack, grid, THREADS, 0, &arguments, Vec::new())
    }

    fn evaluation_coefficients(&mut self) -> usize {
        let arguments = EvaluationArguments {
            segments: self.buffers.norm_segments.at(),
            parameters: self.buffers.parameters.at(),
            running: self.buffers.running.at(),
            coefficients: self.buffers.evaluation_coefficients.at(),
        };
        self.launch(Kernel::EvaluationCoefficients, [self.buffers.norms as u32, 1, 1], THREADS, 0, &arguments, Vec::new())
    }

    /// Height and width of a map.
    fn map(&self, shrink: usize) -> (i32, i32) {
        ((self.size.0 / shrink) as i32, (self.size.1 / shrink) as i32)
    }

    fn coefficients(&self, stage: usize) -> u64 {
        let table = if self.training() { &self.buffers.training_coefficients } else { &self.buffers.evaluation_coefficients };
        table.float(self.buffers.stages[stage].coefficients * COEFFICIENTS)
    }

    /// The input of a stage: its operands, the channels of the first, and how each is read.
    fn input(&self, index: usize) -> ([Operand; 2], i32, [Mode; 2]) {
        let (mut operands, mut modes) = ([Operand::default(); 2], [Mode::None; 2]);
        for (i, (source, _)) in self.stages[index].inputs.iter().enumerate() {
            (operands[i], modes[i]) = match source {
                Source::Images => (Operand { values: self.data.images.at(), ..Operand::default() }, Mode::Images),
                Source::Stage(stage) => {
                    let values = self.buffers.stages[*stage].z.at();
                    (Operand { values, coefficients: self.coefficients(*stage), ..Operand::default() }, Mode::Activation)
                }
            };
        }
        (operands, self.stages[index].inputs[0].1 as i32, modes)
    }

    /// The gradient of a stage's convolution's output.
    fn output_gradient(&self, index: usize) -> (Operand, Mode) {
        let (stage, buffers) = (&self.stages[index], &self.buffers.stages[index]);
        if stage.places.norm.is_none() {
            return (Operand { values: buffers.z.at(), ..Operand::default() }, Mode::Plain);
        }
        let operand = Operand {
            values: buffers.gradient.at(),
            z: buffers.z.at(),
            coefficients: self.coefficients(index),
            argmax: buffers.argmax.at(),
        };
        (operand, if stage.pooled { Mode::PooledGradient } else { Mode::Gradient })
    }

    /// The part of a shape that follows from the taps.
    fn shape_of(&self, packed: &Packed, input_shrink: usize, output_shrink: usize) -> ConvolveShape {
        let (hi, wi) = self.map(input_shrink);
        let (ho, wo) = self.map(output_shrink);
        let phases = &packed.axis.phases;
        let second = phases.get(1).unwrap_or(&phases[0]);
        let taps = phases.iter().map(|phase| phase.taps.len()).max().unwrap_or(0);
        ConvolveShape {
            hi,
            wi,
            ho,
            wo,
            so: phases.len() as i32,
            si: packed.axis.si as i32,
            lo0: phases[0].lo,
            lo1: second.lo,
            n0: phases[0].taps.len() as i32,
            n1: second.taps.len() as i32,
            taps: taps as i32,
            ..ConvolveShape::default()
        }
    }

    fn weights(&self, packed: &Packed) -> [u64; 4] {
        let mut weights = [0; 4];
        for (to, begin) in weights.iter_mut().zip(&packed.begins) {
            *to = self.buffers.packed.float(*begin);
        }
        weights
    }

    fn forward(&mut self, index: usize, after: Vec<usize>) -> Result<usize> {
        let (stage, buffers) = (&self.stages[index], &self.buffers.stages[index]);
        let (input, split, [mode0, mode1]) = self.input(index);
        let shape = ConvolveShape {
            ci: stage.input_channels() as i32,
            split,
            mode0: mode0 as i32,
            mode1: mode1 as i32,
            co: stage.outputs as i32,
            ..self.shape_of(&buffers.forward, stage.input_shrink, stage.output_shrink)
        };
        let epilogue = match stage.places.norm {
            None => Epilogue::Last,
            Some(_) if stage.pooled => Epilogue::ForwardPooled,
            Some(_) => Epilogue::Forward,
        };
        let (shape, grid, threads, shared) = tiles::convolve(shape, epilogue, self.images);
        let mut arguments = ConvolveArguments {
            input,
            batch: self.batch(),
            weights: self.weights(&buffers.forward),
            bias: self.buffers.parameters.float(stage.places.bias),
            output: buffers.z.at(),
            argmax: buffers.argmax.at(),
            coefficients: self.coefficients(index),
            copies: stage.copies as f32,
            training: self.training().into(),
            ..ConvolveArguments::default()
        };
        match stage.places.norm {
            Some(norm) => {
                arguments.norm_weight = self.buffers.parameters.float(norm.weight);
                arguments.norm_bias = self.buffers.parameters.float(norm.bias);
                arguments.running_mean = self.buffers.running.float(norm.running_mean);
                arguments.running_var = self.buffers.running.float(norm.running_var);
            }
            None => {
                arguments.gradient_bias = self.buffers.gradient.float(stage.places.bias);
                arguments.classes = self.data.classes.at();
                arguments.scores = self.buffers.scores.at();
                arguments.advance = (!self.training()).into();
                match self.pass {
                    Pass::Logits => arguments.logits = self.buffers.logits.at(),
                    Pass::Predict => arguments.predictions = self.buffers.predictions.at(),
                    Pass::Train(_) | Pass::Score => {}
                }
            }
        }
        self.convolve(shape, grid, (threads, shared), arguments, after)
    }

    /// Launches a convolution with the memory that its sums take.
    fn convolve(
        &mut self,
        shape: ConvolveShape,
        grid: [u32; 3],
        (threads, shared): (u32, u32),
        mut arguments: ConvolveArguments,
        after: Vec<usize>,
    ) -> Result<usize> {
        let blocks = (grid[0] * grid[2]) as usize;
        arguments.partials = self.own(8 * blocks * shape.co as usize)?.at();
        arguments.score_partials = self.own(16 * blocks)?.at();
        arguments.counter = self.counter()?;
        Ok(self.launch(Kernel::Convolve(shape), grid, threads, shared, &arguments, after))
    }

    /// From the gradient of the logits to the optimizer.
    fn backward(&mut self, forward: usize, optimizer: Option<Optimizer>) -> Result<()> {
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
        let (shape, grid, threads, shared) = tiles::convolve(shape, Epilogue::Backward, self.images);
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
        let (shape, grid, threads, shared, images_per_split) = tiles::correlate(shape, self.images);
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
