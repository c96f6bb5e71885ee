//! Service groups: several VIPs and L4 ports, of TCP and UDP, as one service.

use std::time::Duration;

use weir_director::{Endpoint, PuntReason, Scheduler, WorkerId};
use weir_testkit::{By, FrameBuilder, IPV4, IntoEndpoint, Rig, Site, chunk, sctp, tcp, udp};
use weir_wire::Protocol::{self, Sctp, Tcp, Udp};

use crate::conversation::{Conversation, client};

const FIRST: &str = "192.0.2.100:80";
const ALL: [(Protocol, &str); 4] = [
    (Tcp, FIRST),
    (Tcp, "192.0.2.100:443"),
    (Udp, "192.0.2.100:443"),
    (Tcp, "192.0.2.101:80"),
];

/// Two real servers behind [`ALL`].
fn site(by: By, rport: u16) -> Site {
    let reals = ["10.0.0.11", "10.0.0.12"].map(|real| format!("{real}:{rport}"));
    let site = Site::new().by(by);
    group(site, &[(&reals[0], 1), (&reals[1], 1)])
}

fn persistent(by: By, rport: u16) -> Site {
    let reals = ["10.0.0.11", "10.0.0.12"].map(|real| format!("{real}:{rport}"));
    let site = Site::new()
        .by(by)
        .persistent(Duration::from_secs(300), "255.255.255.255");
    group(site, &[(&reals[0], 1), (&reals[1], 1)])
}

fn group(site: Site, reals: &[(&str, u32)]) -> Site {
    let site = site.service(Tcp, FIRST, Scheduler::Rr, reals);
    ALL[1..]
        .iter()
        .fold(site, |site, (protocol, vip)| site.also(*protocol, vip))
}

/// The first packet of a client's connection.
fn opening(protocol: Protocol, client: Endpoint, vip: &str) -> FrameBuilder {
    match protocol {
        Tcp => tcp(client, vip).syn(),
        Udp => udp(client, vip),
        Sctp => sctp(client, vip, chunk::INIT),
    }
}

/// Where a client's new connection to each of them goes.
fn servers_of(rig: &mut Rig, client: Endpoint) -> Vec<Endpoint> {
    ALL.into_iter()
        .map(|(protocol, vip)| {
            let packet = opening(protocol, client, vip);
            rig.forward(&packet).destination
        })
        .collect()
}

/// One template for all, which bears the first one's name; each connection keeps its L4 port.
#[test]
fn a_client_has_one_server_in_the_whole_group() {
    for by in [By::FullNat, By::Nat] {
        let mut rig = Rig::new(persistent(by, 0));
        for round in 0..3 {
            // NAT tells two VIPs apart by the client's L4 port alone.
            for (number, (protocol, vip)) in ALL.into_iter().enumerate() {
                let from = client(IPV4, 1000 + 10 * round + number as u16);
                let packet = opening(protocol, from, vip);
                let real = rig.forward(&packet).destination;
                assert_eq!(real.port(), vip.into_endpoint().port());
            }
        }
        let all = rig.connections();
        let templates: Vec<_> = all.iter().filter(|it| it.state.is_template()).collect();
        let [template] = templates[..] else {
            panic!("{templates:?}");
        };
        assert_eq!(template.virtual_endpoint, FIRST.into_endpoint());
        assert_eq!(all.len(), 13);
        assert!(all.iter().all(|it| it.real.ip() == template.real.ip()));
    }
}

/// Replies come from the VIP and the L4 port that the client chose.
#[test]
fn replies_bear_the_vip_that_was_asked() {
    let mut rig = Rig::new(persistent(By::FullNat, 8080));
    for (protocol, vip) in ALL {
        if protocol == Tcp {
            let conversation = Conversation::establish(&mut rig, IPV4.client, vip);
            assert_eq!(conversation.real.port(), 8080, "the destination's own");
            let answer = rig.forward(&conversation.outbound(1, 1).data(b"answer"));
            assert_eq!(answer.source, vip.into_endpoint());
        }
    }
}

/// Under DR everything goes to one machine, as it came.
#[test]
fn under_dr_nothing_but_the_mac_address_is_chosen() {
    let mut rig = Rig::new(persistent(By::Dr, 0));
    let mut macs: Vec<_> = ALL
        .into_iter()
        .filter(|(protocol, _)| *protocol == Tcp)
        .map(|(_, vip)| {
            let sent = rig.forward(&tcp(IPV4.client, vip).syn());
            assert_eq!(sent.destination, vip.into_endpoint());
            sent.destination_mac
        })
        .collect();
    macs.dedup();
    assert_eq!(macs.len(), 1);
}

/// Without persistence all of them take turns in one round.
#[test]
fn the_scheduler_is_one_for_the_group() {
    let mut rig = Rig::new(site(By::FullNat, 0));
    let servers = servers_of(&mut rig, IPV4.client.into_endpoint());
    let hosts: Vec<_> = servers.iter().map(|server| server.ip()).collect();
    assert_eq!((hosts[0], hosts[1]), (hosts[2], hosts[3]));
    assert_ne!(hosts[0], hosts[1]);
    let id = rig.site.destination(Tcp, FIRST, "10.0.0.11:0");
    assert_eq!(rig.totals(id).connections, 2, "counted together");
    rig.send(&udp(IPV4.client, FIRST))
        .is_punted(PuntReason::NoService);
}

/// Whichever workers the flows belong to.
#[test]
fn every_worker_knows_the_one_server() {
    let mut rig = Rig::new(persistent(By::FullNat, 0).workers(3));
    let mut workers = [false; 3];
    let mut servers = Vec::new();
    for cport in 1000..1010 {
        for (protocol, vip) in ALL {
            let packet = opening(protocol, client(IPV4, cport), vip).bytes();
            let outcome = rig.receive(WorkerId(0), &packet);
            workers[usize::from(outcome.worker.0)] = true;
            servers.push(outcome.sent().destination.ip());
        }
    }
    assert_eq!(workers, [true; 3]);
    servers.dedup();
    assert_eq!(servers.len(), 1);
}
