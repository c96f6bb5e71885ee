//! Neighbour discovery (RFC 4861): who has this IPv6 address, and the answer.
//!
//! Promises: a message that parses passed all checks of RFC 4861 §7.1, its checksum and hop limit of 255 included,
//! so it was sent on this link. Does not know: which addresses are ours, what is remembered of neighbours.

use std::net::Ipv6Addr;

use super::{PROTOCOL, fill_checksum, multicast_mac, solicited_node};
use crate::ethernet::{self, EtherType, Mac};
use crate::{Content, Headers, ParseError, checksum, ipv6};

/// All nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Bytes of either message without options.
const MESSAGE_BYTES: usize = 24;
/// What no router lets pass: it would have taken one from it.
const HOP_LIMIT: u8 = 255;

const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// A neighbour discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Type 135.
    Solicitation(Solicitation),
    /// Type 136.
    Advertisement(Advertisement),
    /// Something that is not about neighbours.
    Other,
}

/// A question for the MAC address of `target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Who asks; unspecified when it asks whether the address it wants is taken (RFC 4862 §5.4).
    pub source: Ipv6Addr,
    /// Whose MAC address is asked for.
    pub target: Ipv6Addr,
    /// The asker's MAC address, where it says it. What is written always says it, unless `source` is unspecified.
    pub source_mac: Option<Mac>,
}

/// What a node says of an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The address.
    pub target: Ipv6Addr,
    /// Its MAC address, where it is said.
    pub target_mac: Option<Mac>,
    /// The sender is a router.
    pub is_router: bool,
    /// It answers a solicitation.
    pub is_solicited: bool,
    /// It replaces what the receiver knew.
    pub is_override: bool,
}

/// Reads the ICMPv6 message of a frame; one about neighbours that fails a check of RFC 4861 §7.1 is
/// [`ParseError::IcmpMalformed`].
///
/// `headers` is what [`Headers::parse`] learned of this frame.
pub fn parse(frame: &[u8], headers: &Headers) -> Result<Message, ParseError> {
    let (l3, l4, end) = (
        usize::from(headers.l3),
        usize::from(headers.l4),
        usize::from(headers.end),
    );
    let message = frame.get(l4..end).unwrap_or_default();
    if headers.content != Content::Icmp
        || !headers.is_ipv6()
        || !matches!(message.first(), Some(&(SOLICITATION | ADVERTISEMENT)))
    {
        return Ok(Message::Other);
    }
    let (source, destination) = ipv6::addresses(frame, l3).ok_or(ParseError::IcmpMalformed)?;
    let (fixed, options) = message
        .split_first_chunk::<MESSAGE_BYTES>()
        .ok_or(ParseError::IcmpMalformed)?;
    let target = fixed.last_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes));
    let target = target
        .filter(|target| !target.is_multicast())
        .ok_or(ParseError::IcmpMalformed)?;
    if headers.ttl != HOP_LIMIT
        || fixed[1] != 0
        || source.is_multicast()
        || !checksum::l4_is_right(frame, headers)
    {
        return Err(ParseError::IcmpMalformed);
    }
    let (source_mac, target_mac) = parse_options(options)?;
    if fixed[0] == SOLICITATION {
        let is_for_taken_address = destination == solicited_node(target) && source_mac.is_none();
        if source.is_unspecified() && !is_for_taken_address {
            return Err(ParseError::IcmpMalformed);
        }
        return Ok(Message::Solicitation(Solicitation {
            source,
            target,
            source_mac,
        }));
    }
    let is_solicited = fixed[4] & SOLICITED != 0;
    if is_solicited && destination.is_multicast() {
        return Err(ParseError::IcmpMalformed);
    }
    Ok(Message::Advertisement(Advertisement {
        target,
        target_mac,
        is_router: fixed[4] & ROUTER != 0,
        is_solicited,
        is_override: fixed[4] & OVERRIDE != 0,
    }))
}

