//! Bytes that nobody checked.

use etherparse::SlicedPacket;
use proptest::prelude::*;
use weir_control::{Action, Limits};
use weir_director::{NextHopId, PuntReason};

use crate::stage::{
    LAN, LIP, Stage, VIP, VIP6, WAN, advertisement, arp, icmpv6, ip, mac, solicitation, syn,
};

fn reasons() -> impl Strategy<Value = PuntReason> {
    prop_oneof![
        Just(PuntReason::Arp),
        Just(PuntReason::Icmp),
        Just(PuntReason::NoService),
        Just(PuntReason::NoConnection),
        Just(PuntReason::NoDestination),
        Just(PuntReason::TtlExceeded),
        any::<u16>().prop_map(|mtu| PuntReason::TooBig { mtu }),
        (0..4u16).prop_map(|id| PuntReason::NeighbourUnresolved(NextHopId(id))),
        Just(PuntReason::NeighbourUnknown),
    ]
}

/// One valid frame of each kind.
fn valid() -> Vec<Vec<u8>> {
    let macs = [mac(50), mac(2)];
    let ends = ["2001:db8:2::50", "2001:db8:2::1"];
    vec![
        arp(
            etherparse::ArpOperation::REQUEST,
            mac(9),
            [0xff; 6],
            ["192.0.2.9", VIP],
        ),
        arp(
            etherparse::ArpOperation::REPLY,
            mac(50),
            mac(2),
            ["10.0.0.50", "10.0.0.1"],
        ),
        solicitation(mac(9), "2001:db8:1::9", VIP6),
        solicitation(mac(9), "::", VIP6),
        advertisement(macs, ends[0], ends[1], "som"),
        icmpv6(macs, ends, 64, [128, 0], [0; 4], b"payload"),
        icmpv6(macs, ["fe80::9", "ff02::1"], 1, [130, 0], [0; 4], &[0; 20]),
        syn(mac(9), WAN, ["192.0.2.9", VIP]),
        syn(mac(9), WAN, ["2001:db8:1::9", VIP6]),
        syn(mac(50), LAN, ["10.0.0.50", LIP]),
    ]
}

/// A valid frame, damaged in a few places and perhaps cut off.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let cut = proptest::option::of(any::<prop::sample::Index>());
    (prop::sample::select(valid()), damage, cut).prop_map(|(mut frame, damage, cut)| {
        for (at, byte) in damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()));
        }
        frame
    })
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), damaged(),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Nothing panics; each packet is counted at most once, besides those it makes others give up; what is neither
    /// counted nor answered waits or was learned from; nothing grows beyond its bound.
    #[test]
    fn no_bytes_do_harm(
        punts in proptest::collection::vec((reasons(), frames(), 0..3u8, 0..2000u64), 1..60),
    ) {
        let mut stage = Stage::with_limits(Limits {
            neighbours: 6,
            for_pinned: 0,
            held: 8,
            ..Limits::default()
        });
        let now = stage.now;
        stage.slow_path.next_hop_for(LAN, ip("10.0.0.50"), now);
        stage.slow_path.next_hop_for(LAN, ip("2001:db8:2::50"), now);
        for (reason, frame, port, pause_ms) in punts {
            let port = weir_director::PortId(port);
            let counted = stage.counted(reason, port, &frame);
            prop_assert!(counted.len() <= 1, "{counted:?}");
            for action in stage.actions() {
                if let Action::Transmit { frame, .. } = action {
                    prop_assert!(SlicedPacket::from_ethernet(&frame).is_ok(), "{frame:x?}");
                }
            }
            stage.slow_path.take_changed_next_hops();
            stage.pass(pause_ms);
            prop_assert!(stage.slow_path.neighbours(stage.now).len() <= 6);
            prop_assert!(stage.slow_path.next_hops().len() <= 6);
        }
        stage.pass(4_000_000);
        prop_assert!(stage.slow_path.neighbours(stage.now).len() <= 2, "all but the pinned ones go");
    }
}
