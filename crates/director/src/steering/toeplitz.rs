//! The Toeplitz hash by which NICs spread packets over their queues (RSS).
//!
//! Promises: the hash of Microsoft's specification ("RSS hashing functions"), verified against its published vectors.
//! Does not know: redirection tables, queues, workers.
//!
//! How it works: each bit of the input that is set adds (exclusive or) the 32 bits of the key that begin at its
//! place. So the hash is linear: the hash of two inputs without a common bit is the exclusive or of theirs, and a
//! flow's hash the exclusive or of one value for each of its addresses and L4 ports; and such a value that of one for
//! each of its bytes, which stands in a table.

use std::net::IpAddr;

use weir_wire::L4Port;

/// Bytes of source and destination address and both L4 ports of IPv6, the longest input.
const MAX_INPUT_BYTES: usize = 36;
/// Bytes that a key must have at least for that.
const MIN_KEY_BYTES: usize = MAX_INPUT_BYTES + 4;

/// A key, ready to hash with.
#[derive(Clone, Debug)]
pub(super) struct Toeplitz {
    /// By its place in the input: what a byte adds, by its value.
    parts: Box<[[u32; 256]; MAX_INPUT_BYTES]>,
}

/// Which end of a flow an address or L4 port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

impl Toeplitz {
    /// For a key of at least 40 bytes; a shorter one cannot hash IPv6.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        if key.len() < MIN_KEY_BYTES {
            return None;
        }
        let mut parts = Box::new([[0; 256]; MAX_INPUT_BYTES]);
        for (place, parts) in parts.iter_mut().enumerate() {
            // The bits of the key that any bit of this byte meets.
            let key = key[place..][..5]
                .iter()
                .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
            for (byte, part) in (0u8..=255).zip(parts) {
                *part = (0..8)
                    .filter(|bit| byte >> (7 - bit) & 1 == 1)
                    .fold(0, |part, bit| part ^ (key >> (8 - bit)) as u32);
            }
        }
        Some(Self { parts })
    }

    /// An address's part of a flow's hash.
    pub(super) fn address(&self, address: IpAddr, end: End) -> u32 {
        match address {
            IpAddr::V4(address) => {
                self.part(&address.octets(), if end == End::Source { 0 } else { 4 })
            }
            IpAddr::V6(address) => {
                self.part(&address.octets(), if end == End::Source { 0 } else { 16 })
            }
        }
    }

    /// An L4 port's part of the hash of a flow between addresses `like` this one.
    pub(super) fn l4_port(&self, l4_port: L4Port, like: IpAddr, end: End) -> u32 {
        let behind_addresses = if like.is_ipv4() { 8 } else { 32 };
        let at = behind_addresses + if end == End::Source { 0 } else { 2 };
        self.part(&l4_port.to_be_bytes(), at)
    }

    /// The hash of an input that is zero but for `bytes` from byte `at` on.
    #[inline]
    fn part(&self, bytes: &[u8], at: usize) -> u32 {
        bytes
            .iter()
            .zip(&self.parts[at..])
            .fold(0, |hash, (byte, parts)| hash ^ parts[usize::from(*byte)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    /// The key of the specification's vectors.
    const KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    fn hash(toeplitz: &Toeplitz, source: SocketAddr, destination: SocketAddr) -> u32 {
        toeplitz.address(source.ip(), End::Source)
            ^ toeplitz.address(destination.ip(), End::Destination)
            ^ toeplitz.l4_port(source.port(), source.ip(), End::Source)
            ^ toeplitz.l4_port(destination.port(), source.ip(), End::Destination)
    }

    /// The naive twin: shifts the whole key along, bit by bit.
    fn bitwise(key: &[u8], input: &[u8]) -> u32 {
        let mut hash = 0;
        for bit in 0..input.len() * 8 {
            if input[bit / 8] >> (7 - bit % 8) & 1 == 1 {
                for place in 0..32 {
                    let key_bit = bit + place;
                    hash ^= u32::from(key[key_bit / 8] >> (7 - key_bit % 8) & 1) << (31 - place);
                }
            }
        }
        hash
    }

    fn input(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let l4_ports = [
            source.port().to_be_bytes(),
            destination.port().to_be_bytes(),
        ]
        .concat();
        [octets(source.ip()), octets(destination.ip()), l4_ports].concat()
    }

    #[test]
    fn the_published_vectors() {
        let toeplitz = Toeplitz::new(&KEY).unwrap();
        for (destination, source, expected) in [
            ("161.142.100.80:1766", "66.9.149.187:2794", 0x51cc_c178),
            ("65.69.140.83:4739", "199.92.111.2:14230", 0xc626_b0ea),
            ("12.22.207.184:38024", "24.19.198.95:12898", 0x5c2b_394a),
            ("209.142.163.6:2217", "38.27.205.30:48228", 0xafc7_327f),
            ("202.188.127.2:1303", "153.39.163.191:44251", 0x10e8_28a2),
            (
                "[3ffe:2501:200:3::1]:1766",
                "[3ffe:2501:200:1fff::7]:2794",
                0x4020_7d3d,
            ),
            (
                "[ff02::1]:4739",
                "[3ffe:501:8::260:97ff:fe40:efab]:14230",
                0xdde5_1bbf,
            ),
            (
                "[fe80::200:f8ff:fe21:67cf]:38024",
                "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
                0x02d1_feef,
            ),
        ] {
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            assert_eq!(
                hash(&toeplitz, source, destination),
                expected,
                "{source} > {destination}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_bitwise_twin(
            key: [u8; 40], source: [u8; 16], destination: [u8; 16], l4_ports: [u16; 2], is_ipv4: bool,
        ) {
            let address = |bytes: [u8; 16]| match is_ipv4 {
                true => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
                false => IpAddr::from(bytes),
            };
            let source = SocketAddr::new(address(source), l4_ports[0]);
            let destination = SocketAddr::new(address(destination), l4_ports[1]);
            let toeplitz = Toeplitz::new(&key).unwrap();
            proptest::prop_assert_eq!(
                hash(&toeplitz, source, destination),
                bitwise(&key, &input(source, destination))
            );
        }
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(Toeplitz::new(&KEY[..39]).is_none());
    }
}
