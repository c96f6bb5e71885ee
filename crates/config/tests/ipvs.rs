//! Changes in ipvsadm's words to a running configuration.

use std::net::SocketAddr;

use weir_config::ipvs::{
    Edit, EditError, Encapsulation, Family, Forwarding, Netmask, Persistence, RealServer,
    SchedulerFlags, ServiceName, Timeouts, Transport, TunnelChecksum, VirtualService, running,
};
use weir_config::{Config, to_ron};

fn config(services: &str) -> Config {
    let text = format!(
        r#"(
            ports: {{
                "wan": (device: AfPacket("a"), addresses: ["192.0.2.10/24"]),
                "lan": (device: AfPacket("b"), addresses: ["10.0.0.1/24", "fd00::1/64"]),
            }},
            local_pools: {{ "default": ["10.0.0.200", "fd00::200"], "blue": ["10.0.0.201"] }},
            services: [{services}],
        )"#
    );
    Config::parse(&text, "test.ron", &[0]).unwrap()
}

fn name(vip: &str) -> ServiceName {
    ServiceName::Virtual {
        protocol: Transport::Tcp,
        endpoint: vip.parse().unwrap(),
    }
}

const VIP: &str = "192.0.2.100:80";

fn service(vip: &str, scheduler: &str) -> VirtualService {
    VirtualService {
        name: name(vip),
        scheduler: scheduler.to_owned(),
        flags: SchedulerFlags::default(),
        persistence: None,
        persistence_module: None,
        one_packet: false,
    }
}

fn server(address: &str, weight: u32) -> RealServer {
    RealServer {
        address: address.parse().unwrap(),
        forwarding: Forwarding::FullNat,
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
    }
}

fn add_server(vip: &str, server: RealServer) -> Edit {
    Edit::AddServer {
        service: name(vip),
        server,
    }
}

fn edit(config: &Config, edits: &[Edit]) -> (Config, Vec<Result<(), EditError>>) {
    let (after, outcomes) = running::edit(config, edits, &[0]);
    let read_again = Config::parse(&to_ron(&after), "saved.ron", &[0]).unwrap();
    assert_eq!(read_again, after, "what is accepted is read back equal");
    (after, outcomes)
}

#[test]
fn what_is_asked_for_is_in_the_configuration() {
    let edits = [
        Edit::AddService(service(VIP, "rr")),
        add_server(VIP, server("10.0.0.11:8080", 3)),
        add_server(VIP, server("10.0.0.12:80", 1)),
        Edit::EditService(VirtualService {
            flags: SchedulerFlags::FIRST.with(SchedulerFlags::THIRD),
            ..service(VIP, "wrr")
        }),
        Edit::EditServer {
            service: name(VIP),
            server: server("10.0.0.12:80", 0),
        },
        Edit::SetTimeouts(Timeouts {
            tcp_s: 60,
            tcp_fin_s: 0,
            udp_s: 30,
        }),
    ];
    let (after, outcomes) = edit(&config(""), &edits);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let expected = config(
        r#"(vip: "192.0.2.100:80", protocol: Tcp, scheduler: Wrr, scheduler_flags: [1, 3], method: Dr, destinations: [
            (address: "10.0.0.11:8080", weight: 3, method: FullNat()),
            (address: "10.0.0.12:80", weight: 0, method: FullNat())])"#,
    );
    assert_eq!(after.services, expected.services);
    assert_eq!(after.timeouts.tcp_established.as_secs(), 60);
    assert_eq!(after.timeouts.tcp_fin, config("").timeouts.tcp_fin);
    assert_eq!(after.timeouts.udp.as_secs(), 30);
}

#[test]
fn a_service_of_sctp_is_one_beside_that_of_tcp() {
    let sctp = ServiceName::Virtual {
        protocol: Transport::Sctp,
        endpoint: VIP.parse().unwrap(),
    };
    let edits = [
        Edit::AddService(service(VIP, "rr")),
        Edit::AddService(VirtualService {
            name: sctp,
            ..service(VIP, "rr")
        }),
        Edit::AddServer {
            service: sctp,
            server: server("10.0.0.11:8080", 3),
        },
    ];
    let (after, outcomes) = edit(&config(""), &edits);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let expected = config(
        r#"(vip: "192.0.2.100:80", protocol: Tcp, scheduler: Rr, method: Dr, destinations: []),
           (vip: "192.0.2.100:80", protocol: Sctp, scheduler: Rr, method: Dr, destinations: [
            (address: "10.0.0.11:8080", weight: 3, method: FullNat())])"#,
    );
    assert_eq!(after.services, expected.services);
}

