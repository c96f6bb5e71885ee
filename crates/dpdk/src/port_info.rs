//! What is asked of a port and what it answers: plain values.
//!
//! Promises: nothing but data. Does not know: the port.

use crate::queue::BURST;
use crate::rss::{HashedFields, RssInfo};

/// What must be known when a device becomes a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortOptions {
    /// Queues wanted, of each kind. Some virtual devices are made with a number of them.
    pub n_queues: u16,
    /// Bytes of the largest IP packet.
    pub mtu: u16,
}

/// How a port is to run. What it has fewer of, it gets fewer of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// Receive queues wanted.
    pub n_rx_queues: u16,
    /// Transmit queues wanted.
    pub n_tx_queues: u16,
    /// Descriptors of each receive queue, rounded to what the port takes.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue, rounded to what the port takes.
    pub tx_descriptors: u16,
    /// Fields to hash when there are several receive queues, as far as the port can.
    pub hashed_fields: HashedFields,
    /// The RSS key it is to use; the driver's own when left out, or when the port takes none of this length.
    pub rss_key: Option<Vec<u8>>,
}

impl PortConfig {
    /// One receive and one transmit queue for each of `n_workers`, 1,024 descriptors, everything hashed.
    #[must_use]
    pub fn for_workers(n_workers: u16) -> Self {
        Self {
            n_rx_queues: n_workers,
            n_tx_queues: n_workers,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            hashed_fields: HashedFields::ALL,
            rss_key: None,
        }
    }

    /// Buffers that a pool must have so that no queue starves: every descriptor filled, every one of `n_threads`
    /// with a full cache and a burst in its hands. Rounded up to one less than a power of two, which DPDK's ring
    /// stores without waste.
    #[must_use]
    pub fn n_buffers(&self, cache: u32, n_threads: u32) -> u32 {
        let queues = u32::from(self.n_rx_queues) * u32::from(self.rx_descriptors)
            + u32::from(self.n_tx_queues) * u32::from(self.tx_descriptors);
        // A cache is flushed at one and a half times its size.
        let held =
            n_threads.saturating_mul(cache.saturating_add(cache / 2).saturating_add(BURST as u32));
        queues
            .saturating_add(held)
            .saturating_add(1)
            .checked_next_power_of_two()
            .map_or(u32::MAX, |n_buffers| n_buffers - 1)
    }
}

/// What a port is and can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortInfo {
    /// DPDK's driver, for example `net_ixgbe`.
    pub driver: String,
    /// DPDK's name of the device.
    pub device: String,
    /// The node whose memory is nearest; `None` on machines without, and for virtual ports.
    pub numa_node: Option<u32>,
    /// Its own address.
    pub mac: [u8; 6],
    /// Bytes of the largest IP packet, now.
    pub mtu: u16,
    /// Smallest MTU that it takes.
    pub min_mtu: u16,
    /// Largest MTU that it takes.
    pub max_mtu: u16,
    /// Receive queues it could have.
    pub max_rx_queues: u16,
    /// Transmit queues it could have.
    pub max_tx_queues: u16,
    /// Receive queues it has; 0 before it is started.
    pub n_rx_queues: u16,
    /// Transmit queues it has; 0 before it is started.
    pub n_tx_queues: u16,
    /// Checksums that it can verify.
    pub receive_checksums: Checksums,
    /// Checksums that it can fill in.
    pub transmit_checksums: Checksums,
    /// What it can hash; `None` when nothing.
    pub rss: Option<RssInfo>,
}

/// For which headers a port does checksums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checksums {
    /// IPv4 headers.
    pub ipv4: bool,
    /// TCP.
    pub tcp: bool,
    /// UDP.
    pub udp: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_covers_descriptors_caches_and_bursts() {
        let config = PortConfig::for_workers(2);
        assert_eq!(
            config.n_buffers(0, 0),
            8191,
            "4,096 descriptors do not fit into 4,095 buffers"
        );
        assert_eq!(
            config.n_buffers(256, 2),
            8191,
            "4,096 descriptors, two caches of 384, two bursts"
        );
    }
}
