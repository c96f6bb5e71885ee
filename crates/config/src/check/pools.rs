//! The section `local_pools`.
//!
//! Promises: every local address is a host's address inside a port's subnet, and is given once.
//! Does not know: who else claims an address (`ownership`), or which service uses a pool.

use std::net::IpAddr;

use super::network::Network;
use super::{Placed, require_name};
use crate::address::{self, AddressRange};
use crate::config::LocalPool;
use crate::error::Report;
use crate::ipvs::running::OWN_POOL;
use crate::locate::Place;
use crate::spec::Entries;

/// A pool with the places of its ranges.
pub(super) struct Pool {
    pub(super) name: String,
    pub(super) ranges: Vec<Placed<AddressRange>>,
    /// No range was lost.
    is_whole: bool,
}

impl Pool {
    /// Whether the pool has an address of the family, as far as is known.
    pub(super) fn serves(&self, is_ipv4: bool) -> bool {
        self.ranges
            .iter()
            .any(|range| range.value.is_ipv4() == is_ipv4)
            || !self.is_whole
    }
}

/// All pools, in the order written.
pub(super) struct Pools(Vec<Pool>);

impl Pools {
    pub(super) fn find(&self, name: &str) -> Option<&Pool> {
        self.0.iter().find(|pool| pool.name == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|pool| pool.name.as_str())
    }

    /// Every range with its pool.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (&Pool, Placed<AddressRange>)> {
        self.0
            .iter()
            .flat_map(|pool| pool.ranges.iter().map(move |range| (pool, *range)))
    }

    pub(super) fn into_pools(self) -> Vec<LocalPool> {
        let plain = |pool: Pool| LocalPool {
            name: pool.name,
            ranges: pool.ranges.into_iter().map(|range| range.value).collect(),
        };
        self.0.into_iter().map(plain).collect()
    }
}

pub(super) fn resolve(
    report: &mut Report,
    spec: Option<&Entries<Vec<String>>>,
    place: Place<'_>,
    network: &Network,
) -> Pools {
    let mut pools = Pools(Vec::new());
    for (index, (name, written)) in spec
        .map_or(&[][..], |entries| &entries.0)
        .iter()
        .enumerate()
    {
        let entry = place.item(index);
        if pools.find(name).is_some() {
            report.refuse(
                entry.key_at(),
                format!("two pools are called \"{name}\"; rename one, or make them one"),
            );
        }
        report.keep(entry.key_at(), require_name("a pool", name, 64));
        let n_before = report.n_problems();
        let mut pool = Pool {
            name: name.clone(),
            ranges: Vec::new(),
            is_whole: true,
        };
        for (index, text) in written.iter().enumerate() {
            let at = entry.item(index).at();
            let result = address::parse_range(text)
                .and_then(|range| require_local(range, network))
                .and_then(|range| require_new(range, &pools, &pool));
            pool.ranges
                .extend(report.keep(at, result).map(|value| Placed { value, at }));
        }
        pool.is_whole = report.n_problems() == n_before;
        pools.0.push(pool);
    }
    pools
}

/// weir answers ARP and ND for a local address, so it has to be on a link.
fn require_local(range: AddressRange, network: &Network) -> Result<AddressRange, String> {
    for end in [range.first(), range.last()] {
        address::require_routable(end)?;
        if !network.is_on_link(end) {
            return Err(format!(
                "the local address {end} is in no port's subnet; choose from {}",
                subnets(network, end)
            ));
        }
    }
    let holds = |subnet: &&ipnet::IpNet| subnet.contains(&range.last());
    if network.has_all_ports
        && !network
            .subnets_of(range.first())
            .any(|subnet| holds(&subnet))
    {
        return Err(format!(
            "the range {range} does not fit into one subnet; split it"
        ));
    }
    let subnets = network.subnets_of(range.first()).filter(holds);
    for subnet in subnets {
        let is_end = |end: IpAddr| range.contains(end) && !address::is_host_in(end, subnet);
        if let Some(end) = [subnet.network(), subnet.broadcast()]
            .into_iter()
            .find(|&end| is_end(end))
        {
            return Err(format!(
                "{end} is an end of the subnet {}; leave it out",
                subnet.trunc()
            ));
        }
    }
    Ok(range)
}

/// The subnets of the address's family, as an answer to "where from, then?".
fn subnets(network: &Network, address: IpAddr) -> String {
    let of_family = |net: &&ipnet::IpNet| net.addr().is_ipv4() == address.is_ipv4();
    let nets = network
        .ports
        .iter()
        .flat_map(|port| &port.addresses)
        .filter(of_family);
    let written: Vec<String> = nets.map(|net| net.trunc().to_string()).collect();
    match written.is_empty() {
        true => format!(
            "a subnet that a port gets first: none has {}",
            if address.is_ipv4() { "IPv4" } else { "IPv6" }
        ),
        false => written.join(", "),
    }
}

/// Services that ipvsadm gives local addresses may share them: no two connections get the same pair of one address and
/// L4 port to the same real server, whoever lends it.
fn require_new(range: AddressRange, pools: &Pools, own: &Pool) -> Result<AddressRange, String> {
    let own_ranges = own.ranges.iter().map(|placed| (own, *placed));
    match pools
        .ranges()
        .chain(own_ranges)
        .filter(|(pool, _)| {
            pool.name == own.name
                || !(pool.name.starts_with(OWN_POOL) && own.name.starts_with(OWN_POOL))
        })
        .find(|(_, other)| other.value.overlaps(&range))
    {
        Some((pool, other)) => Err(format!(
            "{range} overlaps {} of pool \"{}\"; an address may be given once",
            other.value, pool.name
        )),
        None => Ok(range),
    }
}
