//! What the control thread gets.

use weir_director::{BURST, DropReason, PuntReason};
use weir_testkit::{IPV4, LAN, LAN_MAC, WAN, echo_request, real_server_mac, tcp, udp};

use crate::team::{Plan, Team, datagram, one_server, team_of};

const NO_SERVICE: &str = "192.0.2.100:81";

/// A punted frame arrives unchanged, with the port by which it came in and why; its buffer goes back.
#[test]
fn a_punt_carries_port_reason_and_the_unchanged_frame() {
    let mut team = team_of(1);
    let real_mac = real_server_mac("10.0.0.11".parse().unwrap());
    let punts = [
        (WAN, PuntReason::NoService, udp(IPV4.client, NO_SERVICE)),
        (WAN, PuntReason::Icmp, echo_request(IPV4.client, IPV4.vip)),
        (
            WAN,
            PuntReason::TtlExceeded,
            datagram(team.client(0)).ttl(1),
        ),
        (
            WAN,
            PuntReason::TooBig { mtu: 1500 },
            datagram(team.client(0)).ip_bytes(1501),
        ),
        (
            LAN,
            PuntReason::NoConnection,
            tcp(IPV4.real, IPV4.local)
                .ack(1)
                .macs(real_mac, LAN_MAC)
                .data(b"data"),
        ),
    ];
    for (port, reason, frame) in &punts {
        team.arrive(0, *port, frame);
        team.turn(0);
        let got = team.punts(0);
        assert_eq!(got.len(), 1, "{reason:?}");
        let (punt, bytes) = &got[0];
        assert_eq!((punt.port, punt.reason), (*port, *reason));
        assert_eq!(*bytes, frame.bytes());
        assert_eq!(team.punted(0, *reason), 1);
    }
    assert_eq!(team.n_buffers_out(), 0);
    assert_eq!(team.all_dropped(0), 0);
}

/// A flood of refused packets ends at the ring, counted, until the control thread has taken some; half of the ring is
/// left to what matters more.
#[test]
fn a_full_punt_ring_drops() {
    let mut team = Team::new(Plan {
        control_frames: 4,
        ..Plan::new(one_server(1))
    });
    for _ in 0..BURST {
        team.arrive(0, WAN, &udp(IPV4.client, NO_SERVICE));
    }
    team.turn(0);
    assert_eq!(team.dropped(0, DropReason::PuntRingFull), 30);
    assert_eq!(team.all_dropped(0), 30);
    assert_eq!(team.punted(0, PuntReason::NoService), 2);
    assert_eq!(team.n_buffers_out(), 0);
    team.arrive(0, WAN, &echo_request(IPV4.client, IPV4.vip));
    team.arrive(0, WAN, &echo_request(IPV4.client, IPV4.vip));
    team.turn(0);
    assert_eq!(team.punted(0, PuntReason::Icmp), 1, "and some for ARP");
    assert_eq!(team.punts(0).len(), 3);
    team.arrive(0, WAN, &udp(IPV4.client, NO_SERVICE));
    team.turn(0);
    assert_eq!(team.punts(0).len(), 1);
}

/// A flood of punts does not keep packets of connections from being forwarded.
#[test]
fn a_full_punt_ring_does_not_stop_packets() {
    let mut team = Team::new(Plan {
        control_frames: 1,
        ..Plan::new(one_server(1))
    });
    for _ in 0..BURST / 2 {
        team.arrive(0, WAN, &udp(IPV4.client, NO_SERVICE));
        team.arrive(0, WAN, &datagram(team.client(0)));
    }
    team.turn(0);
    assert_eq!(team.sent(0, LAN).len(), BURST / 2);
}

/// A frame larger than the ring's buffers cannot be punted, and takes no place there.
#[test]
fn a_frame_too_large_for_the_ring_is_dropped() {
    let mut team = Team::new(Plan {
        control_frames: 1,
        control_frame_bytes: 100,
        ..Plan::new(one_server(1))
    });
    team.arrive(0, WAN, &udp(IPV4.client, NO_SERVICE).data_bytes(100));
    team.arrive(0, WAN, &udp(IPV4.client, NO_SERVICE));
    team.turn(0);
    assert_eq!(team.dropped(0, DropReason::PuntTooLong), 1);
    assert_eq!(team.all_dropped(0), 1);
    assert_eq!(team.punts(0).len(), 1);
}

/// The bell rings once for a burst of punts, and anew after the ring was emptied.
#[test]
fn the_bell_wakes_the_control_thread() {
    let mut team = team_of(1);
    let n_rings = |team: &Team| {
        std::iter::from_fn(|| team.listener.recv(&mut [0]).ok())
            .take(100)
            .count()
    };
    assert_eq!(n_rings(&team), 0);
    for _ in 0..2 {
        for _ in 0..3 {
            team.arrive(0, WAN, &udp(IPV4.client, NO_SERVICE));
        }
        team.turn(0);
        assert_eq!(n_rings(&team), 1);
        assert_eq!(team.punts(0).len(), 3);
    }
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.turn(0);
    assert_eq!(n_rings(&team), 0, "a packet that is forwarded wakes nobody");
}