#[test]
fn what_is_refused_leaves_no_trace_and_does_not_hold_up_the_rest() {
    let before = config("");
    // A port's own address.
    let own = service("10.0.0.1:80", "rr");
    let edits = [
        Edit::AddService(service(VIP, "rr")),
        Edit::AddService(service(VIP, "rr")),
        add_server("192.0.2.102:80", server("10.0.0.11:80", 1)),
        add_server(VIP, server("10.0.0.11:80", 1)),
        // Where IPVS has no word against it, the director has.
        add_server(VIP, server("10.9.9.9:80", 1)),
        add_server(VIP, server("10.0.0.11:80", 1)),
        Edit::AddService(own),
        add_server(VIP, server("10.0.0.12:80", 1)),
    ];
    let (after, outcomes) = edit(&before, &edits);
    let expected = config(
        r#"(vip: "192.0.2.100:80", protocol: Tcp, scheduler: Rr, method: Dr, destinations: [
            (address: "10.0.0.11:80", method: FullNat()), (address: "10.0.0.12:80", method: FullNat())])"#,
    );
    assert_eq!(after.services, expected.services);
    let sentences: Vec<String> = outcomes
        .into_iter()
        .map(|outcome| outcome.map_or_else(|error| error.to_string(), |()| String::new()))
        .collect();
    assert_eq!(
        sentences,
        [
            "",
            "Service already exists",
            "Service not defined",
            "",
            "no port's subnet and no route leads to the real server 10.9.9.9; add a route, or correct the address",
            "Destination already exists",
            "the VIP 10.0.0.1 is port \"lan\"'s own address; give the service an address of its own",
            "",
        ]
    );
}

/// A persistent service of all L4 ports, by every method; without persistence it is refused.
#[test]
fn a_service_may_be_of_all_l4_ports() {
    const ALL: &str = "192.0.2.100:0";
    let persistent = VirtualService {
        persistence: Some(Persistence {
            timeout_s: 360,
            netmask: Netmask::host(Family::Ipv4),
        }),
        ..service(ALL, "rr")
    };
    let by = |forwarding, address: &str| RealServer {
        forwarding,
        ..server(address, 1)
    };
    let edits = [
        Edit::AddService(persistent),
        add_server(ALL, by(Forwarding::Masquerade, "10.0.0.11:0")),
        add_server(ALL, by(Forwarding::Route, "10.0.0.12:0")),
        add_server(ALL, by(Forwarding::FullNat, "10.0.0.13:0")),
        add_server(ALL, by(Forwarding::FullNat, "10.0.0.13:8080")),
    ];
    let (after, outcomes) = edit(&config(""), &edits);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let expected = config(
        r#"(vip: "192.0.2.100:0", protocol: Tcp, scheduler: Rr, method: Dr, persistence: (timeout: "6m"), destinations: [
            (address: "10.0.0.11:0", method: Nat), (address: "10.0.0.12:0"),
            (address: "10.0.0.13:0", method: FullNat()), (address: "10.0.0.13:8080", method: FullNat())])"#,
    );
    assert_eq!(after.services, expected.services);
    let (_, outcomes) = edit(&after, &[Edit::EditService(service(ALL, "rr"))]);
    let [Err(refused)] = &outcomes[..] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(
        refused.to_string(),
        "192.0.2.100:0 stands for all L4 ports, and without `persistence` a client's connections to them would go to several real servers; add it, or write an L4 port from 1 to 65535"
    );
    let one_way = by(Forwarding::Route, "10.0.0.14:80");
    let (_, outcomes) = edit(&after, &[add_server(ALL, one_way)]);
    let [Err(refused)] = &outcomes[..] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(
        refused.to_string(),
        "the real server gets packets as clients sent them, to whatever L4 port they chose, and 10.0.0.14:80 names another; write 10.0.0.14:0"
    );
}

