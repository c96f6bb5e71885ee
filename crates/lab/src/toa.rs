//! The client's address as a real server finds it: TCP option TOA.
//!
//! Reads kind 254, length 8 (L4 port and IPv4 address) or 20 (L4 port and IPv6 address), all in network order, from
//! the option bytes of a TCP header. Written for the lab alone: it shares no code with the director that writes it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The option kind that carries TOA unless configured otherwise.
pub const KIND: u8 = 254;

/// Finds TOA among TCP option bytes. Malformed options end the search: nothing that follows can be trusted.
pub fn find(mut options: &[u8]) -> Option<SocketAddr> {
    loop {
        match *options {
            [] | [0, ..] => return None,
            [1, ref rest @ ..] => options = rest,
            [kind, length, ..] => {
                let (option, rest) = options
                    .split_at_checked(usize::from(length))
                    .filter(|_| length >= 2)?;
                if kind == KIND {
                    return client(&option[2..]);
                }
                options = rest;
            }
            [_] => return None,
        }
    }
}

fn client(value: &[u8]) -> Option<SocketAddr> {
    let (l4_port, address) = value.split_first_chunk::<2>()?;
    let l4_port = u16::from_be_bytes(*l4_port);
    if let Ok(ipv4) = <[u8; 4]>::try_from(address) {
        return Some((Ipv4Addr::from(ipv4), l4_port).into());
    }
    let ipv6 = <[u8; 16]>::try_from(address).ok()?;
    Some((Ipv6Addr::from(ipv6), l4_port).into())
}

/// Finds TOA in a SYN as `TCP_SAVED_SYN` gives it: an IP header and a TCP header, no link header.
pub fn find_in_syn(syn: &[u8]) -> Option<SocketAddr> {
    let packet = etherparse::SlicedPacket::from_ip(syn).ok()?;
    match packet.transport? {
        etherparse::TransportSlice::Tcp(tcp) => find(tcp.options()),
        etherparse::TransportSlice::Udp(_)
        | etherparse::TransportSlice::Icmpv4(_)
        | etherparse::TransportSlice::Icmpv6(_)
        | etherparse::TransportSlice::Igmp(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_after_other_options() {
        let ipv4 = [2, 4, 5, 180, 1, 1, 254, 8, 0x9c, 0x40, 192, 0, 2, 10];
        assert_eq!(find(&ipv4), Some("192.0.2.10:40000".parse().unwrap()));
        let mut ipv6 = vec![254, 20, 0x9c, 0x40];
        ipv6.extend("2001:db8:1::10".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(find(&ipv6), Some("[2001:db8:1::10]:40000".parse().unwrap()));
    }

    #[test]
    fn absent_and_malformed_options_give_nothing() {
        assert_eq!(find(&[]), None);
        assert_eq!(find(&[2, 4, 5, 180]), None);
        assert_eq!(find(&[254]), None);
        assert_eq!(find(&[254, 0, 0, 0]), None);
        assert_eq!(find(&[254, 8, 0x9c, 0x40, 192, 0]), None);
        assert_eq!(find(&[254, 7, 0x9c, 0x40, 192, 0, 2]), None);
        assert_eq!(
            find(&[0, 254, 8, 0x9c, 0x40, 192, 0, 2, 10]),
            None,
            "the end of options ends them"
        );
    }
}
