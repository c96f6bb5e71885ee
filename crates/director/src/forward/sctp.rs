//! SCTP under NAT and FULLNAT: both ends of a packet are rewritten, as those of TCP and UDP are.
//!
//! Promises: a checksum that was right stays right, and one that was wrong stays wrong. TTL or hop limit is decremented.
//! Neither end learns of addresses that the other has beside: what went there would not come by here.
//! Does not know: what TCP needs beside that.
//!
//! Apart from `fullnat`, so that TCP and UDP need not ask whether a packet is of SCTP.

use weir_wire::sctp::Chunk;
use weir_wire::{FlowKey, Headers, Packet, ethernet, ipv4, ipv6, sctp};

use super::Terms;
use super::fullnat::renumber;
use crate::connection::Found;
use crate::ledger::Ledger;
use crate::{Snapshot, Tick, Verdict};

/// Rewrites an SCTP packet of a connection. `Err`: it is as it came in.
#[cold]
#[inline(never)]
pub(super) fn apply(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Verdict, Verdict> {
    let hop_id = ledger.table.get(found.id).next_hop(found.direction);
    let hop = snapshot.next_hops.get(hop_id);
    // (1) Whatever refuses the packet does so before its first byte changes.
    let leaves = super::leave(packet, headers, hop_id, hop, &Terms::growing(0))?;
    // (2) The connection learns of it.
    ledger.count(found, headers.ip_bytes(), now);
    let chunk = sctp::chunk(packet.frame(), headers);
    ledger.advance_sctp(found, chunk, now, &snapshot.settings.timeouts);
    // (3) What one direction is rewritten to is the other pair turned round.
    let ends = ledger
        .table
        .key(found.id, found.direction.turned())
        .turned();
    let frame = packet.frame_mut();
    ethernet::rewrite(frame, &hop.ethernet);
    let ip_header = &mut frame[usize::from(headers.l3)..];
    match ends {
        FlowKey::V4(ends) => {
            if let Some(header) = ip_header.first_chunk_mut() {
                let delta = ledger.table.get(found.id).ip_delta(found.direction);
                ipv4::rewrite(header, ends.addresses, delta);
            }
        }
        FlowKey::V6(ends) => {
            if let Some(header) = ip_header.first_chunk_mut() {
                ipv6::rewrite(header, ends.source, ends.destination);
            }
        }
    }
    let sctp_packet = &mut frame[usize::from(headers.l4)..usize::from(headers.end)];
    if let Chunk::Init | Chunk::InitAck = chunk {
        sctp::hide_addresses(sctp_packet);
    }
    if let Some(header) = sctp_packet.first_chunk_mut() {
        let l4_ports = ends.l4_ports().to_ne_bytes();
        sctp::rewrite(header, l4_ports, headers.end - headers.l4);
    }
    if let Verdict::Fragment { .. } = leaves {
        renumber(packet.frame_mut(), headers, found, ledger, snapshot);
    }
    Ok(leaves)
}
