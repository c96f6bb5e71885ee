//! The table as commands that make it, for `-S`.
//!
//! Promises: to the byte what ipvsadm 1.31 prints, and what `-R` reads back; a service's own local addresses stand
//! between it and its real servers.
//! Does not know: thresholds; ipvsadm does not save them either.

use std::fmt::Write as _;

use weir_config::ipvs::{
    Encapsulation, Forwarding, SchedulerFlags, ServiceName, Transport, TunnelChecksum,
};

use super::command::Format;
use super::listed::{ListedServer, ListedService};
use super::listing::{endpoint, flag_names, marked, mask, transport};
use super::names::Names;
use super::order;

/// All services.
pub(super) fn commands(services: &[ListedService], format: Format, names: &impl Names) -> String {
    let mut text = String::new();
    for listed in order::services(services) {
        let name = service_name(listed.service.name, format, names);
        // Writing into a String does not fail.
        let _ = writeln!(text, "-A {name}{}", settings(listed));
        for local in &listed.locals {
            let _ = writeln!(text, "-P {name} -z {}", local.address);
        }
        for server in order::servers(&listed.servers) {
            let address = endpoint(
                server.server.address,
                transport(listed.service.name),
                format,
                names,
            );
            let _ = writeln!(text, "-a {name} -r {address} {}", method(server));
        }
    }
    text
}

fn service_name(name: ServiceName, format: Format, names: &impl Names) -> String {
    match name {
        ServiceName::Mark { mark, family } => format!("-f {}", marked(mark, family, " -6")),
        ServiceName::Virtual { protocol, endpoint } => {
            let option = match protocol {
                Transport::Tcp => "-t",
                Transport::Udp => "-u",
                Transport::Sctp => "--sctp-service",
            };
            let shown = self::endpoint(endpoint, Some(protocol), format, names);
            format!("{option} {shown}")
        }
    }
}

fn settings(listed: &ListedService) -> String {
    let service = &listed.service;
    let mut text = format!(" -s {}", service.scheduler);
    if let Some(persistence) = service.persistence {
        text.push_str(&format!(" -p {}", persistence.timeout_s));
        if let Some(mask) = mask(persistence.netmask) {
            text.push_str(&format!(" -M {mask}"));
        }
    }
    if service.one_packet {
        text.push_str(" -o");
    }
    if service.flags != SchedulerFlags::default() {
        text.push_str(&format!(" -b {}", flag_names(service)));
    }
    text
}

fn method(listed: &ListedServer) -> String {
    let server = &listed.server;
    let option = match server.forwarding {
        Forwarding::Masquerade => "-m",
        Forwarding::Route => "-g",
        Forwarding::Tunnel(_) => "-i",
        Forwarding::FullNat => "-b",
    };
    let tunnel = match server.forwarding {
        Forwarding::Tunnel(encapsulation) => format!(" {}", tunnel(encapsulation)),
        Forwarding::Masquerade | Forwarding::Route | Forwarding::FullNat => String::new(),
    };
    format!("{option} -w {}{tunnel}", server.weight)
}

fn tunnel(encapsulation: Encapsulation) -> String {
    let option = |checksum| match checksum {
        TunnelChecksum::None => "--tun-nocsum",
        TunnelChecksum::Full => "--tun-csum",
        TunnelChecksum::Remote => "--tun-remcsum",
    };
    match encapsulation {
        Encapsulation::Ipip => "--tun-type ipip".to_owned(),
        Encapsulation::Gue {
            destination_port,
            checksum,
        } => format!(
            "--tun-type gue --tun-port {destination_port} {}",
            option(checksum)
        ),
        Encapsulation::Gre { checksum } => format!("--tun-type gre {}", option(checksum)),
    }
}
