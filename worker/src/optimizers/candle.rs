//! Candle's optimizer trait over one flat variable.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, Var, bail};

use super::{Optimizer, OptimizerConfig, OptimizerState, StateError};

/// An [`Optimizer`] that updates a network's one flat f32 variable through [`candle_nn::Optimizer`]: in place on the CPU, elsewhere on
/// copies.
pub struct VarOptimizer {
    var: Var,
    optimizer: Box<dyn Optimizer<f32>>,
    learning_rate: f64,
}

/// What [`VarOptimizer`] is made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VarOptimizerConfig {
    /// The rule and its constants.
    pub optimizer: OptimizerConfig,
    /// The first learning rate; `set_learning_rate` changes it.
    pub learning_rate: f64,
}

impl VarOptimizer {
    /// All that later steps depend on beside the variable and the learning rate.
    #[must_use]
    pub fn state(&self) -> OptimizerState<f32> {
        self.optimizer.state()
    }

    /// Puts a state back that [`VarOptimizer::state`] returned.
    ///
    /// # Errors
    /// [`StateError`] where it does not fit.
    pub fn load_state(&mut self, state: &OptimizerState<f32>) -> std::result::Result<(), StateError> {
        self.optimizer.load_state(state)
    }

    fn step_on_copies(&mut self, gradient: &Tensor) -> Result<()> {
        let gradient = gradient.to_vec1::<f32>()?;
        let mut weights = self.var.to_vec1::<f32>()?;
        self.optimizer.step(&mut weights, &gradient, self.learning_rate as f32);
        let len = weights.len();
        self.var.set(&Tensor::from_vec(weights, len, self.var.device())?)
    }
}

impl candle_nn::Optimizer for VarOptimizer {
    type Config = VarOptimizerConfig;

    /// # Errors
    /// Where `vars` is not exactly one f32 vector.
    fn new(vars: Vec<Var>, config: Self::Config) -> Result<Self> {
        let [var] = <[Var; 1]>::try_from(vars)
            .map_err(|vars| candle_core::Error::Msg(format!("{} variables given, not one flat one", vars.len())))?;
        if var.dtype() != DType::F32 || var.rank() != 1 {
            bail!("the flat variable is {:?} {:?}, not an f32 vector", var.dtype(), var.dims());
        }
        let optimizer = config.optimizer.build(var.elem_count());
        Ok(Self { var, optimizer, learning_rate: config.learning_rate })
    }

    /// # Errors
    /// Where the store holds no gradient of the variable.
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        let Some(gradient) = grads.get(&self.var) else {
            bail!("backward left no gradient for the flat variable");
        };
        if !self.var.device().is_cpu() {
            return self.step_on_copies(gradient);
        }
        let step = Step { optimizer: Mutex::new(self.optimizer.as_mut()), learning_rate: self.learning_rate as f32 };
        self.var.inplace_op2(&gradient.contiguous()?, &step)
    }

    fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
    }
}

/// One step on the variable's own memory.
struct Step<'a> {
    /// Candle hands operations out shared; this one is applied once.
    optimizer: Mutex<&'a mut dyn Optimizer<f32>>,
    learning_rate: f32,
}

fn contiguous(layout: &Layout) -> Result<Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("an optimizer's operands are strided"),
    }
}

impl InplaceOp2 for Step<'_> {
    fn name(&self) -> &'static str {
        "optimizer_step"
    }

    fn cpu_fwd(&self, weights: &mut CpuStorage, of_weights: &Layout, gradient: &CpuStorage, of_gradient: &Layout) -> Result<()> {
        let (CpuStorage::F32(weights), CpuStorage::F32(gradient)) = (weights, gradient) else {
            bail!("{}: weights and gradient are not both f32", self.name());
        };
        let mut optimizer = self.optimizer.lock().unwrap_or_else(PoisonError::into_inner);
        optimizer.step(&mut weights[contiguous(of_weights)?], &gradient[contiguous(of_gradient)?], self.learning_rate);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use candle_nn::Optimizer as _;

    use super::*;

    fn config() -> VarOptimizerConfig {
        VarOptimizerConfig { optimizer: OptimizerConfig::GradientDescent { weight_decay: 0.0 }, learning_rate: 0.25 }
    }

    #[test]
    fn a_step_moves_the_variable_against_its_gradient() {
        let var = Var::new(&[1f32, -2.0], &Device::Cpu).unwrap();
        let mut optimizer = VarOptimizer::new(vec![var.clone()], config()).unwrap();
        optimizer.backward_step(&var.sqr().unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(var.to_vec1::<f32>().unwrap(), [0.5, -1.0]);
    }

    #[test]
    fn a_step_in_place_and_one_on_copies_come_to_the_same_bits_also_for_a_strided_gradient() {
        let start = [0.5f32, -2.0, 3.0];
        let gradient =
            Tensor::new(&[[1f32, 9.0], [-0.3, 9.0], [0.7, 9.0]], &Device::Cpu).unwrap().narrow(1, 0, 1).unwrap().squeeze(1).unwrap();
        assert!(!gradient.is_contiguous());
        let adam = OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        let config = VarOptimizerConfig { optimizer: adam, learning_rate: 0.1 };
        let vars = [start, start].map(|values| Var::new(&values, &Device::Cpu).unwrap());
        let [mut in_place, mut copying] = vars.clone().map(|var| VarOptimizer::new(vec![var], config).unwrap());
        for _ in 0..3 {
            let mut grads = (vars[0].as_tensor() * 0.0).unwrap().sum_all().unwrap().backward().unwrap();
            grads.insert(&vars[0], gradient.clone());
            in_place.step(&grads).unwrap();
            copying.step_on_copies(&gradient).unwrap();
        }
        let [left, right] = vars.map(|var| var.to_vec1::<f32>().unwrap());
        assert_eq!(left, right);
        assert_ne!(left, start);
    }

    #[test]
    fn anything_but_one_flat_f32_variable_is_refused() {
        let matrix = Var::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
        let doubles = Var::zeros(2, DType::F64, &Device::Cpu).unwrap();
        assert!(VarOptimizer::new(vec![], config()).is_err());
        assert!(VarOptimizer::new(vec![matrix], config()).is_err());
        assert!(VarOptimizer::new(vec![doubles], config()).is_err());
    }
}
