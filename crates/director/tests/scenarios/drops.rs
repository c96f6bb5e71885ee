//! Why packets end: every reason that a director itself gives. (`next_hops.rs`, `local_ports.rs`, `eviction.rs`,
//! `toa.rs`, `fragments.rs` and `icmp_errors.rs` have those that need a story.)

use weir_director::{DropReason, WorkerId};
use weir_testkit::{FrameBuilder, IPV4, IPV6, Outcome, WAN_MAC, echo_request, icmp, raw, tcp, udp};
use weir_wire::ethernet::Mac;

use crate::conversation::{Conversation, client, tcp_rig};

#[track_caller]
fn receive(frame: &[u8]) -> Outcome {
    let mut rig = tcp_rig();
    let outcome = rig.receive(WorkerId(0), frame);
    assert!(
        rig.connections().is_empty(),
        "a refused packet opens nothing"
    );
    outcome
}

fn syn() -> FrameBuilder {
    tcp(IPV4.client, IPV4.vip).syn()
}

fn syn_ipv6() -> FrameBuilder {
    tcp(IPV6.client, IPV6.vip).syn()
}

/// A frame with bytes changed from `at` on.
fn changed(frame: &FrameBuilder, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.bytes();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

#[test]
fn shorter_than_an_ethernet_header() {
    for len in 0..14 {
        receive(&syn().bytes()[..len]).is_dropped(DropReason::EthernetTruncated);
    }
    let tagged = syn().vlan(0).bytes();
    receive(&tagged[..17]).is_dropped(DropReason::EthernetTruncated);
}

#[test]
fn a_vlan_number() {
    for number in [1, 4095] {
        receive(&syn().vlan(number).bytes()).is_dropped(DropReason::VlanNotOurs);
    }
}

#[test]
fn an_unknown_ether_type() {
    for ether_type in [[0x88, 0xcc], [0, 46], [0x88, 0xa8]] {
        let frame = changed(&syn(), 12, &ether_type);
        receive(&frame).is_dropped(DropReason::EtherTypeUnknown);
    }
}

#[test]
fn an_arp_packet_that_cannot_be_read() {
    let frame = changed(&syn(), 12, &[8, 6]);
    receive(&frame).is_dropped(DropReason::ArpMalformed);
    receive(&frame[..20]).is_dropped(DropReason::ArpMalformed);
}

#[test]
fn an_ipv4_header_that_cannot_be_read() {
    for first in [0x65, 0x44, 0x4f] {
        let frame = changed(&syn(), 14, &[first]);
        receive(&frame).is_dropped(DropReason::Ipv4Malformed);
    }
    let shorter_than_its_header = changed(&syn(), 16, &[0, 19]);
    receive(&shorter_than_its_header).is_dropped(DropReason::Ipv4Malformed);
    receive(&syn().bytes()[..33]).is_dropped(DropReason::Ipv4Malformed);
}

#[test]
fn an_ipv4_packet_that_is_cut_off() {
    let frame = syn().data(b"data").bytes();
    receive(&frame[..frame.len() - 1]).is_dropped(DropReason::Ipv4Truncated);
}

#[test]
fn a_wrong_ipv4_checksum() {
    let frame = changed(&syn(), 24, &[0, 0]);
    receive(&frame).is_dropped(DropReason::Ipv4ChecksumWrong);
}

#[test]
fn an_ipv6_header_that_cannot_be_read() {
    let frame = changed(&syn_ipv6(), 14, &[0x45]);
    receive(&frame).is_dropped(DropReason::Ipv6Malformed);
    receive(&syn_ipv6().bytes()[..53]).is_dropped(DropReason::Ipv6Malformed);
}

#[test]
fn an_ipv6_packet_that_is_cut_off() {
    let frame = syn_ipv6().data(b"data").bytes();
    receive(&frame[..frame.len() - 1]).is_dropped(DropReason::Ipv6Truncated);
}

#[test]
fn extension_headers_that_cannot_be_read() {
    let too_long = changed(&syn_ipv6().extensions(), 55, &[255]);
    receive(&too_long).is_dropped(DropReason::Ipv6ExtensionMalformed);
    let endless = raw(IPV6.client, IPV6.vip, 60).data(&[60, 0, 1, 4, 0, 0, 0, 0].repeat(9));
    receive(&endless.bytes()).is_dropped(DropReason::Ipv6ExtensionMalformed);
}

#[test]
fn an_unknown_protocol() {
    for protocol in [2, 47, 136] {
        let frame = raw(IPV4.client, IPV4.vip, protocol).data(&[0; 32]);
        receive(&frame.bytes()).is_dropped(DropReason::ProtocolUnknown);
    }
    let no_next_header = raw(IPV6.client, IPV6.vip, 59).data(&[0; 32]);
    receive(&no_next_header.bytes()).is_dropped(DropReason::ProtocolUnknown);
}

#[test]
fn a_tcp_header_that_cannot_be_read() {
    let offset = 14 + 20 + 12;
    for data_offset in [0x00, 0x40, 0xf0] {
        let frame = changed(&syn(), offset, &[data_offset]);
        receive(&frame).is_dropped(DropReason::TcpMalformed);
    }
    let short = raw(IPV6.client, IPV6.vip, 6).data(&[0; 19]);
    receive(&short.bytes()).is_dropped(DropReason::TcpMalformed);
}

#[test]
fn a_udp_header_that_cannot_be_read() {
    let datagram = udp(IPV4.client, IPV4.vip).data(b"data");
    for len in [[0, 0], [0, 7], [0, 13]] {
        receive(&changed(&datagram, 14 + 20 + 4, &len)).is_dropped(DropReason::UdpMalformed);
    }
    let short = raw(IPV6.client, IPV6.vip, 17).data(&[0; 7]);
    receive(&short.bytes()).is_dropped(DropReason::UdpMalformed);
}

#[test]
fn an_sctp_packet_that_cannot_be_read() {
    for (client, vip) in [(IPV4.client, IPV4.vip), (IPV6.client, IPV6.vip)] {
        for n_bytes in [0, 11, 12, 15] {
            let short = raw(client, vip, 132).data(&vec![0; n_bytes]);
            receive(&short.bytes()).is_dropped(DropReason::SctpMalformed);
        }
    }
}

#[test]
fn an_icmp_message_that_cannot_be_read() {
    let short = raw(IPV4.client, IPV4.vip, 1).data(&[8, 0, 0, 0]);
    receive(&short.bytes()).is_dropped(DropReason::IcmpMalformed);
    let quoted = udp(IPV4.vip, IPV4.client).packet_bytes();
    let error = icmp(IPV4.client, IPV4.vip, [3, 3], [0; 4]).data(&quoted[..27]);
    receive(&error.bytes()).is_dropped(DropReason::IcmpMalformed);
    let later = udp(IPV6.vip, IPV6.client).data(&[0; 8]).fragment(64, true);
    let error = icmp(IPV6.client, IPV6.vip, [1, 4], [0; 4]).data(&later.packet_bytes());
    receive(&error.bytes()).is_dropped(DropReason::IcmpMalformed);
}

#[test]
fn another_mac_address() {
    let other = Mac([2, 0, 0, 0, 0, 0x99]);
    let frame = syn().macs(other, Mac([2, 0, 0, 0, 0, 0x98]));
    receive(&frame.bytes()).is_dropped(DropReason::MacNotOurs);
    let ping = echo_request(IPV4.client, IPV4.vip).macs(other, other);
    receive(&ping.bytes()).is_dropped(DropReason::MacNotOurs);
}

/// Also a packet of a living connection, and one that a group gets with us.
#[test]
fn another_mac_address_is_no_better_for_a_known_flow_or_a_group() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let other = Mac([2, 0, 0, 0, 0, 0x98]);
    let flooded = conversation.inbound(1, 2).macs(other, other);
    rig.send(&flooded).is_dropped(DropReason::MacNotOurs);
    let broadcast = tcp(client(IPV4, 7), IPV4.vip)
        .syn()
        .macs(other, Mac::BROADCAST);
    rig.send(&broadcast).is_dropped(DropReason::MacNotOurs);
}

