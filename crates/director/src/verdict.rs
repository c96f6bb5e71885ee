//! What happens to a packet.
//!
//! Promises: closed lists; whoever carries verdicts out needs no wildcard.
//! Does not know: how a verdict is carried out.

use std::fmt;

use crate::{DropReason, HoldPlace, NextHopId, PortId, TunnelId, WorkerId};

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves by this port, as it now is.
    Transmit(PortId),
    /// It leaves by this port, as it now is but for its size: in fragments of `mtu` bytes at most.
    Fragment {
        /// The port.
        port: PortId,
        /// The largest IP packet that goes through.
        mtu: u16,
    },
    /// It belongs to this worker, which has not seen it yet; it is unchanged.
    HandOff(WorkerId),
    /// It waits in this place for the first fragment of its datagram; it is unchanged. What has been in the place until
    /// now ends there ([`DropReason::FragmentStoreFull`]). What becomes of it, [`Director::settle`](crate::Director::settle)
    /// tells.
    Hold(HoldPlace),
    /// This worker, whose template its client has, chooses its destination: it goes there and comes back with the choice;
    /// it is unchanged.
    Consult(WorkerId),
    /// The control thread deals with it; it is unchanged.
    Punt(PuntReason),
    /// It ends here.
    Drop(DropReason),
}

/// Why the control thread gets a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PuntReason {
    /// An ARP packet.
    Arp,
    /// An ICMP message that is no error: echo, neighbour discovery, multicast listener discovery.
    Icmp,
    /// A packet to an address of ours whose L4 port no service wants.
    NoService,
    /// A TCP segment, not a SYN, that belongs to no connection.
    NoConnection,
    /// The service has no destination that may be used.
    NoDestination,
    /// Its TTL or hop limit is used up.
    TtlExceeded,
    /// It must not be fragmented, or cannot be (IPv6), and is larger than the next hop takes: what would fit, in bytes of the packet as
    /// it came in.
    TooBig {
        /// The largest IP packet that would have gone through.
        mtu: u16,
    },
    /// The next hop's MAC address is not known.
    NeighbourUnresolved(NextHopId),
    /// The client, or the receiver of a packet that is routed (NAT), is on a link of ours, and nobody has asked for its MAC
    /// address yet.
    NeighbourUnknown,
    /// An ICMP error says that the way through a tunnel takes smaller packets than was known.
    PathMtu(TunnelId),
}

impl PuntReason {
    /// How many there are, for arrays of counts.
    pub const COUNT: usize = 10;

    /// A dense number, below [`Self::COUNT`].
    pub fn index(self) -> usize {
        match self {
            Self::Arp => 0,
            Self::Icmp => 1,
            Self::NoService => 2,
            Self::NoConnection => 3,
            Self::NoDestination => 4,
            Self::TtlExceeded => 5,
            Self::TooBig { .. } => 6,
            Self::NeighbourUnresolved(_) => 7,
            Self::NeighbourUnknown => 8,
            Self::PathMtu(_) => 9,
        }
    }

    /// The names, in the order of [`Self::index`].
    pub const NAMES: [&str; Self::COUNT] = [
        "arp",
        "icmp",
        "no_service",
        "no_connection",
        "no_destination",
        "ttl_exceeded",
        "too_big",
        "neighbour_unresolved",
        "neighbour_unknown",
        "path_mtu",
    ];
}

impl fmt::Display for PuntReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::NAMES[self.index()])
    }
}
