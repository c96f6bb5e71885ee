//! Fragments of a datagram: the first one as any packet of its connection, but that nothing is inserted; the others after
//! it, by what it left behind.
//!
//! Promises: as of whole packets: what is refused is as it came in, checksums that were right stay right. What is done to
//! the L4 header is done in the first fragment, whose checksum covers all of them and is mended incrementally. A datagram
//! whose addresses are rewritten gets an identification that no other between its new addresses has.
//! Does not know: which datagram a fragment is of (`fragments`).

use weir_wire::checksum::Delta;
use weir_wire::{Content, FlowKey, Fragment, Headers, Packet, ethernet, ipv4, ipv6, tcp, udp, uoa};

use super::{Terms, client_address, fullnat, introduced, tun};
use crate::connection::{Flags, Found};
use crate::ledger::Ledger;
use crate::{
    DestinationId, Direction, DropReason, NextHop, NextHopId, Snapshot, Tick, TunnelId, Verdict,
};

/// What is needed to send a datagram's further fragments after the first one, even if its connection has ended meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    next_hop: NextHopId,
    tunnel: Option<TunnelId>,
    ends: Option<Ends>,
    /// Where they are counted, and how.
    counted: Option<(DestinationId, Direction)>,
    l4_header_bytes: u8,
    /// Whether the real server looks for what must not be the client's own words.
    is_introduced: bool,
    /// Of the flow.
    hash: u64,
}

/// What the addresses become, as they lie in the IP header, and the identification.
#[derive(Clone, Copy, Debug)]
struct Ends {
    addresses: Addresses,
    identification: u32,
}

#[derive(Clone, Copy, Debug)]
enum Addresses {
    V4 {
        addresses: u64,
        delta: Delta,
    },
    V6 {
        source: [u64; 2],
        destination: [u64; 2],
    },
}

/// Replaces both L4 ports, and mends the checksum for them and for the addresses.
fn rewrite_l4(frame: &mut [u8], headers: &Headers, found: Found, ledger: &Ledger) {
    let connection = ledger.table.get(found.id);
    let other = found.direction.turned();
    let l4_ports = connection.l4_ports(other).rotate_left(16).to_ne_bytes();
    let delta = connection.l4_delta(found.direction);
    let Some(l4) = frame.get_mut(usize::from(headers.l4)..) else {
        return;
    };
    if headers.content == Content::Tcp {
        if let Some(header) = l4.first_chunk_mut() {
            tcp::rewrite(header, l4_ports, delta);
        }
    } else if let Some(header) = l4.first_chunk_mut() {
        udp::rewrite(header, l4_ports, delta);
    }
}

impl Course {
    /// That of a datagram of a connection, whose first fragment has these headers; `before`: what the same datagram had, if
    /// that one has come before.
    pub(crate) fn of(
        found: Found,
        headers: &Headers,
        before: Option<Self>,
        ledger: &mut Ledger,
        snapshot: &Snapshot,
    ) -> Self {
        let Found { id, direction } = found;
        let connection = ledger.table.get(id);
        let is_rewritten = !connection.flags.has(Flags::ONE_WAY);
        let tunnel = connection.tunnel();
        let ip_delta = connection.ip_delta(direction);
        let hash = ledger.table.hash(&headers.key);
        let same = before
            .filter(|before| before.hash == hash)
            .and_then(|before| before.ends)
            .map(|ends| ends.identification);
        Self {
            next_hop: connection.next_hop(direction),
            tunnel,
            counted: Some((DestinationId(connection.destination), direction)),
            l4_header_bytes: headers.l4_header_bytes,
            is_introduced: connection.flags.has(Flags::TOLD_OTHERWISE),
            hash,
            ends: is_rewritten.then(|| {
                let key = ledger.table.key(id, direction.turned()).turned();
                Ends {
                    identification: same.unwrap_or_else(|| ledger.identification(key, snapshot)),
                    addresses: match key {
                        FlowKey::V4(key) => Addresses::V4 {
                            addresses: key.addresses,
                            delta: ip_delta,
                        },
                        FlowKey::V6(key) => Addresses::V6 {
                            source: key.source,
                            destination: key.destination,
                        },
                    },
                }
            }),
        }
    }

    /// That of a datagram of no connection, from or to a real server whose gateway we are (NAT).
    pub(crate) fn routed(next_hop: NextHopId, headers: &Headers) -> Self {
        Self {
            next_hop,
            tunnel: None,
            ends: None,
            counted: None,
            l4_header_bytes: headers.l4_header_bytes,
            is_introduced: false,
            hash: 0,
        }
    }

