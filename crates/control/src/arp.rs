//! ARP packets that arrive (RFC 826): questions for our addresses, answers to ours.
//!
//! Promises: only neighbours that were asked for are remembered, so that nobody fills the table by talking.
//! Does not know: what is remembered of a neighbour.

use std::net::IpAddr;
use std::time::Instant;

use weir_director::DropReason;
use weir_wire::arp::{Arp, Operation};
use weir_wire::{Content, Headers};

use crate::SlowPath;
use crate::neighbour::{Evidence, Heard, Outcome};
use crate::port::Link;

impl SlowPath {
    /// Deals with an ARP packet.
    pub(crate) fn handle_arp(
        &mut self,
        link: Link,
        frame: &[u8],
        headers: &Headers,
        now: Instant,
    ) -> Result<(), DropReason> {
        if headers.content != Content::Arp {
            return Err(DropReason::ArpMalformed);
        }
        let arp = Arp::parse(frame, usize::from(headers.l3))?;
        // Our own announcement, come back by a loop or by another port on the same link.
        if self.is_own_mac(arp.sender_mac) {
            return Err(DropReason::ArpNotForUs);
        }
        let is_answer = arp.operation == Operation::Reply && arp.target_mac == link.mac;
        let heard = Heard {
            mac: Some(arp.sender_mac),
            evidence: if is_answer {
                Evidence::Answer
            } else {
                Evidence::Claim
            },
            is_override: true,
        };
        let outcome = self
            .neighbours
            .hear(link.port, IpAddr::V4(arp.sender), heard, now);
        let target = IpAddr::V4(arp.target);
        let is_asked = arp.operation == Operation::Request && self.answers_for(link, target, frame);
        if is_asked {
            self.outbox.transmit(link.port, reply(&arp, link));
        }
        if is_asked || outcome != Outcome::Useless {
            Ok(())
        } else {
            Err(DropReason::ArpNotForUs)
        }
    }
}

/// The answer to a request, whole.
fn reply(request: &Arp, link: Link) -> Vec<u8> {
    Arp {
        operation: Operation::Reply,
        sender_mac: link.mac,
        sender: request.target,
        target_mac: request.sender_mac,
        target: request.sender,
    }
    .write(request.sender_mac)
}
