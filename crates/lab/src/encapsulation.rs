//! The packet inside another: IP in IP, GRE and GUE, taken apart.
//!
//! Promises: gives the packet inside only if everything around it is as the RFCs and Linux's receivers want it; written
//! for the lab alone, it shares no code with the director that puts packets together.
//! Does not know: the outer IP header, which the kernel or `etherparse` has read; fragments.

use std::fmt;

use etherparse::checksum::Sum16BitWords;

use crate::method::GUE;

/// IP protocol numbers (IANA).
const IPV4: u8 = 4;
const IPV6: u8 = 41;
const GRE: u8 = 47;

/// What stands between the outer IP header and the packet inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Nothing, and the packet is IPv4.
    Ipv4,
    /// Nothing, and the packet is IPv6.
    Ipv6,
    /// A GRE header.
    Gre,
    /// A GUE header, behind UDP.
    Gue,
}

impl Carrier {
    /// All that are IP protocols.
    pub(crate) const OF_IP: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Gre];

    /// The carrier with the IP protocol number `number`.
    pub fn of_ip(number: u8) -> Option<Self> {
        Self::OF_IP
            .into_iter()
            .find(|carrier| carrier.number() == Some(number))
    }

    /// The carrier with the UDP destination port `l4_port`.
    pub fn of_udp(l4_port: u16) -> Option<Self> {
        (l4_port == GUE).then_some(Self::Gue)
    }

    /// Its IP protocol number; none where it is in UDP.
    pub(crate) fn number(self) -> Option<u8> {
        match self {
            Self::Ipv4 => Some(IPV4),
            Self::Ipv6 => Some(IPV6),
            Self::Gre => Some(GRE),
            Self::Gue => None,
        }
    }

    /// The packet inside `payload`, which is what the outer IP header carries, or for GUE the outer UDP header.
    pub fn inside(self, payload: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Ipv4 => of_version(4, payload),
            Self::Ipv6 => of_version(6, payload),
            Self::Gre => inside_gre(payload),
            Self::Gue => inside_gue(payload),
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 | Self::Ipv6 => "IPIP",
            Self::Gre => "GRE",
            Self::Gue => "GUE",
        })
    }
}

fn of_version(version: u8, packet: &[u8]) -> Option<&[u8]> {
    (packet.first()? >> 4 == version).then_some(packet)
}

/// RFC 2784: a flag for a checksum, twelve reserved bits that must be zero or ignored, version 0, an EtherType.
/// A key or sequence number (RFC 2890) belongs to tunnels that agreed on them, which these did not.
fn inside_gre(payload: &[u8]) -> Option<&[u8]> {
    let (&[flags, version, ether_type @ ..], mut packet) = payload.split_first_chunk::<4>()?;
    let has_checksum = flags & 0x80 != 0;
    if flags & 0x7f != 0 || version != 0 {
        return None;
    }
    if has_checksum {
        let is_right = Sum16BitWords::new().add_slice(payload).ones_complement() == 0;
        packet = packet.get(4..).filter(|_| is_right)?;
    }
    match u16::from_be_bytes(ether_type) {
        0x0800 => of_version(4, packet),
        0x86dd => of_version(6, packet),
        _ => None,
    }
}

/// GUE, variant 0 (draft-ietf-intarea-gue, section 3): variant and control bit, header length in words beyond the
/// first, an IP protocol number, flags. Linux's receiver knows no flags but its own; no flag is right here. In variant 1
/// the first byte is that of the packet itself.
fn inside_gue(payload: &[u8]) -> Option<&[u8]> {
    let (&[first, protocol, flags @ ..], packet) = payload.split_first_chunk::<4>()?;
    match first >> 6 {
        0 => {
            let (is_control, extension_len) = (first & 0x20 != 0, usize::from(first & 0x1f) * 4);
            if is_control || extension_len != 0 || flags != [0, 0] {
                return None;
            }
            match protocol {
                IPV4 => of_version(4, packet),
                IPV6 => of_version(6, packet),
                _ => None,
            }
        }
        1 => of_version(4, payload).or_else(|| of_version(6, payload)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: [u8; 4] = [0x45, 1, 2, 3];

    fn carried(header: &[u8]) -> Vec<u8> {
        [header, &PACKET].concat()
    }

    #[test]
    fn each_carrier_gives_the_packet_inside() {
        let cases: [(Carrier, &[u8]); 5] = [
            (Carrier::Ipv4, &[]),
            (Carrier::Gre, &[0, 0, 8, 0]),
            (Carrier::Gue, &[0, 4, 0, 0]),
            (Carrier::Gue, &[]),
            // A checksum over 0x8000, 0x0800, 0x4501 and 0x0203, and the reserved half-word behind it.
            (Carrier::Gre, &[0x80, 0, 8, 0, 0x30, 0xfb, 0, 0]),
        ];
        for (carrier, header) in cases {
            let payload = carried(header);
            assert_eq!(carrier.inside(&payload), Some(&PACKET[..]), "{header:?}");
        }
        assert_eq!(Carrier::Ipv6.inside(&[0x60, 1]), Some(&[0x60, 1][..]));
    }

    #[test]
    fn a_packet_that_is_not_what_its_carrier_says_is_nothing() {
        let cases: [(Carrier, &[u8]); 8] = [
            (Carrier::Ipv6, &[]),
            (Carrier::Gre, &[0, 0, 0x86, 0xdd]),
            (Carrier::Gre, &[0x20, 0, 8, 0]),
            (Carrier::Gre, &[0, 1, 8, 0]),
            (Carrier::Gre, &[0x80, 0, 8, 0, 0x30, 0xfc, 0, 0]),
            (Carrier::Gue, &[0, 41, 0, 0]),
            (Carrier::Gue, &[0x20, 4, 0, 0]),
            (Carrier::Gue, &[0, 4, 0, 1]),
        ];
        for (carrier, header) in cases {
            assert_eq!(
                carrier.inside(&carried(header)),
                None,
                "{carrier:?} {header:?}"
            );
        }
        for carrier in [Carrier::Ipv4, Carrier::Gre, Carrier::Gue] {
            assert_eq!(carrier.inside(&[]), None);
        }
    }
}
