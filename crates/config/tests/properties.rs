//! What holds for every configuration and for every text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use weir_config::ipvs::{Netmask, Persistence};
use weir_config::{
    AddressRange, ClientAddress, Config, Destination, Device, Encapsulation, FullNat, HashOptions,
    Idle, IpvsSettings, LocalPool, LocalPorts, Memory, Method, Port, Protocol, RemovedDestination,
    Reuse, Route, Runtime, Scheduler, Service, Timeouts, Tun, Vip, diff, to_ron,
};

const CPUS: [usize; 6] = [0, 1, 2, 3, 8, 9];

fn v4(port: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(10, port, 0, host).into()
}

fn v6(port: u8, host: u8) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, port.into(), 0, 0, 0, 0, host.into()).into()
}

/// IPv4 netmasks: prefixes, and such as have holes.
fn mask() -> impl Strategy<Value = u32> {
    prop_oneof![
        (1..=32_u32).prop_map(|n| u32::MAX << (32 - n)),
        any::<u32>()
    ]
}

fn runtime() -> impl Strategy<Value = Runtime> {
    // Enough for whatever else is drawn.
    let memory = (1_u32 << 20..=1 << 24, any::<bool>()).prop_map(|(mib, is_huge)| match is_huge {
        true => Memory::Hugepages { mib },
        false => Memory::Anonymous { mib },
    });
    let workers = subsequence(CPUS.to_vec(), 1..=CPUS.len()).prop_shuffle();
    let idle = select(vec![Idle::Backoff, Idle::Poll]);
    let connections = (1..=1_u32 << 30).prop_flat_map(|connections| {
        (
            Just(connections),
            prop_oneof![Just(0), 0..=((1 << 30) - connections) / 2],
        )
    });
    (workers, memory, connections, idle, "/[^\u{0}]{0,20}").prop_map(
        |(workers, memory, (connections, ipv6_connections), idle, path)| Runtime {
            workers,
            memory,
            connections,
            ipv6_connections,
            idle,
            admin_socket: path.into(),
        },
    )
}

/// Port number `number` is on 10.`number`.0.0/24 and 2001:db8:`number`::/64.
fn port(number: u8) -> impl Strategy<Value = Port> {
    let device = prop_oneof![
        Just(Device::Pci(format!("0000:0{number}:00.0"))),
        Just(Device::AfPacket(format!("eth{number}"))),
        Just(Device::AfXdp(format!("eth{number}"))),
        Just(Device::Tap(format!("tap{number}"))),
        "[!-~]{1,20}".prop_map(move |text| Device::Vdev(format!("net_memif{number},{text}"))),
    ];
    (
        device,
        "[A-Za-z0-9_.-]{0,30}",
        // What every link takes, and the largest tunnel header.
        1280 + 52..=9216_u16,
        any::<bool>(),
    )
        .prop_map(move |(device, name, mtu, is_reversed)| {
            let mut addresses = vec![(v4(number, 1), 24), (v6(number, 1), 64)]
                .into_iter()
                .map(|(address, length)| {
                    ipnet::IpNet::new(address, length).expect("a prefix length that fits")
                })
                .collect::<Vec<_>>();
            if is_reversed {
                addresses.reverse();
            }
            Port {
                name: format!("{number}{name}"),
                device,
                addresses,
                mtu,
            }
        })
}

fn pool(number: u8) -> impl Strategy<Value = LocalPool> {
    (
        "[A-Za-z0-9_.-]{0,30}",
        100..150_u8,
        150..200_u8,
        any::<bool>(),
    )
        .prop_map(move |(name, first, last, is_single)| {
            let range = |of: fn(u8, u8) -> IpAddr| {
                let last = if is_single { first } else { last };
                AddressRange::new(of(number, first), of(number, last)).expect("a range")
            };
            LocalPool {
                name: format!("{number}{name}"),
                ranges: vec![range(v4), range(v6)],
            }
        })
}

fn scheduler() -> impl Strategy<Value = Scheduler> {
    let options =
        || any::<(bool, bool)>().prop_map(|(port, fallback)| HashOptions { port, fallback });
    let plain = select(vec![
        Scheduler::Rr,
        Scheduler::Wrr,
        Scheduler::Lc,
        Scheduler::Wlc,
        Scheduler::Sed,
        Scheduler::Nq,
        Scheduler::Dh,
        Scheduler::Fo,
        Scheduler::Ovf,
        Scheduler::Lblc,
        Scheduler::Lblcr,
        Scheduler::Twos,
    ]);
    prop_oneof![
        plain,
        options().prop_map(Scheduler::Sh),
        options().prop_map(Scheduler::Mh),
    ]
}

