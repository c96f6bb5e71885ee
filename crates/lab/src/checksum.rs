//! Whether every checksum of a frame is right, by an independent decoder.
//!
//! Promises: IPv4 header, TCP, UDP, ICMP and ICMPv6 are recomputed over their whole length; what cannot be decoded is
//! told apart from what is wrong. Of a packet in a tunnel, its own and those of the packet inside.
//! Does not know: checksums of fragments' payloads (no single frame holds what they cover).

use std::collections::BTreeMap;

use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::encapsulation::Carrier;
use crate::hop;

/// What was found in a list of frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many checksums were right, by what they protect ("ipv4", "tcp", "udp", "icmp", "icmpv6").
    pub right: BTreeMap<&'static str, usize>,
    /// One sentence for each wrong checksum or undecodable frame.
    pub wrong: Vec<String>,
}

/// Checks every frame.
pub fn verify<'a>(frames: impl IntoIterator<Item = &'a Vec<u8>>) -> Report {
    let mut report = Report::default();
    for (index, frame) in frames.into_iter().enumerate() {
        match SlicedPacket::from_ethernet(frame) {
            Ok(packet) => {
                report.add(index, &packet);
                if let Some((_, inner)) = hop::inside(&packet) {
                    match SlicedPacket::from_ip(inner) {
                        Ok(inner) => report.add(index, &inner),
                        Err(error) => report.wrong.push(format!(
                            "what frame {index} carries cannot be decoded: {error}"
                        )),
                    }
                }
            }
            Err(error) => report
                .wrong
                .push(format!("frame {index} cannot be decoded: {error}")),
        }
    }
    report
}

impl Report {
    fn add(&mut self, index: usize, packet: &SlicedPacket<'_>) {
        match &packet.net {
            Some(NetSlice::Ipv4(ip)) => {
                let header = ip.header();
                let expected = header.to_header().calc_header_checksum();
                self.note(index, "ipv4", header.header_checksum(), expected);
                let (source, destination) = (header.source(), header.destination());
                match &packet.transport {
                    Some(TransportSlice::Tcp(tcp)) => {
                        let expected = tcp.calc_checksum_ipv4(source, destination);
                        self.note(
                            index,
                            "tcp",
                            tcp.checksum(),
                            expected.unwrap_or(!tcp.checksum()),
                        );
                    }
                    // RFC 768: zero means that the sender computed none.
                    Some(TransportSlice::Udp(udp)) if udp.checksum() != 0 => {
                        let expected = udp.to_header().calc_checksum_ipv4_raw(
                            source,
                            destination,
                            udp.payload(),
                        );
                        self.note(
                            index,
                            "udp",
                            udp.checksum(),
                            expected.unwrap_or(!udp.checksum()),
                        );
                    }
                    Some(TransportSlice::Icmpv4(icmp)) => {
                        // Over a right message, its checksum included, the sum is all ones (RFC 1071).
                        let remainder = Sum16BitWords::new()
                            .add_slice(icmp.slice())
                            .ones_complement();
                        self.note(index, "icmp", icmp.checksum(), icmp.checksum() ^ remainder);
                    }
                    Some(
                        TransportSlice::Udp(_)
                        | TransportSlice::Icmpv6(_)
                        | TransportSlice::Igmp(_),
                    )
                    | None => {}
                }
            }
            Some(NetSlice::Ipv6(ip)) => {
                let header = ip.header();
                let (source, destination) = (header.source(), header.destination());
                match &packet.transport {
                    Some(TransportSlice::Tcp(tcp)) => {
                        let expected = tcp.calc_checksum_ipv6(source, destination);
                        self.note(
                            index,
                            "tcp",
                            tcp.checksum(),
                            expected.unwrap_or(!tcp.checksum()),
                        );
                    }
                    // RFC 6935: a tunnel may do without.
                    Some(TransportSlice::Udp(udp))
                        if udp.checksum() == 0
                            && Carrier::of_udp(udp.destination_port()).is_some() => {}
                    // RFC 8200 section 8.1: over IPv6 zero is wrong.
                    Some(TransportSlice::Udp(udp)) => {
                        let expected = udp.to_header().calc_checksum_ipv6_raw(
                            source,
                            destination,
                            udp.payload(),
                        );
                        self.note(
                            index,
                            "udp",
                            udp.checksum(),
                            expected.unwrap_or(!udp.checksum()),
                        );
                    }
                    Some(TransportSlice::Icmpv6(icmp)) => {
                        let is_right = icmp.is_checksum_valid(source, destination);
                        let expected = if is_right {
                            icmp.checksum()
                        } else {
                            !icmp.checksum()
                        };
                        self.note(index, "icmpv6", icmp.checksum(), expected);
                    }
                    Some(TransportSlice::Icmpv4(_) | TransportSlice::Igmp(_)) | None => {}
                }
            }
            Some(NetSlice::Arp(_)) | None => {}
        }
    }