/// A group is listed by its first VIP; what is said of that is said of all, and none of the others is free.
#[test]
fn a_service_group_stays_one() {
    let before = config(
        r#"(vips: ["tcp/192.0.2.100:80", "tcp/192.0.2.100:443", "udp/192.0.2.100:443"], scheduler: Rr, method: Nat,
            destinations: [(address: "10.0.0.11:0")])"#,
    );
    let masquerading = RealServer {
        forwarding: Forwarding::Masquerade,
        ..server("10.0.0.12:0", 7)
    };
    let edits = [
        Edit::EditService(service(VIP, "wrr")),
        add_server(VIP, masquerading),
        add_server("192.0.2.100:443", masquerading),
        Edit::AddService(service("192.0.2.100:443", "rr")),
    ];
    let (after, outcomes) = edit(&before, &edits);
    let expected = config(
        r#"(vips: ["tcp/192.0.2.100:80", "tcp/192.0.2.100:443", "udp/192.0.2.100:443"], scheduler: Wrr, method: Nat,
            destinations: [(address: "10.0.0.11:0"), (address: "10.0.0.12:0", weight: 7)])"#,
    );
    assert_eq!(after.services, expected.services);
    let sentences: Vec<String> = outcomes
        .into_iter()
        .map(|outcome| outcome.map_or_else(|error| error.to_string(), |()| String::new()))
        .collect();
    assert_eq!(sentences[..3], ["", "", "Service not defined"]);
    assert!(
        sentences[3].starts_with("the service tcp 192.0.2.100:443 stands in line "),
        "{}",
        sentences[3]
    );
    let (gone, _) = edit(&after, &[Edit::DeleteService(name(VIP))]);
    assert!(gone.services.is_empty());
}

const METHODS: [(Forwarding, &str); 7] = [
    (Forwarding::Masquerade, "Nat"),
    (Forwarding::Route, "Dr"),
    (Forwarding::FullNat, "FullNat()"),
    (Forwarding::Tunnel(Encapsulation::Ipip), "Tun()"),
    (
        Forwarding::Tunnel(Encapsulation::Gre {
            checksum: TunnelChecksum::Full,
        }),
        "Tun(encapsulation: Gre(checksum: true))",
    ),
    (
        Forwarding::Tunnel(Encapsulation::Gue {
            destination_port: 6081,
            checksum: TunnelChecksum::None,
        }),
        "Tun(encapsulation: Gue(destination_port: 6081))",
    ),
    (
        Forwarding::Tunnel(Encapsulation::Gue {
            destination_port: 6080,
            checksum: TunnelChecksum::Full,
        }),
        "Tun(encapsulation: Gue(checksum: true))",
    ),
];

fn with(forwarding: Forwarding, address: &str) -> RealServer {
    RealServer {
        forwarding,
        ..server(address, 1)
    }
}

#[test]
fn each_method_becomes_each_other_and_is_said_back() {
    for (of_service, written_of_service) in METHODS {
        for (first, _) in METHODS {
            for (second, written) in METHODS {
                let before = config(&format!(
                    r#"(vip: "{VIP}", protocol: Tcp, method: {written_of_service}, destinations: [])"#
                ));
                let edits = [
                    add_server(VIP, with(first, "10.0.0.11:80")),
                    Edit::EditServer {
                        service: name(VIP),
                        server: with(second, "10.0.0.11:80"),
                    },
                ];
                // One by one: what stays and what is new differ in the second.
                let (between, outcomes) = edit(&before, &edits[..1]);
                assert_eq!(outcomes, [Ok(())], "{first:?}");
                let (after, outcomes) = edit(&between, &edits[1..]);
                assert_eq!(outcomes, [Ok(())], "{second:?}");
                let own = match second == of_service {
                    true => String::new(),
                    false => format!(", method: {written}"),
                };
                let expected = config(&format!(
                    r#"(vip: "{VIP}", protocol: Tcp, method: {written_of_service}, destinations: [(address: "10.0.0.11:80"{own})])"#
                ));
                assert_eq!(after, expected);
                let table = running::table(&after);
                let found = table.find(&name(VIP)).map(|entry| entry.servers.as_slice());
                assert_eq!(found, Some(&[with(second, "10.0.0.11:80")][..]));
            }
        }
    }
}

