//! What the sender of a packet is told that weir refuses: a RST or an ICMP error, from the address it was sent to.
//!
//! Promises: every refused packet is counted by its reason, answered or not; each reason has a rate of its own, so
//! that a flood of one does not silence the others. Nothing is answered that RFC 1122 or RFC 4443 forbid.
//! Does not know: why a packet was refused.

use std::net::IpAddr;
use std::time::Instant;

use weir_director::DropReason;
use weir_wire::{Content, Headers, icmp, icmpv6, tcp};

use crate::SlowPath;
use crate::port::Link;

/// Why a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoService,
    NoConnection,
    NoDestination,
    TtlExceeded,
    TooBig { mtu: u16 },
    Unreachable,
}

impl Refusal {
    /// How many there are, for arrays.
    pub(crate) const COUNT: usize = 6;

    /// A dense number, below [`Self::COUNT`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::NoService => 0,
            Self::NoConnection => 1,
            Self::NoDestination => 2,
            Self::TtlExceeded => 3,
            Self::TooBig { .. } => 4,
            Self::Unreachable => 5,
        }
    }

    /// The reason under which it is counted.
    fn reason(self) -> DropReason {
        match self {
            Self::NoService => DropReason::NoService,
            Self::NoConnection => DropReason::NoConnection,
            Self::NoDestination => DropReason::NoDestination,
            Self::TtlExceeded => DropReason::TtlExceeded,
            Self::TooBig { .. } => DropReason::TooBig,
            Self::Unreachable => DropReason::NeighbourUnreachable,
        }
    }
}

impl SlowPath {
    /// Tells the sender, if that is allowed and not too often; gives the reason to count.
    pub(crate) fn refuse(
        &mut self,
        refusal: Refusal,
        link: Link,
        frame: &[u8],
        headers: &Headers,
        now: Instant,
    ) -> DropReason {
        let rate = &mut self.rates.refusals[refusal.index()];
        if let Some(answer) = rate.spend(now, || answer(refusal, frame, headers)) {
            self.outbox.transmit(link.port, answer);
        }
        refusal.reason()
    }
}

/// The whole frame that tells the sender. A TCP segment without a service or connection is reset, as by a host
/// where nobody listens; a service without destinations is unreachable, as in IPVS (`ip_vs_leave`).
fn answer(refusal: Refusal, frame: &[u8], headers: &Headers) -> Option<Vec<u8>> {
    match (refusal, headers.content) {
        (Refusal::NoService | Refusal::NoConnection, Content::Tcp) => tcp::reset(frame, headers),
        (Refusal::NoService | Refusal::NoConnection | Refusal::NoDestination, _) => error(
            frame,
            headers,
            icmp::ErrorKind::PortUnreachable,
            icmpv6::ErrorKind::PortUnreachable,
        ),
        (Refusal::TtlExceeded, _) => error(
            frame,
            headers,
            icmp::ErrorKind::TimeExceeded,
            icmpv6::ErrorKind::TimeExceeded,
        ),
        (Refusal::TooBig { mtu }, _) => error(
            frame,
            headers,
            icmp::ErrorKind::FragmentationNeeded { mtu },
            icmpv6::ErrorKind::PacketTooBig {
                mtu: u32::from(mtu),
            },
        ),
        (Refusal::Unreachable, _) => error(
            frame,
            headers,
            icmp::ErrorKind::HostUnreachable,
            icmpv6::ErrorKind::AddressUnreachable,
        ),
    }
}

/// An ICMP error of the packet's family, from the address it was sent to.
fn error(
    frame: &[u8],
    headers: &Headers,
    v4: icmp::ErrorKind,
    v6: icmpv6::ErrorKind,
) -> Option<Vec<u8>> {
    match headers.ip_addresses(frame)? {
        (_, IpAddr::V4(destination)) => icmp::error(frame, headers, destination, v4),
        (_, IpAddr::V6(destination)) => icmpv6::error(frame, headers, destination, v6),
    }
}
