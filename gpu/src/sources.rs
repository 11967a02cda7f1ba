//! The kernels' sources, and what makes of them the functions for the shapes at hand.

use std::fmt::Write as _;

use crate::driver::{Kernel, Launch};

/// All sources, in the order that they need one another.
pub const SOURCES: [(&str, &str); 9] = [
    ("prelude.cu", include_str!("../kernels/prelude.cu")),
    ("convolution.cu", include_str!("../kernels/convolution.cu")),
    ("statistics.cu", include_str!("../kernels/statistics.cu")),
    ("epilogue.cu", include_str!("../kernels/epilogue.cu")),
    ("score.cu", include_str!("../kernels/score.cu")),
    ("convolve.cu", include_str!("../kernels/convolve.cu")),
    ("correlate.cu", include_str!("../kernels/correlate.cu")),
    ("update.cu", include_str!("../kernels/update.cu")),
    ("regression.cu", include_str!("../kernels/regression.cu")),
];

/// A kernel to compile: with its name in the module, and the threads of its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// What is compiled.
    pub kernel: Kernel,
    /// Threads of its blocks: the compiler shares the registers out among them.
    pub threads: u32,
    /// `extern "C"` name.
    pub name: String,
}

/// The kernels of launches, each once.
#[must_use]
pub fn instances<'a>(launches: impl IntoIterator<Item = &'a Launch>) -> Vec<Instance> {
    let mut instances: Vec<Instance> = Vec::new();
    for launch in launches {
        if !instances.iter().any(|known| known.kernel == launch.kernel && known.threads == launch.threads) {
            let name = format!("{}_{}", launch.kernel.function(), instances.len());
            instances.push(Instance { kernel: launch.kernel.clone(), threads: launch.threads, name });
        }
    }
    instances
}

/// One translation unit with all instances. Shapes become types whose members are constants.
#[must_use]
pub fn translation_unit(instances: &[Instance]) -> String {
    let mut unit = String::new();
    for (name, source) in SOURCES {
        let _ = writeln!(unit, "#line 1 \"{name}\"\n{source}");
    }
    let _ = writeln!(unit, "#line 1 \"instances\"");
    for Instance { kernel, threads, name } in instances {
        let members = match kernel {
            Kernel::Convolve(shape) => Some((shape.members(), convolve_bounds(shape))),
            Kernel::Correlate(shape) => Some((shape.members(), correlate_bounds(shape))),
            _ => None,
        };
        if let Some((members, bounds)) = &members {
            let all = members.iter().map(|(name, value)| (*name, *value)).chain(bounds.iter().copied());
            let list: Vec<String> = all.map(|(name, value)| format!("{name} = {value}")).collect();
            let _ = writeln!(unit, "struct S_{name} {{ static constexpr int {}; }};", list.join(", "));
        }
        let (arguments, shared) = match kernel {
            Kernel::Convolve(_) => ("ConvolveArguments", true),
            Kernel::Correlate(_) => ("CorrelateArguments", true),
            Kernel::Pack => ("PackArguments", false),
            Kernel::EvaluationCoefficients => ("EvaluationArguments", false),
            Kernel::Finish => ("FinishArguments", true),
            Kernel::Residual | Kernel::Slope => ("RegressionArguments", true),
        };
        let shape = if members.is_some() { format!("S_{name}(), ") } else { String::new() };
        let (declared, passed) = if shared { ("SHARED; ", ", shared") } else { ("", "") };
        let function = kernel.function();
        let _ = writeln!(
            unit,
            "extern \"C\" __global__ void __launch_bounds__({threads}) {name}(const __grid_constant__ {arguments} a) \
             {{ {declared}{function}({shape}a{passed}); }}"
        );
    }
    unit
}

/// Lengths of arrays in registers.
fn convolve_bounds(s: &crate::shapes::ConvolveShape) -> Vec<(&'static str, i32)> {
    vec![("TAPS", s.taps.max(1)), ("WINDOW", 3 * s.si + s.taps.max(1)), ("RY", s.ry)]
}

fn correlate_bounds(s: &crate::shapes::CorrelateShape) -> Vec<(&'static str, i32)> {
    vec![("TA", s.ta), ("TB", s.tb), ("T", s.t), ("WINDOW", 3 * s.stride + s.t)]
}
