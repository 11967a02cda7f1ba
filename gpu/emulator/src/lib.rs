//! A device that runs Trainyard's kernels on the CPU, for tests.
//!
//! The kernels are the sources that run on a card, compiled as C++; threads of a block are fibers (`emulate.cpp`). Memory is full of NaN
//! when it is given out and has guards at both ends, which are checked after each launch. [`Emulator::shuffled`] runs launches, blocks
//! and threads in another order, within what programs and barriers promise: all results must be the same bits.

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use trainyard_gpu::driver::{Driver, Launch, Memory, Program, Queue};
use trainyard_gpu::{GpuError, Result};

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
    ) -> *const c_char;
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
                launch(&program.launches[index], program.seed)?;
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
fn launch(launch: &Launch, seed: u64) -> Result<()> {
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
        )
    };
    if wrong.is_null() {
        return Ok(());
    }
    // SAFETY: a string literal.
    let reason = unsafe { CStr::from_ptr(wrong) }.to_string_lossy();
    Err(GpuError::Device(format!("{:?}: {reason}", launch.kernel)))
}
