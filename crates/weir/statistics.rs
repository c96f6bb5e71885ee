//! What ipvsadm shows of traffic: totals that `-Z` sets to zero, and rates by IPVS's estimator.
//!
//! Promises: totals of a service go on when one of its real servers goes. Rates are what IPVS (6.1) would say of the
//! same traffic: a moving average over windows of two seconds, of which each new one weighs a quarter.
//! Does not know: where counts come from; time is in the caller's hands, who calls every two seconds.

use std::collections::HashMap;
use std::net::SocketAddr;

use weir_admin::ipvsadm::Traffic;
use weir_config::ipvs::ServiceName;

/// Fractions of a rate that are carried along, in bits: for connections and packets, and for bytes.
const FRACTION_BITS: [u32; 5] = [10, 10, 10, 5, 5];
/// A window's length is 2^this seconds.
const WINDOW_BITS: u32 = 1;
/// A new window weighs 1 / 2^this.
const WEIGHT_BITS: u32 = 2;

/// Of all services and their real servers.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    services: HashMap<ServiceName, Measured>,
    servers: HashMap<(ServiceName, SocketAddr), Server>,
}

#[derive(Debug, Default)]
struct Server {
    measured: Measured,
    /// What was counted when last looked at.
    seen: [u64; 5],
}

/// Counts that only grow, and what is shown of them.
#[derive(Debug, Default)]
struct Measured {
    grown: [u64; 5],
    /// At the last `-Z`.
    zero: [u64; 5],
    /// At the end of the last window.
    window: [u64; 5],
    /// Scaled by [`FRACTION_BITS`].
    rates: [i64; 5],
}

impl Measured {
    fn grow(&mut self, by: [u64; 5]) {
        for (grown, by) in self.grown.iter_mut().zip(by) {
            *grown += by;
        }
    }

    fn totals(&self) -> Traffic {
        let mut totals = self.grown;
        for (total, zero) in totals.iter_mut().zip(self.zero) {
            *total -= zero;
        }
        traffic(totals)
    }

    fn rates(&self) -> Traffic {
        let mut shown = [0; 5];
        for ((shown, rate), bits) in shown.iter_mut().zip(self.rates).zip(FRACTION_BITS) {
            // Rounded as the kernel rounds: up from half of what is carried along, less one.
            let half = (1 << (bits - 1)) - 1;
            *shown = ((rate + half) >> bits).max(0) as u64;
        }
        traffic(shown)
    }

    fn end_window(&mut self) {
        let windows = self.grown.iter().zip(self.window).zip(FRACTION_BITS);
        for (rate, ((grown, before), bits)) in self.rates.iter_mut().zip(windows) {
            let now = ((grown - before) as i64) << (bits - WINDOW_BITS);
            *rate += (now - *rate) >> WEIGHT_BITS;
        }
        self.window = self.grown;
    }

    fn zero(&mut self) {
        self.zero = self.grown;
        self.window = self.grown;
        self.rates = [0; 5];
    }
}

impl Statistics {
    /// Takes in what was counted since the daemon's start, of all real servers that there are.
    pub(crate) fn count(
        &mut self,
        counted: impl IntoIterator<Item = (ServiceName, SocketAddr, Traffic)>,
    ) {
        for (service, address, traffic) in counted {
            let counted = numbers(traffic);
            // One that is new may come back to counters that it had before; they are not its service's now.
            let known = self
                .servers
                .entry((service, address))
                .or_insert_with(|| Server {
                    seen: counted,
                    ..Server::default()
                });
            let mut grown = [0; 5];
            for (place, grown) in grown.iter_mut().enumerate() {
                // Less than before: the real server was gone for good in between, and was counted from zero again.
                let seen = match counted[place] < known.seen[place] {
                    true => 0,
                    false => known.seen[place],
                };
                *grown = counted[place] - seen;
            }
            known.seen = counted;
            known.measured.grow(grown);
            self.services.entry(service).or_default().grow(grown);
        }
    }

    /// Ends a window of the estimator; to be called every two seconds, after `count`.
    pub(crate) fn end_window(&mut self) {
        let servers = self.servers.values_mut().map(|server| &mut server.measured);
        self.services
            .values_mut()
            .chain(servers)
            .for_each(Measured::end_window);
    }

    /// Totals and rates of a service.
    pub(crate) fn service(&self, service: ServiceName) -> (Traffic, Traffic) {
        self.services
            .get(&service)
            .map_or_else(Default::default, |measured| {
                (measured.totals(), measured.rates())
            })
    }

    /// Totals and rates of a real server.
    pub(crate) fn server(&self, service: ServiceName, address: SocketAddr) -> (Traffic, Traffic) {
        self.servers
            .get(&(service, address))
            .map_or_else(Default::default, |server| {
                (server.measured.totals(), server.measured.rates())
            })
    }

    /// A service, or all, and its real servers begin at zero; to be called after `count`.
    pub(crate) fn zero(&mut self, service: Option<ServiceName>) {
        let is_meant = |name: &ServiceName| service.is_none_or(|service| service == *name);
        for (_, measured) in self.services.iter_mut().filter(|(name, _)| is_meant(name)) {
            measured.zero();
        }
        for (_, server) in self
            .servers
            .iter_mut()
            .filter(|((name, _), _)| is_meant(name))
        {
            server.measured.zero();
        }
    }

