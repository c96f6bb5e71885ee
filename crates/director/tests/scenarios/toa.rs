//! TOA: which segments carry the client's address, and what it does to sizes.

use weir_director::{Arrival, BURST, DropReason, PuntReason, Verdict};
use weir_testkit::{
    Decoded, FAMILIES, Family, IPV4, IntoEndpoint, Rig, Site, TcpOption, TestBuffer, decode, tcp,
};
use weir_wire::Protocol;

use crate::conversation::{Conversation, tcp_rig};

/// How many options carry the right client; none may carry another.
#[track_caller]
fn n_toa(sent: &Decoded, family: Family) -> usize {
    let carried = sent.segment().client_addresses();
    let right = (254, family.client.into_endpoint());
    assert!(carried.iter().all(|address| *address == right), "{sent}");
    carried.len()
}

/// On the SYN, on the third acknowledgement and on data until the real server is acknowledged beyond its SYN; on
/// retransmissions of those even afterwards; on nothing else.
#[test]
fn it_goes_until_the_server_is_acknowledged_beyond_its_syn() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let syn = tcp(family.client, family.vip).syn().seq(1000);
        assert_eq!(n_toa(&rig.forward(&syn), family), 1, "SYN");
        assert_eq!(n_toa(&rig.forward(&syn), family), 1, "SYN again");
        let conversation = Conversation::begin(&mut rig, family.client, family.vip);
        rig.forward(&conversation.syn_ack());
        for (what, frame, n) in [
            ("an ACK of less", conversation.inbound(1, 0), 1),
            ("third ACK", conversation.inbound(1, 1), 1),
            ("first data", conversation.inbound(1, 1).data(b"abc"), 1),
            ("upload", conversation.inbound(4, 1).data(b"def"), 1),
            ("the answer's ACK", conversation.inbound(7, 2), 0),
            ("later data", conversation.inbound(7, 100).data(b"ghi"), 0),
            ("retransmission", conversation.inbound(4, 1).data(b"def"), 1),
            ("FIN", conversation.inbound(10, 100).fin(), 0),
        ] {
            assert_eq!(n_toa(&rig.forward(&frame), family), n, "{what}");
        }
    }
}

/// It stands right behind the fixed header, where readers look first.
#[test]
fn it_is_the_first_option() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let syn = tcp(family.client, family.vip).syn();
        let sent = rig.forward(&syn.options(&TcpOption::of_syn()));
        let toa = TcpOption::ClientAddress(254, family.client.into_endpoint());
        assert_eq!(sent.segment().options[0], toa);
        let mut others = TcpOption::of_syn();
        others[0] = TcpOption::Mss(family.mss[0]);
        assert_eq!(sent.segment().options[1..], others);
    }
}

/// A client that closes before the real server said anything: the option goes with everything to the end.
#[test]
fn an_upload_that_was_never_answered_keeps_it_to_the_fin_and_beyond() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let fin = conversation.inbound(1, 1).data(b"all").fin();
    assert_eq!(n_toa(&rig.forward(&fin), IPV4), 1);
    assert_eq!(n_toa(&rig.forward(&fin), IPV4), 1, "FIN again");
}

/// After more than 2 GiB of download the acknowledgement number is "before" the SYN's by serial arithmetic. By then the
/// real server has sent so much that the option is not due again.
#[test]
fn gigabytes_later_it_is_not_due_again() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let acknowledging = |gibibytes: u32| conversation.inbound(1, gibibytes << 30);
    assert_eq!(n_toa(&rig.forward(&acknowledging(3)), IPV4), 1, "made up");
    download(&mut rig, &conversation, 1 << 30);
    for gibibytes in [1, 2, 3] {
        let sent = rig.forward(&acknowledging(gibibytes));
        assert_eq!(n_toa(&sent, IPV4), 0, "after {gibibytes} GiB");
    }
}

