//! Full-batch least squares in f64 on a device: loss and gradient of `(1/n)·‖Xw − t‖²` with X resident.

use std::sync::Arc;

use crate::arguments::{Plain as _, RegressionArguments};
use crate::buffers::Buffer;
use crate::data::{bytes, bytes_mut};
use crate::driver::{Driver, Kernel, Launch, Program, Queue};
use crate::{GpuError, Result};

const THREADS: u32 = 256;

/// Parts that the rows are cut into, whatever the device, so that sums are associated alike on every card.
const PARTS: usize = 256;

/// A problem on a device.
pub struct Regression {
    program: Box<dyn Program>,
    queue: Box<dyn Queue>,
    weights: Buffer,
    gradient: Buffer,
    loss: Buffer,
    columns: usize,
}

impl std::fmt::Debug for Regression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Regression").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Regression {
    /// Numbers of X from which a step is worth its way to a card and back.
    pub const WORTH: usize = 10_000_000;

    /// Of X `[rows][columns]`, rows first, and its targets.
    ///
    /// # Errors
    /// Where lengths do not fit, or the device has no room.
    pub fn new(driver: &dyn Driver, x: &[f64], targets: &[f64]) -> Result<Self> {
        let rows = targets.len();
        if rows == 0
            || x.is_empty()
            || !x.len().is_multiple_of(rows)
            || u32::try_from(x.len() / rows).is_err()
            || u32::try_from(rows).is_err()
        {
            return Err(GpuError::Input(format!("a problem of {} numbers and {rows} targets", x.len())));
        }
        let columns = x.len() / rows;
        let mut queue = driver.queue()?;
        let doubles = |count: usize| Buffer::new(driver, 8 * count);
        let rows_per_block = rows.div_ceil(PARTS);
        let blocks = rows.div_ceil(rows_per_block);
        let x = Buffer::with(driver, &mut *queue, bytes(x))?;
        let targets = Buffer::with(driver, &mut *queue, bytes(targets))?;
        let counters = Buffer::with(driver, &mut *queue, &[0; 16])?;
        let (weights, gradient, loss) = (doubles(columns)?, doubles(columns)?, doubles(1)?);
        let (residual, squares, partials) = (doubles(rows)?, doubles(blocks)?, doubles(blocks * columns)?);
        let arguments = |counter: u64| RegressionArguments {
            x: x.at(),
            targets: targets.at(),
            weights: weights.at(),
            residual: residual.at(),
            squares: squares.at(),
            partials: partials.at(),
            gradient: gradient.at(),
            loss: loss.at(),
            counter: counters.at() + counter,
            rows: rows as u32,
            columns: columns as u32,
            rows_per_block: rows_per_block as u32,
            unused: 0,
            factor: 2.0 / rows as f64,
        };
        let launch = |kernel, grid, counter, after| Launch {
            kernel,
            grid,
            threads: THREADS,
            shared: 8 * THREADS,
            arguments: arguments(counter).words(),
            after,
        };
        let launches = [
            launch(Kernel::Residual, [blocks as u32, 1, 1], 0, Vec::new()),
            launch(Kernel::Slope, [(columns as u32).div_ceil(THREADS), blocks as u32, 1], 4, vec![0]),
        ];
        let all = [&x, &targets, &counters, &weights, &gradient, &loss, &residual, &squares, &partials];
        let memory: Vec<_> = all.into_iter().map(|buffer| Arc::clone(&buffer.0)).collect();
        let program = driver.program(&launches, &memory)?;
        Ok(Self { program, queue, weights, gradient, loss, columns })
    }

    /// The loss at `weights`, whose gradient goes to `gradient`.
    ///
    /// # Errors
    /// Where lengths do not fit, or the device fails.
    pub fn loss_and_gradient(&mut self, weights: &[f64], gradient: &mut [f64]) -> Result<f64> {
        if weights.len() != self.columns || gradient.len() != self.columns {
            return Err(GpuError::Input(format!("{} weights for {} columns", weights.len(), self.columns)));
        }
        self.queue.upload(&*self.weights.0, 0, bytes(weights))?;
        self.queue.run(&*self.program, 1)?;
        self.queue.download(&*self.gradient.0, 0, bytes_mut(gradient))?;
        let mut loss = [0.0f64];
        self.queue.download(&*self.loss.0, 0, bytes_mut(&mut loss))?;
        Ok(loss[0])
    }
}