#[test]
fn a_service_needs_no_pool_before_it_has_a_real_server_that_does() {
    let without = Config::parse(
        r#"(ports: { "lan": (device: AfPacket("b"), addresses: ["10.0.0.1/24"]) })"#,
        "test.ron",
        &[0],
    )
    .unwrap();
    let edits = [
        Edit::AddService(service(VIP, "rr")),
        add_server(VIP, with(Forwarding::Route, "10.0.0.11:80")),
        add_server(VIP, with(Forwarding::FullNat, "10.0.0.12:80")),
        Edit::AddLocal {
            service: name(VIP),
            address: "10.0.0.210".parse().unwrap(),
        },
        add_server(VIP, with(Forwarding::FullNat, "10.0.0.12:80")),
        Edit::DeleteLocal {
            service: name(VIP),
            address: "10.0.0.210".parse().unwrap(),
        },
    ];
    let (after, outcomes) = edit(&without, &edits);
    let is_done: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(is_done, [true, true, false, true, true, false]);
    for refused in [&outcomes[2], &outcomes[5]] {
        let sentence = refused.as_ref().unwrap_err().to_string();
        assert!(sentence.contains("the pool \"default\""), "{sentence}");
    }
    let table = running::table(&after);
    let entry = table.find(&name(VIP)).unwrap();
    assert_eq!((entry.servers.len(), entry.locals.len()), (2, 1));
}

