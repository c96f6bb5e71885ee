//! One-packet scheduling: each datagram is scheduled for itself, and no connection stays.

use std::collections::HashMap;
use std::time::Duration;

use weir_director::{DropReason, Encapsulation, Load, PuntReason, Scheduler, Verdict, WorkerId};
use weir_testkit::{
    By, Family, IPV4, IPV6, IntoEndpoint, LAN, LAN_MAC, Rig, Site, WAN, decode, icmp,
    real_server_mac, tcp, udp,
};
use weir_wire::{Endpoint, Protocol};

const WAYS: [By; 3] = [By::Nat, By::Dr, By::Tun(Encapsulation::Ipip)];

/// Two real servers in turn, over UDP and over TCP.
fn site(family: Family, by: By) -> Site {
    let at_vport = |real: &str| Endpoint::new(real.into_endpoint().ip(), 80).to_string();
    let reals = [at_vport(family.real), at_vport(family.other_real)];
    let destinations = [(reals[0].as_str(), 1), (reals[1].as_str(), 1)];
    let site = Site::new().by(by).one_packet(true);
    [Protocol::Udp, Protocol::Tcp]
        .into_iter()
        .fold(site, |site, protocol| {
            site.service(protocol, family.vip, Scheduler::Rr, &destinations)
        })
}

/// The same client, again and again: in turn, every time, and nothing is left.
#[test]
fn each_datagram_is_scheduled_for_itself() {
    for by in WAYS {
        for family in [IPV4, IPV6] {
            let mut rig = Rig::new(site(family, by));
            let mut n_for = HashMap::new();
            for _ in 0..6 {
                let outcome = rig.send(&udp(family.client, family.vip).data(b"ask"));
                assert_eq!(outcome.verdict, Verdict::Transmit(LAN), "{by:?}");
                let mac: [u8; 6] = outcome.frame[..6].try_into().unwrap();
                *n_for.entry(mac).or_insert(0) += 1;
                assert!(rig.connections().is_empty());
                assert_eq!(rig.directors[0].usage().used, 0);
            }
            let macs = [family.real, family.other_real]
                .map(|real| real_server_mac(real.into_endpoint().ip()).0);
            assert_eq!(n_for, HashMap::from(macs.map(|mac| (mac, 3))), "{by:?}");
        }
    }
}

/// What is translated is translated as for a connection.
#[test]
fn under_nat_the_datagram_is_rewritten_and_the_reply_is_routed_as_it_is() {
    for family in [IPV4, IPV6] {
        let mut rig = Rig::new(site(family, By::Nat));
        let sent = rig.forward(&udp(family.client, family.vip).data(b"ask"));
        assert_eq!(sent.source, family.client.into_endpoint());
        assert_ne!(sent.destination, family.vip.into_endpoint());
        assert_eq!(sent.ttl, 63);
        // As in IPVS: there is no connection by which the reply could be known.
        let real = sent.destination;
        let reply = udp(real, family.client).macs(real_server_mac(real.ip()), LAN_MAC);
        let outcome = rig.send(&reply.data(b"told"));
        assert_eq!(outcome.verdict, Verdict::Transmit(WAN));
        assert_eq!(decode(&outcome.frame).source, real);
        // Nor an error about it.
        let error = icmp(real, family.client, unreachable(family), [0; 4])
            .macs(real_server_mac(real.ip()), LAN_MAC)
            .data(&udp(family.client, real).data(b"ask").packet_bytes());
        assert_eq!(decode(&rig.send(&error).frame).source.ip(), real.ip());
        let error = icmp(family.client, family.vip, unreachable(family), [0; 4])
            .data(&udp(family.vip, family.client).packet_bytes());
        rig.send(&error).is_dropped(DropReason::IcmpUnrelated);
    }
}

fn unreachable(family: Family) -> [u8; 2] {
    if family.client.starts_with('[') {
        [1, 4]
    } else {
        [3, 3]
    }
}

/// Connections are counted, packets and bytes too; none is left as load.
#[test]
fn counters_count() {
    for by in WAYS {
        let mut rig = Rig::new(site(IPV4, by));
        for cport in [1, 1, 2, 3] {
            rig.send(&udp(crate::conversation::client(IPV4, cport), IPV4.vip).data(b"12"));
        }
        for real in ["10.0.0.11:80", "10.0.0.12:80"] {
            let totals = rig.totals(rig.site.destination(Protocol::Udp, IPV4.vip, real));
            let counted = (
                totals.connections,
                totals.inbound_packets,
                totals.inbound_bytes,
            );
            assert_eq!(counted, (2, 2, 2 * (20 + 8 + 2)));
            assert_eq!((totals.outbound_packets, totals.load), (0, Load::default()));
        }
    }
}

