//! The fields of `rte_mbuf` that the fast path touches, as raw places.
//!
//! Promises: each function is an addition and nothing else; the offset is the one of the header compiled against.
//! Does not know: whether anybody else holds the mbuf. The caller does.

use crate::rte_mbuf;
use std::ffi::c_void;

macro_rules! field {
    ($(#[$doc:meta])* $name:ident: $type:ty, $offset:ident) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// `mbuf` points to an `rte_mbuf`.
        #[inline(always)]
        #[must_use]
        pub unsafe fn $name(mbuf: *mut rte_mbuf) -> *mut $type {
            // SAFETY: the offset is that of a field of this type inside `rte_mbuf` (checked by wrapper.h), so the
            // sum stays inside the struct that the caller vouches for.
            unsafe { mbuf.byte_add(crate::$offset).cast() }
        }
    };
}

field! {
    /// Where the buffer begins: headroom first, then the frame.
    buf_addr: *mut c_void, MBUF_OFFSET_buf_addr
}
field! {
    /// Bytes from the buffer's beginning to the frame's.
    data_off: u16, MBUF_OFFSET_data_off
}
field! {
    /// Holders of this mbuf; 1 while one owner has it.
    refcnt: u16, MBUF_OFFSET_refcnt
}
field! {
    /// Mbufs of which this frame consists.
    nb_segs: u16, MBUF_OFFSET_nb_segs
}
field! {
    /// What the NIC found out, or is asked to do.
    ol_flags: u64, MBUF_OFFSET_ol_flags
}
field! {
    /// Bytes of the frame, over all its mbufs.
    pkt_len: u32, MBUF_OFFSET_pkt_len
}
field! {
    /// Bytes of the frame in this mbuf.
    data_len: u16, MBUF_OFFSET_data_len
}
field! {
    /// Bytes of the buffer, headroom included.
    buf_len: u16, MBUF_OFFSET_buf_len
}