#[test]
fn what_a_method_asks_of_a_real_server_is_said_in_a_sentence() {
    let before = config(r#"(vip: "192.0.2.100:80", protocol: Tcp, method: Dr, destinations: [])"#);
    let ipip = Forwarding::Tunnel(Encapsulation::Ipip);
    for (forwarding, address, word) in [
        (Forwarding::Route, "10.9.9.9:80", "no route leads"),
        (Forwarding::Route, "10.0.0.11:8080", "write 10.0.0.11:80"),
        (ipip, "10.0.0.11:8080", "write 10.0.0.11:80"),
        (
            Forwarding::Masquerade,
            "[fd00::9]:80",
            "only FullNat and Tun",
        ),
    ] {
        let (after, outcomes) = edit(&before, &[add_server(VIP, with(forwarding, address))]);
        let sentence = outcomes[0].as_ref().unwrap_err().to_string();
        assert!(sentence.contains(word), "{sentence}");
        assert_eq!(after, before);
    }
    let routed = to_ron(&before).replace(
        "    routes: [\n",
        "    routes: [(to: \"10.9.0.0/16\", via: \"10.0.0.9\"),\n",
    );
    let routed = Config::parse(&routed, "test.ron", &[0]).unwrap();
    let (_, outcomes) = edit(
        &routed,
        &[
            add_server(VIP, with(Forwarding::Route, "10.9.9.9:80")),
            add_server(VIP, with(ipip, "10.9.9.9:80")),
        ],
    );
    let sentence = outcomes[0].as_ref().unwrap_err().to_string();
    assert!(sentence.contains("is on no port's subnet"), "{sentence}");
    assert_eq!(outcomes[1], Ok(()), "what DR needs, a tunnel does not");
    let (_, outcomes) = edit(&before, &[add_server(VIP, with(ipip, "[fd00::9]:80"))]);
    assert_eq!(outcomes, [Ok(())], "a tunnel may be of the other family");
}

/// FULLNAT crosses from one IP version to the other, from a local address of the real server's.
#[test]
fn real_servers_of_both_ip_versions_stand_in_one_service() {
    const OTHER: &str = "[2001:db8::100]:80";
    let at_first = [
        Edit::AddService(service(OTHER, "rr")),
        add_server(OTHER, server("10.0.0.11:8080", 1)),
        add_server(OTHER, server("[fd00::11]:8080", 2)),
    ];
    let (after, outcomes) = edit(&config(""), &at_first);
    assert_eq!(outcomes, [const { Ok(()) }; 3]);
    let table = running::table(&after);
    let servers = &table.find(&name(OTHER)).unwrap().servers;
    let addresses: Vec<String> = servers.iter().map(|it| it.address.to_string()).collect();
    assert_eq!(addresses, ["10.0.0.11:8080", "[fd00::11]:8080"]);

    // With local addresses of its own the pool "default" lends none.
    let local = |address: &str| Edit::AddLocal {
        service: name(OTHER),
        address: address.parse().unwrap(),
    };
    let (refused, outcomes) = edit(&after, &[local("10.0.0.210")]);
    let sentence = outcomes[0].as_ref().unwrap_err().to_string();
    assert!(
        sentence.contains("no IPv6 address for the real server [fd00::11]:8080"),
        "{sentence}"
    );
    assert_eq!(refused, after);
    let gone = Edit::DeleteServer {
        service: name(OTHER),
        address: "[fd00::11]:8080".parse().unwrap(),
    };
    let again = add_server(OTHER, server("[fd00::11]:8080", 2));
    let edits = [gone, local("10.0.0.210"), local("fd00::210"), again];
    let (_, outcomes) = edit(&after, &edits);
    assert_eq!(outcomes, [const { Ok(()) }; 4]);
}

#[test]
fn everything_that_is_not_built_is_refused_by_name_and_changes_nothing() {
    let running = config(r#"(vip: "192.0.2.100:80", protocol: Tcp, destinations: [])"#);
    let cases = [
        (
            add_server(
                VIP,
                with(
                    Forwarding::Tunnel(Encapsulation::Gue {
                        destination_port: 6080,
                        checksum: TunnelChecksum::Remote,
                    }),
                    "10.0.0.11:80",
                ),
            ),
            "--tun-remcsum",
        ),
        (add_server(VIP, server("10.0.0.11:80", 65_536)), "65536"),
    ];
    for (asked, named) in cases {
        let (after, outcomes) = edit(&running, std::slice::from_ref(&asked));
        assert_eq!(after, running, "{asked:?}");
        let [Err(EditError::Refused(sentence))] = outcomes.as_slice() else {
            panic!("{asked:?}: {outcomes:?}");
        };
        assert!(sentence.contains(named), "{sentence}");
    }
}

#[test]
fn thresholds_are_set_changed_and_taken_away() {
    let limited = |upper_threshold, lower_threshold| RealServer {
        upper_threshold,
        lower_threshold,
        ..server("10.0.0.11:80", 1)
    };
    let changed = |server| Edit::EditServer {
        service: name(VIP),
        server,
    };
    let mut running = config(r#"(vip: "192.0.2.100:80", protocol: Tcp, destinations: [])"#);
    for (asked, upper, lower) in [
        (add_server(VIP, limited(5, 3)), 5, 3),
        (changed(limited(i32::MAX as u32, 0)), i32::MAX as u32, 0),
        (changed(limited(0, 0)), 0, 0),
    ] {
        let (after, outcomes) = edit(&running, std::slice::from_ref(&asked));
        assert_eq!(outcomes, [Ok(())], "{asked:?}");
        let destination = &after.services[0].destinations[0];
        assert_eq!(
            (destination.upper_threshold, destination.lower_threshold),
            (upper, lower)
        );
        let table = running::table(&after);
        let said = table.find(&name(VIP)).unwrap().servers[0];
        assert_eq!(said, limited(upper, lower));
        running = after;
    }
}

#[test]
fn one_packet_scheduling_is_for_datagrams_and_not_under_fullnat() {
    let dns = ServiceName::Virtual {
        protocol: Transport::Udp,
        endpoint: "192.0.2.100:53".parse().unwrap(),
    };
    let said = VirtualService {
        name: dns,
        one_packet: true,
        ..service(VIP, "rr")
    };
    let to = |forwarding| Edit::AddServer {
        service: dns,
        server: with(forwarding, "10.0.0.11:53"),
    };
    let edits = [
        Edit::AddService(VirtualService {
            one_packet: true,
            ..service(VIP, "rr")
        }),
        Edit::AddService(said.clone()),
        to(Forwarding::FullNat),
        to(Forwarding::Masquerade),
    ];
    let (after, outcomes) = edit(&config(""), &edits);
    let [Err(of_tcp), Ok(()), Err(under_fullnat), Ok(())] = outcomes.as_slice() else {
        panic!("{outcomes:?}");
    };
    assert!(of_tcp.to_string().contains("this service is of TCP"));
    assert!(under_fullnat.to_string().contains("under FullNat"));
    let expected = config(
        r#"(vip: "192.0.2.100:53", protocol: Udp, scheduler: Rr, method: Dr, one_packet: true, destinations: [
            (address: "10.0.0.11:53", method: Nat)])"#,
    );
    assert_eq!(after.services, expected.services);
    assert_eq!(running::table(&after).find(&dns).unwrap().service, said);
    let plain = VirtualService {
        one_packet: false,
        ..said
    };
    let (before, (after, outcomes)) = (&after, edit(&after, &[Edit::EditService(plain)]));
    assert_eq!(outcomes, [Ok(())]);
    let changes = weir_config::diff(before, &after);
    let lines: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["~ one_packet of udp 192.0.2.100:53: true → false"]);
}

