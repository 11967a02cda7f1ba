//! The arguments of kernels, as the sources declare them.

/// A structure that is copied to the card byte by byte.
pub(crate) trait Plain: Copy {
    /// Its bytes. Padding must be none, or zero by construction.
    fn words(&self) -> Vec<u64>;
}

/// Implements [`Plain`] for structures of whole words without padding.
macro_rules! plain {
    ($($name:ty),+) => {$(
        impl Plain for $name {
            #[allow(unsafe_code)]
            fn words(&self) -> Vec<u64> {
                const { assert!(size_of::<$name>().is_multiple_of(8), "whole words") };
                let mut words = vec![0u64; size_of::<$name>() / 8];
                // SAFETY: both have that many bytes, and the structure consists of integers, floats and arrays of them
                // without padding, as its definition shows, so that every byte of it is initialized.
                unsafe { std::ptr::copy_nonoverlapping(std::ptr::from_ref(self).cast::<u8>(), words.as_mut_ptr().cast(), size_of::<$name>()) };
                words
            }
        }
    )+};
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Operand {
    pub(crate) values: u64,
    pub(crate) z: u64,
    pub(crate) coefficients: u64,
    pub(crate) argmax: u64,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Batch {
    pub(crate) cursor: u64,
    pub(crate) images: u64,
    pub(crate) stride: u32,
    pub(crate) count: u32,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct ConvolveArguments {
    pub(crate) input: [Operand; 2],
    pub(crate) batch: Batch,
    pub(crate) weights: [u64; 4],
    pub(crate) bias: u64,
    pub(crate) output: u64,
    pub(crate) output2: u64,
    pub(crate) argmax: u64,
    pub(crate) partials: u64,
    pub(crate) counter: u64,
    pub(crate) coefficients: u64,
    pub(crate) z: u64,
    pub(crate) norm_weight: u64,
    pub(crate) norm_bias: u64,
    pub(crate) running_mean: u64,
    pub(crate) running_var: u64,
    pub(crate) gradient_weight: u64,
    pub(crate) gradient_bias: u64,
    pub(crate) classes: u64,
    pub(crate) scores: u64,
    pub(crate) score_partials: u64,
    pub(crate) logits: u64,
    pub(crate) predictions: u64,
    pub(crate) copies: f32,
    pub(crate) training: u32,
    pub(crate) advance: u32,
    pub(crate) unused: u32,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct CorrelateArguments {
    pub(crate) a: [Operand; 2],
    pub(crate) b: [Operand; 2],
    pub(crate) batch: Batch,
    pub(crate) partials: u64,
    pub(crate) images_per_split: u32,
    pub(crate) unused: u32,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct PackSegment {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) length: u32,
    pub(crate) inputs: i32,
    pub(crate) outputs: i32,
    pub(crate) padded: i32,
    pub(crate) rows: i32,
    pub(crate) columns: i32,
    pub(crate) input_stride: i32,
    pub(crate) output_stride: i32,
    pub(crate) kernel: i32,
    pub(crate) row_first: [u8; 8],
    pub(crate) row_count: [u8; 8],
    pub(crate) column_first: [u8; 8],
    pub(crate) column_count: [u8; 8],
    pub(crate) unused: u32,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct PackArguments {
    pub(crate) segments: u64,
    pub(crate) parameters: u64,
    pub(crate) packed: u64,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct NormSegment {
    pub(crate) channels: u32,
    pub(crate) weight: u32,
    pub(crate) bias: u32,
    pub(crate) mean: u32,
    pub(crate) variance: u32,
    pub(crate) coefficients: u32,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct EvaluationArguments {
    pub(crate) segments: u64,
    pub(crate) parameters: u64,
    pub(crate) running: u64,
    pub(crate) coefficients: u64,
}

/// Kinds of a [`FinishSegment`].
pub(crate) const WEIGHT: u32 = 0;
pub(crate) const ZERO: u32 = 1;
pub(crate) const READY: u32 = 2;

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct FinishSegment {
    pub(crate) start: u32,
    pub(crate) length: u32,
    pub(crate) kind: u32,
    pub(crate) partials: u32,
    pub(crate) splits: u32,
    pub(crate) entries: u32,
    pub(crate) inner: i32,
    pub(crate) swapped: i32,
    pub(crate) cb: i32,
    pub(crate) t: i32,
    pub(crate) kernel: i32,
    pub(crate) count: i32,
    pub(crate) first: [u8; 8],
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct FinishArguments {
    pub(crate) segments: u64,
    pub(crate) partials: u64,
    pub(crate) gradient: u64,
    pub(crate) parameters: u64,
    pub(crate) slot0: u64,
    pub(crate) slot1: u64,
    pub(crate) rates: u64,
    pub(crate) cursor: u64,
    pub(crate) counter: u64,
    pub(crate) optimizer: u32,
    pub(crate) beta: f32,
    pub(crate) rest: f32,
    pub(crate) beta2: f32,
    pub(crate) rest2: f32,
    pub(crate) epsilon: f32,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct RegressionArguments {
    pub(crate) x: u64,
    pub(crate) targets: u64,
    pub(crate) weights: u64,
    pub(crate) residual: u64,
    pub(crate) squares: u64,
    pub(crate) partials: u64,
    pub(crate) gradient: u64,
    pub(crate) loss: u64,
    pub(crate) counter: u64,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) rows_per_block: u32,
    pub(crate) unused: u32,
    pub(crate) factor: f64,
}

plain!(
    ConvolveArguments,
    CorrelateArguments,
    PackSegment,
    PackArguments,
    NormSegment,
    EvaluationArguments,
    FinishSegment,
    FinishArguments,
    RegressionArguments
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_length_that_their_members_add_up_to() {
        assert_eq!(size_of::<ConvolveArguments>(), 8 * (8 + 2 + 1 + 4 + 19 + 2));
        assert_eq!(size_of::<CorrelateArguments>(), 8 * (16 + 3 + 1 + 1));
        assert_eq!(size_of::<PackSegment>(), 44 + 32 + 4);
        assert_eq!(size_of::<FinishSegment>(), 48 + 8);
        assert_eq!(size_of::<FinishArguments>(), 72 + 24);
        assert_eq!(size_of::<RegressionArguments>(), 72 + 16 + 8);
    }
}