/// A destination's own, if it has one.
fn method() -> impl Strategy<Value = Option<Method>> {
    let encapsulation = prop_oneof![
        Just(Encapsulation::Ipip),
        any::<bool>().prop_map(|checksum| Encapsulation::Gre { checksum }),
        (1..=u16::MAX, any::<bool>()).prop_map(|(destination_port, checksum)| Encapsulation::Gue {
            destination_port,
            checksum,
        }),
    ];
    prop_oneof![
        Just(None),
        Just(Some(Method::Nat)),
        Just(Some(Method::Dr)),
        encapsulation.prop_map(|encapsulation| {
            Some(Method::Tun(Tun {
                encapsulation,
                sources: None,
            }))
        }),
    ]
}

fn service(pools: Vec<String>, n_ports: u8) -> impl Strategy<Value = Service> {
    let thresholds = prop_oneof![
        Just((0, 0)),
        (0..=i32::MAX as u32).prop_flat_map(|upper| (Just(upper), 0..=upper)),
    ];
    let destination = (
        0..n_ports,
        2..90_u8,
        1..=u16::MAX,
        any::<u16>(),
        thresholds,
        method(),
    );
    (
        (
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            select(&ClientAddress::ALL[..]),
        ),
        1..=4_u8,
        1..=3_u16,
        (
            select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]),
            scheduler(),
            prop::option::of((1..=31 * 86_400_u32, mask(), 1..=128_u8)),
        ),
        select(pools),
        prop::collection::vec(destination, 0..5),
    )
        .prop_map(
            |(
                (is_ipv4, one_packet, is_group, wanted),
                vip,
                vport,
                (protocol, scheduler, persistence),
                local_pool,
                destinations,
            )| {
                let persistence = persistence.map(|(timeout_s, mask, length)| Persistence {
                    timeout_s,
                    netmask: match is_ipv4 {
                        true => Netmask::V4(Ipv4Addr::from_bits(mask)),
                        false => Netmask::V6(length),
                    },
                });
                let address = |port, host| {
                    if is_ipv4 {
                        v4(port, host)
                    } else {
                        v6(port, host)
                    }
                };
                // Other services have smaller vports.
                let further = is_group.then(|| Vip {
                    protocol: match protocol {
                        Protocol::Tcp => Protocol::Udp,
                        Protocol::Udp => Protocol::Sctp,
                        Protocol::Sctp => Protocol::Tcp,
                    },
                    endpoint: SocketAddr::new(address(99, vip), vport + 100),
                });
                let mut protocols = further.iter().map(|vip| vip.protocol).chain([protocol]);
                let client_address = match protocols.all(|protocol| wanted.is_for(protocol)) {
                    true => wanted,
                    false => ClientAddress::Toa,
                };
                let mut resolved: Vec<Destination> = Vec::new();
                for (port, host, rport, weight, (upper_threshold, lower_threshold), method) in
                    destinations
                {
                    // Packets of DR and TUN arrive as clients sent them.
                    let rport = match method {
                        Some(Method::Dr | Method::Tun(_)) if is_group => 0,
                        Some(Method::Dr | Method::Tun(_)) => vport,
                        Some(Method::Nat | Method::FullNat(_)) | None => rport,
                    };
                    let address = SocketAddr::new(address(port, host), rport);
                    if resolved.iter().all(|other| other.address != address) {
                        resolved.push(Destination {
                            address,
                            weight,
                            upper_threshold,
                            lower_threshold,
                            method,
                        });
                    }
                }
                let may_be_one_packet = protocol == Protocol::Udp
                    && !is_group
                    && resolved
                        .iter()
                        .all(|destination| destination.method.is_some());
                Service {
                    scheduler_flags: Default::default(),
                    one_packet: one_packet && may_be_one_packet,
                    protocol,
                    vip: SocketAddr::new(address(99, vip), vport),
                    further: further.into_iter().collect(),
                    scheduler,
                    persistence,
                    method: Method::FullNat(FullNat {
                        local_pool,
                        client_address,
                    }),
                    destinations: resolved,
                }
            },
        )
}

