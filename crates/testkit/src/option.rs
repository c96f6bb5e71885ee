//! TCP options, written and read without weir's own code.
//!
//! Promises: what is written is read back the same. Does not know: which options belong into which segment.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_wire::Endpoint;

/// An option of a TCP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpOption {
    /// End of the list.
    End,
    /// No operation.
    Nop,
    /// Maximum segment size, in bytes.
    Mss(u16),
    /// Window scale, in bits.
    WindowScale(u8),
    /// Selective acknowledgements are welcome.
    SackPermitted,
    /// Selective acknowledgements: left and right edges.
    Sack(Vec<(u32, u32)>),
    /// Timestamps: value and echo.
    Timestamps(u32, u32),
    /// A client's address, as TOA carries it, under this kind: 253 or 254, those for experiments (RFC 4727).
    ClientAddress(u8, Endpoint),
    /// Anything else: kind and what follows the length.
    Other(u8, Vec<u8>),
}

impl TcpOption {
    /// The options that Linux puts on a SYN, 20 bytes.
    pub fn of_syn() -> [Self; 5] {
        [
            Self::Mss(1460),
            Self::SackPermitted,
            Self::Timestamps(1000, 0),
            Self::Nop,
            Self::WindowScale(7),
        ]
    }

    /// Timestamps as Linux puts them on every later segment, 12 bytes.
    pub fn timestamps(value: u32, echo: u32) -> [Self; 3] {
        [Self::Nop, Self::Nop, Self::Timestamps(value, echo)]
    }

    /// The option's bytes.
    pub fn write(&self) -> Vec<u8> {
        let long = |kind: u8, value: &[u8]| {
            let len = u8::try_from(value.len() + 2).expect("an option is shorter than 256 bytes");
            [&[kind, len], value].concat()
        };
        match self {
            Self::End => vec![0],
            Self::Nop => vec![1],
            Self::Mss(bytes) => long(2, &bytes.to_be_bytes()),
            Self::WindowScale(bits) => long(3, &[*bits]),
            Self::SackPermitted => long(4, &[]),
            Self::Sack(blocks) => {
                let edges = blocks.iter().flat_map(|(left, right)| [*left, *right]);
                long(5, &edges.flat_map(u32::to_be_bytes).collect::<Vec<_>>())
            }
            Self::Timestamps(value, echo) => {
                long(8, &[value.to_be_bytes(), echo.to_be_bytes()].concat())
            }
            Self::ClientAddress(kind, client) => {
                let address = match client.ip() {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                long(
                    *kind,
                    &[&client.port().to_be_bytes()[..], &address].concat(),
                )
            }
            Self::Other(kind, value) => long(*kind, value),
        }
    }

    /// Reads all options of a header, up to its end or the end mark. `None` when a length cannot be.
    pub fn read_all(mut bytes: &[u8]) -> Option<Vec<Self>> {
        let mut options = Vec::new();
        while let Some((kind, rest)) = bytes.split_first() {
            if *kind < 2 {
                options.push(if *kind == 0 { Self::End } else { Self::Nop });
                if *kind == 0 {
                    break;
                }
                bytes = rest;
                continue;
            }
            let (len, rest) = rest.split_first()?;
            let (value, rest) = rest.split_at_checked(usize::from(*len).checked_sub(2)?)?;
            options.push(Self::read(*kind, value));
            bytes = rest;
        }
        Some(options)
    }

    fn read(kind: u8, value: &[u8]) -> Self {
        let number = |at: usize| {
            u32::from_be_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]])
        };
        match (kind, value.len()) {
            (2, 2) => Self::Mss(u16::from_be_bytes([value[0], value[1]])),
            (3, 1) => Self::WindowScale(value[0]),
            (4, 0) => Self::SackPermitted,
            (5, len) if len % 8 == 0 => Self::Sack(
                (0..len / 8)
                    .map(|block| (number(8 * block), number(8 * block + 4)))
                    .collect(),
            ),
            (8, 8) => Self::Timestamps(number(0), number(4)),
            (253 | 254, 6) => {
                let address = Ipv4Addr::new(value[2], value[3], value[4], value[5]);
                Self::client_address(kind, value, address.into())
            }
            (253 | 254, 18) => {
                let mut octets = [0; 16];
                octets.copy_from_slice(&value[2..]);
                Self::client_address(kind, value, Ipv6Addr::from(octets).into())
            }
            _ => Self::Other(kind, value.to_vec()),
        }
    }

    fn client_address(kind: u8, value: &[u8], address: IpAddr) -> Self {
        let cport = u16::from_be_bytes([value[0], value[1]]);
        Self::ClientAddress(kind, Endpoint::new(address, cport))
    }
}

impl fmt::Display for TcpOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("end"),
            Self::Nop => f.write_str("nop"),
            Self::Mss(bytes) => write!(f, "mss{bytes}"),
            Self::WindowScale(bits) => write!(f, "scale{bits}"),
            Self::SackPermitted => f.write_str("sackok"),
            Self::Sack(blocks) => {
                let blocks: Vec<String> = blocks
                    .iter()
                    .map(|(left, right)| format!("{left}-{right}"))
                    .collect();
                write!(f, "sack{}", blocks.join(","))
            }
            Self::Timestamps(value, echo) => write!(f, "ts{value}/{echo}"),
            Self::ClientAddress(254, client) => write!(f, "toa={client}"),
            Self::ClientAddress(kind, client) => write!(f, "toa{kind}={client}"),
            Self::Other(kind, value) => write!(f, "kind{kind}:{value:02x?}"),
        }
    }
}
