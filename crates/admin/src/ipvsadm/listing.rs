//! The table, the connections and the timeouts as ipvsadm shows them.
//!
//! Promises: to the byte what ipvsadm 1.31 prints of the same table, padding and cut-off names included.
//! Does not know: where the table comes from, or in what order it stands (`order`).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use weir_config::ipvs::{
    Encapsulation, Family, Forwarding, Netmask, SchedulerFlags, ServiceName, Timeouts, Transport,
    TunnelChecksum, VirtualService,
};

use super::command::{Columns, Format};
use super::listed::{ListedServer, ListedService, Traffic};
use super::names::Names;
use super::order;
use crate::rows::ConnectionRow;

/// What every listing of the whole table begins with; the numbers are those of the kernel that weir stands in for.
const BANNER: &str = "IP Virtual Server version 1.2.1 (size=4096)\n";
/// As many letters of an endpoint are shown at most.
const ENDPOINT_LENGTH: usize = 59;
/// As many letters of a service, protocol included, where its family is IPv4.
const SERVICE_LENGTH: usize = 33;
/// As many letters of a real server, where its family is IPv4.
const SERVER_LENGTH: usize = 28;

/// `-L`: all services.
pub(super) fn table(services: &[ListedService], format: Format, names: &impl Names) -> String {
    let mut text = BANNER.to_owned();
    text.push_str(title(format.columns));
    let ordered = match format.is_unsorted {
        true => order::unsorted_services(services),
        false => order::services(services),
    };
    for service in ordered {
        write_service(&mut text, service, format, names);
    }
    text
}

/// `-L` with a service named.
pub(super) fn one_service(service: &ListedService, format: Format, names: &impl Names) -> String {
    let mut text = title(format.columns).to_owned();
    write_service(&mut text, service, format, names);
    text
}

/// `-L --timeout`.
pub(super) fn timeouts(timeouts: Timeouts) -> String {
    let Timeouts {
        tcp_s,
        tcp_fin_s,
        udp_s,
    } = timeouts;
    format!("Timeout (tcp tcpfin udp): {tcp_s} {tcp_fin_s} {udp_s}\n")
}

/// `-L -c`: what stands above the connections.
pub(super) fn connections_title(columns: Columns) -> &'static str {
    match columns {
        Columns::PersistentConnections => {
            "IPVS connection entries\n\
             pro expire state       source             virtual            destination        pe name          pe_data\n"
        }
        Columns::Plain
        | Columns::Stats
        | Columns::Rate
        | Columns::Thresholds
        | Columns::TunnelInfo => {
            "IPVS connection entries\n\
             pro expire state       source             virtual            destination\n"
        }
    }
}

/// `-L -c`: one connection.
pub(super) fn connection(row: &ConnectionRow, format: Format, names: &impl Names) -> String {
    let known = [Transport::Tcp, Transport::Udp, Transport::Sctp];
    let transport = known
        .into_iter()
        .find(|transport| transport.to_string() == row.protocol);
    let shown = |address| endpoint(address, transport, format, names);
    format!(
        "{:<3} {:<6} {:<11} {:<18} {:<18} {}\n",
        row.protocol.to_uppercase(),
        format!("{:02}:{:02}", row.expires_s / 60, row.expires_s % 60),
        row.state,
        shown(row.client),
        shown(row.virtual_endpoint),
        shown(row.destination),
    )
}

/// `-G`: the local addresses of a service.
pub(super) fn locals(service: &ListedService) -> String {
    let name = match service.service.name {
        ServiceName::Virtual { endpoint, .. } => endpoint.to_string(),
        ServiceName::Mark { mark, .. } => mark.to_string(),
    };
    let mut text = format!(
        "{:<20} {:<8} {:<20} {:<10} {:<10}\n{name:<20} {:<8} \n",
        "VIP:VPORT",
        "TOTAL",
        "LADDR",
        "CONFLICTS",
        "CONNS",
        service.locals.len(),
    );
    for local in &service.locals {
        // Two connections never meet at one local address and L4 port: weir asks its table before.
        let _ = writeln!(
            text,
            "{:<20} {:<8} {:<20} {:<10} {:<10}",
            "",
            "",
            local.address.to_string(),
            0,
            local.connections
        );
    }
    text
}

fn title(columns: Columns) -> &'static str {
    match columns {
        Columns::Plain => {
            "Prot LocalAddress:Port Scheduler Flags\n\
            \x20 -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
        }
        Columns::TunnelInfo => {
            "Prot LocalAddress:Port Scheduler Flags\n\
            \x20 -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
        }
        Columns::Stats => {
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n\
            \x20 -> RemoteAddress:Port\n"
        }
        Columns::Rate => {
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n\
            \x20 -> RemoteAddress:Port\n"
        }
        Columns::Thresholds => {
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n\
            \x20 -> RemoteAddress:Port\n"
        }
        Columns::PersistentConnections => {
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n\
            \x20 -> RemoteAddress:Port\n"
        }
    }
}

