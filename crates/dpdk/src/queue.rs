//! Receive and transmit queues: the fast path through DPDK.
//!
//! Promises: a burst costs what `rte_eth_rx_burst` and `rte_eth_tx_burst` cost, plus one look at each buffer; nothing
//! is copied between Rust's array and DPDK's; frames in several pieces never come out.
//! Does not know: callbacks that C code may hook into a queue (`rte_eth_add_rx_callback`): they are not called.

use crate::Mbuf;
use crate::mempool::Mempool;
use crate::port::OpenPort;
use arrayvec::ArrayVec;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use weir_dpdk_sys as sys;

/// Buffers handled together.
pub const BURST: usize = 32;

/// Up to [`BURST`] buffers, owned, in order.
pub type Burst = ArrayVec<Mbuf, BURST>;

/// One receive queue of a started port.
///
/// Ownership: the only handle of this queue; may move to another thread, cannot be shared. Holds the port, which stops
/// and closes when the last of its handles goes, and the pool its buffers come from.
#[derive(Debug)]
pub struct RxQueue {
    port: Arc<OpenPort>,
    pool: Mempool,
    /// Invariant: the port is started and has this queue.
    queue: u16,
}

/// One transmit queue of a started port.
///
/// Ownership: as [`RxQueue`]; buffers given to it belong to the driver until sent.
#[derive(Debug)]
pub struct TxQueue {
    port: Arc<OpenPort>,
    /// Invariant: the port is started and has this queue.
    queue: u16,
}

impl RxQueue {
    /// The caller has started the port with this queue and makes one handle of it.
    pub(crate) fn new(port: Arc<OpenPort>, pool: Mempool, queue: u16) -> Self {
        Self { port, pool, queue }
    }

    /// Puts what has arrived behind what is in `burst`, as far as there is room, and returns how many came. Never
    /// waits.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        let len = burst.len();
        // SAFETY: the port is started and the queue exists and is polled by nobody else (invariant, `&mut self`).
        // `Mbuf` is a transparent pointer, the driver writes at most as many as there is room for, returns how many,
        // and they are ours from here on.
        let n_received = unsafe {
            let free = burst.as_mut_ptr().add(len).cast();
            let ops = fast_path(self.port.id);
            let queue = queue_data((*ops).rxq.data, self.queue);
            let receive = (*ops).rx_pkt_burst.unwrap_unchecked();
            let n_received: usize = receive(queue, free, burst.remaining_capacity() as u16).into();
            burst.set_len(len + n_received);
            n_received
        };
        // Scattered reception is never switched on, so this is for drivers that do as they like.
        if burst[len..].iter().any(|mbuf| !mbuf.is_one_segment()) {
            return self.keep_single_segments(burst, len);
        }
        n_received
    }

    /// Drops and counts the frames in several pieces from `first` on; returns how many stay.
    #[cold]
    fn keep_single_segments(&self, burst: &mut Burst, first: usize) -> usize {
        let n_before = burst.len();
        let mut index = 0;
        burst.retain(|mbuf| {
            index += 1;
            index <= first || mbuf.is_one_segment()
        });
        self.port
            .n_multi_segment
            .fetch_add((n_before - burst.len()) as u64, Ordering::Relaxed);
        burst.len() - first
    }

    /// This queue's number on its port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.queue
    }

    /// The pool from which this queue takes buffers.
    #[must_use]
    pub fn pool(&self) -> &Mempool {
        &self.pool
    }
}

impl TxQueue {
    /// The caller has started the port with this queue and makes one handle of it.
    pub(crate) fn new(port: Arc<OpenPort>, queue: u16) -> Self {
        Self { port, queue }
    }

    /// Hands over as many frames as the queue takes, first ones first, and returns how many. The rest stay in `burst`,
    /// in order. Never waits, except where the driver does.
    #[inline]
    pub fn transmit(&mut self, burst: &mut Burst) -> usize {
        for mbuf in burst.iter_mut() {
            mbuf.seal();
        }
        let len = burst.len();
        // SAFETY: the port is started and the queue exists and is used by nobody else (invariant, `&mut self`). `Mbuf`
        // is a transparent pointer; the driver takes the first `n_taken` of `len` and does not touch the others. The
        // length is zero while it is undecided whose they are.
        unsafe {
            burst.set_len(0);
            let first: *mut Mbuf = burst.as_mut_ptr();
            let ops = fast_path(self.port.id);
            let queue = queue_data((*ops).txq.data, self.queue);
            let transmit = (*ops).tx_pkt_burst.unwrap_unchecked();
            let n_taken: usize = transmit(queue, first.cast(), len as u16).into();
            if n_taken < len {
                first.copy_from(first.add(n_taken), len - n_taken);
                burst.set_len(len - n_taken);
            }
            n_taken
        }
    }

    /// This queue's number on its port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.queue
    }
}

/// DPDK's table of fast-path functions, which is what its own inline functions read.
///
/// # Safety
/// `port` is the number of a port that DPDK knows.
#[inline(always)]
unsafe fn fast_path(port: u16) -> *const sys::rte_eth_fp_ops {
    // SAFETY: the table has an entry for each possible port.
    unsafe {
        (&raw const sys::rte_eth_fp_ops)
            .cast::<sys::rte_eth_fp_ops>()
            .add(port.into())
    }
}

/// The driver's own data of one queue.
///
/// # Safety
/// `data` is a port's table of queues and has `queue`.
#[inline(always)]
unsafe fn queue_data(data: *mut *mut c_void, queue: u16) -> *mut c_void {
    // SAFETY: as the caller says.
    unsafe { *data.add(queue.into()) }
}
