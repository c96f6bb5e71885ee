//! A safe wrapper around DPDK: environment, buffers, ports, queues, receive-side scaling.
//!
//! Promises: every DPDK object has one Rust owner, and what it needs to live is kept alive by it, so nothing here can
//! be used after it is gone. Dropping everything gives everything back. Every failure is one sentence that says what
//! is wrong and what to do, in the words of the driver where it has any.
//! Does not know: that load balancing exists; what the bytes of a frame mean (`weir-wire` does).
//!
//! How it works, in the order of use:
//! 1. [`Eal::init`] once per process;
//! 2. [`Port::open`] for each device, [`Port::info`] for what it can do;
//! 3. a [`Mempool`] on the NUMA node of each port;
//! 4. [`Port::start`], which hands out one [`RxQueue`] or [`TxQueue`] per hardware queue;
//! 5. on each worker thread, pinned first, [`Eal::register_thread`], then [`RxQueue::receive`] and
//!    [`TxQueue::transmit`] on a [`Burst`] of [`Mbuf`]s.

mod counters;
mod device;
mod eal;
mod error;
mod hugepages;
mod interface;
mod log;
mod mbuf;
mod mempool;
mod port;
mod port_info;
mod queue;
mod rss;

pub use counters::{Link, PortCounters};
pub use device::Device;
pub use eal::{Eal, EalConfig, EalMemory, LogLevel, RegisteredThread};
pub use error::Error;
pub use mbuf::{FrameTooLong, Mbuf};
pub use mempool::{Mempool, MempoolConfig};
pub use port::{Port, Queues};
pub use port_info::{Checksums, PortConfig, PortInfo, PortOptions};
pub use queue::{BURST, Burst, RxQueue, TxQueue};
pub use rss::{HashedFields, RssInfo, RssState};

/// Bytes that a received frame finds free before it in its buffer.
pub const HEADROOM_BYTES: u16 = weir_dpdk_sys::RTE_PKTMBUF_HEADROOM as u16;
