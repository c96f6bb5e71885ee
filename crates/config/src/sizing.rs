//! What a configuration takes of the machine's memory.
//!
//! Promises: the daemon makes its pools and tables of the sizes given here, and no larger.
//! Does not know: how much memory there is.

use crate::config::{Config, Device, Memory, Port};
use crate::error::Problem;
use crate::locate::Position;

/// Buffers that each worker keeps aside for itself, per pool.
pub const BUFFER_CACHE: u32 = 256;
/// Packets in all of a worker's rings for hand-offs together.
const HAND_OFFS: u32 = 2048;
/// Packets in each of them, at least.
const HAND_OFF_RING_MINIMUM: u32 = 2 * weir_director::BURST as u32;
/// What DPDK needs beside the buffers: rings, queues, its own books.
const DPDK_OVERHEAD_MIB: u64 = 16;
/// DPDK's header of a buffer, its pool's, the headroom, and padding.
const BUFFER_OVERHEAD_BYTES: u64 = 448;
/// Without hugepages no buffer crosses an ordinary page's end, unless it is larger than one.
const PAGE_BYTES: u64 = 4096;
const HUGEPAGE_BYTES: u64 = 2 << 20;

/// What a configuration takes of the machine's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// Workers.
    pub n_workers: u32,
    /// Connections each of them has room for.
    pub connections: u32,
    /// IPv6 connections beside them.
    pub ipv6_connections: u32,
    /// Bytes of all connection tables.
    pub table_bytes: u64,
    /// Bytes of all buffers and of what DPDK needs beside.
    pub buffer_bytes: u64,
}

impl Sizing {
    /// Of a configuration.
    pub fn of(config: &Config) -> Self {
        let n_workers = config.runtime.workers.len() as u32;
        // A table is three mappings, each of whole hugepages.
        let rounding = match config.runtime.memory {
            Memory::Hugepages { .. } => 3 * HUGEPAGE_BYTES,
            Memory::Anonymous { .. } => 0,
        };
        let crate::config::Runtime {
            connections,
            ipv6_connections,
            ..
        } = config.runtime;
        let table_bytes = (weir_director::bytes_needed(connections, ipv6_connections) as u64
            + rounding)
            * u64::from(n_workers);
        let buffers: u64 = config
            .ports
            .iter()
            .map(|port| pool_bytes(port, n_workers, config.runtime.memory))
            .sum();
        Self {
            n_workers,
            connections,
            ipv6_connections,
            table_bytes,
            buffer_bytes: buffers + (DPDK_OVERHEAD_MIB << 20),
        }
    }

    /// A worker's connections, in words.
    pub fn connections(&self) -> String {
        match self.ipv6_connections {
            0 => format!("{} connections", self.connections),
            more => format!("{} connections and {more} of IPv6", self.connections),
        }
    }

    /// MiB that DPDK may have for buffers and queues: all of `memory` but the tables.
    pub fn buffer_mib(&self, memory: Memory) -> u32 {
        let (Memory::Hugepages { mib } | Memory::Anonymous { mib }) = memory;
        let needed = self.buffer_bytes.div_ceil(1 << 20);
        u64::from(mib)
            .saturating_sub(self.table_bytes.div_ceil(1 << 20))
            .max(needed) as u32
    }

    /// MiB in all.
    pub fn mib(&self) -> u64 {
        (self.table_bytes + self.buffer_bytes).div_ceil(1 << 20)
    }
}

/// What is wrong with `runtime.memory`, which stands `at`, if it is less than the rest of the configuration takes.
pub(crate) fn shortage(config: &Config, at: Position) -> Option<Problem> {
    let (Memory::Hugepages { mib } | Memory::Anonymous { mib }) = config.runtime.memory;
    let sizing = Sizing::of(config);
    (u64::from(mib) < sizing.mib()).then(|| Problem {
        at,
        what: format!(
            "{mib} MiB are less than {} worker(s) with {} each and their buffers take; give at least {} MiB, or lower \
             `connections`",
            sizing.n_workers,
            sizing.connections(),
            sizing.mib()
        ),
    })
}

