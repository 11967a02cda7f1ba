//! A device that runs Trainyard's kernels on the CPU, for tests.
//!
//! The kernels are the sources that run on a card, compiled as C++; threads of a block are fibers (`emulate.cpp`). Memory is full of NaN
//! when it is given out and has guards at both ends, which are checked after each launch. [`Emulator::shuffled`] runs launches, blocks
//! and threads in another order, within what programs and barriers promise: all results must be the same bits. Where a card's tensor
//! cores multiply, so does the emulator, with each lane of a warp bringing what PTX says it holds.

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use trainyard_gpu::driver::{Driver, Launch, Memory, Program, Queue};
use trainyard_gpu::{GpuError, Precision, Result};

const GUARD: usize = 64;
const GUARD_BYTE: u8 = 0xa5;

#[allow(unsafe_code)]
unsafe extern "C" {
    fn trainyard_emulate(
        kernel: *const c_char,
        grid: *const u32,
        threads: u32,
        shared_bytes: usize,
        arguments: *const c_void,
        shape: *const i32,
        seed: u64,
        exact: bool,
    ) -> *const c_char;

    #[cfg(test)]
    fn trainyard_to_tf32(x: f32) -> f32;

    #[cfg(test)]
    fn trainyard_multiply_add(a: *const [f32; 4], b: *const [f32; 2], c: *mut [f32; 4]);
}

/// A piece of memory between guards. Kernels write to it through its address, as a card would, so it is never borrowed.
#[derive(Debug)]
struct Piece {
    words: *mut u64,
    bytes: usize,
}

// SAFETY: the pointer is the piece's own allocation, and all access to it is by copies under the device's lock.
#[allow(unsafe_code)]
unsafe impl Send for Piece {}
// SAFETY: see above.
#[allow(unsafe_code)]
unsafe impl Sync for Piece {}

#[allow(unsafe_code)]
impl Piece {
    fn words(bytes: usize) -> usize {
        bytes.div_ceil(8) + 2 * GUARD / 8
    }

    fn new(bytes: usize) -> Self {
        let words = Box::into_raw(vec![u64::MAX; Self::words(bytes)].into_boxed_slice()).cast::<u64>();
        // SAFETY: both guards lie within the allocation.
        unsafe {
            words.cast::<u8>().write_bytes(GUARD_BYTE, GUARD);
            words.cast::<u8>().add(GUARD + bytes).write_bytes(GUARD_BYTE, GUARD);
        }
        Self { words, bytes }
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: within the allocation.
        unsafe { self.words.cast::<u8>().add(GUARD) }
    }
}

#[allow(unsafe_code)]
impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: made by `new` from a box of that many words.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.words, Self::words(self.bytes))) });
    }
}

