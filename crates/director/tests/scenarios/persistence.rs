//! Persistence: one client, one destination, for as long as IPVS would.

use std::time::Duration;

use weir_director::{
    Arrival, BURST, ConnectionView, DropReason, Encapsulation, Endpoint, IpvsSettings, PuntReason,
    Reuse, Scheduler, State, Verdict, WorkerId,
};
use weir_testkit::{
    By, Family, IPV4, IPV6, IntoEndpoint, Rig, Site, TestBuffer, WAN, WAN_MAC, tcp, udp,
};
use weir_wire::Protocol;

use crate::conversation::{Conversation, client};

const FAMILIES: [(Family, &str); 2] = [
    (IPV4, "255.255.255.255"),
    (IPV6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A service of TCP with two real servers that keeps clients for 300 seconds.
fn persistent(site: Site, family: Family, mask: &str) -> Site {
    site.persistent(seconds(300), mask).service(
        Protocol::Tcp,
        family.vip,
        Scheduler::Rr,
        &[(family.real, 1), (family.other_real, 1)],
    )
}

fn rig(family: Family, mask: &str) -> Rig {
    Rig::new(persistent(Site::new(), family, mask))
}

/// The real server that a client's new connection goes to.
#[track_caller]
fn server_of(rig: &mut Rig, client: Endpoint, vip: &str) -> Endpoint {
    rig.forward(&tcp(client, vip).syn()).destination
}

fn templates(rig: &Rig) -> Vec<ConnectionView> {
    let all = rig.connections().into_iter();
    all.filter(|view| view.state.is_template()).collect()
}

#[track_caller]
fn template(rig: &Rig) -> ConnectionView {
    let [template] = templates(rig)[..] else {
        panic!("not one template: {:?}", rig.connections());
    };
    template
}

/// Templates that lead to a real server, as counted.
fn n_templates(rig: &Rig, family: Family, real: &str) -> u32 {
    let id = rig.site.destination(Protocol::Tcp, family.vip, real);
    rig.totals(id).templates
}

/// rr would alternate. The template is listed as ipvsadm lists it, and counts in no load.
#[test]
fn a_client_keeps_its_server() {
    for (family, mask) in FAMILIES {
        let mut rig = rig(family, mask);
        let first = server_of(&mut rig, client(family, 1000), family.vip);
        for cport in 1001..1010 {
            let next = server_of(&mut rig, client(family, cport), family.vip);
            assert_eq!(next, first);
        }
        let template = template(&rig);
        assert_eq!(template.client, client(family, 0));
        assert_eq!(template.virtual_endpoint, family.vip.into_endpoint());
        assert_eq!(template.real, first);
        assert_eq!(
            (template.state.name(), template.expires_ticks),
            ("NONE", 300_000)
        );
        let id = rig
            .site
            .destination(Protocol::Tcp, family.vip, &first.to_string());
        let totals = rig.totals(id);
        assert_eq!((totals.load.active, totals.load.inactive), (10, 0));
        assert_eq!((totals.connections, totals.templates), (10, 1));
        // Another client is another matter.
        let stranger: Endpoint = match family.client.contains('[') {
            true => "[2001:db8:7::8]:1000".into_endpoint(),
            false => "198.51.100.8:1000".into_endpoint(),
        };
        assert_ne!(server_of(&mut rig, stranger, family.vip), first);
        assert_eq!(templates(&rig).len(), 2);
    }
}

/// Without persistence nothing of this happens.
#[test]
fn without_persistence_the_scheduler_picks_each_time() {
    let servers = [(IPV4.real, 1), (IPV4.other_real, 1)];
    let mut rig = Rig::new(Site::new().service(Protocol::Tcp, IPV4.vip, Scheduler::Rr, &servers));
    let first = server_of(&mut rig, client(IPV4, 1000), IPV4.vip);
    assert_ne!(server_of(&mut rig, client(IPV4, 1001), IPV4.vip), first);
    assert!(templates(&rig).is_empty());
}

/// In every method, and over UDP.
#[test]
fn every_method_keeps_clients() {
    for by in [By::FullNat, By::Nat, By::Dr, By::Tun(Encapsulation::Ipip)] {
        let servers = [("10.0.0.11:80", 1), ("10.0.0.12:80", 1)];
        let site = Site::new()
            .by(by)
            .persistent(seconds(300), "255.255.255.255");
        let site = site.service(Protocol::Udp, IPV4.vip, Scheduler::Rr, &servers);
        let mut rig = Rig::new(site);
        for cport in 1000..1004 {
            let outcome = rig.send(&udp(client(IPV4, cport), IPV4.vip));
            assert!(matches!(outcome.verdict, Verdict::Transmit(_)), "{by:?}");
        }
        let shares = servers.map(|(server, _)| {
            let id = rig.site.destination(Protocol::Udp, IPV4.vip, server);
            rig.totals(id).connections
        });
        assert!(shares.contains(&4), "{by:?}: {shares:?}");
    }
}

/// One-packet scheduling has templates too, which sponsor nothing between two datagrams.
#[test]
fn one_packet_scheduling_keeps_clients() {
    let servers = [("10.0.0.11:80", 1), ("10.0.0.12:80", 1)];
    let site = Site::new().by(By::Nat).one_packet(true);
    let site = site.persistent(seconds(300), "255.255.255.255").service(
        Protocol::Udp,
        IPV4.vip,
        Scheduler::Rr,
        &servers,
    );
    let mut rig = Rig::new(site);
    let ask = udp(IPV4.client, IPV4.vip);
    let first = rig.forward(&ask).destination;
    for _ in 0..4 {
        assert_eq!(rig.forward(&ask).destination, first);
        assert_eq!(rig.connections().len(), 1);
        assert_eq!(template(&rig).real, first);
    }
    rig.pass(seconds(301));
    assert!(rig.connections().is_empty(), "nothing holds the template");
}

/// Templates do not ask whether their destination is overloaded, and count for no threshold.
#[test]
fn an_overloaded_server_keeps_its_clients() {
    let mut rig = Rig::new(persistent(
        Site::new().thresholds(2, 0),
        IPV4,
        "255.255.255.255",
    ));
    let first = server_of(&mut rig, client(IPV4, 1000), IPV4.vip);
    let other = |host: u8| Endpoint::new([198, 51, 100, host].into(), 1000);
    let strangers: Vec<_> = (8..10)
        .map(|host| server_of(&mut rig, other(host), IPV4.vip))
        .collect();
    assert_eq!(strangers.iter().filter(|real| **real == first).count(), 1);
    for cport in 1001..1004 {
        assert_eq!(server_of(&mut rig, client(IPV4, cport), IPV4.vip), first);
    }
    let next = server_of(&mut rig, other(10), IPV4.vip);
    assert_ne!(next, first, "no new client");
    rig.send(&tcp(other(11), IPV4.vip).syn())
        .is_punted(PuntReason::NoDestination);
}

/// A SYN on a template's connection in TIME_WAIT is one of its packets, whatever `conn_reuse_mode` says.
#[test]
fn a_syn_takes_no_sponsored_connection_s_place() {
    for reuse in [Reuse::Never, Reuse::Over, Reuse::OverOrFinWait] {
        let site = Site::new().ipvs(IpvsSettings {
            reuse,
            ..IpvsSettings::default()
        });
        let mut rig = Rig::new(persistent(site, IPV4, "255.255.255.255"));
        let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
        conversation.close(&mut rig);
        let sent = rig.forward(&tcp(IPV4.client, IPV4.vip).syn());
        assert_eq!(
            (sent.source, sent.destination),
            (conversation.local, conversation.real),
            "{reuse:?}"
        );
        let states: Vec<_> = rig.connections().iter().map(|view| view.state).collect();
        assert!(states.contains(&State::SynRecv), "{states:?}");
        assert_eq!(states.len(), 2);
    }
}

/// Under `expire_nodest_conn` it does, to where the template leads.
#[test]
fn a_syn_to_a_draining_server_follows_the_template() {
    for expire_quiescent_template in [false, true] {
        for n_workers in [1, 2] {
            let site = Site::new().workers(n_workers).ipvs(IpvsSettings {
                ends_with_destination: true,
                expire_quiescent_template,
                ..IpvsSettings::default()
            });
            let mut rig = Rig::new(persistent(site, IPV4, "255.255.255.255"));
            let first = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
            let weight = |real: &str| u32::from(real.into_endpoint() != first.real);
            let servers = [IPV4.real, IPV4.other_real].map(|real| (real, weight(real)));
            rig.publish(|site| site.service(Protocol::Tcp, IPV4.vip, Scheduler::Rr, &servers));
            let sent = rig.forward(&tcp(IPV4.client, IPV4.vip).syn());
            let ends = (sent.source, sent.destination);
            assert_ne!(ends, (first.local, first.real), "a new connection");
            assert_eq!(sent.destination != first.real, expire_quiescent_template);
            rig.carry_notes();
            assert_eq!(rig.connections().len(), 2, "one connection, one template");
            rig.pass(seconds(61));
            rig.pass(seconds(240));
            assert!(rig.connections().is_empty(), "nothing holds the template");
        }
    }
}

/// The netmask makes one client of a network.
#[test]
fn a_network_may_be_one_client() {
    for (family, mask, alike, another) in [
        (IPV4, "255.255.255.0", "198.51.100.77:1", "198.51.101.7:1"),
        (
            IPV6,
            "ffff:ffff:ffff:ffff::",
            "[2001:db8:7::9:9]:1",
            "[2001:db8:7:1::7]:1",
        ),
    ] {
        let mut rig = rig(family, mask);
        let first = server_of(&mut rig, client(family, 1000), family.vip);
        assert_eq!(
            server_of(&mut rig, alike.into_endpoint(), family.vip),
            first
        );
        assert_ne!(
            server_of(&mut rig, another.into_endpoint(), family.vip),
            first
        );
        let prefixes: Vec<_> = templates(&rig).iter().map(|it| it.client).collect();
        let due = match family.client.contains('[') {
            true => ["[2001:db8:7::]:0", "[2001:db8:7:1::]:0"],
            false => ["198.51.100.0:0", "198.51.101.0:0"],
        };
        assert_eq!(prefixes, due.map(|prefix| prefix.into_endpoint()));
    }
}

/// A template ends `timeout` after its last new connection; the next connection is scheduled anew.
#[test]
fn a_template_lives_from_its_last_new_connection() {
    let mut rig = rig(IPV4, "255.255.255.255");
    let first = server_of(&mut rig, client(IPV4, 1000), IPV4.vip);
    rig.pass(seconds(200));
    assert_eq!(template(&rig).expires_ticks, 100_000);
    assert_eq!(server_of(&mut rig, client(IPV4, 1001), IPV4.vip), first);
    assert_eq!(template(&rig).expires_ticks, 300_000);
    rig.pass(seconds(299));
    assert_eq!(template(&rig).real, first, "its connections are over");
    rig.pass(seconds(2));
    assert!(rig.connections().is_empty());
    assert_eq!(n_templates(&rig, IPV4, &first.to_string()), 0);
    assert_ne!(server_of(&mut rig, client(IPV4, 1002), IPV4.vip), first);
}

/// While it has connections a template lives on, by 60 seconds each time; then it ends.
#[test]
fn a_template_outlives_its_connections() {
    let mut rig = rig(IPV4, "255.255.255.255");
    let conversation = Conversation::establish(&mut rig, client(IPV4, 1000), IPV4.vip);
    assert_eq!(template(&rig).state, State::AssuredTemplate);
    assert_eq!(template(&rig).state.name(), "ASSURED");
    rig.pass(seconds(301));
    let left = template(&rig).expires_ticks;
    assert!((59_000..=60_000).contains(&left), "{left}");
    rig.pass(seconds(500));
    rig.forward(&conversation.inbound(1, 1));
    rig.pass(seconds(500));
    let next = server_of(&mut rig, client(IPV4, 1001), IPV4.vip);
    assert_eq!(next, conversation.real);
    assert_eq!(template(&rig).expires_ticks, 60_000, "as in IPVS");
    conversation.close(&mut rig);
    rig.pass(seconds(118));
    assert_eq!(template(&rig).real, next, "TIME_WAIT is a connection");
    rig.pass(seconds(63));
    assert!(rig.connections().is_empty());
}

/// Weight 0 keeps clients, unless they are to be sent elsewhere.
#[test]
fn a_draining_server_keeps_its_clients_unless_told_otherwise() {
    for is_expired in [false, true] {
        let mut rig = rig(IPV4, "255.255.255.255");
        let first = server_of(&mut rig, client(IPV4, 1000), IPV4.vip);
        let weight = |real: &str| u32::from(real.into_endpoint() != first);
        let servers = [IPV4.real, IPV4.other_real].map(|real| (real, weight(real)));
        rig.publish(|site| {
            let site = site.service(Protocol::Tcp, IPV4.vip, Scheduler::Rr, &servers);
            match is_expired {
                true => site.expire_quiescent_template(),
                false => site,
            }
        });
        let next = server_of(&mut rig, client(IPV4, 1001), IPV4.vip);
        assert_eq!(next != first, is_expired);
        assert_eq!(template(&rig).real, next);
        let stranger = server_of(&mut rig, "198.51.100.8:1".into_endpoint(), IPV4.vip);
        assert_ne!(stranger, first, "no new client");
    }
}

/// A client whose server was removed gets another and keeps that; its template is counted there, and lives as long as the
/// connections to either.
#[test]
fn a_removed_server_loses_its_clients() {
    for (family, mask) in FAMILIES {
        let mut rig = rig(family, mask);
        let conversation = Conversation::establish(&mut rig, client(family, 1000), family.vip);
        let first = conversation.real;
        let (gone, left) = match first == family.real.into_endpoint() {
            true => (family.real, family.other_real),
            false => (family.other_real, family.real),
        };
        rig.publish(|site| site.service(Protocol::Tcp, family.vip, Scheduler::Rr, &[(left, 1)]));
        let next = server_of(&mut rig, client(family, 1001), family.vip);
        assert_eq!(next, left.into_endpoint());
        assert_eq!(template(&rig).real, next);
        assert_eq!(template(&rig).client, client(family, 0));
        let counts = [gone, left].map(|real| n_templates(&rig, family, real));
        assert_eq!(counts, [0, 1]);
        // It comes back: the client stays where it is.
        let both = [(gone, 1), (left, 1)];
        rig.publish(|site| site.service(Protocol::Tcp, family.vip, Scheduler::Rr, &both));
        for cport in 1002..1005 {
            assert_eq!(server_of(&mut rig, client(family, cport), family.vip), next);
        }
        rig.pass(seconds(600));
        assert_eq!(template(&rig).real, next, "the first connection is alive");
        rig.pass(seconds(400));
        rig.pass(seconds(61));
        assert!(rig.connections().is_empty());
        let counts = [gone, left].map(|real| n_templates(&rig, family, real));
        assert_eq!(counts, [0, 0]);
    }
}

/// Without a destination there is no template, and a connection that could not be opened leaves none that stays.
#[test]
fn what_fails_leaves_nothing() {
    let mut rig = rig(IPV4, "255.255.255.255");
    rig.publish(|site| site.service(Protocol::Tcp, IPV4.vip, Scheduler::Rr, &[(IPV4.real, 0)]));
    rig.send(&tcp(IPV4.client, IPV4.vip).syn())
        .is_punted(PuntReason::NoDestination);
    assert!(rig.connections().is_empty());
    let local = Site::new().local(&[], 1024, 1024);
    let mut rig = Rig::new(persistent(local, IPV4, "255.255.255.255"));
    rig.send(&tcp(IPV4.client, IPV4.vip).syn())
        .is_dropped(DropReason::LocalPortsExhausted);
    assert_eq!(template(&rig).expires_ticks, 300_000);
    rig.pass(seconds(301));
    assert!(rig.connections().is_empty(), "it sponsors nothing");
}

/// A template answers to no packet, not even from L4 port 0.
#[test]
fn no_packet_meets_a_template() {
    let mut rig = rig(IPV4, "255.255.255.255");
    server_of(&mut rig, client(IPV4, 1000), IPV4.vip);
    rig.send(&tcp(client(IPV4, 0), IPV4.vip).ack(1))
        .is_punted(PuntReason::NoConnection);
    server_of(&mut rig, client(IPV4, 0), IPV4.vip);
    assert_eq!(rig.connections().len(), 3);
}

/// A flood of SYNs leaves no more templates behind than half-open connections, which are what a client lives by until it
/// has answered.
#[test]
fn a_flood_does_not_fill_the_table_with_templates() {
    let mut rig = Rig::with_connections(persistent(Site::new(), IPV4, "255.255.255.255"), 64);
    for host in 0..1000_u32 {
        let from = Endpoint::new((0xc612_0000 + host).to_be_bytes().into(), 1000);
        rig.forward(&tcp(from, IPV4.vip).syn());
        rig.pass(Duration::from_millis(1));
    }
    let all = rig.connections();
    let n_templates = all.iter().filter(|it| it.state.is_template()).count();
    assert!(
        n_templates <= all.len() / 2 + 1,
        "{n_templates} of {}",
        all.len()
    );
}

/// Where room is needed, a template without connections goes, and none that has some.
#[test]
fn templates_without_connections_make_room() {
    let site = persistent(Site::new(), IPV4, "255.255.255.255");
    let site = site.service(Protocol::Udp, IPV4.vip, Scheduler::Rr, &[(IPV4.real, 1)]);
    let mut rig = Rig::with_connections(site, 4);
    server_of(&mut rig, client(IPV4, 1000), IPV4.vip);
    rig.pass(seconds(61));
    assert_eq!(rig.connections().len(), 1, "a template alone");
    let mut held = Vec::new();
    for host in [8, 9] {
        let other = Endpoint::new([198, 51, 100, host].into(), 1000);
        held.push(Conversation::establish(&mut rig, other, IPV4.vip));
    }
    assert_eq!(rig.connections().len(), 4, "two templates, two connections");
    assert_eq!(rig.directors[0].n_evicted(), 1);
    rig.send(&tcp(client(IPV4, 1000), IPV4.vip).syn())
        .is_dropped(DropReason::TableFull);
    for conversation in held {
        rig.forward(&conversation.inbound(1, 1));
    }
}

/// Clients of one address whose connections belong to every worker get one server; the template, of one worker, knows
/// when the last connection is over.
#[test]
fn all_workers_send_a_client_to_one_server() {
    for (family, mask) in FAMILIES {
        let mut rig = Rig::new(persistent(Site::new().workers(3), family, mask));
        let mut workers = [0; 3];
        let conversations: Vec<_> = (1000..1024)
            .map(|cport| {
                let (from, vip) = (client(family, cport), family.vip.into_endpoint());
                let outcome = rig.receive(WorkerId(0), &tcp(from, vip).syn().seq(1000).bytes());
                workers[usize::from(outcome.worker.0)] += 1;
                Conversation::seen_by_both(from, vip, &outcome.sent())
            })
            .collect();
        assert!(!workers.contains(&0), "{workers:?}");
        let first = conversations[0].real;
        assert!(conversations.iter().all(|it| it.real == first));
        assert_eq!(template(&rig).real, first);
        assert_eq!(template(&rig).state, State::Template);
        for conversation in &conversations {
            rig.forward(&conversation.syn_ack());
            rig.forward(&conversation.inbound(1, 1));
        }
        rig.carry_notes();
        assert_eq!(template(&rig).state, State::AssuredTemplate);
        rig.pass(seconds(400));
        assert_eq!(template(&rig).real, first);
        for conversation in &conversations {
            conversation.close(&mut rig);
        }
        rig.pass(seconds(119));
        assert_eq!(template(&rig).real, first);
        rig.pass(seconds(5));
        rig.pass(seconds(61));
        assert!(rig.connections().is_empty(), "{:?}", rig.connections());
    }
}

/// A site of two workers, and a client whose connection belongs to the first while its template belongs to the second.
fn two_workers() -> (Rig, Endpoint) {
    let mut rig = Rig::new(persistent(Site::new().workers(2), IPV4, "255.255.255.255"));
    let asks = |cport: &u16| {
        let frame = tcp(client(IPV4, *cport), IPV4.vip).syn().bytes();
        ask(&mut rig, &frame) == Verdict::Consult(WorkerId(1))
    };
    let cport = (1000..1100).find(asks);
    let cport = cport.unwrap_or_else(|| panic!("the template belongs to worker 0"));
    (rig, client(IPV4, cport))
}

/// What the first worker says to a frame.
fn ask(rig: &mut Rig, frame: &[u8]) -> Verdict {
    let mut buffer = TestBuffer::new(frame);
    let mut verdicts = [Verdict::Drop(DropReason::NoBuffer); BURST];
    let arrival = Arrival::Wire {
        port: WAN,
        mac: WAN_MAC,
    };
    let now = rig.now;
    rig.directors[0].process(&mut [buffer.packet()], arrival, now, &mut verdicts);
    verdicts[0]
}

/// A SYN sent again while the first was away: both come back with a choice, of which one comes to nothing.
#[test]
fn a_choice_too_many_is_given_back() {
    let (mut rig, client) = two_workers();
    let now = rig.now;
    let mut buffers = [0; 2].map(|_| TestBuffer::new(&tcp(client, IPV4.vip).syn().bytes()));
    let choices = buffers
        .each_mut()
        .map(|buffer| rig.directors[1].choose(&buffer.packet(), now).unwrap());
    for (buffer, choice) in buffers.iter_mut().zip(choices) {
        let verdict = rig.directors[0].process_chosen(&mut buffer.packet(), choice, now);
        assert!(matches!(verdict, Verdict::Transmit(_)), "{verdict:?}");
    }
    assert_eq!(rig.connections().len(), 2, "a connection and its template");
    rig.pass(seconds(61));
    rig.pass(seconds(240));
    assert!(rig.connections().is_empty(), "nothing holds the template");
}

/// A choice between two snapshots: the one who asks, or the one who is asked, does not know what the other does.
#[test]
fn a_choice_outdated_is_dropped_and_given_back() {
    let (mut rig, client) = two_workers();
    let now = rig.now;
    let mut buffer = TestBuffer::new(&tcp(client, IPV4.vip).syn().bytes());
    let choice = rig.directors[1].choose(&buffer.packet(), now).unwrap();
    let outdated = Verdict::Drop(DropReason::ChoiceOutdated);
    rig.publish(|site| {
        let third = [("10.0.0.13:80", 1)];
        site.service(Protocol::Tcp, IPV4.vip, Scheduler::Rr, &third)
    });
    let verdict = rig.directors[0].process_chosen(&mut buffer.packet(), choice, now);
    assert_eq!(verdict, outdated);
    let mut other = TestBuffer::new(&tcp(client, "192.0.2.100:81").syn().bytes());
    let chosen = rig.directors[1].choose(&other.packet(), now);
    assert_eq!(chosen, Err(outdated));
    rig.carry_notes();
    rig.pass(seconds(301));
    assert!(rig.connections().is_empty(), "nothing holds the template");
}
