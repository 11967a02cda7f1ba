//! The hypergradient by candle: η is a variable, the gradient of each step is written out as tensor operations, and `backward` goes
//! through all of them.

use std::collections::BTreeMap;

use candle_core::{CpuStorage, Device, Storage, Tensor, Var};
use trainyard_theory::hypergradient::{Evaluation, Interrupted, Unrolled};

use super::methods::{Measured, Unfinished};

/// The problem as tensors, on the CPU, where there are doubles.
pub(super) struct Autograd {
    /// X, n×d.
    x: Tensor,
    /// Xᵀ, d×n, laid out as such.
    xt: Tensor,
    /// t, n×1.
    t: Tensor,
    /// w_0, d×1.
    start: Tensor,
    l2: f64,
}

impl Autograd {
    pub(super) fn new(unrolled: &Unrolled<'_>) -> candle_core::Result<Self> {
        let (problem, start) = (unrolled.problem(), unrolled.start());
        let (n, d) = (problem.examples(), problem.features());
        let x = Tensor::from_slice(problem.x(), (n, d), &Device::Cpu)?;
        Ok(Self {
            xt: x.t()?.contiguous()?,
            x,
            t: Tensor::from_slice(problem.t(), (n, 1), &Device::Cpu)?,
            start: Tensor::from_slice(start, (d, 1), &Device::Cpu)?,
            l2: unrolled.l2(),
        })
    }

    /// The loss after `steps` steps with `rate`, its derivative, and the bytes of the graph between them.
    pub(super) fn evaluate(&self, rate: f64, steps: usize, check: &dyn Fn() -> Result<(), Interrupted>) -> Result<Measured, Unfinished> {
        let rate = Var::from_slice(&[rate], (1, 1), &Device::Cpu)?;
        let mut weights = self.start.clone();
        for _ in 0..steps {
            check()?;
            weights = (&weights - self.gradient(&weights)?.broadcast_mul(&rate)?)?;
        }
        let loss = self.loss(&weights)?;
        drop(weights);
        let held_bytes = held_bytes(&loss)?;
        let gradients = loss.backward()?;
        let hypergradient = match gradients.get(&rate) {
            Some(gradient) => gradient.sum_all()?.to_scalar()?,
            // No step depends on the rate.
            None => 0.0,
        };
        Ok(Measured { evaluation: Evaluation { loss: loss.to_scalar()?, hypergradient }, held_bytes })
    }

    /// `∇L̃(w) = (2/n)·Xᵀ(Xw − t) + 2λ̃w`.
    fn gradient(&self, weights: &Tensor) -> candle_core::Result<Tensor> {
        let residual = (self.x.matmul(weights)? - &self.t)?;
        let gradient = (self.xt.matmul(&residual)? * (2.0 / self.examples()))?;
        if self.l2 == 0.0 { Ok(gradient) } else { gradient + (weights * (2.0 * self.l2))? }
    }

    /// `L̃(w) = (1/n)·‖Xw − t‖² + λ̃‖w‖²`.
    fn loss(&self, weights: &Tensor) -> candle_core::Result<Tensor> {
        let residual = (self.x.matmul(weights)? - &self.t)?;
        let loss = (residual.sqr()?.sum_all()? / self.examples())?;
        if self.l2 == 0.0 { Ok(loss) } else { loss + (weights.sqr()?.sum_all()? * self.l2)? }
    }

    fn examples(&self) -> f64 {
        self.t.elem_count() as f64
    }
}

/// The bytes that the graph of a value keeps alive: of every tensor on a way from the value to a variable, each storage once, as views
/// share theirs. What is constant (X, t, w_0 and the first gradient) leaves no node in the graph.
fn held_bytes(value: &Tensor) -> candle_core::Result<u64> {
    let mut storages = BTreeMap::new();
    for node in value.sorted_nodes() {
        let (storage, _) = node.storage_and_layout();
        match &*storage {
            Storage::Cpu(CpuStorage::F64(numbers)) => {
                storages.insert(numbers.as_ptr().addr(), (numbers.capacity() * size_of::<f64>()) as u64);
            }
            _ => candle_core::bail!("a hypergradient is computed in doubles on the CPU"),
        }
    }
    Ok(storages.values().sum())
}
