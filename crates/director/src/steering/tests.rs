//! Owners and local ports, on ports that tell how they spread packets and on ports that do not.

use super::*;
use std::collections::HashSet;

const SEED: Seed = Seed([
    0x9ae1_6a3b_2f90_404f,
    0xc3a5_c85c_97cb_3127,
    0xb492_b66f_be98_f273,
    0x9ae1_6a3b_2f90_4051,
]);
/// The key of Microsoft's RSS vectors.
const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];
const ALL_HASHED: HashedFields = all(Hashed::L4Ports);
const ADDRESSES_HASHED: HashedFields = all(Hashed::Addresses);

const fn all(hashed: Hashed) -> HashedFields {
    HashedFields {
        tcp_v4: hashed,
        udp_v4: hashed,
        tcp_v6: hashed,
        udp_v6: hashed,
    }
}

fn key(source: &str, destination: &str) -> FlowKey {
    FlowKey::new(
        Protocol::Tcp,
        source.parse().unwrap(),
        destination.parse().unwrap(),
    )
    .unwrap()
}

/// A port that tells nothing.
fn silent(n_workers: u8) -> Steering {
    Steering::new(n_workers, SEED, None, Vec::new())
}

/// A port with RSS over a table of `n_entries`, dealt out to the workers in turn.
fn port(n_workers: u8, n_entries: u16, fields: HashedFields) -> Arc<Rss> {
    let table: Vec<_> = (0..n_entries)
        .map(|entry| entry % u16::from(n_workers))
        .collect();
    Arc::new(Rss::new(&KEY, &table, fields, n_workers).unwrap())
}

/// One such port for everything.
fn rss(n_workers: u8, n_entries: u16, fields: HashedFields) -> Steering {
    let rss = port(n_workers, n_entries, fields);
    let link = |subnet: &str| Link {
        subnet: subnet.parse().unwrap(),
        rss: Arc::clone(&rss),
    };
    let links = vec![link("10.0.0.0/24"), link("fd00::/64")];
    Steering::new(n_workers, SEED, Some(rss), links)
}

#[test]
fn a_client_has_one_owner_whatever_it_talks_to() {
    let steering = silent(3);
    for (client, first, second) in [
        ("192.0.2.1:4000", "198.51.100.1:80", "198.51.100.2:443"),
        (
            "[2001:db8::7]:4000",
            "[2001:db8::1]:80",
            "[2001:db8::2]:443",
        ),
    ] {
        let owner = |vip| steering.owner(&key(client, vip), AddressUse::Virtual);
        assert_eq!(owner(first), owner(second));
    }
}

#[test]
fn clients_are_spread_evenly() {
    for steering in [silent(2), rss(2, 128, ALL_HASHED)] {
        let n_second = (0..10_000u16)
            .map(|cport| key(&format!("192.0.2.1:{cport}"), "198.51.100.1:80"))
            .filter(|key| steering.owner(key, AddressUse::Virtual) == WorkerId(1))
            .count();
        assert!((4_700..5_300).contains(&n_second), "{n_second}");
    }
}

#[test]
fn without_rss_a_reply_belongs_by_its_local_port() {
    let steering = silent(2);
    for lport in [1024u16, 1025, 65_535] {
        let reply = key("10.0.0.11:80", &format!("10.0.0.200:{lport}"));
        assert_eq!(
            steering.owner(&reply, AddressUse::Local),
            WorkerId((lport % 2) as u8)
        );
    }
}

