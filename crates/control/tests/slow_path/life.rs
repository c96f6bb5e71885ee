//! Hours of two neighbours' lives: found, confirmed, moved, lost, found again.

use std::net::IpAddr;
use std::time::Duration;

use etherparse::{ArpOperation, NetSlice, SlicedPacket, TransportSlice};
use weir_control::{Action, Event};
use weir_director::{NextHopId, PortId, PuntReason};

use crate::reading::read;
use crate::stage::{LAN, Stage, advertisement, arp, ip, mac, port_mac};

/// A host that answers for one address of either family, as the kernel's would.
struct Host {
    address: &'static str,
    n: u8,
    is_alive: bool,
    n_asked: usize,
}

impl Host {
    fn new(address: &'static str, n: u8) -> Self {
        Self {
            address,
            n,
            is_alive: true,
            n_asked: 0,
        }
    }

    /// The answer to a frame that weir sends, if it asks for this host and reaches it.
    fn answer(&mut self, frame: &[u8]) -> Option<(PuntReason, Vec<u8>)> {
        let is_to_me = frame[0] & 1 == 1 || frame[..6] == mac(self.n);
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let us = port_mac(LAN);
        let answer = match (packet.net.as_ref()?, ip(self.address)) {
            (NetSlice::Arp(question), IpAddr::V4(address)) => {
                let question = question.to_packet().try_eth_ipv4().unwrap();
                let asker = question.sender_ipv4_addr().to_string();
                let is_mine = question.target_ipv4 == address.octets()
                    && question.operation == ArpOperation::REQUEST;
                let ends = [self.address, asker.as_str()];
                is_mine.then(|| {
                    (
                        PuntReason::Arp,
                        arp(ArpOperation::REPLY, mac(self.n), us, ends),
                    )
                })
            }
            (NetSlice::Ipv6(packet_ip), IpAddr::V6(address)) => {
                let Some(TransportSlice::Icmpv6(question)) = &packet.transport else {
                    return None;
                };
                let asker = packet_ip.header().source_addr().to_string();
                let is_mine =
                    question.type_u8() == 135 && question.payload()[..16] == address.octets();
                let macs = [mac(self.n), us];
                let answer = || advertisement(macs, self.address, &asker, "som");
                is_mine.then(|| (PuntReason::Icmp, answer()))
            }
            (NetSlice::Arp(_) | NetSlice::Ipv4(_) | NetSlice::Ipv6(_), _) => None,
        };
        self.n_asked += usize::from(answer.is_some());
        answer.filter(|_| self.is_alive && is_to_me)
    }
}

/// A link with hosts, and a slow path that was told to know them.
struct Link {
    stage: Stage,
    hosts: [Host; 2],
    ids: [NextHopId; 2],
}

impl Link {
    fn new() -> Self {
        let mut stage = Stage::new();
        let hosts = [Host::new("10.0.0.50", 50), Host::new("2001:db8:2::51", 51)];
        let now = stage.now;
        let ids = [0, 1].map(|n: usize| {
            let address = ip(hosts[n].address);
            stage.slow_path.next_hop_for(LAN, address, now).unwrap()
        });
        Self { stage, hosts, ids }
    }

    /// Carries frames until nobody has anything left to say.
    fn carry(&mut self) {
        loop {
            let actions = self.stage.actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                let Action::Transmit { port, frame } = action else {
                    panic!("nothing waits here")
                };
                assert_eq!(port, LAN, "{}", read(&frame));
                read(&frame);
                for host in &mut self.hosts {
                    if let Some((reason, answer)) = host.answer(&frame) {
                        self.stage.punt(reason, LAN, &answer);
                    }
                }
            }
        }
    }

    /// Lets seconds pass, in steps of a tenth.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.stage.pass(100);
            self.carry();
        }
    }

    fn macs(&self) -> [Option<[u8; 6]>; 2] {
        self.ids.map(|id| self.stage.mac_of(id))
    }

    fn states(&self) -> [Option<&'static str>; 2] {
        [0, 1].map(|n: usize| self.stage.state_of(self.hosts[n].address))
    }
}

#[test]
fn living_neighbours_are_confirmed_about_every_half_minute_and_never_lost() {
    let mut link = Link::new();
    link.carry();
    assert_eq!(link.macs(), [Some(mac(50)), Some(mac(51))]);
    link.stage.slow_path.take_changed_next_hops();
    link.pass(3600);
    assert_eq!(link.macs(), [Some(mac(50)), Some(mac(51))]);
    for host in &link.hosts {
        assert!(
            (1 + 3600 / 36..=1 + 3600 / 25).contains(&host.n_asked),
            "{}",
            host.n_asked
        );
    }
    assert!(link.stage.slow_path.take_changed_next_hops().is_none());
    assert_eq!(link.stage.slow_path.take_event(), None);
    let ages = link.stage.slow_path.neighbours(link.stage.now);
    assert!(ages.iter().all(|view| view.age_s <= 36));
}