fn write_service(text: &mut String, listed: &ListedService, format: Format, names: &impl Names) {
    let name = service_name(listed.service.name, format, names);
    // Writing into a String does not fail.
    let _ = match format.columns {
        Columns::Stats => writeln!(text, "{name:<33}{}", five(&listed.totals, format)),
        Columns::Rate => writeln!(text, "{name:<33}{}", five(&listed.rates, format)),
        Columns::Plain
        | Columns::Thresholds
        | Columns::PersistentConnections
        | Columns::TunnelInfo => writeln!(text, "{name} {}", settings(&listed.service)),
    };
    let ordered = match format.is_unsorted {
        true => order::unsorted_servers(&listed.servers),
        false => order::servers(&listed.servers),
    };
    for server in ordered {
        write_server(text, server, listed.service.name, format, names);
    }
}

fn service_name(name: ServiceName, format: Format, names: &impl Names) -> String {
    match name {
        ServiceName::Mark { mark, family } => format!("FWM  {}", marked(mark, family, " IPv6")),
        ServiceName::Virtual { protocol, endpoint } => {
            let transport = protocol.to_string().to_uppercase();
            let shown = self::endpoint(endpoint, Some(protocol), format, names);
            let name = format!("{transport:<4} {shown}");
            match Family::of(endpoint.ip()) {
                Family::Ipv4 => cut(name, SERVICE_LENGTH),
                Family::Ipv6 => name,
            }
        }
    }
}

/// ipvsadm takes marks for signed numbers.
pub(super) fn marked(mark: u32, family: Family, if_ipv6: &str) -> String {
    let mark = mark as i32;
    match family {
        Family::Ipv4 => mark.to_string(),
        Family::Ipv6 => format!("{mark}{if_ipv6}"),
    }
}

/// Scheduler, flags, persistence.
fn settings(service: &VirtualService) -> String {
    let mut text = service.scheduler.clone();
    if service.flags != SchedulerFlags::default() {
        text.push_str(&format!(" ({})", flag_names(service)));
    }
    if let Some(persistence) = service.persistence {
        text.push_str(&format!(" persistent {}", persistence.timeout_s));
        if let Some(mask) = mask(persistence.netmask) {
            text.push_str(&format!(" mask {mask}"));
        }
    }
    if service.one_packet {
        text.push_str(" ops");
    }
    text
}

/// A netmask that is not each client's own.
pub(super) fn mask(netmask: Netmask) -> Option<String> {
    if netmask == Netmask::host(Family::Ipv4) || netmask == Netmask::host(Family::Ipv6) {
        return None;
    }
    Some(match netmask {
        Netmask::V4(mask) => mask.to_string(),
        Netmask::V6(length) => length.to_string(),
    })
}

/// The flags by the names that the scheduler gives them; sh and mh have no third.
pub(super) fn flag_names(service: &VirtualService) -> String {
    let names: &[&str] = match service.scheduler.as_str() {
        "sh" => &["sh-fallback", "sh-port"],
        "mh" => &["mh-fallback", "mh-port"],
        _ => &["flag-1", "flag-2", "flag-3"],
    };
    let flags = [
        SchedulerFlags::FIRST,
        SchedulerFlags::SECOND,
        SchedulerFlags::THIRD,
    ];
    let set: Vec<&str> = names
        .iter()
        .zip(flags)
        .filter(|(_, flag)| service.flags.has(*flag))
        .map(|(name, _)| *name)
        .collect();
    set.join(",")
}

