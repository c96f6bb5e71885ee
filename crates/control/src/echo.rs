//! ICMP messages that are no errors: echo requests are answered, the rest is refused by name.
//!
//! Promises: only what was sent to one address of ours, by another node, whole, is answered, and at a limited rate.
//! Does not know: neighbour discovery, ICMP errors.

use std::net::IpAddr;
use std::time::Instant;

use weir_director::DropReason;
use weir_wire::ethernet::Mac;
use weir_wire::{Content, Headers, checksum, ethernet, icmp, icmpv6, ipv4};

use crate::announce::Standing;
use crate::port::Link;
use crate::{SlowPath, address};

impl SlowPath {
    /// Deals with an ICMP or ICMPv6 message that is no error.
    pub(crate) fn handle_icmp(
        &mut self,
        link: Link,
        frame: &[u8],
        headers: &Headers,
        now: Instant,
    ) -> Result<(), DropReason> {
        if headers.content != Content::Icmp {
            return Err(DropReason::IcmpIgnored);
        }
        let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
        if !headers.is_ipv6() && !ipv4::checksum_is_right(frame, l3, l4) {
            return Err(DropReason::Ipv4ChecksumWrong);
        }
        if !checksum::l4_is_right(frame, headers) {
            return Err(DropReason::IcmpChecksumWrong);
        }
        if headers.is_ipv6() {
            self.handle_icmpv6(link, frame, headers, now)
        } else {
            self.handle_echo(link, frame, headers, now)
        }
    }

    /// Answers an echo request whose checksum is right. Any address of ours is answered on any port (the weak host
    /// model of RFC 1122 §3.3.4.2, as Linux has it): the frame was sent to our MAC address, so we are its way there.
    pub(crate) fn handle_echo(
        &mut self,
        link: Link,
        frame: &[u8],
        headers: &Headers,
        now: Instant,
    ) -> Result<(), DropReason> {
        if ethernet::destination(frame).is_none_or(Mac::is_group) {
            return Err(DropReason::IcmpIgnored);
        }
        let (source, destination) = headers
            .ip_addresses(frame)
            .ok_or(DropReason::IcmpMalformed)?;
        if !self.stands(destination, Standing::Ours) {
            // Connections through an address that was ours live on; whoever probes it is to see that it is gone.
            return Err(if self.stands(destination, Standing::Former) {
                DropReason::IcmpIgnored
            } else {
                DropReason::AddressNotOurs
            });
        }
        if !address::is_one_host(source) || self.stands(source, Standing::Ours) {
            return Err(DropReason::SourceInvalid);
        }
        let reply = self.rates.echo.spend(now, || reply(frame, headers));
        let reply = reply.ok_or(DropReason::IcmpIgnored)?;
        self.outbox.transmit(link.port, reply);
        Ok(())
    }

    /// Whether an address stands so on some port.
    pub(crate) fn stands(&self, address: IpAddr, standing: Standing) -> bool {
        self.ports
            .iter()
            .any(|port| self.announcer.standing(port.id, address) == standing)
    }
}

/// The whole answer to an echo request; `None` when it is none.
fn reply(frame: &[u8], headers: &Headers) -> Option<Vec<u8>> {
    let mut reply = frame.to_vec();
    let is_request = if headers.is_ipv6() {
        icmpv6::echo_reply_in_place(&mut reply, headers)
    } else {
        icmp::echo_reply_in_place(&mut reply, headers)
    };
    is_request.then_some(reply)
}