/// The real server sends `n_bytes` and more.
fn download(rig: &mut Rig, conversation: &Conversation, n_bytes: usize) {
    let frame = conversation.outbound(1, 1).ip_bytes(1500).bytes();
    let mut buffers: [TestBuffer; BURST] = std::array::from_fn(|_| TestBuffer::new(&frame));
    let mut verdicts = [Verdict::Drop(DropReason::NoBuffer); BURST];
    for _ in 0..=n_bytes / 1500 / BURST {
        buffers.iter_mut().for_each(|buffer| buffer.refill(&frame));
        let mut packets = buffers.each_mut().map(TestBuffer::packet);
        rig.directors[0].process(&mut packets, Arrival::HandedOver, rig.now, &mut verdicts);
    }
}

/// A client that acknowledges what the real server never sent does not get rid of it, however it goes about it.
#[test]
fn made_up_acknowledgements_do_not_hide_the_client() {
    let mut rig = tcp_rig();
    let conversation = Conversation::begin(&mut rig, IPV4.client, IPV4.vip);
    rig.forward(&conversation.syn_ack());
    rig.forward(&conversation.inbound(1, (1 << 30) + 5));
    rig.forward(&conversation.inbound(9, 2).fin());
    let third = rig.forward(&conversation.inbound(1, 1));
    assert_eq!(n_toa(&third, IPV4), 1, "the real server ignored the others");
}

/// A connection that begins anew on the same key begins anew with the option too.
#[test]
fn a_connection_that_begins_anew_carries_it_again() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    rig.forward(&conversation.outbound(1, 1).data(b"hello"));
    rig.forward(&conversation.inbound(1, 6).fin());
    let syn = tcp(conversation.client, conversation.vip).syn();
    assert_eq!(n_toa(&rig.forward(&syn), IPV4), 1);
    rig.forward(&conversation.syn_ack());
    assert_eq!(n_toa(&rig.forward(&conversation.inbound(1, 1)), IPV4), 1);
}

/// The real server's segments never carry it.
#[test]
fn the_way_back_has_none() {
    let mut rig = tcp_rig();
    let conversation = Conversation::begin(&mut rig, IPV4.client, IPV4.vip);
    assert_eq!(n_toa(&rig.forward(&conversation.syn_ack()), IPV4), 0);
}

/// The kind is a setting.
#[test]
fn its_kind_is_configurable() {
    let mut rig = Rig::new(Site::with_one_server(Protocol::Tcp).toa_kind(253));
    let sent = rig.forward(&tcp(IPV4.client, IPV4.vip).syn());
    let expected = [(253, IPV4.client.into_endpoint())];
    assert_eq!(sent.segment().client_addresses(), expected);
}

fn forged() -> TcpOption {
    TcpOption::ClientAddress(254, "203.0.113.66:666".into_endpoint())
}

fn forged_ipv6() -> TcpOption {
    TcpOption::ClientAddress(254, "[2001:db8:bad::1]:666".into_endpoint())
}

/// A client's own option is overwritten where ours goes, whatever its length or number.
#[test]
fn a_forged_one_is_overwritten() {
    for family in FAMILIES {
        for options in [
            vec![forged()],
            vec![forged_ipv6()],
            vec![forged(), forged()],
            vec![TcpOption::Nop, forged(), TcpOption::Mss(1460)],
            vec![TcpOption::Other(254, vec![1, 2, 3])],
        ] {
            let mut rig = tcp_rig();
            let syn = tcp(family.client, family.vip).syn().options(&options);
            let sent = rig.forward(&syn);
            assert_eq!(n_toa(&sent, family), 1, "{options:?}");
            let is_forged_left = |option: &TcpOption| matches!(option, TcpOption::Other(254, _));
            assert!(!sent.segment().options.iter().any(is_forged_left), "{sent}");
        }
    }
}

/// In segments where ours is not due it is blanked.
#[test]
fn a_forged_one_is_blanked_where_ours_does_not_go() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let conversation = Conversation::establish(&mut rig, family.client, family.vip);
        rig.forward(&conversation.outbound(1, 1).data(b"x"));
        for frame in [
            conversation.inbound(1, 2).options(&[forged()]),
            conversation.inbound(1, 2).options(&[forged_ipv6()]),
            conversation.inbound(1, 2).options(&[forged()]).fin(),
            conversation.inbound(1, 2).options(&[forged()]).fin(),
        ] {
            let header_bytes = decode(&frame.bytes()).segment().header_bytes;
            let sent = rig.forward(&frame);
            assert_eq!(n_toa(&sent, family), 0);
            let blanked = sent.segment().header_bytes;
            assert_eq!(blanked, header_bytes, "blanked, not removed");
        }
    }
}

