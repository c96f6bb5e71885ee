//! What a worker counts, and how others may read it.
//!
//! Promises: a worker counts in plain integers of its own and copies them, now and then, into atomics that only it
//! writes; whoever reads them disturbs nobody.
//! Does not know: names and units of metrics.

use std::iter::Sum;
use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::{Pod, Zeroable};
use weir_director::{DestinationId, DestinationTotals, DropReason, Load, PuntReason};

use crate::BurstSummary;

/// What a worker counts, as plain integers.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Counters {
    /// Frames received from ports.
    pub received: u64,
    /// Frames given to a transmit queue.
    pub transmitted: u64,
    /// Frames made beyond those received: of a packet that is cut into fragments, all but one.
    pub made: u64,
    /// Packets given to the worker that owns them.
    pub handed_over: u64,
    /// Packets got from workers that do not own them.
    pub taken_over: u64,
    /// Frames dropped, by `DropReason::index`.
    pub dropped: [u64; DropReason::COUNT],
    /// Frames punted, by `PuntReason::index`.
    pub punted: [u64; PuntReason::COUNT],
    /// Nanoseconds of turns that had work.
    pub busy_ns: u64,
    /// Nanoseconds since the worker began.
    pub elapsed_ns: u64,
    /// Living connections, and as many more of IPv4 as the table has room for.
    pub capacity: u64,
    /// Living connections.
    pub connections: u64,
    /// Connections ended to make room for others.
    pub evicted: u64,
    /// Segments that went without TOA for lack of room among their options.
    pub toa_omitted: u64,
    /// How long the bursts of the last whole second took, in cycles of the worker's clock.
    pub bursts: BurstSummary,
}

impl Default for Counters {
    fn default() -> Self {
        Self::zeroed()
    }
}

/// How many integers [`Counters`] are.
const N_COUNTERS: usize = size_of::<Counters>() / size_of::<u64>();

/// What a worker has published for a destination.
#[derive(Clone, Copy, Debug, Default)]
pub struct DestinationCounters {
    /// Connections opened.
    pub connections: u64,
    /// Packets from clients.
    pub inbound_packets: u64,
    /// Packets from the real server.
    pub outbound_packets: u64,
    /// Bytes of IP packets from clients.
    pub inbound_bytes: u64,
    /// Bytes of IP packets from the real server.
    pub outbound_bytes: u64,
    /// Packets dropped for want of a local port.
    pub local_ports_exhausted: u64,
    /// Templates (persistence) that lead there.
    pub templates: u64,
    /// Living connections.
    pub load: Load,
}

impl Sum for DestinationCounters {
    fn sum<I: Iterator<Item = Self>>(counters: I) -> Self {
        counters.fold(Self::default(), |sum, one| Self {
            connections: sum.connections + one.connections,
            inbound_packets: sum.inbound_packets + one.inbound_packets,
            outbound_packets: sum.outbound_packets + one.outbound_packets,
            inbound_bytes: sum.inbound_bytes + one.inbound_bytes,
            outbound_bytes: sum.outbound_bytes + one.outbound_bytes,
            local_ports_exhausted: sum.local_ports_exhausted + one.local_ports_exhausted,
            templates: sum.templates + one.templates,
            load: [sum.load, one.load].into_iter().sum(),
        })
    }
}

/// Aligned as its integers are, not to a cache line: memory of a larger alignment comes without zeros, and writing them
/// would touch every page of a million destinations. All of them have the same writer, so lines may be shared.
#[derive(Debug, Zeroable)]
#[repr(C)]
struct PublishedDestination {
    totals: [AtomicU64; 7],
    /// Active connections in the upper half, inactive ones in the lower: read together or not at all.
    load: AtomicU64,
}

/// What a worker has published. Written by that worker only, and in cache lines of its own: all workers' lie in one
/// array.
#[derive(Debug)]
#[repr(align(64))]
pub struct Published {
    counters: [AtomicU64; N_COUNTERS],
    /// By `DestinationId`. Zero pages until used.
    destinations: Box<[PublishedDestination]>,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            counters: [const { AtomicU64::new(0) }; N_COUNTERS],
            destinations: bytemuck::zeroed_slice_box(DestinationId::LIMIT as usize),
        }
    }
}

impl Published {
    /// The worker's counters, as last published.
    pub fn counters(&self) -> Counters {
        bytemuck::cast(
            self.counters
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed)),
        )
    }

    /// What it counted for a destination.
    pub fn destination(&self, id: DestinationId) -> DestinationCounters {
        let Some(there) = self.destinations.get(id.0 as usize) else {
            return DestinationCounters::default();
        };
        let [
            connections,
            inbound_packets,
            outbound_packets,
            inbound_bytes,
            outbound_bytes,
            local_ports_exhausted,
            templates,
        ] = there
            .totals
            .each_ref()
            .map(|total| total.load(Ordering::Relaxed));
        DestinationCounters {
            connections,
            inbound_packets,
            outbound_packets,
            inbound_bytes,
            outbound_bytes,
            local_ports_exhausted,
            templates,
            load: self.load(id),
        }
    }

    /// Its living connections to a destination.
    pub fn load(&self, id: DestinationId) -> Load {
        let packed = self
            .destinations
            .get(id.0 as usize)
            .map_or(0, |there| there.load.load(Ordering::Relaxed));
        Load {
            active: (packed >> 32) as u32,
            inactive: packed as u32,
        }
    }

    /// The worker's part: its counters.
    pub(crate) fn publish(&self, counters: &Counters) {
        let counters: [u64; N_COUNTERS] = bytemuck::cast(*counters);
        for (there, count) in self.counters.iter().zip(counters) {
            there.store(count, Ordering::Relaxed);
        }
    }

    /// The worker's part: a destination.
    pub(crate) fn publish_destination(&self, id: DestinationId, totals: &DestinationTotals) {
        let Some(there) = self.destinations.get(id.0 as usize) else {
            return;
        };
        let new = [
            totals.connections,
            totals.inbound_packets,
            totals.outbound_packets,
            totals.inbound_bytes,
            totals.outbound_bytes,
            u64::from(totals.local_ports_exhausted),
            u64::from(totals.templates),
        ];
        for (there, total) in there.totals.iter().zip(new) {
            there.store(total, Ordering::Relaxed);
        }
        let load = u64::from(totals.load.active) << 32 | u64::from(totals.load.inactive);
        there.load.store(load, Ordering::Relaxed);
    }
}
