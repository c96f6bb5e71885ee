//! A service for tests, its picks in a row, and the loads they make.

use std::sync::Arc;

use weir_wire::Protocol;

use super::*;
use crate::threshold::Overloads;
use crate::{
    ClientAddress, DestinationId, L4PortRange, LocalPool, Method, NextHopId, Seed, ServiceId,
    ServiceKey, Thresholds, WorkerId,
};

/// A service, and what one worker keeps for it.
pub(super) struct Bench {
    pub(super) service: Service,
    pub(super) records: Records,
    /// By `DestinationId`, which is the number of the destination in the order of writing.
    pub(super) loads: Vec<Load>,
    pub(super) overloads: Overloads,
    /// By `DestinationId`; none at first.
    pub(super) thresholds: Vec<Thresholds>,
    pub(super) now: Tick,
}

/// The destination written at place `n`, counted from 0: 10.1.0.11, 10.1.0.12 and so on.
pub(super) fn real(n: usize) -> Endpoint {
    let number = 0x0a01_000b + n as u32;
    Endpoint::new(std::net::Ipv4Addr::from_bits(number).into(), 80)
}

/// Destinations with these endpoints, weights and last weights, numbered as they stand.
pub(super) fn destinations(all: &[(Endpoint, u32, u32)]) -> Vec<Destination> {
    let pool = Arc::new(LocalPool::new([], L4PortRange::DEFAULT));
    (0..)
        .zip(all)
        .map(|(number, (real, weight, last_weight))| Destination {
            id: DestinationId(number),
            real: *real,
            weight: *weight,
            last_weight: *last_weight,
            thresholds: Thresholds::default(),
            method: Method::FullNat {
                pool: Arc::clone(&pool),
                client_address: ClientAddress::Toa,
            },
            next_hop: NextHopId(0),
        })
        .collect()
}

impl Bench {
    pub(super) fn new(scheduler: Scheduler, weights: &[u32]) -> Self {
        let all: Vec<_> = (0..)
            .zip(weights)
            .map(|(n, weight)| (real(n), *weight, *weight))
            .collect();
        Self::of(scheduler, destinations(&all))
    }

    pub(super) fn of(scheduler: Scheduler, destinations: Vec<Destination>) -> Self {
        Self {
            loads: vec![Load::default(); destinations.len()],
            service: Service {
                id: ServiceId(0),
                key: ServiceKey {
                    protocol: Protocol::Tcp,
                    virtual_endpoint: "10.0.0.100:80".parse().unwrap(),
                },
                further: Vec::new(),
                schedule: Arc::new(Schedule::new(scheduler, &destinations)),
                destinations,
                one_packet: false,
                persistence: None,
                version: 0,
            },
            overloads: Overloads::new().unwrap(),
            thresholds: Vec::new(),
            records: Records::new(Seed([1, 2, 3, 4]), WorkerId(0)).unwrap(),
            now: Tick(1_000_000),
        }
    }

    /// What a reload with other destinations does. Each names its number and its weight.
    pub(super) fn change(&mut self, scheduler: Scheduler, numbers_and_weights: &[(u32, u32)]) {
        let all: Vec<_> = numbers_and_weights
            .iter()
            .map(|(number, weight)| (real(*number as usize), *weight, *weight))
            .collect();
        let mut destinations = destinations(&all);
        for (destination, (number, _)) in destinations.iter_mut().zip(numbers_and_weights) {
            destination.id = DestinationId(*number);
        }
        let n_ids = destinations.iter().map(|it| it.id.0 as usize + 1).max();
        let n_ids = n_ids.unwrap_or(0).max(self.loads.len());
        self.loads.resize(n_ids, Load::default());
        self.service.schedule = Arc::new(Schedule::new(scheduler, &destinations));
        self.service.destinations = destinations;
        self.service.version += 1;
    }

    /// The number of the destination picked for a client.
    pub(super) fn pick_for(&mut self, client: Endpoint) -> Option<usize> {
        let applicant = Applicant {
            client,
            virtual_endpoint: self.service.key.virtual_endpoint,
            now: self.now,
        };
        for (id, load) in (0..).map(DestinationId).zip(&self.loads) {
            self.overloads.judge(id, *load, &self.thresholds);
        }
        let overloads = self.overloads.view(&self.thresholds);
        self.service
            .pick(&applicant, &mut self.records, &self.loads, overloads)
            .map(|destination| destination.id.0 as usize)
    }

    pub(super) fn pick(&mut self) -> Option<usize> {
        self.pick_for("198.51.100.7:40000".parse().unwrap())
    }

