//! SCTP packets, written and read by a checksum that is not weir's.
//!
//! Promises: the CRC32c is the crate `crc`'s. Does not know: what a chunk's value means.

use std::fmt;

use crc::{CRC_32_ISCSI, Crc};

/// Types of chunks (RFC 9260 §3.2).
pub mod chunk {
    /// Data.
    pub const DATA: u8 = 0;
    /// Opens an association.
    pub const INIT: u8 = 1;
    /// Answers with a cookie.
    pub const INIT_ACK: u8 = 2;
    /// Selective acknowledgement.
    pub const SACK: u8 = 3;
    /// Asks whether the other end is there.
    pub const HEARTBEAT: u8 = 4;
    /// Says that it is.
    pub const HEARTBEAT_ACK: u8 = 5;
    /// Ends an association at once.
    pub const ABORT: u8 = 6;
    /// Begins its end.
    pub const SHUTDOWN: u8 = 7;
    /// Agrees.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// An error that ends nothing.
    pub const ERROR: u8 = 9;
    /// Returns the cookie.
    pub const COOKIE_ECHO: u8 = 10;
    /// The association stands.
    pub const COOKIE_ACK: u8 = 11;
    /// Its end.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// An SCTP packet, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SctpPacket {
    /// Source and destination L4 port.
    pub l4_ports: [u16; 2],
    /// The verification tag.
    pub tag: u32,
    /// Its chunks: type and value.
    pub chunks: Vec<(u8, Vec<u8>)>,
}

/// The CRC32c of RFC 9260 §6.8 over a packet whose checksum counts as zero, as it lies in the packet.
fn checksum(packet: &[u8]) -> [u8; 4] {
    let crc = Crc::<u32>::new(&CRC_32_ISCSI);
    let mut digest = crc.digest();
    digest.update(&packet[..8]);
    digest.update(&[0; 4]);
    digest.update(&packet[12..]);
    digest.finalize().to_le_bytes()
}

impl SctpPacket {
    /// The packet's bytes, every chunk padded to a multiple of 4.
    pub fn write(&self) -> Vec<u8> {
        let [source, destination] = self.l4_ports.map(u16::to_be_bytes);
        let mut packet = [source, destination].concat();
        packet.extend(self.tag.to_be_bytes());
        packet.extend([0; 4]);
        for (kind, value) in &self.chunks {
            packet.extend([*kind, 0]);
            packet.extend((value.len() as u16 + 4).to_be_bytes());
            packet.extend(value);
            packet.resize(packet.len().next_multiple_of(4), 0);
        }
        let checksum = checksum(&packet);
        packet[8..12].copy_from_slice(&checksum);
        packet
    }

    /// Reads a packet; `Err` says why it cannot be read, or that its checksum is wrong.
    pub fn read(packet: &[u8]) -> Result<Self, String> {
        let [a, b, c, d, tag @ .., _, _, _, _] = packet
            .first_chunk::<12>()
            .ok_or("the SCTP header is cut off")?;
        if packet[8..12] != checksum(packet) {
            return Err(format!(
                "the SCTP checksum is wrong; right would be {:02x?}",
                checksum(packet)
            ));
        }
        let mut chunks = Vec::new();
        let mut rest = &packet[12..];
        while let Some([kind, _, high, low]) = rest.first_chunk() {
            let len_bytes = usize::from(u16::from_be_bytes([*high, *low]));
            let value = rest.get(4..len_bytes).ok_or("an SCTP chunk is cut off")?;
            chunks.push((*kind, value.to_vec()));
            rest = rest
                .get(len_bytes.next_multiple_of(4)..)
                .unwrap_or_default();
        }
        Ok(Self {
            l4_ports: [[*a, *b], [*c, *d]].map(u16::from_be_bytes),
            tag: u32::from_be_bytes(*tag),
            chunks,
        })
    }
}

impl fmt::Display for SctpPacket {
    /// The types of the chunks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<String> = self
            .chunks
            .iter()
            .map(|(kind, _)| kind.to_string())
            .collect();
        f.write_str(&kinds.join("+"))
    }
}
