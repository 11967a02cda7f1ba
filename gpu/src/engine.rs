//! A network on a device: its state, and steps and evaluations as programs that run again and again.
//!
//! Everything that a step needs lies on the device. The host tells up to [`BURST`] batches at a time (which images, which rates), lets
//! the program of that batch size run that often, and reads the scores: a cursor on the device says which batch is the next.

use std::sync::Arc;

use crate::buffers::{BURST, Buffer, Buffers};
use crate::data::{DataSet, bytes, bytes_mut};
use crate::driver::{Driver, Program, Queue};
use crate::network::{NetworkShape, Stage};
use crate::passes::{Builder, Pass};
use crate::{GpuError, Optimizer, Rates, Result};

/// Sums over a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BatchScore {
    /// Of the cross-entropies of all pixels, in nats.
    pub loss_sum: f64,
    /// Pixels whose largest logit (the first of equals) is their class.
    pub hits: u64,
    /// Pixels seen.
    pub pixels: u64,
}

impl BatchScore {
    /// The mean cross-entropy.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.pixels as f64
    }
}

/// A program with what it was made for.
struct Cached {
    pass: Pass,
    images: usize,
    data: u64,
    program: Box<dyn Program>,
}

/// One network on one device.
pub struct Engine {
    // First, so that they go before the memory that they use.
    programs: Vec<Cached>,
    queue: Box<dyn Queue>,
    driver: Arc<dyn Driver>,
    shape: NetworkShape,
    stages: Vec<Stage>,
    size: (usize, usize),
    buffers: Buffers,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("driver", &self.driver).field("shape", &self.shape).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Engine {
    /// For images of one size, multiples of 4, and batches of at most `most_images`. Parameters and running statistics are of any
    /// value until they are set.
    ///
    /// # Errors
    /// Where sizes are out of range, or the device has no room.
    pub fn new(driver: Arc<dyn Driver>, shape: &NetworkShape, size: (usize, usize), most_images: usize) -> Result<Self> {
        let (height, width) = size;
        if height == 0 || width == 0 || !height.is_multiple_of(4) || !width.is_multiple_of(4) || most_images == 0 {
            return Err(GpuError::Input(format!("batches of {most_images} images of {height}×{width} pixels")));
        }
        let stages = shape.stages()?;
        let mut queue = driver.queue()?;
        let buffers = Buffers::new(&*driver, &mut *queue, shape, &stages, size, most_images)?;
        Ok(Self { programs: Vec::new(), queue, driver, shape: shape.clone(), stages, size, buffers })
    }

    /// The most images of a batch.
    #[must_use]
    pub fn most_images(&self) -> usize {
        self.buffers.most_images
    }

    /// Height and width of the images.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// The device.
    #[must_use]
    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    fn write(&mut self, to: &Buffer, values: &[f32], expected: usize) -> Result<()> {
        if values.len() != expected {
            return Err(GpuError::Input(format!("{} values where {expected} belong", values.len())));
        }
        self.queue.upload(&*to.0, 0, bytes(values))
    }

    fn read(&mut self, from: &Buffer, count: usize) -> Result<Vec<f32>> {
        let mut values = vec![0.0f32; count];
        self.queue.download(&*from.0, 0, bytes_mut(&mut values))?;
        Ok(values)
    }

    /// Sets all parameters.
    ///
    /// # Errors
    /// Where the length does not fit, or the device fails.
    pub fn set_parameters(&mut self, values: &[f32]) -> Result<()> {
        self.write(&self.buffers.parameters.clone(), values, self.shape.parameters)
    }

    /// All parameters.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn parameters(&mut self) -> Result<Vec<f32>> {
        self.read(&self.buffers.parameters.clone(), self.shape.parameters)
    }

