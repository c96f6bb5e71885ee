//! Neighbour discovery (RFC 4861).
use std::net::Ipv6Addr;

use crate::ethernet::Mac;
use crate::{Headers, ParseError};

/// A question for the MAC address of `target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Who asks; unspecified when it asks whether its own address is taken (RFC 4862).
    pub source: Ipv6Addr,
    /// Whose MAC address is asked for.
    pub target: Ipv6Addr,
    /// The asker's MAC address.
    pub source_mac: Option<Mac>,
}

/// What a node says of an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The address.
    pub target: Ipv6Addr,
    /// Its MAC address.
    pub target_mac: Option<Mac>,
    /// The sender is a router.
    pub is_router: bool,
    /// It answers a solicitation.
    pub is_solicited: bool,
    /// It replaces what the receiver knew.
    pub is_override: bool,
}

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

/// Reads the ICMPv6 message of a frame.
pub fn parse(_frame: &[u8], _headers: &Headers) -> Result<Message, ParseError> {
    Ok(Message::Other)
}

impl Solicitation {
    /// A whole frame from the MAC address `mac`: to the solicited-node group, or to `unicast` to probe a
    /// neighbour that is known already.
    pub fn write(&self, _mac: Mac, _unicast: Option<Mac>) -> Vec<u8> {
        Vec::new()
    }

    /// The whole frame that answers this solicitation, received from `asker`, for an address that has `mac`.
    pub fn answer(&self, _mac: Mac, _asker: Mac) -> Vec<u8> {
        Vec::new()
    }
}

impl Advertisement {
    /// A whole frame from the target's own address and MAC address `mac` to all nodes on the link, unasked.
    pub fn announce(_target: Ipv6Addr, _mac: Mac) -> Vec<u8> {
        Vec::new()
    }
}