    /// A service that is new begins at zero; so does a real server.
    pub(crate) fn zero_new(&mut self, service: ServiceName, address: Option<SocketAddr>) {
        match address {
            None => self.services.entry(service).or_default().zero(),
            Some(address) => self
                .servers
                .entry((service, address))
                .or_default()
                .measured
                .zero(),
        }
    }

    /// Forgets what there is no more.
    pub(crate) fn retain(&mut self, is_there: impl Fn(&ServiceName, Option<&SocketAddr>) -> bool) {
        self.services.retain(|name, _| is_there(name, None));
        self.servers
            .retain(|(name, address), _| is_there(name, Some(address)));
    }
}

fn numbers(traffic: Traffic) -> [u64; 5] {
    [
        traffic.connections,
        traffic.inbound_packets,
        traffic.outbound_packets,
        traffic.inbound_bytes,
        traffic.outbound_bytes,
    ]
}

fn traffic(numbers: [u64; 5]) -> Traffic {
    let [
        connections,
        inbound_packets,
        outbound_packets,
        inbound_bytes,
        outbound_bytes,
    ] = numbers;
    Traffic {
        connections,
        inbound_packets,
        outbound_packets,
        inbound_bytes,
        outbound_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_config::ipvs::Transport;

    const SERVICE: ServiceName = ServiceName::Virtual {
        protocol: Transport::Tcp,
        endpoint: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80),
    };

    fn server(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 80))
    }

    fn counted(number: u8, packets: u64) -> (ServiceName, SocketAddr, Traffic) {
        let passed = Traffic {
            connections: packets,
            inbound_packets: packets,
            inbound_bytes: packets * 50,
            ..Traffic::default()
        };
        (SERVICE, server(number), passed)
    }

    /// Two real servers through which nothing has passed.
    fn known() -> Statistics {
        let mut statistics = Statistics::default();
        statistics.count([counted(1, 0), counted(2, 0)]);
        statistics
    }

    #[test]
    fn a_service_is_the_sum_of_its_servers_and_goes_on_without_them() {
        let mut statistics = known();
        statistics.count([counted(1, 10), counted(2, 5)]);
        assert_eq!(statistics.service(SERVICE).0.connections, 15);
        statistics.retain(|_, address| address != Some(&server(2)));
        statistics.count([counted(1, 11)]);
        assert_eq!(statistics.service(SERVICE).0.connections, 16);
        assert_eq!(statistics.server(SERVICE, server(1)).0.inbound_bytes, 550);
        assert_eq!(statistics.server(SERVICE, server(2)).0, Traffic::default());
        // Number 2 comes back to what was counted before, and is then counted from zero.
        statistics.count([counted(2, 5)]);
        assert_eq!(statistics.service(SERVICE).0.connections, 16);
        statistics.count([counted(2, 2)]);
        assert_eq!(statistics.service(SERVICE).0.connections, 18);
    }

    #[test]
    fn zero_is_where_counting_begins_again() {
        let mut statistics = known();
        statistics.count([counted(1, 10)]);
        statistics.end_window();
        statistics.zero(Some(SERVICE));
        assert_eq!(statistics.service(SERVICE), Default::default());
        assert_eq!(statistics.server(SERVICE, server(1)), Default::default());
        statistics.count([counted(1, 12)]);
        assert_eq!(statistics.service(SERVICE).0.connections, 2);
        statistics.zero_new(SERVICE, Some(server(1)));
        assert_eq!(statistics.server(SERVICE, server(1)).0.connections, 0);
        assert_eq!(statistics.service(SERVICE).0.connections, 2);
    }

    #[test]
    fn rates_approach_the_truth_as_ipvs_does() {
        let mut statistics = known();
        let mut packets = 0;
        for _ in 0..30 {
            packets += 2_000;
            statistics.count([counted(1, packets)]);
            statistics.end_window();
        }
        let (_, rates) = statistics.server(SERVICE, server(1));
        assert!((999..=1_000).contains(&rates.inbound_packets), "{rates:?}");
        assert!(
            (49_990..=50_000).contains(&rates.inbound_bytes),
            "{rates:?}"
        );
        // One window of silence takes a quarter away.
        statistics.end_window();
        let (_, rates) = statistics.service(SERVICE);
        assert!((749..=750).contains(&rates.connections), "{rates:?}");
    }

    #[test]
    fn the_traffic_of_the_reference_gives_its_rates() {
        // All in one window, nothing before and nothing behind: the reference asked after the second and the third.
        let mut statistics = known();
        let passed = Traffic {
            connections: 3,
            inbound_packets: 9,
            outbound_packets: 6,
            inbound_bytes: 492,
            outbound_bytes: 342,
        };
        statistics.count([(SERVICE, server(1), passed)]);
        let mut shown = Vec::new();
        for _ in 0..3 {
            statistics.end_window();
            let rates = statistics.server(SERVICE, server(1)).1;
            shown.push((
                rates.inbound_packets,
                rates.inbound_bytes,
                rates.outbound_bytes,
            ));
        }
        assert_eq!(shown, [(1, 61, 43), (1, 46, 32), (1, 35, 24)]);
    }
}
