//! Hands the link arguments of libdpdk on to the benchmark.
//!
//! Promises: what `weir-dpdk-sys` found out (`DEP_DPDK_LINK_ARGUMENTS`) reaches the linker. It must be this script,
//! because link arguments printed by a dependency's script stop at that dependency.
//! Does not know: what the arguments mean.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in std::env::var("DEP_DPDK_LINK_ARGUMENTS")
        .unwrap_or_default()
        .split_whitespace()
    {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