/// Whatever the port: the reply to a local port that a worker is given belongs to that worker.
#[test]
fn the_reply_to_a_workers_local_port_is_its_own() {
    let mixed = HashedFields {
        tcp_v4: Hashed::Nothing,
        tcp_v6: Hashed::Addresses,
        ..ALL_HASHED
    };
    for (n_workers, steering) in [
        (1, silent(1)),
        (2, silent(2)),
        (5, silent(5)),
        (2, rss(2, 128, ALL_HASHED)),
        (3, rss(3, 512, ALL_HASHED)),
        (4, rss(4, 4, ALL_HASHED)),
        (2, rss(2, 128, mixed)),
        (3, rss(3, 128, ADDRESSES_HASHED)),
    ] {
        for (real, lip) in [
            ("10.0.0.11:8080", "10.0.0.200"),
            ("[fd00::11]:80", "fd00::200"),
        ] {
            let (real, lip): (Endpoint, IpAddr) = (real.parse().unwrap(), lip.parse().unwrap());
            for worker in (0..n_workers).map(WorkerId) {
                let reply = Reply {
                    protocol: Protocol::Tcp,
                    real,
                    worker,
                };
                for place in 0..500 {
                    let range = L4PortRange::DEFAULT;
                    let lport = steering.local_port(&reply, lip, range, place).unwrap();
                    assert!((range.first..=range.last).contains(&lport));
                    let key = FlowKey::new(Protocol::Tcp, real, Endpoint::new(lip, lport)).unwrap();
                    assert_eq!(
                        steering.owner(&key, AddressUse::Local),
                        worker,
                        "{real} {lip} {lport}"
                    );
                }
            }
        }
    }
}

/// Every L4 port of the range is some worker's, and comes up before any comes up again.
#[test]
fn every_port_of_the_range_belongs_to_one_worker() {
    let range = L4PortRange {
        first: 1021,
        last: 20_000,
    };
    let (real, lip) = (
        "10.0.0.11:80".parse().unwrap(),
        "10.0.0.200".parse().unwrap(),
    );
    for (n_workers, steering) in [(1, silent(1)), (3, silent(3)), (2, rss(2, 128, ALL_HASHED))] {
        let mut seen = HashSet::new();
        for worker in (0..n_workers).map(WorkerId) {
            let reply = Reply {
                protocol: Protocol::Tcp,
                real,
                worker,
            };
            // Classes differ in length by a few where the range cuts them, so a few places more reach all.
            let lports =
                (0..30_000).filter_map(|place| steering.local_port(&reply, lip, range, place));
            let mine: HashSet<_> = lports.collect();
            assert!(mine.is_disjoint(&seen));
            seen.extend(mine);
        }
        assert_eq!(
            seen.len(),
            usize::from(range.last - range.first) + 1,
            "{n_workers} workers"
        );
    }
}

#[test]
fn a_range_smaller_than_the_number_of_workers_leaves_some_without() {
    let range = L4PortRange {
        first: 5000,
        last: 5000,
    };
    let local_port = |worker| {
        let real = "10.0.0.11:80".parse().unwrap();
        let reply = Reply {
            protocol: Protocol::Tcp,
            real,
            worker: WorkerId(worker),
        };
        silent(2).local_port(&reply, "10.0.0.200".parse().unwrap(), range, 7)
    };
    assert_eq!((local_port(0), local_port(1)), (Some(5000), None));
}

/// Where addresses only are hashed: a LIP is of the queue that all its replies fall on, whatever their L4 ports.
#[test]
fn a_lip_of_the_queue_is_one_whose_replies_fall_on_it() {
    for (real, lips) in [("10.0.0.11:8080", "10.0.0."), ("[fd00::11]:8080", "fd00::")] {
        let (steering, nic) = (
            rss(3, 128, ADDRESSES_HASHED),
            port(3, 128, ADDRESSES_HASHED),
        );
        let mut n_lips = [0; 3];
        for last in 100..200 {
            let lip: IpAddr = format!("{lips}{last}").parse().unwrap();
            let queues: HashSet<_> = [(8080, 1024), (8080, 65_535), (1, 1)]
                .iter()
                .map(|(rport, lport)| {
                    let real = Endpoint::new(real.parse::<Endpoint>().unwrap().ip(), *rport);
                    let reply = FlowKey::new(Protocol::Tcp, real, Endpoint::new(lip, *lport));
                    nic.owner(&reply.unwrap()).unwrap()
                })
                .collect();
            for worker in (0..3).map(WorkerId) {
                let reply = Reply {
                    protocol: Protocol::Tcp,
                    real: real.parse().unwrap(),
                    worker,
                };
                assert!(steering.chooses_lips(&reply));
                let is_of_queue = steering.is_lip_of_queue(&reply, lip);
                assert_eq!(
                    HashSet::from([worker]) == queues,
                    is_of_queue,
                    "{lip} {queues:?}"
                );
                n_lips[usize::from(worker.0)] += usize::from(is_of_queue);
            }
        }
        assert_eq!(n_lips.iter().sum::<usize>(), 100);
        assert!(n_lips.iter().all(|n_lips| *n_lips > 20), "{n_lips:?}");
    }
}

