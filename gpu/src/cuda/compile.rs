//! Sources to machine code for one kind of card, kept by the hash of all that it depends on.

use std::ffi::{CString, c_char, c_int};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use cudarc::nvrtc::sys;
use sha2::{Digest as _, Sha256};

use crate::sources::{Instance, translation_unit};
use crate::{GpuError, Result};

/// NVRTC with its cache.
#[derive(Debug)]
pub struct Compiler {
    cache: PathBuf,
    version: (i32, i32),
    architectures: Vec<i32>,
}

/// Compiled kernels: machine code, or PTX that the driver makes machine code of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// For `cuModuleLoadData`: PTX ends with a zero.
    pub bytes: Vec<u8>,
    /// From the cache, without compiling.
    pub cached: bool,
    /// What the compiler says of registers and shared memory, where it compiled machine code.
    pub log: String,
}

fn check(what: &str, result: sys::nvrtcResult) -> Result<()> {
    if result == sys::nvrtcResult::NVRTC_SUCCESS {
        return Ok(());
    }
    Err(GpuError::Compile(format!("{what}: {result:?}")))
}

#[allow(unsafe_code)]
impl Compiler {
    /// Call only where the library is known to be there.
    pub(super) fn new(cache: &Path) -> Result<Self> {
        let (mut major, mut minor, mut count) = (0, 0, 0);
        // SAFETY: the library is there, and each call writes one integer.
        unsafe {
            check("nvrtcVersion", sys::nvrtcVersion(&raw mut major, &raw mut minor))?;
            check("nvrtcGetNumSupportedArchs", sys::nvrtcGetNumSupportedArchs(&raw mut count))?;
        }
        let mut architectures = vec![0; usize::try_from(count).unwrap_or(0)];
        // SAFETY: the array has room for that many integers.
        check("nvrtcGetSupportedArchs", unsafe { sys::nvrtcGetSupportedArchs(architectures.as_mut_ptr()) })?;
        Ok(Self { cache: cache.to_owned(), version: (major, minor), architectures })
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// Compute capabilities that it compiles for, such as 90.
    #[must_use]
    pub fn architectures(&self) -> &[i32] {
        &self.architectures
    }

    /// Kernels for a compute capability, such as 90, on all cores: from the cache where it has them.
    ///
    /// # Errors
    /// Where the capability is older than any that the compiler knows, or a kernel does not compile.
    pub fn compile_all(&self, instances: &[Instance], capability: i32) -> Result<Vec<Image>> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(instances.len().max(1));
        let next = AtomicUsize::new(0);
        let worker = || {
            let mut own = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(instance) = instances.get(index) else { return own };
                own.push((index, self.compile(instance, capability)));
            }
        };
        let mut all: Vec<(usize, Result<Image>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
            let lost = || vec![(usize::MAX, Err(GpuError::Compile("the compiler's thread panicked".to_owned())))];
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
        });
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, image)| image).collect()
    }

    /// One kernel for a compute capability.
    ///
    /// # Errors
    /// As for [`Compiler::compile_all`].
    pub fn compile(&self, instance: &Instance, capability: i32) -> Result<Image> {
        // A card that is newer than the compiler gets PTX for the newest that it knows.
        let architecture = if self.architectures.contains(&capability) {
            format!("sm_{capability}")
        } else {
            let older = self.architectures.iter().filter(|known| **known < capability).max();
            format!(
                "compute_{}",
                older.ok_or_else(|| GpuError::Unavailable(format!("NVRTC {:?} knows no card of capability {capability}", self.version)))?
            )
        };
        let unit = translation_unit(instance);
        let mut hash = Sha256::new();
        hash.update(format!("{:?} {architecture}\n", self.version));
        hash.update(&unit);
        let name: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.cache.join(format!("{name}.bin"));
        if let Ok(bytes) = fs::read(&path)
            && !bytes.is_empty()
        {
            return Ok(Image { bytes, cached: true, log: String::new() });
        }
        let (bytes, log) = compile(&unit, &architecture)?;
        if let Err(error) = keep(&path, &bytes) {
            tracing::warn!(%error, path = %path.display(), "compiled kernels cannot be kept");
        }
        Ok(Image { bytes, cached: false, log })
    }

    /// Forgets what the cache has of these kernels, which the card refuses.
    pub(super) fn forget(&self) {
        if let Ok(entries) = fs::read_dir(&self.cache) {
            for entry in entries.flatten().filter(|entry| entry.path().extension().is_some_and(|extension| extension == "bin")) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Under its own name there is only ever a whole file.
fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// NVRTC's own program, destroyed in the end.
struct Program(sys::nvrtcProgram);

#[allow(unsafe_code)]
impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: created, and not destroyed before.
        unsafe { sys::nvrtcDestroyProgram(&raw mut self.0) };
    }
}

#[allow(unsafe_code)]
fn compile(unit: &str, architecture: &str) -> Result<(Vec<u8>, String)> {
    let text = |text: &str| CString::new(text).map_err(|error| GpuError::Compile(error.to_string()));
    let (source, name) = (text(unit)?, text("trainyard.cu")?);
    let options = [text(&format!("--gpu-architecture={architecture}"))?, text("--std=c++17")?, text("--ptxas-options=--verbose")?];
    let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
    let mut program = Program(std::ptr::null_mut());
    // SAFETY: both strings end with a zero and live longer than the program; there are no headers.
    let created =
        unsafe { sys::nvrtcCreateProgram(&raw mut program.0, source.as_ptr(), name.as_ptr(), 0, std::ptr::null(), std::ptr::null()) };
    check("nvrtcCreateProgram", created)?;
    // SAFETY: the options end with zeros and live through the call.
    let compiled = unsafe { sys::nvrtcCompileProgram(program.0, pointers.len() as c_int, pointers.as_ptr()) };
    if compiled != sys::nvrtcResult::NVRTC_SUCCESS {
        return Err(GpuError::Compile(log(&program)));
    }
    let mut bytes = Vec::new();
    // SAFETY: the program is compiled, for machine code or for PTX as the architecture says, and the buffer is as long as it is said.
    unsafe {
        let mut size = 0;
        if architecture.starts_with("sm_") {
            check("nvrtcGetCUBINSize", sys::nvrtcGetCUBINSize(program.0, &raw mut size))?;
            bytes.resize(size, 0u8);
            check("nvrtcGetCUBIN", sys::nvrtcGetCUBIN(program.0, bytes.as_mut_ptr().cast()))?;
        } else {
            check("nvrtcGetPTXSize", sys::nvrtcGetPTXSize(program.0, &raw mut size))?;
            bytes.resize(size, 0u8);
            check("nvrtcGetPTX", sys::nvrtcGetPTX(program.0, bytes.as_mut_ptr().cast()))?;
        }
    }
    Ok((bytes, log(&program)))
}

/// What the compiler says.
#[allow(unsafe_code)]
fn log(program: &Program) -> String {
    let mut size = 0;
    // SAFETY: the program is there, and the buffer is as long as it is said.
    unsafe {
        if sys::nvrtcGetProgramLogSize(program.0, &raw mut size) != sys::nvrtcResult::NVRTC_SUCCESS {
            return "no log".to_owned();
        }
        let mut bytes = vec![0u8; size];
        if sys::nvrtcGetProgramLog(program.0, bytes.as_mut_ptr().cast()) != sys::nvrtcResult::NVRTC_SUCCESS {
            return "no log".to_owned();
        }
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').trim().to_owned()
    }
}
