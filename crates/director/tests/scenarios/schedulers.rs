//! A new connection goes where its service's scheduler says.

use weir_director::{HashOptions, NextHop, RouteTarget, Scheduler};
use weir_testkit::{IPV4, IPV6, LAN, LAN_MAC, ROUTER_MAC, Rig, SCHEDULERS, Site, tcp};
use weir_wire::Protocol;

/// What Linux IPVS was seen to pick: clients 10.0.i.(7i mod 250 + 2), cport 4000, i from 0 to 35, to real servers 1, 2
/// and 3 with these weights.
#[test]
fn hashing_schedulers_pick_the_servers_that_linux_picks() {
    let options = HashOptions::default();
    for (scheduler, due) in [
        (
            Scheduler::Sh(options),
            "133223133223131233231233231332231332",
        ),
        (
            Scheduler::Mh(options),
            "321212333322133232323333333222331331",
        ),
    ] {
        // Real servers where they were then, so that Maglev's table is the same; a site finds them on its LAN.
        let servers = [
            ("10.1.0.11:80", 1),
            ("10.1.0.12:80", 2),
            ("10.1.0.13:80", 3),
        ];
        let site = Site::new().service(Protocol::Tcp, IPV4.vip, scheduler, &servers);
        // The first of the clients would else be a neighbour on the LAN that nobody has heard of.
        let site = site.neighbour(
            "10.0.0.2",
            NextHop::resolved(LAN, ROUTER_MAC, LAN_MAC, 1500),
        );
        let router = RouteTarget::Gateway(site.hop_id("10.0.0.2"));
        let site = site.route("10.0.0.2/32", router);
        let mut rig = Rig::new(site);
        let picked: String = (0..36)
            .map(|i| {
                let client = format!("10.0.{i}.{}:4000", 7 * i % 250 + 2);
                let sent = rig.forward(&tcp(client.as_str(), IPV4.vip).syn());
                let real = sent.destination.to_string();
                let server = servers.iter().position(|(server, _)| *server == real);
                char::from_digit(server.expect("a real server") as u32 + 1, 10).expect("a digit")
            })
            .collect();
        assert_eq!(picked, due, "{scheduler}");
    }
}

/// dh goes by the VIP: services with the same real servers, at 192.0.2.20 and so on. The digits are those of a program
/// of its own, as in `scheduler/dh.rs`.
#[test]
fn services_spread_under_destination_hashing() {
    let servers = [
        ("10.0.0.11:80", 1),
        ("10.0.0.12:80", 2),
        ("10.0.0.13:80", 3),
    ];
    let vips: Vec<String> = (20..37).map(|host| format!("192.0.2.{host}:80")).collect();
    let site = vips.iter().fold(Site::new(), |site, vip| {
        site.service(Protocol::Tcp, vip, Scheduler::Dh, &servers)
    });
    let mut rig = Rig::new(site);
    let picked: String = vips
        .iter()
        .map(|vip| {
            let sent = rig.forward(&tcp(IPV4.client, vip.as_str()).syn());
            let real = sent.destination.to_string();
            real.chars()
                .rev()
                .nth(3)
                .expect("the last digit of the address")
        })
        .collect();
    assert_eq!(picked, "12121313232321212");
}

/// One client, many cports: they count when they are to count.
#[test]
fn cports_count_when_they_are_to_count() {
    for scheduler in [Scheduler::Sh, Scheduler::Mh] {
        for port in [false, true] {
            let options = HashOptions {
                port,
                fallback: false,
            };
            let servers = [(IPV6.real, 1), (IPV6.other_real, 1)];
            let site = Site::new().service(Protocol::Tcp, IPV6.vip, scheduler(options), &servers);
            let mut rig = Rig::new(site);
            for cport in 1000..1064 {
                rig.forward(&tcp(format!("[2001:db8:7::7]:{cport}").as_str(), IPV6.vip).syn());
            }
            let shares = servers.map(|(server, _)| {
                let id = rig.site.destination(Protocol::Tcp, IPV6.vip, server);
                rig.totals(id).connections
            });
            assert_eq!(shares.contains(&0), !port, "{shares:?}");
        }
    }
}

/// Over both families, and again after the service was published anew.
#[test]
fn every_scheduler_serves() {
    for scheduler in SCHEDULERS {
        for family in [IPV4, IPV6] {
            let servers = [(family.real, 1), (family.other_real, 2)];
            let site = Site::new().service(Protocol::Tcp, family.vip, scheduler, &servers);
            let mut rig = Rig::new(site);
            for cport in 1000..1006 {
                let client = family.client.replace("40000", &cport.to_string());
                // Overflow is full after two and three.
                if scheduler != Scheduler::Ovf || cport < 1005 {
                    rig.forward(&tcp(client.as_str(), family.vip).syn());
                }
                if cport == 1003 {
                    rig.publish(|site| {
                        let servers = [servers[1], servers[0]];
                        site.service(Protocol::Tcp, family.vip, scheduler, &servers)
                    });
                }
            }
        }
    }
}
