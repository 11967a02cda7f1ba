//! Compiles the kernels as C++ for the CPU.

fn main() {
    println!("cargo:rerun-if-changed=../kernels");
    println!("cargo:rerun-if-changed=src/emulate.cpp");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).debug(false).file("src/emulate.cpp");
    // Fibers leave their stacks by longjmp, which fortified libraries refuse; pragmas are the other compiler's.
    build.flag("-U_FORTIFY_SOURCE").flag("-Wno-unknown-pragmas").flag("-Wno-unused-function").flag("-ffp-contract=off");
    build.compile("trainyard_emulate");
}
