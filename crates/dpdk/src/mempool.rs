//! A pool of buffers on one NUMA node.
//!
//! Promises: buffers come back to the pool they are from, whoever drops them; the stride from one buffer to the next is
//! an odd number of cache lines, so that headers of successive buffers do not fall into the same few sets of the
//! first-level cache (DPDK pads for that, for it also spreads them over memory channels; `stride_bytes` tells).
//! Does not know: which port fills them.

use crate::eal::Eal;
use crate::error::{Error, Refusal};
use crate::queue::Burst;
use crate::{Mbuf, log};
use arrayvec::ArrayVec;
use std::ffi::CString;
use std::ptr::NonNull;
use weir_dpdk_sys as sys;

/// What a pool is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MempoolConfig {
    /// Unique in the process, at most 25 bytes.
    pub name: String,
    /// Buffers.
    pub n_buffers: u32,
    /// Bytes of each, headroom included: [`crate::Device::buffer_bytes`] knows how many a port needs.
    pub buffer_bytes: u16,
    /// Buffers that each registered thread may keep aside, at most; lowered to what DPDK allows.
    pub cache: u32,
    /// Where: [`crate::PortInfo::numa_node`]. `None` leaves it to DPDK.
    pub numa_node: Option<u32>,
}

/// A pool of buffers.
///
/// Ownership: a counted handle of EAL and a pointer to a pool that EAL's handle list frees at its end, so the pool
/// outlives this handle and every buffer taken from it. Clones name the same pool.
#[derive(Debug, Clone)]
pub struct Mempool {
    eal: Eal,
    pool: NonNull<sys::rte_mempool>,
}

// SAFETY: DPDK synchronises the pool; each registered thread has its own cache, others use none.
unsafe impl Send for Mempool {}
// SAFETY: as above; every method may run on several threads at once.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes the pool. It stays until EAL ends.
    ///
    /// Errors: not enough memory on that node, or a pool of that name exists.
    pub fn new(eal: &Eal, config: &MempoolConfig) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Mempool {
            pool: config.name.clone(),
            n_buffers: config.n_buffers,
            buffer_bytes: config.buffer_bytes,
            reason,
        };
        let name = CString::new(config.name.as_str())
            .map_err(|_| refuse("the name has a zero byte".to_owned()))?;
        let node = config
            .numa_node
            .and_then(|node| i32::try_from(node).ok())
            .unwrap_or(sys::SOCKET_ID_ANY);
        // DPDK refuses a cache of more than two thirds of the pool.
        let cache = config
            .cache
            .min(sys::RTE_MEMPOOL_CACHE_MAX_SIZE)
            .min(config.n_buffers / 3 * 2);
        let ((pool, errno), said) = log::capture(|| {
            // SAFETY: EAL runs, since `eal` exists; the name is copied.
            let pool = unsafe {
                sys::rte_pktmbuf_pool_create(
                    name.as_ptr(),
                    config.n_buffers,
                    cache,
                    0,
                    config.buffer_bytes,
                    node,
                )
            };
            // SAFETY: reads this thread's error number.
            (pool, unsafe { sys::shim_rte_errno() })
        });
        let pool =
            NonNull::new(pool).ok_or_else(|| refuse(Refusal::new(-errno, said).to_string()))?;
        eal.keep_pool(pool);
        Ok(Self {
            eal: eal.clone(),
            pool,
        })
    }

    /// One empty buffer with [`crate::HEADROOM_BYTES`] before it; `None` when all are in use.
    #[inline]
    #[must_use]
    pub fn allocate(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives; a buffer it gives is ours alone.
        unsafe {
            Some(Mbuf::from_raw(NonNull::new(sys::shim_pktmbuf_alloc(
                self.pool.as_ptr(),
            ))?))
        }
    }

    /// Fills `burst` up with empty buffers, or changes nothing and says `false` when the pool has too few.
    #[inline]
    pub fn allocate_burst(&self, burst: &mut Burst) -> bool {
        self.allocate_more(burst, burst.remaining_capacity())
    }

    /// Puts `n_buffers` empty buffers behind those in `burst`, or changes nothing and says `false`: the pool has too
    /// few, or `burst` has no room for them.
    #[inline]
    pub fn allocate_more<const N: usize>(
        &self,
        burst: &mut ArrayVec<Mbuf, N>,
        n_buffers: usize,
    ) -> bool {
        if n_buffers > burst.remaining_capacity() {
            return false;
        }
        let len = burst.len();
        // SAFETY: `Mbuf` is a transparent pointer and there is room for that many behind `len`. Zero returned means
        // all of them were written, anything else that none was.
        unsafe {
            let free = burst.as_mut_ptr().add(len).cast();
            if sys::shim_pktmbuf_alloc_bulk(self.pool.as_ptr(), free, n_buffers as u32) != 0 {
                return false;
            }
            burst.set_len(len + n_buffers);
        }
        true
    }

    /// Buffers now in use by ports, queues and owners of [`Mbuf`]s. Slow: it asks every cache.
    #[must_use]
    pub fn n_in_use(&self) -> u32 {
        // SAFETY: the pool lives.
        unsafe { sys::rte_mempool_in_use_count(self.pool.as_ptr()) }
    }

    /// Bytes from one buffer to the next, DPDK's own header included.
    #[must_use]
    pub fn stride_bytes(&self) -> usize {
        // SAFETY: the pool lives.
        unsafe { sys::shim_mempool_stride(self.pool.as_ptr()) }
    }

    /// EAL, which this pool keeps alive.
    #[must_use]
    pub fn eal(&self) -> &Eal {
        &self.eal
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.pool.as_ptr()
    }
}
