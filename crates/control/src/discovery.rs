//! Neighbour discovery messages that arrive (RFC 4861), duplicate addresses (RFC 4862), questions for our multicast
//! groups (RFC 3810).
//!
//! Promises: only neighbours that were asked for are remembered; an address that another node has, or wants at the
//! same time as we do, does not become ours.
//! Does not know: what is remembered of a neighbour, ICMPv6 echo.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use weir_director::DropReason;
use weir_wire::ethernet::Mac;
use weir_wire::icmpv6::listener::{self, Occasion};
use weir_wire::icmpv6::neighbour::{self, Advertisement, Message, Solicitation};
use weir_wire::{Headers, ethernet};

use crate::announce::{Contest, Standing};
use crate::neighbour::{Evidence, Heard, Outcome};
use crate::port::Link;
use crate::{Event, SlowPath};

impl SlowPath {
    /// Deals with an ICMPv6 message that is no error and whose checksum is right.
    pub(crate) fn handle_icmpv6(
        &mut self,
        link: Link,
        frame: &[u8],
        headers: &Headers,
        now: Instant,
    ) -> Result<(), DropReason> {
        let message =
            neighbour::parse(frame, headers).map_err(|_| DropReason::NeighbourDiscoveryInvalid)?;
        let sender_mac = ethernet::source(frame).ok_or(DropReason::EthernetTruncated)?;
        match message {
            // What we sent to a group, come back by a loop or by another port on the same link: no duplicate.
            Message::Solicitation(_) | Message::Advertisement(_) if self.is_own_mac(sender_mac) => {
                Err(DropReason::NeighbourDiscoveryInvalid)
            }
            Message::Solicitation(solicitation) => {
                self.handle_solicitation(link, frame, solicitation, now)
            }
            Message::Advertisement(advertisement) => {
                self.handle_advertisement(link, advertisement, sender_mac, now)
            }
            Message::Other if listener::is_query(frame, headers) => self.handle_query(link, now),
            Message::Other => self.handle_echo(link, frame, headers, now),
        }
    }

    fn handle_solicitation(
        &mut self,
        link: Link,
        frame: &[u8],
        solicitation: Solicitation,
        now: Instant,
    ) -> Result<(), DropReason> {
        let target = solicitation.target;
        let sender_mac = ethernet::source(frame).ok_or(DropReason::EthernetTruncated)?;
        // Who asks without an address wants it too (RFC 4862 §5.4.3), and is answered before all.
        let is_wanted = solicitation.source.is_unspecified();
        if is_wanted && self.contest(link, target, sender_mac, now) {
            return Ok(());
        }
        let outcome = self.hear_asker(link, solicitation, now);
        let is_former = self.announcer.standing(link.port, IpAddr::V6(target)) == Standing::Former;
        let is_answered =
            self.answers_for(link, IpAddr::V6(target), frame) && !(is_wanted && is_former);
        if is_answered {
            let answer = solicitation.answer(link.mac, sender_mac);
            self.outbox.transmit(link.port, answer);
        }
        if is_answered || outcome != Outcome::Useless {
            Ok(())
        } else {
            Err(DropReason::NeighbourDiscoveryInvalid)
        }
    }

    /// Who asks tells its own MAC address (RFC 4861 §7.2.3).
    fn hear_asker(&mut self, link: Link, solicitation: Solicitation, now: Instant) -> Outcome {
        if solicitation.source_mac.is_none() {
            return Outcome::Useless;
        }
        let heard = Heard {
            mac: solicitation.source_mac,
            evidence: Evidence::Claim,
            is_override: true,
        };
        let asker = IpAddr::V6(solicitation.source);
        self.neighbours.hear(link.port, asker, heard, now)
    }

    fn handle_advertisement(
        &mut self,
        link: Link,
        advertisement: Advertisement,
        sender_mac: Mac,
        now: Instant,
    ) -> Result<(), DropReason> {
        if self.contest(link, advertisement.target, sender_mac, now) {
            return Ok(());
        }
        let heard = Heard {
            mac: advertisement.target_mac,
            evidence: if advertisement.is_solicited {
                Evidence::Answer
            } else {
                Evidence::Claim
            },
            is_override: advertisement.is_override,
        };
        let target = IpAddr::V6(advertisement.target);
        match self.neighbours.hear(link.port, target, heard, now) {
            Outcome::Useless => Err(DropReason::NeighbourDiscoveryInvalid),
            Outcome::Unchanged | Outcome::Changed(_) => Ok(()),
        }
    }

    /// Gives up, for now, an address that was to become ours; false when it was not. It is told once.
    fn contest(&mut self, link: Link, address: Ipv6Addr, mac: Mac, now: Instant) -> bool {
        let port = link.port;
        match self.announcer.contest(port, address, now) {
            Contest::None => false,
            Contest::LostAgain => true,
            Contest::Lost => {
                self.outbox
                    .tell(Event::DuplicateAddress { port, address, mac });
                true
            }
        }
    }

    /// Tells all groups, whichever was asked about, and at once: RFC 3810 §6.2 spreads answers over time for the
    /// sake of links with many listeners, and lets a node tell more than it was asked.
    fn handle_query(&mut self, link: Link, now: Instant) -> Result<(), DropReason> {
        if !self.rates.queries.allows(now) {
            return Err(DropReason::IcmpIgnored);
        }
        let groups: Vec<_> = self.announcer.groups(link.port).into_iter().collect();
        self.report_groups(link, Occasion::Queried, &groups);
        Ok(())
    }
}
