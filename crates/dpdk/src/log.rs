//! DPDK's log, kept from the user and put into error sentences instead.
//!
//! Promises: while [`capture`] runs, nothing that DPDK or its drivers log or print on this thread reaches the terminal.
//! Does not know: Rust's own standard error, which stays as it is; other threads, whose log goes there.

use std::ffi::CStr;
use weir_dpdk_sys as sys;

/// Does `work` and returns with its result what DPDK said meanwhile on this thread. Must not be nested.
pub(crate) fn capture<T>(work: impl FnOnce() -> T) -> (T, String) {
    // SAFETY: `end` follows on this thread.
    unsafe { sys::shim_log_begin() };
    let result = work();
    // SAFETY: `begin` came before.
    let text = unsafe { sys::shim_log_end() };
    if text.is_null() {
        return (result, String::new());
    }
    // SAFETY: `end` returns a string with its terminator, which is ours until freed.
    let said = unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: from `end`, freed once, not used again.
    unsafe { sys::shim_log_free(text) };
    (result, said)
}
