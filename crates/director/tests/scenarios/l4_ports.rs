//! Services of all L4 ports: vport 0, which is what no more specific service has.

use std::time::Duration;

use weir_director::{Endpoint, PuntReason, Scheduler, WorkerId};
use weir_testkit::{By, Family, IPV4, IPV6, IntoEndpoint, Rig, Site, real_server_mac, tcp, udp};
use weir_wire::Protocol;

use crate::conversation::{Conversation, client};

const VPORTS: [u16; 4] = [80, 443, 8080, 1];

fn mask(family: Family) -> &'static str {
    match family.vip.contains('[') {
        true => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        false => "255.255.255.255",
    }
}

fn at(endpoint: &str, l4_port: u16) -> Endpoint {
    Endpoint::new(endpoint.into_endpoint().ip(), l4_port)
}

/// Two real servers on `rport` behind all L4 ports of TCP.
fn site(family: Family, by: By, rport: u16) -> Site {
    let reals = [family.real, family.other_real].map(|real| at(real, rport).to_string());
    Site::new()
        .by(by)
        .persistent(Duration::from_secs(300), mask(family))
        .service(
            Protocol::Tcp,
            &at(family.vip, 0).to_string(),
            Scheduler::Rr,
            &[(&reals[0], 1), (&reals[1], 1)],
        )
}

/// The real server gets each connection on the L4 port that the client chose, and there is one template for all.
#[test]
fn a_client_has_one_server_on_every_l4_port() {
    for by in [By::FullNat, By::Nat] {
        for family in [IPV4, IPV6] {
            let mut rig = Rig::new(site(family, by, 0));
            let mut servers = Vec::new();
            for vport in VPORTS {
                let (from, vip) = (client(family, 1000 + vport), at(family.vip, vport));
                let conversation = Conversation::establish(&mut rig, from, vip);
                assert_eq!(conversation.real.port(), vport, "{by:?}");
                let answer = rig.forward(&conversation.outbound(1, 1).data(b"answer"));
                assert_eq!((answer.source, answer.destination), (vip, from));
                servers.push(conversation.real.ip());
            }
            servers.dedup();
            assert_eq!(servers.len(), 1, "{by:?}");
            let all = rig.connections();
            let templates: Vec<_> = all.iter().filter(|it| it.state.is_template()).collect();
            let [template] = templates[..] else {
                panic!("{templates:?}");
            };
            assert_eq!(template.virtual_endpoint, at(family.vip, 0));
            assert_eq!(template.real, Endpoint::new(servers[0], 0));
            // Clients are spread all the same.
            let stranger = match family.vip.contains('[') {
                true => "[2001:db8:7::8]:1000",
                false => "198.51.100.8:1000",
            };
            let sent = rig.forward(&tcp(stranger, at(family.vip, 443)).syn());
            assert_ne!(sent.destination.ip(), servers[0]);
        }
    }
}

/// Where nothing is rewritten, to the same machine.
#[test]
fn under_dr_too() {
    for family in [IPV4, IPV6] {
        let mut rig = Rig::new(site(family, By::Dr, 0));
        let macs = VPORTS.map(|vport| {
            let sent = rig.forward(&tcp(client(family, 1000), at(family.vip, vport)).syn());
            assert_eq!(sent.destination, at(family.vip, vport));
            sent.destination_mac
        });
        let servers = [family.real, family.other_real];
        let server = servers.map(|real| real_server_mac(real.into_endpoint().ip()));
        assert!(server.contains(&macs[0]));
        assert!(macs.iter().all(|mac| *mac == macs[0]));
    }
}

/// A destination with an L4 port of its own gets everything there.
#[test]
fn a_destination_may_have_an_l4_port_of_its_own() {
    let mut rig = Rig::new(site(IPV4, By::FullNat, 8080));
    for vport in VPORTS {
        let sent = rig.forward(&tcp(client(IPV4, 1000), at(IPV4.vip, vport)).syn());
        assert_eq!(sent.destination.port(), 8080);
    }
}

/// What a service has that names it is that service's; other protocols and VIPs are nobody's.
#[test]
fn a_more_specific_service_comes_first() {
    let site = site(IPV4, By::FullNat, 0);
    let site = site.service(
        Protocol::Tcp,
        IPV4.vip,
        Scheduler::Rr,
        &[("10.0.0.13:8000", 1)],
    );
    let mut rig = Rig::new(site);
    let sent = rig.forward(&tcp(IPV4.client, IPV4.vip).syn());
    assert_eq!(sent.destination, "10.0.0.13:8000".into_endpoint());
    let sent = rig.forward(&tcp(IPV4.client, at(IPV4.vip, 443)).syn());
    assert_eq!(sent.destination.port(), 443);
    rig.send(&udp(IPV4.client, at(IPV4.vip, 443)))
        .is_punted(PuntReason::NoService);
    rig.publish(|site| {
        let gone = at(IPV4.vip, 0).to_string();
        site.service(Protocol::Tcp, &gone, Scheduler::Rr, &[])
    });
    rig.send(&tcp(client(IPV4, 5), at(IPV4.vip, 443)).syn())
        .is_punted(PuntReason::NoDestination);
}

/// Whichever workers the L4 ports of client and service lead to.
#[test]
fn every_worker_knows_the_one_server() {
    for family in [IPV4, IPV6] {
        let mut rig = Rig::new(site(family, By::FullNat, 0).workers(3));
        let mut workers = [false; 3];
        let mut servers = Vec::new();
        for (number, vport) in VPORTS.into_iter().cycle().take(24).enumerate() {
            let (from, vip) = (client(family, 1000 + number as u16), at(family.vip, vport));
            let outcome = rig.receive(WorkerId(0), &tcp(from, vip).syn().bytes());
            workers[usize::from(outcome.worker.0)] = true;
            let sent = outcome.sent();
            assert_eq!(sent.destination.port(), vport);
            servers.push(sent.destination.ip());
        }
        assert_eq!(workers, [true; 3]);
        servers.dedup();
        assert_eq!(servers.len(), 1, "{servers:?}");
    }
}
