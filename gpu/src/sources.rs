//! The kernels' sources, and what makes of them the functions for the shapes at hand.

use std::fmt::Write as _;

use crate::driver::{Kernel, Launch};

/// All sources, in the order that they need one another.
pub const SOURCES: [(&str, &str); 12] = [
    ("prelude.cu", include_str!("../kernels/prelude.cu")),
    ("tf32.cu", include_str!("../kernels/tf32.cu")),
    ("convolution.cu", include_str!("../kernels/convolution.cu")),
    ("statistics.cu", include_str!("../kernels/statistics.cu")),
    ("epilogue.cu", include_str!("../kernels/epilogue.cu")),
    ("score.cu", include_str!("../kernels/score.cu")),
    ("convolve_tf32.cu", include_str!("../kernels/convolve_tf32.cu")),
    ("convolve.cu", include_str!("../kernels/convolve.cu")),
    ("correlate.cu", include_str!("../kernels/correlate.cu")),
    ("correlate_tf32.cu", include_str!("../kernels/correlate_tf32.cu")),
    ("update.cu", include_str!("../kernels/update.cu")),
    ("regression.cu", include_str!("../kernels/regression.cu")),
];

/// The function's name in every module.
pub const ENTRY: &str = "entry";

/// A kernel to compile.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Instance {
    /// What is compiled.
    pub kernel: Kernel,
    /// Threads of its blocks: the compiler shares the registers out among them.
    pub threads: u32,
}

/// The kernels of launches, each once.
#[must_use]
pub fn instances<'a>(launches: impl IntoIterator<Item = &'a Launch>) -> Vec<Instance> {
    let mut instances: Vec<Instance> = Vec::new();
    for launch in launches {
        let instance = Instance { kernel: launch.kernel.clone(), threads: launch.threads };
        if !instances.contains(&instance) {
            instances.push(instance);
        }
    }
    instances
}

/// The translation unit of an instance. Its shape becomes a type whose members are constants.
#[must_use]
pub fn translation_unit(Instance { kernel, threads }: &Instance) -> String {
    let mut unit = String::new();
    for (name, source) in SOURCES {
        let _ = writeln!(unit, "#line 1 \"{name}\"\n{source}");
    }
    let constants = match kernel {
        Kernel::Convolve(shape) => [shape.members(), convolve_bounds(shape)].concat(),
        Kernel::Correlate(shape) => [shape.members(), correlate_bounds(shape)].concat(),
        _ => Vec::new(),
    };
    let shape = if constants.is_empty() { "" } else { "Shape(), " };
    if !constants.is_empty() {
        let list: Vec<String> = constants.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let _ = writeln!(unit, "struct Shape {{ static constexpr int {}; }};", list.join(", "));
    }
    let (arguments, shared) = match kernel {
        Kernel::Convolve(_) => ("ConvolveArguments", true),
        Kernel::Correlate(_) => ("CorrelateArguments", true),
        Kernel::Pack => ("PackArguments", false),
        Kernel::EvaluationCoefficients => ("EvaluationArguments", false),
        Kernel::Finish => ("FinishArguments", true),
        Kernel::Residual | Kernel::Slope => ("RegressionArguments", true),
    };
    let (declared, passed) = if shared { ("SHARED; ", ", shared") } else { ("", "") };
    let function = kernel.function();
    let _ = writeln!(
        unit,
        "extern \"C\" __global__ void __launch_bounds__({threads}) {ENTRY}(const __grid_constant__ {arguments} a) \
         {{ {declared}{function}({shape}a{passed}); }}"
    );
    unit
}

/// Lengths of arrays in registers.
fn convolve_bounds(s: &crate::shapes::ConvolveShape) -> Vec<(&'static str, i32)> {
    vec![("TAPS", s.taps.max(1)), ("WINDOW", 3 * s.si + s.taps.max(1)), ("RY", s.ry), ("WM", s.wm.max(1)), ("WN", s.wn.max(1))]
}

fn correlate_bounds(s: &crate::shapes::CorrelateShape) -> Vec<(&'static str, i32)> {
    vec![("TA", s.ta), ("TB", s.tb), ("T", s.t), ("WINDOW", 3 * s.stride + s.t), ("WM", s.wm.max(1)), ("WN", s.wn.max(1))]
}