#[test]
fn every_scheduler_is_said_back_with_its_flags() {
    let names = [
        "rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "dh", "mh", "fo", "ovf", "lblc", "lblcr",
        "twos",
    ];
    for name in names {
        for flags in 0..8 {
            let said = VirtualService {
                flags: SchedulerFlags(flags),
                ..service(VIP, name)
            };
            let (after, outcomes) = edit(&config(""), &[Edit::AddService(said.clone())]);
            assert_eq!(outcomes, [Ok(())], "{name} {flags}");
            let table = running::table(&after);
            assert_eq!(
                table.find(&said.name).map(|entry| &entry.service),
                Some(&said)
            );
        }
    }
    let port = VirtualService {
        flags: SchedulerFlags::SECOND,
        ..service(VIP, "sh")
    };
    let (after, _) = edit(&config(""), &[Edit::AddService(port)]);
    assert!(to_ron(&after).contains("Sh(port: true, fallback: false)"));
    assert!(!to_ron(&after).contains("scheduler_flags"));
}

#[test]
fn what_ipvsadm_does_not_speak_of_stays() {
    let before = config(
        r#"(vip: "192.0.2.100:80", protocol: Tcp, method: FullNat(local_pool: "blue"), destinations: [])"#,
    );
    let edits = [
        Edit::EditService(service(VIP, "lc")),
        add_server(VIP, server("10.0.0.11:80", 1)),
    ];
    let (after, outcomes) = edit(&before, &edits);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(after.services[0].method, before.services[0].method);
    let again = [
        Edit::DeleteService(name(VIP)),
        Edit::AddService(service(VIP, "lc")),
    ];
    let (after, _) = edit(&after, &again);
    assert_ne!(after.services[0].method, before.services[0].method);
}

#[test]
fn a_pool_of_a_real_server_stays_while_its_weight_changes() {
    let before = config(
        r#"(vip: "192.0.2.100:80", protocol: Tcp, method: Nat, destinations: [
            (address: "10.0.0.11:80", method: FullNat(local_pool: "blue")), (address: "10.0.0.12:80", method: Nat)])"#,
    );
    let heavier = |address, forwarding| Edit::EditServer {
        service: name(VIP),
        server: RealServer {
            weight: 7,
            ..with(forwarding, address)
        },
    };
    let edits = [
        heavier("10.0.0.11:80", Forwarding::FullNat),
        heavier("10.0.0.12:80", Forwarding::Masquerade),
    ];
    let (after, outcomes) = edit(&before, &edits);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    for (was, is) in before.services[0]
        .destinations
        .iter()
        .zip(&after.services[0].destinations)
    {
        assert_eq!((&was.method, 7), (&is.method, is.weight));
    }
}

