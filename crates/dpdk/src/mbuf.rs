//! One buffer with at most one frame in it.
//!
//! Promises: owned, in one piece, given back to its pool when dropped. Does not know: what the frame means.

use crate::queue::Burst;
use arrayvec::ArrayVec;
use std::ptr::NonNull;
use weir_dpdk_sys as sys;
use weir_dpdk_sys::mbuf as field;
use weir_wire::{Packet, PacketBuffer};

/// A buffer.
///
/// Ownership: the only owner of one `rte_mbuf` (one segment, one reference); dropping it gives it back to its pool.
/// It does not hold the pool: pools live as long as EAL, and EAL does not end before all buffers are back.
///
/// Invariant: a valid `rte_mbuf` of one segment and reference count 1, to which no other pointer is used.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: an mbuf belongs to nobody's thread; its pool takes it back from any.
unsafe impl Send for Mbuf {}
// SAFETY: shared access only reads.
unsafe impl Sync for Mbuf {}

/// A frame that is longer than the room behind the headroom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameTooLong;

impl Mbuf {
    /// # Safety
    /// `mbuf` is valid, has one segment and one reference, and belongs to the caller, who gives it up.
    #[inline]
    pub(crate) unsafe fn from_raw(mbuf: NonNull<sys::rte_mbuf>) -> Self {
        Self(mbuf)
    }

    /// The frame with the room around it, for reading and rewriting.
    #[inline]
    #[must_use]
    pub fn packet(&mut self) -> Packet<'_> {
        let mbuf = self.0.as_ptr();
        // SAFETY: by the invariant all four fields are ours while `self` is borrowed; the buffer is `buf_len` bytes of
        // mapped memory from `buf_addr`, apart from the struct that holds `data_off` and `data_len`.
        unsafe {
            let room = std::slice::from_raw_parts_mut(
                (*field::buf_addr(mbuf)).cast(),
                (*field::buf_len(mbuf)).into(),
            );
            Packet::new(
                room,
                &mut *field::data_off(mbuf),
                &mut *field::data_len(mbuf),
            )
        }
    }

    /// The frame's bytes.
    #[inline]
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        let mbuf = self.0.as_ptr();
        // SAFETY: as in `packet`; drivers and `Packet` keep `data_off + data_len` within `buf_len`.
        unsafe {
            let start = (*field::buf_addr(mbuf))
                .cast::<u8>()
                .add((*field::data_off(mbuf)).into());
            std::slice::from_raw_parts(start, (*field::data_len(mbuf)).into())
        }
    }

    /// Puts a copy of `frame` in, with [`crate::HEADROOM_BYTES`] before it, in place of what is there.
    #[inline]
    pub fn write(&mut self, frame: &[u8]) -> Result<(), FrameTooLong> {
        let mbuf = self.0.as_ptr();
        let len = u16::try_from(frame.len()).map_err(|_| FrameTooLong)?;
        // SAFETY: the field is ours and a number.
        let buf_len = unsafe { *field::buf_len(mbuf) };
        if len > buf_len.saturating_sub(crate::HEADROOM_BYTES) {
            return Err(FrameTooLong);
        }
        // SAFETY: the fields are ours; headroom and `len` lie within `buf_len`, checked above, and `frame` cannot
        // overlap a buffer that is borrowed mutably.
        unsafe {
            *field::data_off(mbuf) = crate::HEADROOM_BYTES;
            *field::data_len(mbuf) = len;
            let start = (*field::buf_addr(mbuf))
                .cast::<u8>()
                .add(crate::HEADROOM_BYTES.into());
            start.copy_from_nonoverlapping(frame.as_ptr(), frame.len());
        }
        Ok(())
    }

    /// Gives all of them back at once, which is cheaper than one by one.
    #[inline]
    pub fn free_burst(burst: &mut Burst) {
        Self::free_all(burst);
    }

    /// As [`Self::free_burst`], for any number.
    #[inline]
    pub fn free_all<const N: usize>(mbufs: &mut ArrayVec<Mbuf, N>) {
        let n_mbufs = mbufs.len();
        // SAFETY: `Mbuf` is a transparent pointer; the length goes to zero first, so each is freed once.
        unsafe {
            mbufs.set_len(0);
            sys::rte_pktmbuf_free_bulk(mbufs.as_mut_ptr().cast(), n_mbufs as u32);
        }
    }

    /// Whether it is one piece. Only what a driver has just handed over may be asked: an [`Mbuf`] always is.
    #[inline]
    pub(crate) fn is_one_segment(&self) -> bool {
        // SAFETY: the field is ours and a number.
        unsafe { *field::nb_segs(self.0.as_ptr()) == 1 }
    }

    /// `pkt_len` follows `data_len`, which is the only one that [`Packet`] moves; a driver reads both.
    #[inline]
    pub(crate) fn seal(&mut self) {
        let mbuf = self.0.as_ptr();
        // SAFETY: the fields are ours.
        unsafe { *field::pkt_len(mbuf) = (*field::data_len(mbuf)).into() }
    }
}

impl PacketBuffer for Mbuf {
    #[inline]
    fn packet(&mut self) -> Packet<'_> {
        Mbuf::packet(self)
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: we are the only owner.
        unsafe { sys::shim_pktmbuf_free(self.0.as_ptr()) }
    }
}

impl std::fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mbuf")
            .field("len_bytes", &self.frame().len())
            .finish_non_exhaustive()
    }
}
