//! A slice of plain records in memory of its own, straight from the kernel.
//!
//! Promises: all records are zero at first and stay where they are; pages are of the kind asked for, or the
//! mapping fails with a sentence that says what is missing.
//! Does not know: what the records mean.

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use bytemuck::Zeroable;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

const HUGEPAGE_BYTES: usize = 2 << 20;

/// The kind of pages a slice is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Ordinary pages, large ones where the kernel has them to spare (transparent hugepages).
    Anonymous,
    /// Reserved hugepages of 2 MiB.
    Huge,
    /// Ordinary pages that exist only once they are touched: for slices most of which is never used.
    Sparse,
}

/// The kernel did not give the memory.
#[derive(Clone, Copy, Debug)]
pub struct MapError {
    bytes: usize,
    pages: Pages,
    reason: rustix::io::Errno,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.bytes.div_ceil(1 << 20);
        match self.pages {
            Pages::Huge => write!(
                f,
                "{mib} MiB of hugepages are needed and not free ({}); reserve {} more with vm.nr_hugepages, lower \
                 `connections`, or set memory: Anonymous(...)",
                self.reason,
                self.bytes.div_ceil(HUGEPAGE_BYTES)
            ),
            Pages::Anonymous | Pages::Sparse => write!(
                f,
                "{mib} MiB of memory are needed and not free ({}); lower `connections` or add memory",
                self.reason
            ),
        }
    }
}

impl std::error::Error for MapError {}

/// A fixed-length slice of zeroable records.
///
/// Ownership: the mapping belongs to this value alone and is given back when it is dropped.
pub struct MappedSlice<T> {
    // Invariant: `start` is the start of a mapping of `mapped_bytes`, aligned for T, of which the first `len` records
    // are initialised (as zero, which `T: Zeroable` allows) and reached through this value only.
    start: NonNull<T>,
    len: usize,
    mapped_bytes: usize,
    records: PhantomData<T>,
}

// SAFETY: the slice owns its records as a Vec does; it may go and be seen wherever they may.
unsafe impl<T: Send> Send for MappedSlice<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for MappedSlice<T> {}

impl<T: Zeroable + Copy> MappedSlice<T> {
    /// Maps `len` records, all zero. But for [`Pages::Sparse`] all of it is there when this returns, so that no page
    /// is missed later.
    pub fn new(len: usize, pages: Pages) -> Result<Self, MapError> {
        const { assert!(align_of::<T>() <= 4096, "a mapping is aligned to pages") };
        let bytes = len.saturating_mul(size_of::<T>()).max(1);
        let mapped_bytes = bytes
            .checked_next_multiple_of(HUGEPAGE_BYTES)
            .unwrap_or(bytes);
        let error = |reason| MapError {
            bytes,
            pages,
            reason,
        };
        let flags = match pages {
            Pages::Anonymous => MapFlags::PRIVATE,
            Pages::Sparse => MapFlags::PRIVATE | MapFlags::NORESERVE,
            // Populated at once: a hugepage that is missing later would end the process with SIGBUS.
            Pages::Huge => MapFlags::PRIVATE | MapFlags::HUGETLB | MapFlags::POPULATE,
        };
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory in use.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                mapped_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )
        }
        .map_err(error)?;
        let start = NonNull::new(start.cast::<T>()).ok_or(error(rustix::io::Errno::NOMEM))?;
        let slice = Self {
            start,
            len,
            mapped_bytes,
            records: PhantomData,
        };
        if pages == Pages::Anonymous {
            let start = start.as_ptr().cast::<c_void>();
            // SAFETY: the mapping made above, whole. Refusal costs speed only, so the outcome does not matter.
            let _ = unsafe { madvise(start, mapped_bytes, Advice::LinuxHugepage) };
            // SAFETY: as above; touches every page as a write would, and changes none of its bytes.
            match unsafe { madvise(start, mapped_bytes, Advice::LinuxPopulateWrite) } {
                // Linux before 5.14 does not know this advice; there the pages come one by one.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(reason) => return Err(error(reason)),
            }
        }
        Ok(slice)
    }
}

impl<T> Deref for MappedSlice<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the invariant of `start`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for MappedSlice<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: the invariant of `start`; `&mut self` is the only way to it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for MappedSlice<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, nothing can reach it any more, and its records are `Copy`, so that
        // none of them has anything to drop.
        let _ = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), self.mapped_bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_begin_as_zero_and_keep_what_is_written() {
        for pages in [Pages::Anonymous, Pages::Sparse] {
            let mut slice = MappedSlice::<u64>::new(1 << 16, pages).unwrap();
            assert!(slice.iter().all(|record| *record == 0));
            slice[77] = 5;
            assert_eq!((slice.len(), slice[77]), (1 << 16, 5));
        }
    }

    #[test]
    fn memory_that_is_not_there_is_a_sentence() {
        let error = MappedSlice::<[u8; 4096]>::new(1 << 36, Pages::Anonymous)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("MiB of memory are needed and not free"),
            "{error}"
        );
    }
}