impl Memory for Piece {
    fn address(&self) -> u64 {
        self.start() as u64
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The device.
#[derive(Debug, Default)]
pub struct Emulator {
    seed: u64,
    precision: Precision,
    exact: bool,
    pieces: Mutex<Vec<Weak<Piece>>>,
    most_bytes: Option<usize>,
    fails_at: Option<u64>,
}

impl Emulator {
    /// With the usual order.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// With another order of launches, blocks and threads.
    #[must_use]
    pub fn shuffled(seed: u64) -> Arc<Self> {
        Arc::new(Self { seed, ..Self::default() })
    }

    /// With tensor cores for TF32, in the usual order (0) or another.
    #[must_use]
    pub fn tf32(seed: u64) -> Arc<Self> {
        Arc::new(Self { seed, precision: Precision::Tf32, ..Self::default() })
    }

    /// With tensor cores that take operands as they are, without rounding them: what comes out is FP32's, if all is in its place.
    #[must_use]
    pub fn exact_tf32() -> Arc<Self> {
        Arc::new(Self { precision: Precision::Tf32, exact: true, ..Self::default() })
    }

    /// With so much memory.
    #[must_use]
    pub fn with_memory(most_bytes: usize) -> Arc<Self> {
        Arc::new(Self { most_bytes: Some(most_bytes), ..Self::default() })
    }

    /// Stops working at the n-th run of a program (from 0), as a card that is lost.
    #[must_use]
    pub fn failing_at(run: u64) -> Arc<Self> {
        Arc::new(Self { fails_at: Some(run), ..Self::default() })
    }
}

impl Driver for Emulator {
    fn name(&self) -> String {
        "emulator".to_owned()
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn allocate(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.retain(|piece| piece.strong_count() > 0);
        if let Some(most) = self.most_bytes {
            let held: usize = pieces.iter().filter_map(Weak::upgrade).map(|piece| piece.bytes).sum();
            if held.saturating_add(bytes) > most {
                return Err(GpuError::Memory { bytes });
            }
        }
        let piece = Arc::new(Piece::new(bytes));
        pieces.push(Arc::downgrade(&piece));
        Ok(piece)
    }

    fn queue(&self) -> Result<Box<dyn Queue>> {
        Ok(Box::new(EmulatorQueue { runs: 0, fails_at: self.fails_at }))
    }

    fn program(&self, launches: &[Launch], memory: &[Arc<dyn Memory>]) -> Result<Box<dyn Program>> {
        Ok(Box::new(EmulatorProgram {
            order: order(launches, self.seed)?,
            launches: launches.to_vec(),
            memory: memory.to_vec(),
            seed: self.seed,
            exact: self.exact,
        }))
    }
}

/// An order that keeps to what each launch comes after: the last of those that may come where there is a seed, else the given one.
fn order(launches: &[Launch], seed: u64) -> Result<Vec<usize>> {
    let mut order: Vec<usize> = Vec::new();
    while order.len() < launches.len() {
        let ready = |&i: &usize| !order.contains(&i) && launches[i].after.iter().all(|before| order.contains(before));
        let next = if seed == 0 { (0..launches.len()).find(ready) } else { (0..launches.len()).rev().find(ready) };
        let Some(next) = next else { return Err(GpuError::Input("launches wait for each other".to_owned())) };
        order.push(next);
    }
    Ok(order)
}

#[derive(Debug)]
struct EmulatorProgram {
    launches: Vec<Launch>,
    order: Vec<usize>,
    memory: Vec<Arc<dyn Memory>>,
    seed: u64,
    exact: bool,
}

impl Program for EmulatorProgram {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[derive(Debug)]
struct EmulatorQueue {
    runs: u64,
    fails_at: Option<u64>,
}

fn check(memory: &dyn Memory, offset: usize, len: usize) -> Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= memory.bytes() => Ok(()),
        _ => Err(GpuError::Input(format!("{len} bytes at {offset} of {}", memory.bytes()))),
    }
}

#[allow(unsafe_code)]
impl Queue for EmulatorQueue {
    fn upload(&mut self, to: &dyn Memory, offset: usize, bytes: &[u8]) -> Result<()> {
        check(to, offset, bytes.len())?;
        // SAFETY: the range lies within the piece, whose bytes are never borrowed.
        unsafe { (to.address() as *mut u8).add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    fn download(&mut self, from: &dyn Memory, offset: usize, bytes: &mut [u8]) -> Result<()> {
        check(from, offset, bytes.len())?;
        // SAFETY: as above.
        unsafe { (from.address() as *const u8).add(offset).copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn run(&mut self, program: &dyn Program, times: usize) -> Result<()> {
        let Some(program) = program.as_any().downcast_ref::<EmulatorProgram>() else {
            return Err(GpuError::Input("a program of another device".to_owned()));
        };
        if self.fails_at.is_some_and(|at| self.runs >= at) {
            return Err(GpuError::Device("an illegal memory access was encountered".to_owned()));
        }
        self.runs += 1;
        for _ in 0..times {
            for &index in &program.order {
                launch(&program.launches[index], program.seed, program.exact)?;
                for memory in &program.memory {
                    // SAFETY: every memory of an emulator's program is a piece, with guards around its bytes.
                    let whole = unsafe {
                        let start = (memory.address() as *const u8).sub(GUARD);
                        let guard = |at: usize| std::slice::from_raw_parts(start.add(at), GUARD);
                        guard(0).iter().chain(guard(GUARD + memory.bytes())).all(|&byte| byte == GUARD_BYTE)
                    };
                    if !whole {
                        return Err(GpuError::Device(format!("{:?} writes outside of memory", program.launches[index].kernel)));
                    }
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        Ok(())
    }
}

#[allow(unsafe_code)]
fn launch(launch: &Launch, seed: u64, exact: bool) -> Result<()> {
    let kernel = CString::new(launch.kernel.function()).map_err(|error| GpuError::Input(error.to_string()))?;
    let shape = launch.kernel.shape();
    // SAFETY: the kernel's name, arguments and shape belong together, as this crate's launches are only made by trainyard-gpu; the
    // memory that the arguments point to is kept by the program. What a kernel does beside it, the guards show.
    let wrong = unsafe {
        trainyard_emulate(
            kernel.as_ptr(),
            launch.grid.as_ptr(),
            launch.threads,
            launch.shared as usize,
            launch.arguments.as_ptr().cast(),
            shape.as_ptr(),
            seed,
            exact,
        )
    };
    if wrong.is_null() {
        return Ok(());
    }
    // SAFETY: a string literal.
    let reason = unsafe { CStr::from_ptr(wrong) }.to_string_lossy();
    Err(GpuError::Device(format!("{:?}: {reason}", launch.kernel)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(unsafe_code)]
    fn to_tf32(x: f32) -> f32 {
        // SAFETY: a function of a number.
        unsafe { trainyard_to_tf32(x) }
    }

    #[test]
    fn a_number_is_rounded_to_the_nearest_of_ten_bits_and_ties_go_away_from_zero() {
        let (one, unit) = (1.0f32, 2.0f32.powi(-10));
        for (from, to) in [
            (one, one),
            (one + unit, one + unit),
            (one + 0.5 * unit, one + unit),
            (one + 1.5 * unit, one + 2.0 * unit),
            (one + 0.499 * unit, one),
            (2.0 - 0.25 * unit, 2.0),
            (0.0, 0.0),
            (f32::MAX, f32::INFINITY),
            (f32::INFINITY, f32::INFINITY),
        ] {
            assert_eq!((to_tf32(from), to_tf32(-from)), (to, -to), "{from}");
        }
        assert!(to_tf32(f32::NAN).is_nan() && to_tf32(-0.0).is_sign_negative());
        for bits in (0..0x7f00_0000u32).step_by(7_919) {
            let (x, rounded) = (f32::from_bits(bits), to_tf32(f32::from_bits(bits)));
            let half = f32::from_bits(bits & !0x1fff | 0x1000) - f32::from_bits(bits & !0x1fff);
            assert!(rounded.to_bits() & 0x1fff == 0 && (rounded - x).abs() <= half, "{x:e} {rounded:e}");
        }
    }

    /// Row and column of what a lane holds, as the PTX manual has it under "Matrix Fragments for mma.m16n8k8", `.tf32`.
    #[test]
    #[allow(unsafe_code)]
    fn a_warps_product_is_that_of_the_matrices_which_its_lanes_hold() {
        fn matrix<const ROWS: usize>(of: impl Fn(usize, usize) -> f32) -> [[f32; 8]; ROWS] {
            std::array::from_fn(|row| std::array::from_fn(|column| of(row, column)))
        }
        let a = matrix::<16>(|row, column| (row * 8 + column) as f32 - 60.0);
        let b = matrix::<8>(|row, column| ((row * 31 + column * 17) % 23) as f32 - 11.0);
        let c = matrix::<16>(|row, column| (row * 5 + column * 3) as f32);
        let accumulator = |lane: usize, i: usize| (lane / 4 + if i < 2 { 0 } else { 8 }, 2 * (lane % 4) + (i & 1));
        let of_a: [[f32; 4]; 32] = std::array::from_fn(|lane| {
            let (group, member) = (lane / 4, lane % 4);
            [a[group][member], a[group + 8][member], a[group][member + 4], a[group + 8][member + 4]]
        });
        let of_b: [[f32; 2]; 32] = std::array::from_fn(|lane| [b[lane % 4][lane / 4], b[lane % 4 + 4][lane / 4]]);
        let mut of_c: [[f32; 4]; 32] = std::array::from_fn(|lane| {
            std::array::from_fn(|i| {
                let (row, column) = accumulator(lane, i);
                c[row][column]
            })
        });
        // SAFETY: arrays of 32 lanes each.
        unsafe { trainyard_multiply_add(of_a.as_ptr(), of_b.as_ptr(), of_c.as_mut_ptr()) };
        for (lane, sums) in of_c.iter().enumerate() {
            for (i, sum) in sums.iter().enumerate() {
                let (row, column) = accumulator(lane, i);
                let expected = c[row][column] + (0..8).map(|k| a[row][k] * b[k][column]).sum::<f32>();
                assert_eq!(*sum, expected, "({row}, {column})");
            }
        }
    }
}
