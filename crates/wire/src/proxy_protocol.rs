//! The header of the PROXY protocol (HAProxy's specification, versions 1 and 2): who the client is and whom it asked,
//! in front of everything else that it sends.
//!
//! ```text
//!   version 1   PROXY TCP4 192.0.2.7 198.51.100.1 40000 80␍␊
//!   version 2   ␍␊␍␊␀␍␊QUIT␊ | 21 | family, transport | length | source address | destination | both L4 ports
//! ```
//!
//! Promises: bytes and length depend on the flow's key and the version alone. Addresses of version 1 are written as
//! RFC 5952 has them.
//! Does not know: where it goes, and how often.

use std::fmt::{self, Write};
use std::net::IpAddr;

use crate::{FlowKey, Protocol};

/// Which form of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text. It knows no UDP.
    V1,
    /// Binary.
    V2,
}

/// Bytes of the longest header: version 1 (its specification §2.1).
pub const MAX_BYTES: usize = 107;

/// What version 2 begins with (§2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_COMMAND: u8 = 0x21;

/// A header.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; MAX_BYTES],
    len: u8,
}

impl Header {
    /// No header.
    pub const EMPTY: Self = Self {
        bytes: [0; MAX_BYTES],
        len: 0,
    };

    /// The header for a flow whose packets from the client have this key.
    pub fn new(version: Version, client: &FlowKey) -> Self {
        let mut header = Self::EMPTY;
        match version {
            // The longest possible line fits, so nothing fails.
            Version::V1 => header.write_line(client).unwrap_or_default(),
            Version::V2 => header.write_binary(client),
        }
        header
    }

    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }

    /// How many they are.
    #[inline]
    pub fn len_bytes(&self) -> u16 {
        self.len.into()
    }

    fn write_line(&mut self, client: &FlowKey) -> fmt::Result {
        let (source, destination) = (client.source(), client.destination());
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        write!(self, "PROXY {family} {} {}", source.ip(), destination.ip())?;
        write!(self, " {} {}\r\n", source.port(), destination.port())
    }

    fn write_binary(&mut self, client: &FlowKey) {
        let (source, destination) = (client.source(), client.destination());
        let (family, addresses_bytes) = if source.is_ipv4() {
            (0x10, 12)
        } else {
            (0x20, 36)
        };
        let transport = match client.protocol() {
            Protocol::Tcp => 1,
            Protocol::Udp => 2,
            // "Unspecified": the protocol has no word for it, and SCTP goes without.
            Protocol::Sctp => 0,
        };
        self.put(&SIGNATURE);
        self.put(&[VERSION_COMMAND, family | transport, 0, addresses_bytes]);
        for address in [source.ip(), destination.ip()] {
            match address {
                IpAddr::V4(address) => self.put(&address.octets()),
                IpAddr::V6(address) => self.put(&address.octets()),
            }
        }
        self.put(&source.port().to_be_bytes());
        self.put(&destination.port().to_be_bytes());
    }

    /// Adds bytes that fit.
    fn put(&mut self, bytes: &[u8]) {
        let start = usize::from(self.len);
        if let Some(room) = self.bytes.get_mut(start..start + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len() as u8;
        }
    }
}

impl Write for Header {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}