    /// The gradient of the last training batch.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn gradient(&mut self) -> Result<Vec<f32>> {
        self.read(&self.buffers.gradient.clone(), self.shape.parameters)
    }

    /// Sets the running statistics.
    ///
    /// # Errors
    /// Where the length does not fit, or the device fails.
    pub fn set_running(&mut self, values: &[f32]) -> Result<()> {
        self.write(&self.buffers.running.clone(), values, self.shape.running)
    }

    /// The running statistics.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn running(&mut self) -> Result<Vec<f32>> {
        self.read(&self.buffers.running.clone(), self.shape.running)
    }

    /// Sets a vector of the optimizer's state, 0 or 1; both are zero in the beginning.
    ///
    /// # Errors
    /// Where there is none such, the length does not fit, or the device fails.
    pub fn set_slot(&mut self, slot: usize, values: &[f32]) -> Result<()> {
        let Some(buffer) = self.buffers.slots.get(slot).cloned() else {
            return Err(GpuError::Input(format!("an optimizer has no vector {slot}")));
        };
        self.write(&buffer, values, self.shape.parameters)
    }

    /// A vector of the optimizer's state.
    ///
    /// # Errors
    /// Where there is none such, or the device fails.
    pub fn slot(&mut self, slot: usize) -> Result<Vec<f32>> {
        let Some(buffer) = self.buffers.slots.get(slot).cloned() else {
            return Err(GpuError::Input(format!("an optimizer has no vector {slot}")));
        };
        self.read(&buffer, self.shape.parameters)
    }

    /// Losses of training batches, each followed by a step of the optimizer with its rates (or by none). A batch is its images'
    /// places in the data.
    ///
    /// # Errors
    /// Where a batch does not fit, or the device fails.
    pub fn train(
        &mut self,
        data: &DataSet,
        batches: &[Vec<u32>],
        rates: &[Rates],
        optimizer: Option<Optimizer>,
    ) -> Result<Vec<BatchScore>> {
        if optimizer.is_some() && rates.len() != batches.len() {
            return Err(GpuError::Input(format!("{} rates for {} batches", rates.len(), batches.len())));
        }
        self.in_bursts(data, batches, rates, Pass::Train(optimizer))
    }

    /// Scores of batches in evaluation mode.
    ///
    /// # Errors
    /// Where a batch does not fit, or the device fails.
    pub fn score(&mut self, data: &DataSet, batches: &[Vec<u32>]) -> Result<Vec<BatchScore>> {
        self.in_bursts(data, batches, &[], Pass::Score)
    }

    /// The most likely class of each pixel `[images, height, width]`, in evaluation mode.
    ///
    /// # Errors
    /// Where the batch does not fit, or the device fails.
    pub fn predict(&mut self, data: &DataSet, batch: &[u32]) -> Result<Vec<u8>> {
        self.in_bursts(data, &[batch.to_vec()], &[], Pass::Predict)?;
        let mut classes = vec![0u8; batch.len() * self.size.0 * self.size.1];
        self.queue.download(&*self.buffers.predictions.0, 0, &mut classes)?;
        Ok(classes)
    }

    /// The logits `[images, colours, height, width]` of one batch in evaluation mode.
    ///
    /// # Errors
    /// Where the batch does not fit, or the device fails.
    pub fn logits(&mut self, data: &DataSet, batch: &[u32]) -> Result<Vec<f32>> {
        self.in_bursts(data, &[batch.to_vec()], &[], Pass::Logits)?;
        self.read(&self.buffers.logits.clone(), batch.len() * self.shape.num_colours * self.size.0 * self.size.1)
    }

    /// Makes ready what [`Engine::train`] with an optimizer needs for batches of these sizes, so that it allocates nothing later.
    ///
    /// # Errors
    /// Where the device has no room, or a kernel does not compile.
    pub fn prepare_training(&mut self, data: &DataSet, sizes: &[usize], optimizer: Optimizer) -> Result<()> {
        self.prepare(data, sizes, Pass::Train(Some(optimizer)))
    }

    /// As [`Engine::prepare_training`], for [`Engine::score`].
    ///
    /// # Errors
    /// As there.
    pub fn prepare_scores(&mut self, data: &DataSet, sizes: &[usize]) -> Result<()> {
        self.prepare(data, sizes, Pass::Score)
    }

    /// As [`Engine::prepare_training`], for [`Engine::predict`].
    ///
    /// # Errors
    /// As there.
    pub fn prepare_predictions(&mut self, data: &DataSet, sizes: &[usize]) -> Result<()> {
        self.prepare(data, sizes, Pass::Predict)
    }

    fn prepare(&mut self, data: &DataSet, sizes: &[usize], pass: Pass) -> Result<()> {
        for &images in sizes.iter().filter(|images| **images > 0) {
            self.check(data, &vec![0; images])?;
            self.program(data, pass, images)?;
        }
        Ok(())
    }

    /// The launches of a step, or of an evaluation where there is no optimizer: for whoever compiles or counts them.
    ///
    /// # Errors
    /// As for a step.
    pub fn launches(&mut self, data: &DataSet, images: usize, optimizer: Option<Optimizer>) -> Result<Vec<crate::driver::Launch>> {
        let pass = if optimizer.is_some() { Pass::Train(optimizer) } else { Pass::Score };
        Ok(self.builder(data, pass, images).build()?.0)
    }

    fn builder<'a>(&'a mut self, data: &'a DataSet, pass: Pass, images: usize) -> Builder<'a> {
        Builder {
            driver: &*self.driver,
            queue: &mut *self.queue,
            shape: &self.shape,
            stages: &self.stages,
            size: self.size,
            buffers: &self.buffers,
            data,
            pass,
            images,
            launches: Vec::new(),
            memory: Vec::new(),
        }
    }

    fn check(&self, data: &DataSet, batch: &[u32]) -> Result<()> {
        let fits = (1..=self.buffers.most_images).contains(&batch.len()) && batch.iter().all(|&image| (image as usize) < data.count);
        if !fits || data.size != self.size || data.channels != self.shape.in_channels {
            let (images, count) = (batch.len(), data.count);
            return Err(GpuError::Input(format!("a batch of {images} of {count} images of {:?} pixels", data.size)));
        }
        Ok(())
    }

    fn in_bursts(&mut self, data: &DataSet, batches: &[Vec<u32>], rates: &[Rates], pass: Pass) -> Result<Vec<BatchScore>> {
        for batch in batches {
            self.check(data, batch)?;
        }
        let mut scores = Vec::with_capacity(batches.len());
        let mut at = 0;
        while at < batches.len() {
            // The batches of one size that follow one another.
            let images = batches[at].len();
            let same = batches[at..].iter().take(BURST).take_while(|batch| batch.len() == images).count();
            let rates = rates.get(at..at + same).unwrap_or_default();
            scores.extend(self.burst(data, &batches[at..at + same], rates, pass, images)?);
            at += same;
        }
        Ok(scores)
    }

    fn burst(&mut self, data: &DataSet, batches: &[Vec<u32>], rates: &[Rates], pass: Pass, images: usize) -> Result<Vec<BatchScore>> {
        let index = self.program(data, pass, images)?;
        let mut table = Vec::with_capacity(batches.len() * self.buffers.most_images);
        for batch in batches {
            table.extend_from_slice(batch);
            table.resize(table.len() + self.buffers.most_images - batch.len(), 0);
        }
        let rates: Vec<f32> = rates.iter().flat_map(|rates| rates.numbers()).collect();
        self.queue.upload(&*self.buffers.table.0, 0, bytes(&table))?;
        self.queue.upload(&*self.buffers.rates.0, 0, bytes(&rates))?;
        self.queue.upload(&*self.buffers.cursor.0, 0, &[0; 4])?;
        self.queue.run(&*self.programs[index].program, batches.len())?;
        let mut sums = vec![0.0f64; 2 * batches.len()];
        self.queue.download(&*self.buffers.scores.0, 0, bytes_mut(&mut sums))?;
        let pixels = (images * self.size.0 * self.size.1) as u64;
        Ok(sums.as_chunks::<2>().0.iter().map(|[loss_sum, hits]| BatchScore { loss_sum: *loss_sum, hits: *hits as u64, pixels }).collect())
    }

    /// The program of a pass, made where there is none yet.
    fn program(&mut self, data: &DataSet, pass: Pass, images: usize) -> Result<usize> {
        let key = data.images.at();
        if let Some(index) = self.programs.iter().position(|c| c.pass == pass && c.images == images && c.data == key) {
            return Ok(index);
        }
        let (launches, memory) = self.builder(data, pass, images).build()?;
        let program = self.driver.program(&launches, &memory)?;
        self.programs.push(Cached { pass, images, data: key, program });
        Ok(self.programs.len() - 1)
    }
}
