//! Where NVIDIA's libraries are. Cudarc panics where one is missing, so they are looked for first.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::{GpuError, Result};

/// Names NVRTC's library for those who have it in a place of their own.
const NVRTC_VARIABLE: &str = "TRAINYARD_NVRTC";

/// The driver, which the machine's owner installs.
pub(super) fn driver() -> Result<()> {
    if driver_is_present() {
        return Ok(());
    }
    Err(GpuError::Unavailable("no NVIDIA driver: libcuda.so is not found".to_owned()))
}

/// The compiler, which comes with CUDA or with the Python wheel `nvidia-cuda-nvrtc`.
pub(super) fn compiler() -> Result<()> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| places().into_iter().find(|path| preload_compiler(path)));
    if compiler_is_present() {
        return Ok(());
    }
    Err(GpuError::Unavailable(format!(
        "no NVRTC to compile the GPU's kernels with: libnvrtc.so of CUDA 12 or 13 is not found; install it or `pip install \
         nvidia-cuda-nvrtc`, or name the library in {NVRTC_VARIABLE}"
    )))
}

#[cfg(not(feature = "linked"))]
#[allow(unsafe_code)]
fn driver_is_present() -> bool {
    // SAFETY: opening a library runs its initializers; NVIDIA's driver has no others than any program that uses it runs.
    unsafe { cudarc::driver::sys::is_culib_present() }
}

#[cfg(not(feature = "linked"))]
#[allow(unsafe_code)]
fn compiler_is_present() -> bool {
    // SAFETY: as above, for NVIDIA's compiler.
    unsafe { cudarc::nvrtc::sys::is_culib_present() }
}

#[cfg(feature = "linked")]
fn driver_is_present() -> bool {
    true
}

#[cfg(feature = "linked")]
fn compiler_is_present() -> bool {
    true
}

/// Opens NVRTC and the library of built-in code beside it, which some of its builds find only where the loader looks.
fn preload_compiler(path: &Path) -> bool {
    let beside = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    for entry in beside.into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("libnvrtc-builtins.so") {
            preload(&entry.path());
        }
    }
    preload(path)
}

/// Opens a library for the whole process and for good: whoever asks for it by its name gets this one.
fn preload(path: &Path) -> bool {
    // SAFETY: as above.
    #[allow(unsafe_code)]
    let opened = unsafe { libloading::Library::new(path) };
    match opened {
        Ok(library) => {
            std::mem::forget(library);
            true
        }
        Err(_) => false,
    }
}

/// Places beside those that the loader knows, the likeliest first.
fn places() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    let mut places: Vec<PathBuf> = variable(NVRTC_VARIABLE).into_iter().collect();
    let mut folders: Vec<PathBuf> = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable).map(|home| home.join("lib64")).collect();
    folders.push("/usr/local/cuda/lib64".into());
    folders.extend(wheels(variable("VIRTUAL_ENV")));
    for folder in folders {
        places.extend(["libnvrtc.so.13", "libnvrtc.so.12"].map(|name| folder.join(name)).into_iter().filter(|path| path.exists()));
    }
    places
}

/// The folders of the wheels in a Python environment.
fn wheels(environment: Option<PathBuf>) -> Vec<PathBuf> {
    let Some(versions) = environment.and_then(|environment| std::fs::read_dir(environment.join("lib")).ok()) else { return Vec::new() };
    let packages = versions.flatten().map(|version| version.path().join("site-packages/nvidia"));
    packages.flat_map(|nvidia| ["cu13/lib", "cuda_nvrtc/lib"].map(|folder| nvidia.join(folder))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_an_error_that_says_so_and_never_a_panic() {
        for (found, word) in [(driver(), "libcuda"), (compiler(), "libnvrtc")] {
            if let Err(error) = found {
                assert!(error.to_string().contains(word), "{error}");
            }
        }
    }

    #[test]
    fn the_wheels_of_a_python_environment_are_found() {
        let environment = tempfile::tempdir().unwrap();
        let lib = environment.path().join("lib/python3.11/site-packages/nvidia/cu13/lib");
        std::fs::create_dir_all(&lib).unwrap();
        assert!(wheels(Some(environment.path().to_owned())).contains(&lib));
        assert!(wheels(None).is_empty());
    }
}
