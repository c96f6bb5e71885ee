//! Neighbours and routes as users see them.
//!
//! Promises: a stable order. Does not know: tables, JSON.

use std::net::IpAddr;

use ipnet::IpNet;
use weir_director::{NextHopId, PortId};
use weir_wire::ethernet::Mac;

/// A neighbour, for `weir neighbours`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourView {
    /// The port on whose link it is.
    pub port: PortId,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address, where it is known and used.
    pub mac: Option<Mac>,
    /// `resolving`, `reachable`, `probing`, `idle` (nothing has needed it for long; the next packet that does makes it
    /// usable at once) or `failed`.
    pub state: &'static str,
    /// Seconds since it last confirmed its MAC address; since weir began to ask, when it never has.
    pub age_s: u64,
    /// Its number in the table of next hops.
    pub number: NextHopId,
}

/// A route, for `weir routes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteView {
    /// The addresses it is for.
    pub prefix: IpNet,
    /// The port that leads there.
    pub port: PortId,
    /// The router that takes it; `None` when the addresses are on the port's own link.
    pub via: Option<IpAddr>,
    /// Whether the router's MAC address is known; true for a route without one.
    pub is_usable: bool,
}