/// Two datagrams of one client in one burst, with a connection of another service between them.
#[test]
fn a_burst_is_scheduled_one_by_one() {
    let mut rig = Rig::new(site(IPV4, By::Dr));
    let (ask, syn) = (
        udp(IPV4.client, IPV4.vip).bytes(),
        tcp(IPV4.client, IPV4.vip).syn().bytes(),
    );
    let outcomes = rig.receive_burst(WorkerId(0), &[&ask, &syn, &ask, &ask, &syn]);
    let servers: Vec<u8> = outcomes.iter().map(|outcome| outcome.frame[5]).collect();
    assert_eq!(servers, [12, 12, 11, 12, 12]);
    assert_eq!(rig.connection().virtual_endpoint, IPV4.vip.into_endpoint());
}

/// TCP has connections, whatever is said of it.
#[test]
fn tcp_is_not_concerned() {
    let mut rig = Rig::new(site(IPV4, By::Dr));
    rig.forward(&tcp(IPV4.client, IPV4.vip).syn());
    rig.forward(&tcp(IPV4.client, IPV4.vip).ack(1));
    assert_eq!(rig.connections().len(), 1);
}

/// A flow that began before goes on to its end, as in IPVS.
#[test]
fn a_living_connection_stays_one() {
    let mut rig = Rig::new(site(IPV4, By::Dr));
    let of = |site: Site, one_packet| {
        let destinations = [("10.0.0.11:80", 1), ("10.0.0.12:80", 1)];
        let site = site.one_packet(one_packet);
        site.service(Protocol::Udp, IPV4.vip, Scheduler::Rr, &destinations)
    };
    rig.publish(|site| of(site, false));
    let ask = udp(IPV4.client, IPV4.vip);
    let mac = rig.forward(&ask).destination_mac;
    rig.publish(|site| of(site, true));
    for _ in 0..3 {
        assert_eq!(rig.forward(&ask).destination_mac, mac);
    }
    rig.pass(Duration::from_secs(301));
    assert!(rig.connections().is_empty());
    let macs = [(); 2].map(|()| rig.forward(&ask).destination_mac);
    assert_ne!(macs[0], macs[1]);
}

/// One that is not forwarded leaves nothing behind either.
#[test]
fn what_is_refused_leaves_nothing() {
    for by in WAYS {
        let mut rig = Rig::new(site(IPV4, by));
        let large = udp(IPV4.client, IPV4.vip).data(&[0; 1473]);
        assert!(matches!(
            rig.send(&large).verdict,
            Verdict::Punt(PuntReason::TooBig { .. })
        ));
        assert_eq!(rig.directors[0].usage().used, 0);
        rig.publish(|site| site.unresolved("10.0.0.11").unresolved("10.0.0.12"));
        let ask = udp(IPV4.client, IPV4.vip);
        assert!(matches!(
            rig.send(&ask).verdict,
            Verdict::Punt(PuntReason::NeighbourUnresolved(_))
        ));
        assert!(rig.connections().is_empty());
    }
}

/// Another connection's replies have the key that this one's would have: nothing is refused for it.
#[test]
fn under_nat_no_reply_key_is_taken() {
    let other = "192.0.2.101:80";
    let one = [("10.0.0.11:80", 1)];
    let site = Site::new().by(By::Nat);
    let site = site.service(Protocol::Udp, other, Scheduler::Rr, &one);
    let site = site.one_packet(true);
    let mut rig = Rig::new(site.service(Protocol::Udp, IPV4.vip, Scheduler::Rr, &one));
    rig.forward(&udp(IPV4.client, other));
    rig.forward(&udp(IPV4.client, IPV4.vip));
    let real = one[0].0.into_endpoint();
    let reply = udp(real, IPV4.client).macs(real_server_mac(real.ip()), LAN_MAC);
    assert_eq!(rig.forward(&reply).source, other.into_endpoint());
    assert_eq!(rig.connections().len(), 1);
}