    /// Forwards the first fragment of a datagram. `Err`: it is as it came in.
    pub(crate) fn begin(
        self,
        packet: &mut Packet<'_>,
        fragment: &Fragment,
        found: Found,
        ledger: &mut Ledger,
        snapshot: &Snapshot,
        now: Tick,
    ) -> Result<(Verdict, Self), Verdict> {
        let headers = &fragment.headers;
        // (1) Whatever refuses it does so before its first byte changes. Between IP versions fragments are not translated.
        if ledger.table.get(found.id).is_translated() {
            return Err(Verdict::Drop(DropReason::Untranslatable));
        }
        self.way(packet, headers, snapshot)?;
        if self.is_introduced {
            introduced::check_fragment(headers, found, ledger)?;
        }
        // (2) The connection learns of it.
        ledger.count(found, headers.ip_bytes(), now);
        if self.is_introduced {
            introduced::attend_fragment(packet, headers, found, ledger, snapshot, now);
        } else if headers.content == Content::Tcp {
            self.attend(packet, headers, found, ledger, snapshot, now);
        }
        // (3) It is rewritten.
        if self.ends.is_some() {
            rewrite_l4(packet.frame_mut(), headers, found, ledger);
        }
        let verdict = self.carry(packet, fragment, ledger, snapshot)?;
        Ok((verdict, self))
    }

    /// What else there is to do for a TCP segment. Its client's address is left out: the first fragment has no room that
    /// the others would not have to make.
    fn attend(
        &self,
        packet: &mut Packet<'_>,
        headers: &Headers,
        found: Found,
        ledger: &mut Ledger,
        snapshot: &Snapshot,
        now: Tick,
    ) {
        if self.ends.is_none() {
            return ledger.advance(found, headers.tcp_flags, now, &snapshot.settings.timeouts);
        }
        let connection = ledger.table.get(found.id);
        let is_toa_due = found.direction == Direction::Inbound
            && connection.flags.has(Flags::TOA)
            && client_address::is_due(connection, headers);
        if is_toa_due {
            ledger.n_toa_omitted += 1;
        }
        fullnat::attend(packet, headers, found, ledger, snapshot, now, false);
    }

    /// Whether a later fragment begins inside the L4 header that the first one had.
    pub(crate) fn is_in_l4_header(&self, fragment: &Fragment) -> bool {
        fragment.offset < u16::from(self.l4_header_bytes)
    }

    /// Rewrites a fragment, but for what the first one has of L4, and sends it. `Err`: it is as it came in.
    pub(crate) fn carry(
        &self,
        packet: &mut Packet<'_>,
        fragment: &Fragment,
        ledger: &mut Ledger,
        snapshot: &Snapshot,
    ) -> Result<Verdict, Verdict> {
        let headers = &fragment.headers;
        let (hop, leaves) = self.way(packet, headers, snapshot)?;
        let frame = packet.frame_mut();
        let is_from_client = matches!(self.counted, Some((_, Direction::Inbound)));
        if self.is_introduced && is_from_client && headers.content == Content::Udp {
            uoa::blank(frame, headers);
        }
        match self.ends {
            None => super::decrement_ttl(frame, headers),
            Some(ends) => {
                ends.write(frame, headers);
                fragment.renumber(frame, ends.identification);
            }
        }
        if let Some(id) = self.tunnel {
            let tunnel = snapshot.tunnels.get(id);
            // That there is one was seen above.
            if let Some(tunnel) = tunnel {
                tun::wrap(packet, headers, tunnel, ledger, snapshot);
            }
        }
        ethernet::rewrite(packet.frame_mut(), &hop.ethernet);
        Ok(leaves)
    }

    /// Where it goes, if it can go there.
    fn way<'a>(
        &self,
        packet: &Packet<'_>,
        headers: &Headers,
        snapshot: &'a Snapshot,
    ) -> Result<(&'a NextHop, Verdict), Verdict> {
        let terms = match self.tunnel {
            None => Terms::growing(0),
            Some(id) => {
                let tunnel = snapshot
                    .tunnels
                    .get(id)
                    .ok_or(Verdict::Drop(DropReason::NoRoute))?;
                tun::terms(id, tunnel, packet, headers, snapshot)
            }
        };
        if packet.headroom() < usize::from(terms.growth) {
            return Err(Verdict::Drop(DropReason::NoHeadroom));
        }
        let hop = snapshot.next_hops.get(self.next_hop);
        let leaves = super::leave(packet, headers, self.next_hop, hop, &terms)?;
        Ok((hop, leaves))
    }

    /// Notes a later fragment that is forwarded.
    pub(crate) fn count(&self, fragment: &Fragment, ledger: &mut Ledger) {
        if let Some((destination, direction)) = self.counted {
            ledger.count_for(destination, direction, fragment.headers.ip_bytes());
        }
    }
}

impl Ends {
    /// Replaces both addresses and takes one from the TTL or hop limit.
    fn write(&self, frame: &mut [u8], headers: &Headers) {
        let Some(ip_header) = frame.get_mut(usize::from(headers.l3)..) else {
            return;
        };
        match self.addresses {
            Addresses::V4 { addresses, delta } => {
                if let Some(header) = ip_header.first_chunk_mut() {
                    ipv4::rewrite(header, addresses, delta);
                }
            }
            Addresses::V6 {
                source,
                destination,
            } => {
                if let Some(header) = ip_header.first_chunk_mut() {
                    ipv6::rewrite(header, source, destination);
                }
            }
        }
    }
}
