//! A card: its memory, its streams, and the kernels that are loaded.

use std::collections::HashMap;
use std::ffi::CString;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};

use super::graph::GraphProgram;
use super::{Card, Compiler};
use crate::driver::{Driver, Launch, Memory, Program, Queue};
use crate::sources::{ENTRY, Instance, instances};
use crate::{GpuError, Precision, Result};

/// The functions that are loaded.
type Loaded = HashMap<Instance, usize>;

/// The context of a card in this process. It is never released: it lives as long as the process does, as its driver's state does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context(sys::CUcontext);

// SAFETY: a context may be used from any thread that makes it its current one, which every function here does first.
#[allow(unsafe_code)]
unsafe impl Send for Context {}
// SAFETY: see above.
#[allow(unsafe_code)]
unsafe impl Sync for Context {}

#[allow(unsafe_code)]
impl Context {
    /// Makes it the calling thread's.
    pub(super) fn enter(self) -> Result<()> {
        // SAFETY: it was retained and is never released.
        unsafe { result::ctx::set_current(self.0) }.map_err(|error| failed("cuCtxSetCurrent", error))
    }
}

/// The error of a call that prepares something: the card is as it was.
pub(super) fn refused(what: &str, error: DriverError) -> GpuError {
    match failed(what, error) {
        GpuError::Device(reason) => GpuError::Refused(reason),
        other => other,
    }
}

/// The error of a call that lets the card work, or of work before it.
pub(super) fn failed(what: &str, error: DriverError) -> GpuError {
    let reason = error.error_string().ok().map_or_else(|| format!("{:?}", error.0), |reason| reason.to_string_lossy().into_owned());
    GpuError::Device(format!("{what}: {reason}"))
}

/// What goes wrong before a card is used.
fn unavailable(what: &'static str) -> impl Fn(DriverError) -> GpuError {
    move |error| GpuError::Unavailable(format!("no GPU that the NVIDIA driver lets this process use: {}", failed(what, error)))
}

/// As NVML writes it.
fn uuid(uuid: sys::CUuuid) -> String {
    let mut text = "GPU-".to_owned();
    for (i, byte) in uuid.bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{:02x}", *byte as u8);
    }
    text
}

/// The number of cards, at least one.
pub(super) fn count() -> Result<i32> {
    result::init().map_err(unavailable("cuInit"))?;
    match result::device::get_count().map_err(unavailable("cuDeviceGetCount"))? {
        0 => Err(GpuError::Unavailable("no GPU that the NVIDIA driver knows".to_owned())),
        count => Ok(count),
    }
}

/// A card that is open.
#[derive(Debug)]
pub struct CudaDevice {
    context: Context,
    card: Card,
    compiler: Compiler,
    loaded: Mutex<Loaded>,
}