fn ipvs() -> impl Strategy<Value = (IpvsSettings, RemovedDestination)> {
    let reuse = select(vec![Reuse::Never, Reuse::Over, Reuse::OverOrFinWait]);
    let removed = select(vec![RemovedDestination::Finish, RemovedDestination::Ipvs]);
    (any::<[bool; 6]>(), reuse, removed).prop_map(
        |(
            [
                sloppy_tcp,
                sloppy_sctp,
                schedule_icmp,
                ends_with_destination,
                expire_quiescent_template,
                fragments_tunnelled,
            ],
            reuse,
            removed,
        )| {
            let settings = IpvsSettings {
                sloppy_tcp,
                sloppy_sctp,
                schedule_icmp,
                reuse,
                ends_with_destination,
                expire_quiescent_template,
                fragments_tunnelled,
            };
            (settings, removed)
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    let timeout = || (1..=31 * 24 * 3_600_000_u64).prop_map(Duration::from_millis);
    let timeouts =
        (timeout(), timeout(), timeout()).prop_map(|(tcp_established, tcp_fin, udp)| Timeouts {
            tcp_established,
            tcp_fin,
            udp,
        });
    let local_ports = (1..=u16::MAX)
        .prop_flat_map(|first| (first..=u16::MAX).prop_map(move |last| LocalPorts { first, last }));
    let ports =
        (port(0), port(1), port(2), 1..=3_usize).prop_map(|(a, b, c, n)| [a, b, c][..n].to_vec());
    let network = ports.prop_flat_map(|ports| {
        let n_ports = ports.len() as u8;
        (Just(ports), pool(0), pool(n_ports - 1)).prop_flat_map(move |(ports, first, last)| {
            let pools = if n_ports == 1 {
                vec![first]
            } else {
                vec![first, last]
            };
            let names: Vec<String> = pools.iter().map(|pool| pool.name.clone()).collect();
            (
                Just(ports),
                Just(pools),
                prop::collection::vec(service(names, n_ports), 0..6),
            )
        })
    });
    let routes =
        subsequence(vec!["0.0.0.0/0", "10.7.0.0/16", "192.0.2.1/32"], 0..=3).prop_shuffle();
    (
        runtime(),
        network,
        routes,
        timeouts,
        local_ports,
        200..=255_u8,
        ipvs(),
    )
        .prop_map(
            |(
                runtime,
                (ports, local_pools, mut services),
                routes,
                timeouts,
                local_ports,
                toa_option,
                (ipvs, removed_destination),
            )| {
                let mut seen = Vec::new();
                services.retain(|service| {
                    let key = (service.protocol, service.vip);
                    let is_new = !seen.contains(&key);
                    seen.push(key);
                    is_new
                });
                let routes = routes
                    .into_iter()
                    .map(|to| Route {
                        to: to.parse().expect("a prefix"),
                        via: v4(0, 254),
                    })
                    .collect();
                Config {
                    runtime,
                    ports,
                    routes,
                    local_pools,
                    services,
                    firewall_marks: Vec::new(),
                    timeouts,
                    local_ports,
                    toa_option,
                    ipvs,
                    removed_destination,
                }
            },
        )
}

/// A change that leaves a configuration well-formed enough for `diff`.
fn disturb(config: &mut Config, which: u8, index: Index) {
    match which % 8 {
        0 => config.services.reverse(),
        1 => config.ports.reverse(),
        2 => config.routes.reverse(),
        3 => config.local_pools.reverse(),
        4 if !config.services.is_empty() => {
            let number = index.index(config.services.len());
            config.services[number].destinations.reverse();
        }
        5 if !config.services.is_empty() => {
            config.services.remove(index.index(config.services.len()));
        }
        6 => config.ports[0].addresses.reverse(),
        _ => config.local_pools[0].ranges.reverse(),
    }
}

const TEXT: &str = include_str!("../../../configs/fullnat-two-arm.ron");

proptest! {
    #[test]
    fn what_is_saved_parses_back(config in config()) {
        let text = to_ron(&config);
        match Config::parse(&text, "saved.ron", &CPUS) {
            Ok(parsed) => prop_assert_eq!(parsed, config),
            Err(errors) => prop_assert!(false, "{}\n{}", errors, text),
        }
    }

    #[test]
    fn a_diff_is_empty_exactly_between_equals(old in config(), other in config(), which: u8, index: Index) {
        prop_assert!(diff(&old, &old).is_empty());
        prop_assert_eq!(diff(&old, &other).is_empty(), old == other);
        let mut disturbed = old.clone();
        disturb(&mut disturbed, which, index);
        prop_assert_eq!(diff(&old, &disturbed).is_empty(), old == disturbed, "{:?}", diff(&old, &disturbed));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = Config::parse(&text, "any.ron", &CPUS);
    }

    #[test]
    fn no_damage_makes_it_panic_and_every_error_has_a_place(
        cuts in prop::collection::vec((any::<Index>(), 0..40_usize, "[\\(\\)\\[\\]{}:,'\"r#b/*\\\\ \na0-9\u{e4}]{0,6}"), 1..4),
    ) {
        let mut characters: Vec<char> = TEXT.chars().collect();
        for (at, length, instead) in cuts {
            let start = at.index(characters.len());
            let end = (start + length).min(characters.len());
            characters.splice(start..end, instead.chars());
            characters.push('\n');
        }
        let text: String = characters.into_iter().collect();
        if let Err(errors) = Config::parse(&text, "cut.ron", &CPUS) {
            prop_assert!(!errors.problems().is_empty());
            for problem in errors.problems() {
                let line = text.split('\n').nth(problem.at.line - 1);
                let is_inside = line.is_some_and(|line| problem.at.column <= line.chars().count() + 1);
                prop_assert!(problem.at.column >= 1 && is_inside, "{}\n{}", errors, text);
            }
        }
    }
}
