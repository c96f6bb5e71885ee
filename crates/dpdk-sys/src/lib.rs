//! Bindings to libdpdk: what bindgen made of its headers, and a C shim for what exists only inline.
//!
//! Promises: declarations fit the libdpdk that `pkg-config` found, with its layout checked by tests; the fields of
//! an mbuf are reached by the offsets which that header gives them.
//! Does not know: who owns what. Everything here is as unsafe as the C it names; `weir-dpdk` makes it safe.

#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    dead_code,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "generated from C"
)]
mod declarations {
    include!(concat!(env!("OUT_DIR"), "/declarations.rs"));
}

pub mod mbuf;

pub use declarations::*;
