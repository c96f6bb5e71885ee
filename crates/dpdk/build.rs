//! Hands the link arguments of libdpdk on to this crate's tests.
//!
//! Promises: what `weir-dpdk-sys` found out reaches the linker of every test here; `build.rs` of the root package does
//! the same for the binary. Does not know: what the arguments mean.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in std::env::var("DEP_DPDK_LINK_ARGUMENTS")
        .unwrap_or_default()
        .split_whitespace()
    {
        println!("cargo::rustc-link-arg={argument}");
    }
}
