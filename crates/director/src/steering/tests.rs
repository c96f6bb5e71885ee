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
const PORT: PortId = PortId(0);
const ALL_HASHED: HashedL4Ports = HashedL4Ports {
    tcp_v4: true,
    udp_v4: true,
    tcp_v6: true,
    udp_v6: true,
};

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
    Steering::new(n_workers, SEED, vec![None])
}

/// A port with RSS over a table of `n_entries`, dealt out to the workers in turn.
fn rss(n_workers: u8, n_entries: u16, hashed: HashedL4Ports) -> Steering {
    let table: Vec<_> = (0..n_entries)
        .map(|entry| entry % u16::from(n_workers))
        .collect();
    Steering::new(
        n_workers,
        SEED,
        vec![Rss::new(&KEY, &table, hashed, n_workers)],
    )
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
        let owner = |vip| steering.owner(&key(client, vip), AddressUse::Virtual, PORT);
        assert_eq!(owner(first), owner(second));
    }
}

#[test]
fn clients_are_spread_evenly() {
    for steering in [silent(2), rss(2, 128, ALL_HASHED)] {
        let n_second = (0..10_000u16)
            .map(|cport| key(&format!("192.0.2.1:{cport}"), "198.51.100.1:80"))
            .filter(|key| steering.owner(key, AddressUse::Virtual, PORT) == WorkerId(1))
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
            steering.owner(&reply, AddressUse::Local, PORT),
            WorkerId((lport % 2) as u8)
        );
    }
}

/// Whatever the port: the reply to a local port that a worker is given belongs to that worker.
#[test]
fn the_reply_to_a_workers_local_port_is_its_own() {
    let unhashed = HashedL4Ports {
        tcp_v4: false,
        ..ALL_HASHED
    };
    for (n_workers, steering) in [
        (1, silent(1)),
        (2, silent(2)),
        (5, silent(5)),
        (2, rss(2, 128, ALL_HASHED)),
        (3, rss(3, 512, ALL_HASHED)),
        (4, rss(4, 4, ALL_HASHED)),
        (2, rss(2, 128, unhashed)),
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
                    port: PORT,
                    worker,
                };
                for place in 0..500 {
                    let range = L4PortRange::DEFAULT;
                    let lport = steering.local_port(&reply, lip, range, place).unwrap();
                    assert!((range.first..=range.last).contains(&lport));
                    let key = FlowKey::new(Protocol::Tcp, real, Endpoint::new(lip, lport)).unwrap();
                    assert_eq!(
                        steering.owner(&key, AddressUse::Local, PORT),
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
                port: PORT,
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
            port: PORT,
            worker: WorkerId(worker),
        };
        silent(2).local_port(&reply, "10.0.0.200".parse().unwrap(), range, 7)
    };
    assert_eq!((local_port(0), local_port(1)), (Some(5000), None));
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