/// 40 bytes of options: left out, counted, forwarded all the same.
#[test]
fn without_room_it_is_left_out_and_counted() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let full = [TcpOption::Other(77, vec![0; 38])];
        let sent = rig.forward(&tcp(family.client, family.vip).syn().options(&full));
        assert_eq!((n_toa(&sent, family), sent.segment().header_bytes), (0, 60));
        assert_eq!(rig.directors[0].n_toa_omitted(), 1);
    }
}

/// It takes the last bytes that there are.
#[test]
fn it_fits_exactly() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let n_bytes = 40 - usize::from(family.toa_bytes);
        let almost_full = [TcpOption::Other(77, vec![0; n_bytes - 2])];
        let sent = rig.forward(&tcp(family.client, family.vip).syn().options(&almost_full));
        assert_eq!((n_toa(&sent, family), sent.segment().header_bytes), (1, 60));
        assert_eq!(rig.directors[0].n_toa_omitted(), 0);
    }
}

/// Even with full options a forged one goes.
#[test]
fn a_forged_one_among_full_options_does_not_pass() {
    let mut rig = tcp_rig();
    let full = [forged(), TcpOption::Other(77, vec![0; 30])];
    let sent = rig.forward(&tcp(IPV4.client, IPV4.vip).syn().options(&full));
    assert_eq!(n_toa(&sent, IPV4), 1, "{sent}");
}

/// The MSS that the real server offers the client leaves room for it; the client's own offer stays.
#[test]
fn the_mss_offered_to_the_client_leaves_room() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let conversation = Conversation::begin(&mut rig, family.client, family.vip);
        let sent = rig.forward(&conversation.syn_ack());
        let lowered = TcpOption::Mss(family.mss[1]);
        assert_eq!(sent.segment().options[0], lowered);
    }
}

/// What fits the way but not with the option is answered with what would fit.
#[test]
fn a_segment_that_does_not_fit_with_it_is_punted_with_the_right_mtu() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let conversation = Conversation::establish(&mut rig, family.client, family.vip);
        let without = (1500 - family.growth()) as usize;
        let mtu = without as u16 - family.toa_bytes;
        let too_big = conversation.inbound(1, 1).ip_bytes(usize::from(mtu) + 1);
        rig.send(&too_big).is_punted(PuntReason::TooBig { mtu });
        let fitting = conversation.inbound(1, 1).ip_bytes(usize::from(mtu));
        assert_eq!(rig.forward(&fitting).ip_bytes, 1500);
        let later = conversation.inbound(1, 2).ip_bytes(without);
        assert_eq!(
            rig.forward(&later).ip_bytes,
            1500,
            "without the option it fits"
        );
    }
}

/// Nor is a segment too big for an option that it cannot take.
#[test]
fn where_it_is_left_out_it_needs_no_room_on_the_way() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let full = [TcpOption::Other(77, vec![0; 38])];
        let syn = tcp(family.client, family.vip)
            .syn()
            .options(&full)
            .ip_bytes((1500 - family.growth()) as usize);
        assert_eq!(rig.forward(&syn).ip_bytes, 1500);
    }
}

/// A buffer without room before the frame.
#[test]
fn without_headroom_it_is_left_out_and_counted() {
    let mut rig = tcp_rig().headroom(7);
    let syn = tcp(IPV4.client, IPV4.vip).syn();
    assert_eq!(n_toa(&rig.forward(&syn), IPV4), 0);
    assert_eq!(rig.directors[0].n_toa_omitted(), 1);
    let mut rig = tcp_rig().headroom(8);
    assert_eq!(n_toa(&rig.forward(&syn), IPV4), 1);
}