/// Of one protocol and family L4 ports may be hashed, of another addresses: each goes by its own rule.
#[test]
fn lips_are_chosen_only_where_l4_ports_are_not_hashed() {
    let fields = HashedFields {
        udp_v4: Hashed::Addresses,
        udp_v6: Hashed::Nothing,
        ..ALL_HASHED
    };
    let (one, several) = (rss(1, 4, fields), rss(2, 4, fields));
    for (protocol, real, expected) in [
        (Protocol::Tcp, "10.0.0.11:80", false),
        (Protocol::Udp, "10.0.0.11:80", true),
        (Protocol::Tcp, "[fd00::11]:80", false),
        (Protocol::Udp, "[fd00::11]:80", false),
    ] {
        let reply = Reply {
            protocol,
            real: real.parse().unwrap(),
            worker: WorkerId(0),
        };
        assert_eq!(several.chooses_lips(&reply), expected);
        assert!(!one.chooses_lips(&reply), "one worker owns everything");
        assert!(!silent(2).chooses_lips(&reply));
    }
}

/// Clients go by one port's RSS, replies by that of the port on the LIP's link; off any link by their local port.
#[test]
fn replies_go_by_the_port_on_their_link() {
    let other_key = KEY.map(|byte| byte ^ 0x5a);
    let table = [0, 1];
    let wan = port(2, 2, ALL_HASHED);
    let lan = Arc::new(Rss::new(&other_key, &table, ALL_HASHED, 2).unwrap());
    let link = Link {
        subnet: "10.0.0.1/24".parse().unwrap(),
        rss: Arc::clone(&lan),
    };
    let steering = Steering::new(2, SEED, Some(Arc::clone(&wan)), vec![link]);
    let mut n_differences = 0;
    for l4_port in 1024..1100 {
        let client = key(&format!("198.51.100.7:{l4_port}"), "192.0.2.100:80");
        assert_eq!(
            Some(steering.owner(&client, AddressUse::Virtual)),
            wan.owner(&client)
        );
        let reply = key("10.0.0.11:80", &format!("10.0.0.200:{l4_port}"));
        assert_eq!(
            Some(steering.owner(&reply, AddressUse::Local)),
            lan.owner(&reply)
        );
        n_differences += u32::from(lan.owner(&reply) != wan.owner(&reply));
        let elsewhere = key("10.0.0.11:80", &format!("10.0.1.200:{l4_port}"));
        assert_eq!(
            steering.owner(&elsewhere, AddressUse::Local),
            WorkerId((l4_port % 2) as u8)
        );
    }
    assert_ne!(n_differences, 0);
}

#[test]
fn what_cannot_be_computed_is_refused() {
    let hashed = ALL_HASHED;
    assert!(
        Rss::new(&KEY[..16], &[0, 1], hashed, 2).is_none(),
        "a key too short for IPv6"
    );
    assert!(
        Rss::new(&KEY, &[0, 1, 0], hashed, 2).is_none(),
        "a table whose length is no power of two"
    );
    assert!(
        Rss::new(&KEY, &[0, 2], hashed, 2).is_none(),
        "a queue that is no worker's"
    );
    assert!(Rss::new(&KEY, &[], hashed, 2).is_none(), "no table");
}
