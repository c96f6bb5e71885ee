//! The table as the daemon tells it: services, real servers, and what has passed.
//!
//! Promises: everything that any listing of ipvsadm shows.
//! Does not know: columns.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use weir_config::ipvs::{RealServer, VirtualService};

/// Connections, packets and bytes: since the last `-Z`, or per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Opened.
    pub connections: u64,
    /// From clients.
    pub inbound_packets: u64,
    /// To clients.
    pub outbound_packets: u64,
    /// From clients, of IP packets.
    pub inbound_bytes: u64,
    /// To clients, of IP packets.
    pub outbound_bytes: u64,
}

/// A service with its real servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedService {
    /// The service itself.
    pub service: VirtualService,
    /// Since the last `-Z`.
    pub totals: Traffic,
    /// Per second.
    pub rates: Traffic,
    /// Its own LIPs, in the order in which they were added.
    pub locals: Vec<ListedLocal>,
    /// In the order in which they were added.
    pub servers: Vec<ListedServer>,
}

/// A real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedServer {
    /// The real server itself.
    pub server: RealServer,
    /// Its active connections.
    pub active: u32,
    /// Its other connections.
    pub inactive: u32,
    /// Clients that persistence keeps there.
    pub persistent: u32,
    /// Since the last `-Z`.
    pub totals: Traffic,
    /// Per second.
    pub rates: Traffic,
}

/// A local address of a service's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedLocal {
    /// LIP.
    pub address: IpAddr,
    /// Living connections that have it; 0 where they are not counted.
    pub connections: u32,
}