#[test]
fn a_service_may_have_local_addresses_of_its_own() {
    let vips = [VIP, "[2001:db8:1:2:3:4:5:6]:65535", "192.0.2.101:80"];
    let locals = ["10.0.0.210", "fd00::210", "10.0.0.210"];
    let mut running = config("");
    for (vip, local) in vips.into_iter().zip(locals) {
        let edits = [
            Edit::AddService(service(vip, "rr")),
            Edit::AddLocal {
                service: name(vip),
                address: local.parse().unwrap(),
            },
        ];
        let (after, outcomes) = edit(&running, &edits);
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        running = after;
    }
    let table = running::table(&running);
    for (vip, local) in vips.into_iter().zip(locals) {
        let found = table.find(&name(vip)).unwrap();
        assert_eq!(found.locals, [local.parse::<std::net::IpAddr>().unwrap()]);
    }
    assert_eq!(running.local_pools.len(), 5);
    let edits = vips.map(|vip| Edit::DeleteService(name(vip)));
    let (after, _) = edit(&running, &edits);
    assert_eq!(after, config(""), "the pools go with their services");
}

#[test]
fn firewall_marks_are_kept_as_they_are_said() {
    let mark = ServiceName::Mark {
        mark: 7,
        family: Family::Ipv6,
    };
    let said = VirtualService {
        name: mark,
        flags: SchedulerFlags::THIRD,
        persistence: Some(Persistence {
            timeout_s: 60,
            netmask: Netmask::V6(64),
        }),
        ..service(VIP, "sh")
    };
    let server = RealServer {
        address: "[fd00::9]:0".parse::<SocketAddr>().unwrap(),
        forwarding: Forwarding::Tunnel(Encapsulation::Gue {
            destination_port: 6080,
            checksum: TunnelChecksum::Remote,
        }),
        upper_threshold: 9,
        ..server("10.0.0.11:80", 100_000)
    };
    let edits = [
        Edit::AddService(said.clone()),
        Edit::AddServer {
            service: mark,
            server,
        },
    ];
    let (after, outcomes) = edit(&config(""), &edits);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let table = running::table(&after);
    let found = table.find(&mark).unwrap();
    assert_eq!(
        (&found.service, found.servers.as_slice()),
        (&said, &[server][..])
    );
    assert!(after.services.is_empty());
    assert_eq!(weir_config::diff(&config(""), &after).len(), 1);
}

#[test]
fn firewall_marks_are_read_as_documented_and_refused_in_sentences() {
    let with_marks = |marks: &str| {
        let text = to_ron(&config("")).replace(
            "    timeouts:",
            &format!("    firewall_marks: [{marks}],\n    timeouts:"),
        );
        Config::parse(&text, "test.ron", &[0])
    };
    let mark = |number: u32, server: &str| {
        format!(
            r#"(service: (name: mark(mark: {number}, family: ipv4), scheduler: "wrr", flags: 0, persistence: None, persistence_module: None, one_packet: false),
                servers: [(address: "{server}", forwarding: route, weight: 3, upper_threshold: 0, lower_threshold: 0)], locals: [])"#
        )
    };
    let read = with_marks(&mark(7, "10.1.0.11:0")).unwrap();
    assert_eq!(read.firewall_marks.len(), 1);
    let twice = [mark(7, "10.1.0.11:0"), mark(7, "10.1.0.12:0")].join(",");
    for (marks, word) in [
        (mark(0, "10.1.0.11:0"), "more than zero"),
        (mark(7, "224.0.0.1:0"), "Invalid operation"),
        (twice, "Service already exists"),
        (mark(7, "10.1.0.11:0").replace("wrr", "best"), "Scheduler"),
        (
            mark(7, "10.1.0.11:0").replace(
                "mark(mark: 7, family: ipv4)",
                r#"virtual(protocol: tcp, endpoint: "192.0.2.100:80")"#,
            ),
            "write it under `services`",
        ),
    ] {
        let refused = with_marks(&marks).unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
}

#[test]
fn ten_thousand_lines_with_a_wrong_one_take_a_moment() {
    let mut edits = vec![Edit::AddService(service(VIP, "wlc"))];
    for number in 0..10_000_u32 {
        let address = format!("10.0.0.{}:{}", 11 + number % 100, 1000 + number / 100);
        edits.push(add_server(VIP, server(&address, 1)));
    }
    edits[5_000] = add_server(VIP, server("10.9.9.9:80", 1));
    let began = std::time::Instant::now();
    let (after, outcomes) = edit(&config(""), &edits);
    assert_eq!(after.services[0].destinations.len(), 9_999);
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_err()).count(),
        1
    );
    eprintln!("{:?}", began.elapsed());
}