#[test]
fn an_address_that_is_not_ours() {
    for (client, other) in [
        (IPV4.client, "192.0.2.101:80"),
        (IPV6.client, "[2001:db8:2::101]:80"),
        (IPV4.client, IPV4.real),
    ] {
        receive(&tcp(client, other).syn().bytes()).is_dropped(DropReason::AddressNotOurs);
    }
}

#[test]
fn a_source_that_no_packet_may_have() {
    for source in [
        "0.0.0.0:1",
        "255.255.255.255:1",
        "224.0.0.1:1",
        "127.0.0.1:1",
        "192.0.2.100:1",
        "10.0.0.200:1",
        "10.0.0.1:1",
    ] {
        receive(&tcp(source, IPV4.vip).syn().bytes()).is_dropped(DropReason::SourceInvalid);
    }
    for source in ["[::]:1", "[ff02::1]:1", "[::1]:1", "[2001:db8:2::100]:1"] {
        receive(&tcp(source, IPV6.vip).syn().bytes()).is_dropped(DropReason::SourceInvalid);
    }
}

/// The frame's MAC address is ours: the drops above are not for that.
#[test]
fn the_frame_that_all_these_were_made_of_is_good() {
    let mut rig = tcp_rig();
    assert!(syn().bytes().starts_with(&WAN_MAC.0));
    rig.forward(&syn());
    rig.forward(&syn_ipv6());
}