#[test]
fn a_neighbour_that_moves_in_silence_is_found_by_asking_all() {
    let mut link = Link::new();
    link.carry();
    link.pass(100);
    link.hosts[0].n = 60;
    link.hosts[1].n = 61;
    link.pass(37);
    assert_eq!(link.macs(), [Some(mac(60)), Some(mac(61))]);
    assert_eq!(link.states(), [Some("reachable"); 2]);
    assert_eq!(link.stage.slow_path.take_event(), None, "it was never lost");
}

#[test]
fn a_neighbour_that_tells_that_it_moves_is_believed_at_once() {
    let mut link = Link::new();
    link.carry();
    link.stage.slow_path.take_changed_next_hops();
    link.hosts[0].n = 60;
    let address = link.hosts[0].address;
    let gratuitous = arp(ArpOperation::REQUEST, mac(60), [0xff; 6], [address; 2]);
    link.stage.punt(PuntReason::Arp, LAN, &gratuitous);
    assert_eq!(link.macs()[0], Some(mac(60)));
    assert!(link.stage.slow_path.take_changed_next_hops().is_some());
    link.carry();
    assert_eq!(
        link.states()[0],
        Some("reachable"),
        "and confirms it when asked"
    );
}

#[test]
fn a_liar_is_found_out() {
    let mut link = Link::new();
    link.carry();
    let address = link.hosts[0].address;
    let lie = arp(ArpOperation::REQUEST, mac(66), [0xff; 6], [address; 2]);
    link.stage.punt(PuntReason::Arp, LAN, &lie);
    link.pass(2);
    assert_eq!(link.macs()[0], Some(mac(50)));
}

#[test]
fn a_lost_neighbour_is_asked_for_with_growing_pauses_and_comes_back_under_its_number() {
    let mut link = Link::new();
    link.carry();
    link.stage.slow_path.take_changed_next_hops();
    link.hosts[0].is_alive = false;
    link.pass(40);
    assert_eq!(link.macs(), [None, Some(mac(51))]);
    assert!(link.stage.slow_path.take_changed_next_hops().is_some());
    let (port, address) = (LAN, ip(link.hosts[0].address));
    let lost = Event::NeighbourLost { port, address };
    assert_eq!(link.stage.slow_path.take_event(), Some(lost));
    let n_asked = link.hosts[0].n_asked;
    link.pass(3600);
    let n_asked = link.hosts[0].n_asked - n_asked;
    assert!(
        (3 * 3600 / 63..250).contains(&n_asked),
        "{n_asked} in an hour"
    );
    assert_eq!(link.stage.slow_path.take_event(), None, "it is told once");
    link.hosts[0].is_alive = true;
    link.hosts[0].n = 70;
    link.pass(63);
    assert_eq!(link.macs(), [Some(mac(70)), Some(mac(51))]);
    assert!(matches!(
        link.stage.slow_path.take_event(),
        Some(Event::NeighbourFound {
            port: PortId(1),
            ..
        })
    ));
}

#[test]
fn views_tell_what_is_known_in_a_stable_order() {
    let mut link = Link::new();
    link.hosts[1].is_alive = false;
    link.carry();
    link.stage.now += Duration::from_millis(700);
    let views = link.stage.slow_path.neighbours(link.stage.now);
    let told: Vec<_> = views
        .iter()
        .map(|view| {
            (
                view.port,
                view.address,
                view.mac.map(|mac| mac.0),
                view.state,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (LAN, ip("10.0.0.50"), Some(mac(50)), "reachable"),
            (LAN, ip("2001:db8:2::51"), None, "resolving"),
        ]
    );
    assert_eq!(views[0].number, link.ids[0]);
}

#[test]
fn only_an_answer_to_us_confirms() {
    let mut link = Link::new();
    link.carry();
    link.pass(20);
    let address = link.hosts[0].address;
    let age = |link: &Link| link.stage.slow_path.neighbours(link.stage.now)[0].age_s;
    let say = |link: &mut Link, to, ends| {
        let reply = arp(ArpOperation::REPLY, mac(50), to, ends);
        link.stage.punt(PuntReason::Arp, LAN, &reply);
    };
    say(&mut link, mac(77), [address, "10.0.0.77"]);
    say(&mut link, [0xff; 6], [address; 2]);
    assert_eq!(age(&link), 20);
    say(&mut link, port_mac(LAN), [address, "10.0.0.1"]);
    assert_eq!(age(&link), 0);
}
