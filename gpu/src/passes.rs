//! The launches of a pass through a network, with what each must come after.

mod backward;

use std::sync::Arc;

use crate::arguments::{Batch, ConvolveArguments, EvaluationArguments, Operand, PackArguments, Plain};
use crate::buffers::{Buffer, Buffers, COEFFICIENTS, Packed};
use crate::data::DataSet;
use crate::driver::{Driver, Kernel, Launch, Memory, Queue};
use crate::network::{NetworkShape, Source, Stage};
use crate::shapes::{ConvolveShape, Epilogue, Mode};
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
        let (shape, grid, threads, shared) = tiles::convolve(shape, epilogue, self.images, self.driver.precision());
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
}