/// Packets in the ring from each of `n_workers` workers to each other one.
pub fn hand_off_ring(n_workers: u32) -> u32 {
    let n_rings = n_workers.saturating_sub(1).max(1);
    (HAND_OFFS / n_rings).max(HAND_OFF_RING_MINIMUM)
}

/// Descriptors of each receive and each transmit queue. A NIC needs enough for the time a worker is busy elsewhere;
/// virtual ports have rings of their own behind them.
pub fn descriptors(device: &Device) -> u16 {
    match device {
        Device::Pci(_) => 1024,
        // Its driver fills a ring of so many, whatever it is asked for.
        Device::AfXdp(_) => 2048,
        Device::AfPacket(_) | Device::Tap(_) | Device::Vdev(_) => 512,
    }
}

/// Buffers of each port's pool: every descriptor of its queues filled, every hand-off ring full, every cache full, as many
/// fragments waiting as may, and a burst in every hand; one less than a power of two, which DPDK's ring stores without waste.
pub fn n_buffers(device: &Device, n_workers: u32) -> u32 {
    const BURST: u32 = weir_director::BURST as u32;
    let queues = match device {
        // Frames are copied from and to rings that are shared with the kernel.
        Device::AfPacket(_) => 0,
        Device::Pci(_) | Device::AfXdp(_) | Device::Tap(_) | Device::Vdev(_) => {
            n_workers * u32::from(descriptors(device)) * 2
        }
    };
    let hand_offs = if n_workers > 1 {
        n_workers * (n_workers - 1) * hand_off_ring(n_workers)
    } else {
        0
    };
    let held = n_workers * (BUFFER_CACHE * 3 / 2 + weir_director::HELD as u32 + 2 * BURST);
    (queues + hand_offs + held + 1).next_power_of_two() - 1
}

/// Bytes of a port's pool.
fn pool_bytes(port: &Port, n_workers: u32, memory: Memory) -> u64 {
    let n_buffers = u64::from(n_buffers(&port.device, n_workers));
    let bytes = buffer_bytes(port);
    match memory {
        Memory::Hugepages { .. } => n_buffers * bytes,
        Memory::Anonymous { .. } => match PAGE_BYTES / bytes {
            0 => n_buffers * bytes.next_multiple_of(PAGE_BYTES),
            per_page => n_buffers.div_ceil(per_page) * PAGE_BYTES,
        },
    }
}

/// Bytes of one buffer with all that belongs to it.
fn buffer_bytes(port: &Port) -> u64 {
    let room = match port.device {
        // A whole slot of the ring that is shared with the kernel fits into a buffer.
        Device::AfPacket(_) => (u64::from(port.mtu) + 128).next_power_of_two(),
        Device::Pci(_) | Device::AfXdp(_) | Device::Tap(_) | Device::Vdev(_) => {
            (u64::from(port.mtu) + 36).next_multiple_of(1024)
        }
    };
    room.max(2048) + BUFFER_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_af_xdp_ports_pool_fills_the_drivers_ring() {
        // `ETH_AF_XDP_DFLT_NUM_DESCS` of DPDK's driver: with fewer buffers than that it refuses the queue.
        for n_workers in [1, 2, 4] {
            assert!(
                n_buffers(&Device::AfXdp("eth1".to_owned()), n_workers) >= 2 * 2048 * n_workers
            );
        }
    }

    #[test]
    fn without_hugepages_a_buffer_takes_whole_pages() {
        let port = Port {
            name: "wan".to_owned(),
            device: Device::AfPacket("eth1".to_owned()),
            addresses: Vec::new(),
            mtu: 1500,
        };
        let bytes = |memory| pool_bytes(&port, 2, memory);
        let n_buffers = u64::from(n_buffers(&port.device, 2));
        assert_eq!(bytes(Memory::Anonymous { mib: 1 }), n_buffers * 4096);
        assert!(bytes(Memory::Hugepages { mib: 1 }) < n_buffers * 2600);
    }
}
