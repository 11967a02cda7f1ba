//! The shapes that kernels are specialized for: on the card constants of a type, in the emulator a structure.

/// A structure of `int`s that the sources know under the same names, in the same order.
macro_rules! shape {
    ($(#[$of_type:meta])* $name:ident { $($(#[$of_member:meta])* $member:ident),+ $(,)? }) => {
        $(#[$of_type])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[repr(C)]
        pub struct $name { $($(#[$of_member])* pub $member: i32),+ }

        impl $name {
            /// Names and values, in the order of the sources.
            #[must_use]
            pub fn members(&self) -> Vec<(&'static str, i32)> {
                vec![$((stringify!($member), self.$member)),+]
            }
        }
    };
}

shape! {
    /// A convolution; see `convolve.cu`.
    ConvolveShape {
        /// Input channels, those below `split` from the first operand.
        ci, split, mode0, mode1,
        /// Output channels.
        co,
        /// Sizes of the input and output maps.
        hi, wi, ho, wo,
        /// Steps of output and input rows.
        so, si,
        /// First input row and number of taps, by phase.
        lo0, lo1, n0, n1,
        /// The larger number of taps.
        taps,
        /// A block's part of the grid.
        tile_images, tile_rows, tile_cols, tiles_x, tiles_y,
        /// Input channels in shared memory at a time.
        chunk,
        /// Groups of channels and of pixels in a block, a thread each; rows of a group.
        cg, pg, ry,
        /// What becomes of the output.
        epilogue,
        /// Backward: channels of the activation whose gradient is complete; the rest goes elsewhere.
        out_split, accumulate,
        /// Tensor cores (`convolve_tf32.cu`), 0 without: tiles of a warp by pixels and by channels, rows of taps in shared memory at a time.
        wm, wn, tap_rows,
    }
}

shape! {
    /// A correlation; see `correlate.cu`.
    CorrelateShape {
        /// The smaller map.
        ca, split_a, mode_a0, mode_a1, ha, wa,
        /// The larger one.
        cb, split_b, mode_b0, mode_b1, hb, wb,
        stride, t, lo,
        /// The part of the smaller map in shared memory at a time.
        rows, columns,
        /// Channels of a block and of a thread.
        ba, bb, ta, tb,
        /// Tensor cores (`correlate_tf32.cu`), 0 without: tiles of a warp by channels of either map.
        wm, wn,
    }
}

/// Where the values of a map come from: `prelude.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    None,
    Plain,
    Images,
    Activation,
    Gradient,
    PooledGradient,
}

/// What becomes of a convolution's output: `convolution.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Epilogue {
    Forward,
    ForwardPooled,
    Backward,
    Last,
}