fn write_server(
    text: &mut String,
    listed: &ListedServer,
    service: ServiceName,
    format: Format,
    names: &impl Names,
) {
    let server = &listed.server;
    let shown = endpoint(server.address, transport(service), format, names);
    let name = match Family::of(server.address.ip()) {
        Family::Ipv4 => cut(shown, SERVER_LENGTH),
        Family::Ipv6 => shown,
    };
    let forward = forward_name(server.forwarding);
    let (weight, active, inactive) = (server.weight, listed.active, listed.inactive);
    // As above.
    let _ = match format.columns {
        Columns::Plain => writeln!(
            text,
            "  -> {name:<28} {forward:<7} {weight:<6} {active:<10} {inactive:<10}"
        ),
        Columns::TunnelInfo => writeln!(
            text,
            "  -> {name:<28} {forward:<7} {:<13} {weight:<6} {active:<10} {inactive:<10}",
            tunnel_info(server.forwarding)
        ),
        Columns::Stats => writeln!(text, "  -> {name:<28}{}", five(&listed.totals, format)),
        Columns::Rate => {
            let rates = &listed.rates;
            writeln!(
                text,
                "  -> {name:<28} {:>8} {:>8} {:>8}{}{}",
                rates.connections,
                rates.inbound_packets,
                rates.outbound_packets,
                large(rates.inbound_bytes, format),
                large(rates.outbound_bytes, format)
            )
        }
        Columns::Thresholds => writeln!(
            text,
            "  -> {name:<28} {:<10} {:<10} {active:<10} {inactive:<10}",
            server.upper_threshold, server.lower_threshold
        ),
        Columns::PersistentConnections => writeln!(
            text,
            "  -> {name:<28} {weight:<9} {:<11} {active:<10} {inactive:<10}",
            listed.persistent
        ),
    };
}

/// What L4 ports of a service's real servers are called by; a mark has no protocol.
pub(super) fn transport(service: ServiceName) -> Option<Transport> {
    match service {
        ServiceName::Virtual { protocol, .. } => Some(protocol),
        ServiceName::Mark { .. } => None,
    }
}

fn forward_name(forwarding: Forwarding) -> &'static str {
    match forwarding {
        Forwarding::Masquerade => "Masq",
        Forwarding::Route => "Route",
        Forwarding::Tunnel(_) => "Tunnel",
        Forwarding::FullNat => "FullNat",
    }
}

fn tunnel_info(forwarding: Forwarding) -> String {
    let sign = |checksum| match checksum {
        TunnelChecksum::None => "-c",
        TunnelChecksum::Full => "+c",
        TunnelChecksum::Remote => "r+c",
    };
    match forwarding {
        Forwarding::Tunnel(Encapsulation::Ipip) => "ipip".to_owned(),
        Forwarding::Tunnel(Encapsulation::Gue {
            destination_port,
            checksum,
        }) => format!("gue:{destination_port}:{}", sign(checksum)),
        Forwarding::Tunnel(Encapsulation::Gre { checksum }) => format!("gre:{}", sign(checksum)),
        Forwarding::Masquerade | Forwarding::Route | Forwarding::FullNat => "n/a".to_owned(),
    }
}

fn five(traffic: &Traffic, format: Format) -> String {
    [
        traffic.connections,
        traffic.inbound_packets,
        traffic.outbound_packets,
        traffic.inbound_bytes,
        traffic.outbound_bytes,
    ]
    .map(|number| large(number, format))
    .concat()
}

/// A number in nine columns: whole if that is wanted or it is short, else in thousands, millions and so on.
fn large(number: u64, format: Format) -> String {
    if format.is_exact {
        return format!(" {number:>8}");
    }
    match number {
        ..100_000_000 => format!("{number:>9}"),
        100_000_000..1_000_000_000 => format!("{:>8}K", number / 1_000),
        1_000_000_000..100_000_000_000 => format!("{:>8}M", number / 1_000_000),
        100_000_000_000..100_000_000_000_000 => format!("{:>8}G", number / 1_000_000_000),
        100_000_000_000_000.. => format!("{:>8}T", number / 1_000_000_000_000),
    }
}

/// An address with its L4 port, in figures or by names.
pub(super) fn endpoint(
    endpoint: SocketAddr,
    transport: Option<Transport>,
    format: Format,
    names: &impl Names,
) -> String {
    let address = endpoint.ip();
    let (host, l4_port) = match format.is_numeric {
        true => (None, None),
        false => (
            names.host(address),
            transport.and_then(|transport| names.service(endpoint.port(), transport)),
        ),
    };
    let host = host.unwrap_or_else(|| figures(address));
    let l4_port = l4_port.unwrap_or_else(|| endpoint.port().to_string());
    let shown = match address {
        IpAddr::V4(_) => format!("{host}:{l4_port}"),
        IpAddr::V6(_) => format!("[{host}]:{l4_port}"),
    };
    cut(shown, ENDPOINT_LENGTH)
}

/// An address as `inet_ntop` writes it, which shows the last 32 bits behind 96 of zero as IPv4.
fn figures(address: IpAddr) -> String {
    match address {
        IpAddr::V6(v6) if v6.to_bits() >> 32 == 0 && v6.to_bits() >> 16 != 0 => {
            format!("::{}", Ipv4Addr::from_bits(v6.to_bits() as u32))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address.to_string(),
    }
}

fn cut(text: String, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}
