//! The gradient of a convolution's weights, tap by tap: for each tap, sums over grid positions and images of inputs times
//! gradients of outputs.
//!
//! Two ways lead there. With images in the lanes ([`by_image`]) operands are read as they lie, and every sum is a vector, which
//! suits 32 registers and large caches. With output channels in the lanes ([`by_channel`]) the gradient is transposed first,
//! inputs are broadcast, and a sum is one number: a sixteenth of the memory, and half of what is read for each product, which
//! suits 16 registers and a second cache of half a megabyte.

pub mod by_channel;
pub mod by_image;
pub mod channel_vectors;