    /// The numbers, from 1, of the destinations picked for `n` connections, which stay active.
    pub(super) fn sequence(&mut self, n: usize) -> String {
        let picked = (0..n).map(|_| {
            let picked = self.pick();
            if let Some(number) = picked {
                self.loads[number].active += 1;
            }
            picked
        });
        digits(picked)
    }

    /// Likewise for these clients.
    pub(super) fn for_clients(&mut self, clients: impl IntoIterator<Item = Endpoint>) -> String {
        digits(clients.into_iter().map(|client| self.pick_for(client)))
    }

    /// How many of `n` connections each destination gets, by number. The client differs each time.
    pub(super) fn shares(&mut self, n: u32) -> Vec<u32> {
        let mut shares = vec![0; self.loads.len()];
        for client in 0..n {
            // Addresses spread over all networks, as clients are.
            let address = std::net::Ipv4Addr::from_bits(client.wrapping_mul(0x9e37_79b1));
            if let Some(number) = self.pick_for(Endpoint::new(address.into(), 4000)) {
                self.loads[number].active += 1;
                shares[number] += 1;
            }
        }
        shares
    }
}

fn digits(picked: impl Iterator<Item = Option<usize>>) -> String {
    picked
        .map(|number| match number {
            Some(number) => char::from_digit(number as u32 + 1, 36).unwrap(),
            None => '-',
        })
        .collect()
}

/// The 36 clients whose servers were observed under Linux IPVS: 10.0.i.(7i mod 250 + 2), cport 4000.
pub(super) fn observed_clients() -> impl Iterator<Item = Endpoint> {
    (0..36_u8).map(|i| {
        let host = (7 * u32::from(i) % 250) as u8 + 2;
        Endpoint::new([10, 0, i, host].into(), 4000)
    })
}

/// 36 clients over IPv6 of many networks, cports 4000, 4007 and so on.
pub(super) fn clients_v6() -> impl Iterator<Item = Endpoint> {
    (0..36_u16).map(|i| {
        let network = 0x2001_0db8_u128 << 96 | u128::from(i) << 76;
        let host = 0x9e37_79b1 * (u128::from(i) + 1);
        let address = std::net::Ipv6Addr::from_bits(network + host);
        Endpoint::new(address.into(), 4000 + 7 * i)
    })
}

/// [`observed_clients`] with the cports of [`clients_v6`].
pub(super) fn clients_v4() -> impl Iterator<Item = Endpoint> {
    observed_clients()
        .zip(clients_v6())
        .map(|(v4, v6)| Endpoint::new(v4.ip(), v6.port()))
}

/// Weights 2, 0, 1 and 0, of which the first 0 was 3 before.
pub(super) fn some_drain() -> Vec<Destination> {
    destinations(&[
        (real(0), 2, 2),
        (real(1), 0, 3),
        (real(2), 1, 1),
        (real(3), 0, 0),
    ])
}

/// Three destinations over IPv6 of weights 5, 1 and 1.
pub(super) fn over_ipv6() -> Vec<Destination> {
    let all: Vec<_> = (0..3_u16)
        .map(|n| {
            let address = format!("[2001:db8:0:fd::{:x}]:{}", 0x11 + n, 8080 + n);
            let weight = if n == 0 { 5 } else { 1 };
            (address.parse().unwrap(), weight, weight)
        })
        .collect();
    destinations(&all)
}

/// The four ways to set the options: plain, `fallback`, `port`, both.
pub(super) const WAYS: [HashOptions; 4] = [
    HashOptions {
        port: false,
        fallback: false,
    },
    HashOptions {
        port: false,
        fallback: true,
    },
    HashOptions {
        port: true,
        fallback: false,
    },
    HashOptions {
        port: true,
        fallback: true,
    },
];

/// 64-bit FNV-1a over numbers instead of bytes: names a whole table in a test.
pub(super) fn digest(places: impl Iterator<Item = usize>) -> u64 {
    places.fold(0xcbf2_9ce4_8422_2325, |hash, place| {
        (hash ^ place as u64).wrapping_mul(0x100_0000_01b3)
    })
}

/// Panics unless the shares are those of the weights, within one percent of all connections.
#[track_caller]
pub(super) fn assert_shares(shares: &[u32], weights: &[u32]) {
    let (all, sum): (u32, u32) = (shares.iter().sum(), weights.iter().sum());
    for (share, weight) in shares.iter().zip(weights) {
        let (got, due) = (
            f64::from(*share) / f64::from(all),
            f64::from(*weight) / f64::from(sum),
        );
        assert!((got - due).abs() < 0.01, "{shares:?} for {weights:?}");
    }
}
