//! What the sender of a packet is told that weir refuses: a RST or an ICMP error, from the address it was sent to; of
//! a packet that was only to pass through weir, from an address of the port it came in by.
//!
//! Promises: every refused packet is counted by its reason, answered or not; each reason has a rate of its own, so
//! that a flood of one does not silence the others. Nothing is answered that RFC 1122 or RFC 4443 forbid.
//! Does not know: why a packet was refused.

use std::net::IpAddr;
use std::time::Instant;

use weir_director::DropReason;
use weir_wire::{Content, Headers, icmp, icmpv6, ipv4, ipv6, tcp};

use crate::SlowPath;
use crate::announce::Standing;
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
        let source = self.source(link, frame, headers);
        let rate = &mut self.rates.refusals[refusal.index()];
        if let Some(answer) = rate.spend(now, || answer(refusal, frame, headers, source?)) {
            self.outbox.transmit(link.port, answer);
        }
        refusal.reason()
    }

    /// Where an ICMP error about a packet comes from. Another host's address is not ours to speak from: there weir is a
    /// router, and says so by its own (RFC 1812 §4.3.2.4, RFC 4443 §2.2), or by the other one where it has none of the
    /// family.
    fn source(&self, link: Link, frame: &[u8], headers: &Headers) -> Option<IpAddr> {
        let (sender, receiver) = headers.ip_addresses(frame)?;
        if self.stands(receiver, Standing::Ours) || self.stands(receiver, Standing::Former) {
            return Some(receiver);
        }
        let port = self.ports.iter().find(|port| port.id == link.port)?;
        Some(port.sources(sender).next().unwrap_or(receiver))
    }
}

/// The whole frame that tells the sender. A TCP segment without a service or connection is reset, as by a host
/// where nobody listens; a service without destinations is unreachable, as in IPVS (`ip_vs_leave`).
fn answer(refusal: Refusal, frame: &[u8], headers: &Headers, source: IpAddr) -> Option<Vec<u8>> {
    match (refusal, headers.content) {
        (Refusal::NoService | Refusal::NoConnection, Content::Tcp) => tcp::reset(frame, headers),
        (Refusal::NoService | Refusal::NoConnection | Refusal::NoDestination, _) => error(
            frame,
            headers,
            source,
            icmp::ErrorKind::PortUnreachable,
            icmpv6::ErrorKind::PortUnreachable,
        ),
        (Refusal::TtlExceeded, _) => error(
            frame,
            headers,
            source,
            icmp::ErrorKind::TimeExceeded,
            icmpv6::ErrorKind::TimeExceeded,
        ),
        (Refusal::TooBig { mtu }, _) => error(
            &on_its_way(frame, headers),
            headers,
            source,
            icmp::ErrorKind::FragmentationNeeded { mtu },
            icmpv6::ErrorKind::PacketTooBig {
                mtu: u32::from(mtu),
            },
        ),
        (Refusal::Unreachable, _) => error(
            frame,
            headers,
            source,
            icmp::ErrorKind::HostUnreachable,
            icmpv6::ErrorKind::AddressUnreachable,
        ),
    }
}

/// The packet with a TTL less by one, as an error about its size quotes it: IPVS looks at the size when it has lowered
/// that already (RFC 1812 §4.3.2.3 has a router quote a packet as it came in or so).
fn on_its_way(frame: &[u8], headers: &Headers) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let header = frame.get_mut(usize::from(headers.l3)..).unwrap_or_default();
    if headers.ttl == 0 {
        return frame;
    }
    if headers.is_ipv6() {
        header.first_chunk_mut().map(ipv6::decrement_hop_limit);
    } else {
        header.first_chunk_mut().map(ipv4::decrement_ttl);
    }
    frame
}

/// An ICMP error of the packet's family.
fn error(
    frame: &[u8],
    headers: &Headers,
    source: IpAddr,
    v4: icmp::ErrorKind,
    v6: icmpv6::ErrorKind,
) -> Option<Vec<u8>> {
    match source {
        IpAddr::V4(source) => icmp::error(frame, headers, source, v4),
        IpAddr::V6(source) => icmpv6::error(frame, headers, source, v6),
    }
}
