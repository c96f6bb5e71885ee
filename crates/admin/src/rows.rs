//! What the methods return: one type per table, one value per row.
//!
//! Promises: field names and meanings are what users' scripts rely on; fields may be added, none changes its
//! meaning. Counts are of the whole time since the start, over all workers unless the row is a worker's.
//! Does not know: how a row comes about, or how it is shown to people.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::label::ServiceLabel;

/// The daemon at a glance; `status.show` returns an array of exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusRow {
    /// Version of the running binary.
    pub version: String,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Process id, in the daemon's own PID namespace.
    pub pid: u32,
    /// Number of the published configuration.
    pub generation: u64,
    /// The file the daemon was started with.
    pub config_file: String,
    /// How many workers run.
    pub workers: u32,
    /// How many NIC ports are in use.
    pub ports: u32,
    /// How many services there are.
    pub services: u32,
    /// How many destinations there are, over all services.
    pub destinations: u32,
    /// Living connections, over all workers.
    pub connections: u64,
    /// Those and as many more of IPv4 as there is room for, over all workers.
    pub capacity: u64,
    /// Memory taken at the start for buffers and tables, in MiB.
    pub memory_mib: u64,
    /// What an operator should look at: one sentence each, empty when all is well.
    pub warnings: Vec<String>,
}

/// A NIC port; `port.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortRow {
    /// Name in the configuration.
    pub port: String,
    /// Device as DPDK names it.
    pub device: String,
    /// Driver that moves its frames.
    pub driver: String,
    /// MAC address, `02:00:00:00:00:01`.
    pub mac: String,
    /// The port's own addresses with prefix lengths.
    pub addresses: Vec<String>,
    /// `up` or `down`.
    pub link: String,
    /// Speed in Mbit/s; null when the device does not tell.
    pub link_mbits: Option<u32>,
    /// Largest IP packet, bytes.
    pub mtu: u32,
    /// Receive queues in use.
    pub receive_queues: u32,
    /// Transmit queues in use.
    pub transmit_queues: u32,
    /// How flows find their worker on this port, and why this way: what was chosen and what the device lacks.
    pub rss: String,
    /// Frames received.
    pub received_packets: u64,
    /// Bytes of frames received.
    pub received_bytes: u64,
    /// Frames that the device dropped because no receive descriptor was free.
    pub missed_packets: u64,
    /// Frames that arrived broken.
    pub receive_errors: u64,
    /// Frames lost because no buffer was free.
    pub no_buffer: u64,
    /// Frames sent.
    pub transmitted_packets: u64,
    /// Bytes of frames sent.
    pub transmitted_bytes: u64,
    /// Frames that could not be sent.
    pub transmit_errors: u64,
}

/// A service; `service.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceRow {
    /// `tcp/192.0.2.100:80`.
    pub service: ServiceLabel,
    /// What else clients reach it by (a service group).
    #[serde(default)]
    pub also: Vec<ServiceLabel>,
    /// IPVS's name of the scheduler: `wlc`.
    pub scheduler: String,
    /// Seconds for which a client keeps its destination; null: it does not.
    pub persistent: Option<u32>,
    /// Forwarding method of destinations that say nothing else: `FullNat`.
    pub method: String,
    /// Packets dropped because no local L4 port was free.
    pub local_ports_exhausted: u64,
    /// In the order of the configuration.
    pub destinations: Vec<DestinationRow>,
}

/// A real server in its role in a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DestinationRow {
    /// RIP and rport.
    pub address: SocketAddr,
    /// 0: drains.
    pub weight: u32,
    /// Forwarding method: `FullNat`.
    pub method: String,
    /// Connections in SYN_RECV or ESTABLISHED (also in SYN_SENT and SYNACK, which are rare).
    pub active: u32,
    /// All other connections, and all of UDP.
    pub inactive: u32,
    /// Connections opened so far.
    pub connections: u64,
    /// Packets from clients.
    pub inbound_packets: u64,
    /// Bytes of IP packets from clients.
    pub inbound_bytes: u64,
    /// Packets to clients.
    pub outbound_packets: u64,
    /// Bytes of IP packets to clients.
    pub outbound_bytes: u64,
}

/// A living connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// CIP and cport.
    pub client: SocketAddr,
    /// VIP and vport.
    #[serde(rename = "virtual")]
    pub virtual_endpoint: SocketAddr,
    /// LIP and lport; null where the method uses none.
    pub local: Option<SocketAddr>,
    /// RIP and rport.
    pub destination: SocketAddr,
    /// IPVS's name of the state: `ESTABLISHED`.
    pub state: String,
    /// Seconds until it expires if no packet comes.
    pub expires_s: u64,
    /// The worker that owns it.
    pub worker: u32,
    /// Bytes of IP packets from the client.
    pub inbound_bytes: u64,
    /// Bytes of IP packets to the client.
    pub outbound_bytes: u64,
}

/// Some of the connections; `connection.list`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionPage<Row = ConnectionRow> {
    /// In no order; may be empty although more follow.
    pub connections: Vec<Row>,
    /// The cursor of the next page; null: this was the last. Means nothing to anyone but the daemon that gave it.
    pub next: Option<u64>,
}

/// A neighbour; `neighbour.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighbourRow {
    /// IP address.
    pub address: IpAddr,
    /// MAC address; null while it is being asked for.
    pub mac: Option<String>,
    /// Name of the NIC port it is reached by.
    pub port: String,
    /// `resolving`: asked for; `reachable`; `probing`: being asked whether it is still there; `failed`:
    /// silent; `idle`: not needed for so long that it is not asked any more.
    pub state: String,
    /// Seconds since it last confirmed that it is there; null: never.
    pub confirmed_s: Option<u64>,
}

/// A route; `route.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteRow {
    /// Prefix, `0.0.0.0/0`.
    pub to: String,
    /// Next router; null: on the link itself.
    pub via: Option<IpAddr>,
    /// Name of the NIC port it leads through.
    pub port: String,
    /// Where it comes from: `connected` (an address of the port) or `static` (the configuration).
    pub origin: String,
}

/// Packets dropped for one reason; `drop.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropRow {
    /// Name of the reason: `no_service`.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// What it means, in a sentence.
    pub explanation: String,
}

/// A worker; `worker.list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Its number, from 0.
    pub worker: u32,
    /// The CPU it is pinned to.
    pub cpu: u32,
    /// Packets received.
    pub packets: u64,
    /// Share of the last second in which it had packets to work on, 0 to 100.
    pub busy_percent: f64,
    /// Packets given to the worker that owns their connection.
    pub handed_over: u64,
    /// The configuration it runs on.
    pub generation: u64,
    /// Living connections it owns.
    pub connections: u64,
    /// Those and as many more of IPv4 as there is room for.
    pub capacity: u64,
    /// Connections evicted because the table was full.
    pub evicted: u64,
    /// Segments that went without TOA because their other TCP options left no room for it.
    pub toa_omitted: u64,
    /// Packets dropped, for whatever reason.
    pub drops: u64,
    /// Microseconds from receive to transmit that half of the last second's bursts took at most; null: there were
    /// none.
    pub burst_us_p50: Option<f64>,
    /// Likewise, 999 of 1,000 bursts.
    pub burst_us_p999: Option<f64>,
    /// Likewise, all of them.
    pub burst_us_max: Option<f64>,
}
