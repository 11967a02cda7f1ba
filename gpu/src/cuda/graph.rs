//! A program as a CUDA graph: one launch of the host for all kernels of a step, which run beside each other where they may.

use std::any::Any;
use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::result;
use cudarc::driver::sys;

use super::device::{Context, failed, refused};
use crate::driver::{Launch, Memory, Program};
use crate::{GpuError, Result};

/// A graph that is ready to be launched.
#[derive(Debug)]
pub(super) struct GraphProgram {
    context: Context,
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
    /// What its kernels touch.
    _memory: Vec<Arc<dyn Memory>>,
}

// SAFETY: a graph may be used from any thread that has its context, one at a time. Launching takes it by reference, from the one queue
// that holds it.
#[allow(unsafe_code)]
unsafe impl Send for GraphProgram {}

#[allow(unsafe_code)]
impl GraphProgram {
    /// The context must be the calling thread's.
    pub(super) fn new(
        context: Context,
        launches: &[Launch],
        function: impl Fn(&Launch) -> sys::CUfunction,
        memory: &[Arc<dyn Memory>],
    ) -> Result<Self> {
        let mut program = Self { context, graph: std::ptr::null_mut(), executable: std::ptr::null_mut(), _memory: memory.to_vec() };
        // SAFETY: writes one handle.
        unsafe { sys::cuGraphCreate(&raw mut program.graph, 0) }.result().map_err(|error| refused("cuGraphCreate", error))?;
        let mut nodes: Vec<sys::CUgraphNode> = Vec::with_capacity(launches.len());
        for launch in launches {
            let after: Option<Vec<sys::CUgraphNode>> = launch.after.iter().map(|&before| nodes.get(before).copied()).collect();
            let after = after.ok_or_else(|| GpuError::Input("a launch waits for a later one".to_owned()))?;
            let mut arguments = launch.arguments.clone();
            let mut parameters: [*mut c_void; 1] = [arguments.as_mut_ptr().cast()];
            let node_parameters = sys::CUDA_KERNEL_NODE_PARAMS {
                func: function(launch),
                gridDimX: launch.grid[0],
                gridDimY: launch.grid[1],
                gridDimZ: launch.grid[2],
                blockDimX: launch.threads,
                blockDimY: 1,
                blockDimZ: 1,
                sharedMemBytes: launch.shared,
                kernelParams: parameters.as_mut_ptr(),
                extra: std::ptr::null_mut(),
                kern: std::ptr::null_mut(),
                ctx: std::ptr::null_mut(),
            };
            let mut node = std::ptr::null_mut();
            // SAFETY: the function is loaded, its one argument is a structure that the arguments hold whole, and the call copies it.
            // What the argument points to is kept by `_memory`.
            unsafe { sys::cuGraphAddKernelNode_v2(&raw mut node, program.graph, after.as_ptr(), after.len(), &raw const node_parameters) }
                .result()
                .map_err(|error| refused(&format!("cuGraphAddKernelNode of {}", launch.kernel.function()), error))?;
            nodes.push(node);
        }
        // SAFETY: the graph is whole, and writes one handle.
        unsafe { sys::cuGraphInstantiateWithFlags(&raw mut program.executable, program.graph, 0) }
            .result()
            .map_err(|error| refused("cuGraphInstantiate", error))?;
        Ok(program)
    }

    /// On a stream of the same context, which must be the calling thread's.
    pub(super) fn launch(&self, stream: sys::CUstream) -> Result<()> {
        // SAFETY: both are alive, and the graph's memory is.
        unsafe { result::graph::launch(self.executable, stream) }.map_err(|error| failed("cuGraphLaunch", error))
    }
}

impl Program for GraphProgram {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[allow(unsafe_code)]
impl Drop for GraphProgram {
    fn drop(&mut self) {
        if self.context.enter().is_err() {
            return;
        }
        // SAFETY: each was created here where it is not null, and is destroyed once. A launch that is under way holds the executable
        // itself; its memory waits for it when it is freed.
        unsafe {
            if !self.executable.is_null() {
                let _ = result::graph::exec_destroy(self.executable);
            }
            if !self.graph.is_null() {
                let _ = result::graph::destroy(self.graph);
            }
        }
    }
}