/// The MAC addresses among the options, of source and target. Other options are passed over; one that is cut off,
/// of length zero, or that gives a MAC address of a group spoils the message.
fn parse_options(mut options: &[u8]) -> Result<(Option<Mac>, Option<Mac>), ParseError> {
    let (mut source_mac, mut target_mac) = (None, None);
    while let [kind, eights, ..] = *options {
        let len_bytes = usize::from(eights) * 8;
        if len_bytes == 0 || len_bytes > options.len() {
            return Err(ParseError::IcmpMalformed);
        }
        if let ([_, _, a, b, c, d, e, f], SOURCE_MAC | TARGET_MAC) = (&options[..len_bytes], kind) {
            let mac = Mac([*a, *b, *c, *d, *e, *f]);
            if mac.is_group() {
                return Err(ParseError::IcmpMalformed);
            }
            let slot = if kind == SOURCE_MAC {
                &mut source_mac
            } else {
                &mut target_mac
            };
            *slot = Some(mac);
        }
        options = &options[len_bytes..];
    }
    if options.is_empty() {
        Ok((source_mac, target_mac))
    } else {
        Err(ParseError::IcmpMalformed)
    }
}

impl Solicitation {
    /// A whole frame from the MAC address `mac`: to the target's solicited-node group, or, to probe a neighbour
    /// that is known already, to its MAC address `unicast`.
    pub fn write(&self, mac: Mac, unicast: Option<Mac>) -> Vec<u8> {
        let group = solicited_node(self.target);
        let (destination, destination_mac) = match unicast {
            Some(neighbour) => (self.target, neighbour),
            None => (group, multicast_mac(group)),
        };
        let option = (!self.source.is_unspecified()).then_some((SOURCE_MAC, mac));
        let message = message(SOLICITATION, 0, self.target, option);
        frame([mac, destination_mac], [self.source, destination], message)
    }

    /// The whole frame that answers this solicitation for an address that has `mac` (RFC 4861 §7.2.4). `asker` is
    /// the MAC address the solicitation's frame came from; who asks without an address is answered before all.
    pub fn answer(&self, mac: Mac, asker: Mac) -> Vec<u8> {
        let is_solicited = !self.source.is_unspecified();
        let answer = Advertisement {
            target: self.target,
            target_mac: Some(mac),
            is_router: false,
            is_solicited,
            is_override: true,
        };
        if is_solicited {
            answer.write(mac, self.source, self.source_mac.unwrap_or(asker))
        } else {
            answer.write(mac, ALL_NODES, multicast_mac(ALL_NODES))
        }
    }
}

impl Advertisement {
    /// A whole frame that tells all nodes on the link, unasked, that `target` has `mac` (RFC 4861 §7.2.6).
    pub fn announce(target: Ipv6Addr, mac: Mac) -> Vec<u8> {
        let announcement = Self {
            target,
            target_mac: Some(mac),
            is_router: false,
            is_solicited: false,
            is_override: true,
        };
        announcement.write(mac, ALL_NODES, multicast_mac(ALL_NODES))
    }

    /// A whole frame from the target itself, at `mac`, to `destination` at `destination_mac`.
    pub fn write(&self, mac: Mac, destination: Ipv6Addr, destination_mac: Mac) -> Vec<u8> {
        let flags = [
            (self.is_router, ROUTER),
            (self.is_solicited, SOLICITED),
            (self.is_override, OVERRIDE),
        ];
        let flags = flags
            .iter()
            .filter(|(is_set, _)| *is_set)
            .fold(0, |all, (_, flag)| all | flag);
        let option = self.target_mac.map(|mac| (TARGET_MAC, mac));
        let message = message(ADVERTISEMENT, flags, self.target, option);
        frame([mac, destination_mac], [self.target, destination], message)
    }
}

/// A message with at most one option, its checksum still zero.
fn message(icmp_type: u8, flags: u8, target: Ipv6Addr, option: Option<(u8, Mac)>) -> Vec<u8> {
    let mut message = vec![icmp_type, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    if let Some((kind, mac)) = option {
        message.extend([kind, 1]);
        message.extend(mac.0);
    }
    message
}

/// A whole frame; of both pairs the first is where it comes from.
fn frame(
    [source_mac, destination_mac]: [Mac; 2],
    [source, destination]: [Ipv6Addr; 2],
    mut message: Vec<u8>,
) -> Vec<u8> {
    fill_checksum(&mut message, source, destination);
    let header = ipv6::NewHeader {
        source,
        destination,
        next_header: PROTOCOL,
        hop_limit: HOP_LIMIT,
        payload_bytes: message.len() as u16,
    };
    let mut frame = vec![0; ethernet::HEADER_BYTES];
    ethernet::write(&mut frame, destination_mac, source_mac, EtherType::Ipv6);
    frame.extend(header.write());
    frame.extend(message);
    frame
}
