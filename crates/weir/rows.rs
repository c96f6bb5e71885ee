//! What runs, as rows of the tables that users see.
//!
//! Promises: counts are summed over all workers, as last published. Does not know: who asks, or how rows are shown.

use std::net::SocketAddr;

use weir_admin::ipvsadm::{ListedLocal, ListedServer, ListedService, Traffic};
use weir_admin::{ConnectionRow, DestinationRow, PortRow, ServiceLabel, ServiceRow};
use weir_config::compile;
use weir_config::ipvs::Entry;
use weir_director::{ConnectionView, ServiceKey, Tick};
use weir_worker::DestinationCounters;

use crate::appliance::Appliance;
use crate::ports::OpenPort;
use crate::statistics::Statistics;

/// A service of the running configuration.
pub(crate) fn service(service: &weir_config::Service, appliance: &Appliance) -> ServiceRow {
    let key = compile::key(service);
    let counted =
        |destination: &weir_config::Destination| count(&key, destination.address, appliance);
    let method = method_name(&service.method);
    let destinations = service.destinations.iter().map(|destination| {
        let counted = counted(destination);
        DestinationRow {
            address: destination.address,
            weight: u32::from(destination.weight),
            method: method.to_owned(),
            active: counted.load.active,
            inactive: counted.load.inactive,
            connections: counted.connections,
            inbound_packets: counted.inbound_packets,
            inbound_bytes: counted.inbound_bytes,
            outbound_packets: counted.outbound_packets,
            outbound_bytes: counted.outbound_bytes,
        }
    });
    ServiceRow {
        service: ServiceLabel {
            protocol: service.protocol,
            vip: service.vip,
        },
        also: service
            .further
            .iter()
            .map(|vip| ServiceLabel {
                protocol: vip.protocol,
                vip: vip.endpoint,
            })
            .collect(),
        scheduler: service.scheduler.name().to_owned(),
        persistent: service.persistence.map(|persistence| persistence.timeout_s),
        method: method.to_owned(),
        local_ports_exhausted: service
            .destinations
            .iter()
            .map(|it| counted(it).local_ports_exhausted)
            .sum(),
        destinations: destinations.collect(),
    }
}

/// A service in IPVS's words.
pub(crate) fn listed(
    entry: &Entry,
    appliance: &Appliance,
    statistics: &Statistics,
) -> ListedService {
    let name = entry.service.name;
    let (totals, rates) = statistics.service(name);
    let servers = entry.servers.iter().map(|server| {
        let counted = compile::key_of(name)
            .map(|key| count(&key, server.address, appliance))
            .unwrap_or_default();
        let (totals, rates) = statistics.server(name, server.address);
        ListedServer {
            server: *server,
            active: counted.load.active,
            inactive: counted.load.inactive,
            persistent: counted.templates.try_into().unwrap_or(u32::MAX),
            totals,
            rates,
        }
    });
    ListedService {
        service: entry.service.clone(),
        totals,
        rates,
        locals: entry
            .locals
            .iter()
            .map(|address| ListedLocal {
                address: *address,
                connections: 0,
            })
            .collect(),
        servers: servers.collect(),
    }
}

/// What has passed through a destination since the start.
pub(crate) fn traffic(key: &ServiceKey, address: SocketAddr, appliance: &Appliance) -> Traffic {
    let counted = count(key, address, appliance);
    Traffic {
        connections: counted.connections,
        inbound_packets: counted.inbound_packets,
        outbound_packets: counted.outbound_packets,
        inbound_bytes: counted.inbound_bytes,
        outbound_bytes: counted.outbound_bytes,
    }
}

fn count(key: &ServiceKey, address: SocketAddr, appliance: &Appliance) -> DestinationCounters {
    let id = appliance.numbers.destination(key, address);
    id.map_or_else(DestinationCounters::default, |id| {
        appliance
            .published
            .iter()
            .map(|published| published.destination(id))
            .sum()
    })
}

fn method_name(method: &weir_config::Method) -> &'static str {
    match method {
        weir_config::Method::Nat => "Nat",
        weir_config::Method::Dr => "Dr",
        weir_config::Method::Tun(_) => "Tun",
        weir_config::Method::FullNat(_) => "FullNat",
    }
}

/// A living connection of a worker.
pub(crate) fn connection(view: &ConnectionView, worker: usize) -> ConnectionRow {
    ConnectionRow {
        protocol: view.protocol.to_string(),
        client: view.client,
        virtual_endpoint: view.virtual_endpoint,
        local: Some(view.local),
        destination: view.real,
        state: view.state.to_string(),
        expires_s: u64::from(view.expires_ticks / Tick::PER_SECOND),
        worker: worker as u32,
        inbound_bytes: view.inbound_bytes,
        outbound_bytes: view.outbound_bytes,
    }
}

/// A port, asked now.
pub(crate) fn port(open: &OpenPort) -> Result<PortRow, weir_dpdk::Error> {
    let link = open.port.link()?;
    let counters = open.port.counters()?;
    Ok(PortRow {
        port: open.facts.name.clone(),
        device: open.info.device.clone(),
        driver: open.info.driver.clone(),
        mac: open.facts.mac.to_string(),
        addresses: open
            .facts
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect(),
        link: if link.is_up { "up" } else { "down" }.to_owned(),
        link_mbits: link.mbit_per_s,
        mtu: u32::from(open.facts.mtu),
        receive_queues: u32::from(open.info.n_rx_queues),
        transmit_queues: u32::from(open.info.n_tx_queues),
        rss: open.spread.why.clone(),
        received_packets: counters.received,
        received_bytes: counters.received_bytes,
        missed_packets: counters.missed,
        receive_errors: counters.receive_errors,
        no_buffer: counters.no_buffer,
        transmitted_packets: counters.transmitted,
        transmitted_bytes: counters.transmitted_bytes,
        transmit_errors: counters.transmit_errors,
    })
}