    /// In one's complement zero is written 0x0000 or 0xffff; a receiver, who adds everything up, accepts both, and an
    /// incremental update (RFC 1624) makes either. Only in UDP do they differ: 0x0000 means "none".
    fn note(&mut self, index: usize, what: &'static str, found: u16, expected: u16) {
        let is_zero = |checksum| checksum == 0 || checksum == 0xffff;
        let is_same_zero = what != "udp" && is_zero(found) && is_zero(expected);
        if found == expected || is_same_zero {
            *self.right.entry(what).or_default() += 1;
        } else {
            self.wrong.push(format!(
                "frame {index}: the {what} checksum is {found:#06x}, which is wrong"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, PacketBuilderStep, ip_number::IPV6_ICMP};

    fn frames() -> Vec<Vec<u8>> {
        let link = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let v4 = || link().ipv4([192, 0, 2, 10], [192, 0, 2, 100], 64);
        let v6 = || link().ipv6([1; 16], [2; 16], 64);
        let mut frames = vec![
            written(v4().tcp(1, 2, 3, 4), 11),
            written(v4().udp(1, 2), 11),
            written(v4().icmpv4_echo_request(1, 2), 11),
            written(v6().tcp(1, 2, 3, 4), 11),
            written(v6().udp(1, 2), 11),
            written(v6().icmpv6_echo_request(1, 2), 11),
        ];
        // Ethernet pads short frames; the padding is covered by no checksum.
        frames[1].resize(60, 0xaa);
        assert_eq!(frames[5][20], IPV6_ICMP.0);
        frames
    }

    fn written<T>(builder: PacketBuilderStep<T>, payload_len: usize) -> Vec<u8>
    where
        PacketBuilderStep<T>: Write,
    {
        builder.write_frame(&vec![7; payload_len])
    }

    /// The builder's `write` exists once per last step; this gives the three used here one name.
    trait Write {
        fn write_frame(self, payload: &[u8]) -> Vec<u8>;
    }

    macro_rules! write_frame {
        ($($step:ty),*) => {$(
            impl Write for PacketBuilderStep<$step> {
                fn write_frame(self, payload: &[u8]) -> Vec<u8> {
                    let mut frame = Vec::new();
                    self.write(&mut frame, payload).unwrap();
                    frame
                }
            }
        )*};
    }
    write_frame!(
        etherparse::TcpHeader,
        etherparse::UdpHeader,
        etherparse::Icmpv4Header,
        etherparse::Icmpv6Header
    );

    #[test]
    fn right_checksums_are_counted() {
        let report = verify(&frames());
        assert_eq!(report.wrong, Vec::<String>::new());
        let counted: Vec<_> = report.right.into_iter().collect();
        assert_eq!(
            counted,
            [
                ("icmp", 1),
                ("icmpv6", 1),
                ("ipv4", 3),
                ("tcp", 2),
                ("udp", 2)
            ]
        );
    }

    #[test]
    fn one_changed_payload_byte_is_found_in_every_protocol() {
        for (index, mut frame) in frames().into_iter().enumerate() {
            let last_of_payload = if index == 1 {
                14 + 20 + 8 + 10
            } else {
                frame.len() - 1
            };
            frame[last_of_payload] ^= 1;
            assert_eq!(verify([&frame]).wrong.len(), 1, "frame {index}");
        }
    }

    #[test]
    fn either_zero_is_right_but_in_udp() {
        for (what, n_wrong) in [("tcp", 0), ("icmp", 0), ("udp", 1)] {
            let mut report = Report::default();
            report.note(0, what, 0xffff, 0xffff);
            report.note(1, what, 0, 0xffff);
            assert_eq!(report.wrong.len(), n_wrong, "{what}");
        }
    }

    #[test]
    fn a_changed_ipv4_header_and_a_cut_frame_are_found() {
        let mut frame = frames().remove(0);
        frame[22] ^= 1;
        assert_eq!(verify([&frame]).wrong.len(), 1);
        frame.truncate(30);
        assert_eq!(verify([&frame]).wrong.len(), 1);
    }
}