#[allow(unsafe_code)]
impl CudaDevice {
    pub(super) fn open(ordinal: i32, compiler: Compiler, wanted: Precision) -> Result<Arc<Self>> {
        let device = result::device::get(ordinal).map_err(unavailable("cuDeviceGet"))?;
        // SAFETY: the device is one of the driver's.
        let attribute =
            |attribute| unsafe { result::device::get_attribute(device, attribute) }.map_err(unavailable("cuDeviceGetAttribute"));
        let mut driver = 0;
        // SAFETY: writes one integer.
        unsafe { sys::cuDriverGetVersion(&raw mut driver) }.result().map_err(unavailable("cuDriverGetVersion"))?;
        let capability = (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        let card = Card {
            name: result::device::get_name(device).map_err(unavailable("cuDeviceGetName"))?,
            uuid: uuid(result::device::get_uuid(device).map_err(unavailable("cuDeviceGetUuid"))?),
            capability,
            // SAFETY: the device is one of the driver's.
            memory: unsafe { result::device::total_mem(device) }.map_err(unavailable("cuDeviceTotalMem"))?,
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            clock_khz: attribute(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?,
            l2_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?,
            memory_bus: (
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?,
            ),
            driver,
            compiler: compiler.version(),
            precision: wanted.on(capability),
        };
        // SAFETY: the device is one of the driver's.
        let context = Context(unsafe { result::primary_ctx::retain(device) }.map_err(unavailable("cuDevicePrimaryCtxRetain"))?);
        context.enter()?;
        Ok(Arc::new(Self { context, card, compiler, loaded: Mutex::default() }))
    }

    /// What it is.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Loads the kernels of launches that are not loaded yet.
    fn load(&self, launches: &[Launch], loaded: &mut Loaded) -> Result<()> {
        let mut instances = instances(launches);
        instances.retain(|instance| !loaded.contains_key(instance));
        if instances.is_empty() {
            return Ok(());
        }
        let capability = self.card.capability.0 * 10 + self.card.capability.1;
        let entry = CString::new(ENTRY).map_err(|error| GpuError::Compile(error.to_string()))?;
        for (instance, image) in instances.iter().zip(self.compiler.compile_all(&instances, capability)?) {
            // SAFETY: the image is a whole one of the compiler's, or damaged, which the driver finds.
            let module = match unsafe { result::module::load_data(image.bytes.as_ptr().cast()) } {
                Err(_) if image.cached => {
                    self.compiler.forget();
                    let image = self.compiler.compile(instance, capability)?;
                    // SAFETY: as above.
                    unsafe { result::module::load_data(image.bytes.as_ptr().cast()) }
                }
                loaded => loaded,
            };
            let module = module.map_err(|error| refused("cuModuleLoadData", error))?;
            // SAFETY: the module is loaded and never unloaded: programs refer to its function, and runs of one shape use it again.
            let function = unsafe { result::module::get_function(module, entry.clone()) };
            let function = function.map_err(|error| refused("cuModuleGetFunction", error))?;
            loaded.insert(instance.clone(), function as usize);
        }
        Ok(())
    }
}

#[allow(unsafe_code)]
impl Driver for CudaDevice {
    fn name(&self) -> String {
        self.card.name.clone()
    }

    fn precision(&self) -> Precision {
        self.card.precision
    }

    fn allocate(&self, bytes: usize) -> Result<Arc<dyn Memory>> {
        self.context.enter()?;
        // SAFETY: the memory is of any content, and freed once.
        match unsafe { result::malloc_sync(bytes) } {
            Ok(address) => Ok(Arc::new(Piece { context: self.context, address, bytes })),
            Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => Err(GpuError::Memory { bytes }),
            Err(error) => Err(refused("cuMemAlloc", error)),
        }
    }

    fn queue(&self) -> Result<Box<dyn Queue>> {
        self.context.enter()?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(|error| refused("cuStreamCreate", error))?;
        Ok(Box::new(Stream { context: self.context, stream }))
    }

    fn program(&self, launches: &[Launch], memory: &[Arc<dyn Memory>]) -> Result<Box<dyn Program>> {
        self.context.enter()?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        self.load(launches, &mut loaded)?;
        let function = |launch: &Launch| match loaded.get(&Instance { kernel: launch.kernel.clone(), threads: launch.threads }) {
            Some(function) => *function as sys::CUfunction,
            None => std::ptr::null_mut(),
        };
        Ok(Box::new(GraphProgram::new(self.context, launches, function, memory)?))
    }
}

/// Memory of the card.
#[derive(Debug)]
struct Piece {
    context: Context,
    address: sys::CUdeviceptr,
    bytes: usize,
}

impl Memory for Piece {
    fn address(&self) -> u64 {
        self.address
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

#[allow(unsafe_code)]
impl Drop for Piece {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: allocated here and freed once, after every program that keeps it is gone; the call waits for work that is under
            // way. Where the card is lost there is nothing to be freed, and nothing to be done about it.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

/// A stream.
#[derive(Debug)]
struct Stream {
    context: Context,
    stream: sys::CUstream,
}

// SAFETY: a stream may be used from any thread that has its context, one at a time, as `&mut` sees to.
#[allow(unsafe_code)]
unsafe impl Send for Stream {}

fn range(memory: &dyn Memory, offset: usize, len: usize) -> Result<u64> {
    match offset.checked_add(len) {
        Some(end) if end <= memory.bytes() => Ok(memory.address() + offset as u64),
        _ => Err(GpuError::Input(format!("{len} bytes at {offset} of {}", memory.bytes()))),
    }
}

#[allow(unsafe_code)]
impl Queue for Stream {
    fn upload(&mut self, to: &dyn Memory, offset: usize, bytes: &[u8]) -> Result<()> {
        let address = range(to, offset, bytes.len())?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.context.enter()?;
        // SAFETY: the range lies within the memory. The bytes lie in pageable memory, which the driver has copied when this returns.
        unsafe { result::memcpy_htod_async(address, bytes, self.stream) }.map_err(|error| failed("cuMemcpyHtoD", error))
    }

    fn download(&mut self, from: &dyn Memory, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let address = range(from, offset, bytes.len())?;
        if bytes.is_empty() {
            return self.wait();
        }
        self.context.enter()?;
        // SAFETY: the range lies within the memory, and the bytes are borrowed until the stream has been waited for.
        let copied = unsafe { result::memcpy_dtoh_async(bytes, address, self.stream) };
        let waited = self.wait();
        copied.map_err(|error| failed("cuMemcpyDtoH", error)).and(waited)
    }

    fn run(&mut self, program: &dyn Program, times: usize) -> Result<()> {
        let Some(program) = program.as_any().downcast_ref::<GraphProgram>() else {
            return Err(GpuError::Input("a program of another device".to_owned()));
        };
        self.context.enter()?;
        (0..times).try_for_each(|_| program.launch(self.stream))
    }

    fn wait(&mut self) -> Result<()> {
        self.context.enter()?;
        // SAFETY: the stream is this queue's own.
        unsafe { result::stream::synchronize(self.stream) }.map_err(|error| failed("cuStreamSynchronize", error))
    }
}

#[allow(unsafe_code)]
impl Drop for Stream {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: created here and destroyed once; what is under way is waited for, so that no memory goes before it.
            unsafe {
                let _ = result::stream::synchronize(self.stream);
                let _ = result::stream::destroy(self.stream);
            }
        }
    }
}
