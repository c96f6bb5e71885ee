//! A configuration as RON text, for `weir config save`.
//!
//! Promises: the text parses back to an equal [`Config`] wherever the same CPUs are allowed; every value is written,
//! defaults included, in the order and layout of the manual's example.
//! Does not know: comments of the file the configuration came from.

use std::fmt::Write as _;
use std::path::Path;

use ron::extensions::Extensions;

use crate::config::{
    Config, Destination, Device, Encapsulation, FullNat, HashOptions, Idle, IpvsSettings,
    LocalPool, Memory, Method, Port, Protocol, RemovedDestination, Reuse, Route, Runtime,
    Scheduler, Service, Timeouts, Tun,
};
use crate::duration;
use crate::ipvs::{MarkedService, Netmask, Persistence, SchedulerFlags};

/// `config` as RON text, ending in a line break.
pub fn to_ron(config: &Config) -> String {
    let Config {
        runtime,
        ports,
        routes,
        local_pools,
        services,
        firewall_marks,
        timeouts,
        local_ports,
        toa_option,
        ipvs,
        removed_destination,
    } = config;
    let mut text = String::from("#![enable(implicit_some)]\n(\n");
    text.push_str(&write_runtime(runtime));
    text.push_str(&block("ports", "{", ports.iter().map(write_port), "}"));
    text.push_str(&block("routes", "[", routes.iter().map(write_route), "]"));
    text.push_str(&block(
        "local_pools",
        "{",
        local_pools.iter().map(write_pool),
        "}",
    ));
    text.push_str(&block(
        "services",
        "[",
        services.iter().map(write_service),
        "]",
    ));
    if !firewall_marks.is_empty() {
        text.push_str(&block(
            "firewall_marks",
            "[",
            firewall_marks.iter().map(write_marked),
            "]",
        ));
    }
    text.push_str(&write_timeouts(timeouts));
    text.push_str(&format!(
        "    local_ports: \"{local_ports}\",\n    toa_option: {toa_option},\n"
    ));
    let [ipvs, removed] = [write_ipvs(ipvs), write_removed(*removed_destination)];
    text.push_str(&format!(
        "    ipvs: {ipvs},\n    removed_destination: {removed},\n)\n"
    ));
    text
}

/// A key of the top level with one entry per line.
fn block(key: &str, open: &str, entries: impl Iterator<Item = String>, close: &str) -> String {
    let mut text = format!("    {key}: {open}\n");
    for entry in entries {
        // Writing into a String does not fail.
        let _ = writeln!(text, "        {entry},");
    }
    text.push_str(&format!("    {close},\n"));
    text
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// `["a", "b"]`
fn list(entries: impl Iterator<Item = String>) -> String {
    format!("[{}]", entries.collect::<Vec<_>>().join(", "))
}

fn write_runtime(runtime: &Runtime) -> String {
    let Runtime {
        workers,
        memory,
        connections,
        ipv6_connections,
        idle,
        admin_socket,
    } = runtime;
    let workers = write_workers(workers);
    let memory = write_memory(memory);
    let idle = write_idle(idle);
    let admin_socket = write_path(admin_socket);
    format!(
        "    runtime: (
        workers: {workers},
        memory: {memory},
        connections: {connections},
        ipv6_connections: {ipv6_connections},
        idle: {idle},
        admin_socket: {admin_socket},
    ),
"
    )
}

pub(crate) fn write_workers(workers: &[usize]) -> String {
    list(workers.iter().map(usize::to_string))
}

pub(crate) fn write_memory(memory: &Memory) -> String {
    match memory {
        Memory::Hugepages { mib } => format!("Hugepages(mib: {mib})"),
        Memory::Anonymous { mib } => format!("Anonymous(mib: {mib})"),
    }
}

pub(crate) fn write_idle(idle: &Idle) -> String {
    match idle {
        Idle::Backoff => "Backoff".to_owned(),
        Idle::Poll => "Poll".to_owned(),
    }
}

pub(crate) fn write_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

pub(crate) fn write_device(device: &Device) -> String {
    match device {
        Device::Pci(address) => format!("Pci({})", quoted(address)),
        Device::AfPacket(name) => format!("AfPacket({})", quoted(name)),
        Device::AfXdp(name) => format!("AfXdp({})", quoted(name)),
        Device::Tap(name) => format!("Tap({})", quoted(name)),
        Device::Vdev(text) => format!("Vdev({})", quoted(text)),
    }
}

fn write_port(port: &Port) -> String {
    let Port {
        name,
        device,
        addresses,
        mtu,
    } = port;
    let device = write_device(device);
    let addresses = list(addresses.iter().map(|net| quoted(&net.to_string())));
    format!(
        "{}: (device: {device}, addresses: {addresses}, mtu: {mtu})",
        quoted(name)
    )
}

fn write_route(Route { to, via }: &Route) -> String {
    format!("(to: \"{to}\", via: \"{via}\")")
}

fn write_pool(LocalPool { name, ranges }: &LocalPool) -> String {
    format!(
        "{}: {}",
        quoted(name),
        list(ranges.iter().map(|range| quoted(&range.to_string())))
    )
}

fn write_service(service: &Service) -> String {
    let Service {
        protocol,
        vip,
        further,
        scheduler,
        scheduler_flags,
        persistence,
        one_packet,
        method,
        destinations,
    } = service;
    let reached_by = match further.is_empty() {
        true => {
            let protocol = match protocol {
                Protocol::Tcp => "Tcp",
                Protocol::Udp => "Udp",
                Protocol::Sctp => "Sctp",
            };
            format!("vip: \"{vip}\",\n            protocol: {protocol}")
        }
        false => format!("vips: {}", write_vips(service)),
    };
    let scheduler = write_scheduler(*scheduler);
    // Written where they say something: most services have none of them.
    let mut rare = String::new();
    if *scheduler_flags != SchedulerFlags::default() {
        let flags = write_flags(*scheduler_flags);
        let _ = writeln!(rare, "            scheduler_flags: {flags},");
    }
    if let Some(persistence) = persistence {
        let persistence = write_persistence(persistence);
        let _ = writeln!(rare, "            persistence: {persistence},");
    }
    if *one_packet {
        let _ = writeln!(rare, "            one_packet: true,");
    }
    let method = write_method(method);
    let mut text = format!(
        "(
            {reached_by},
            scheduler: {scheduler},
{rare}            method: {method},
            destinations: [
"
    );
    for destination in destinations {
        let Destination {
            address,
            weight,
            method,
            ..
        } = destination;
        let thresholds = write_thresholds(destination);
        let method = method.as_ref().map_or_else(String::new, |method| {
            format!(", method: {}", write_method(method))
        });
        let _ = writeln!(
            text,
            "                (address: \"{address}\", weight: {weight}{thresholds}{method}),"
        );
    }
    text.push_str("            ],\n        )");
    text
}

/// As the configuration has it: `["tcp/192.0.2.100:80", "tcp/192.0.2.100:443"]`.
pub(crate) fn write_vips(service: &Service) -> String {
    let vips = service.vips();
    list(vips.map(|vip| quoted(&format!("{}/{}", vip.protocol, vip.endpoint))))
}

/// As the configuration has it: `Wlc`, `Sh(port: true, fallback: false)`.
fn write_scheduler(scheduler: Scheduler) -> String {
    let hashing = |name: &str, HashOptions { port, fallback }: HashOptions| {
        format!("{name}(port: {port}, fallback: {fallback})")
    };
    match scheduler {
        Scheduler::Rr => "Rr".to_owned(),
        Scheduler::Wrr => "Wrr".to_owned(),
        Scheduler::Lc => "Lc".to_owned(),
        Scheduler::Wlc => "Wlc".to_owned(),
        Scheduler::Sed => "Sed".to_owned(),
        Scheduler::Nq => "Nq".to_owned(),
        Scheduler::Sh(options) => hashing("Sh", options),
        Scheduler::Dh => "Dh".to_owned(),
        Scheduler::Mh(options) => hashing("Mh", options),
        Scheduler::Fo => "Fo".to_owned(),
        Scheduler::Ovf => "Ovf".to_owned(),
        Scheduler::Lblc => "Lblc".to_owned(),
        Scheduler::Lblcr => "Lblcr".to_owned(),
        Scheduler::Twos => "Twos".to_owned(),
    }
}

/// As the configuration has it: `(timeout: "300s", netmask: 32)`.
pub(crate) fn write_persistence(Persistence { timeout_s, netmask }: &Persistence) -> String {
    let netmask = match netmask {
        Netmask::V4(mask) => {
            let (bits, length) = (mask.to_bits(), mask.to_bits().leading_ones());
            match bits.count_ones() == length {
                true => length.to_string(),
                false => quoted(&mask.to_string()),
            }
        }
        Netmask::V6(length) => length.to_string(),
    };
    format!("(timeout: \"{timeout_s}s\", netmask: {netmask})")
}

/// `, upper_threshold: 10`: those that are set.
pub(crate) fn write_thresholds(destination: &Destination) -> String {
    [
        ("upper_threshold", destination.upper_threshold),
        ("lower_threshold", destination.lower_threshold),
    ]
    .into_iter()
    .filter(|(_, number)| *number > 0)
    .map(|(key, number)| format!(", {key}: {number}"))
    .collect()
}

/// As the configuration has it: `[1, 3]`.
pub(crate) fn write_flags(flags: SchedulerFlags) -> String {
    let all = [
        (SchedulerFlags::FIRST, 1),
        (SchedulerFlags::SECOND, 2),
        (SchedulerFlags::THIRD, 3),
    ];
    let set = all.into_iter().filter(|(flag, _)| flags.has(*flag));
    list(set.map(|(_, number)| number.to_string()))
}

/// As the configuration has it: `FullNat(local_pool: "default", client_address: Toa)`.
pub(crate) fn write_method(method: &Method) -> String {
    match method {
        Method::Nat => "Nat".to_owned(),
        Method::Dr => "Dr".to_owned(),
        Method::Tun(Tun {
            encapsulation,
            sources,
        }) => {
            let sources = sources.map_or_else(String::new, |net| format!(", sources: \"{net}\""));
            format!(
                "Tun(encapsulation: {}{sources})",
                write_encapsulation(*encapsulation)
            )
        }
        Method::FullNat(FullNat {
            local_pool,
            client_address,
        }) => {
            format!(
                "FullNat(local_pool: {}, client_address: {})",
                quoted(local_pool),
                client_address.name()
            )
        }
    }
}

fn write_encapsulation(encapsulation: Encapsulation) -> String {
    match encapsulation {
        Encapsulation::Ipip => "Ipip".to_owned(),
        Encapsulation::Gre { checksum } => format!("Gre(checksum: {checksum})"),
        Encapsulation::Gue {
            destination_port,
            checksum,
        } => format!("Gue(destination_port: {destination_port}, checksum: {checksum})"),
    }
}

/// As its type has it: nothing of it means anything to the director.
pub(crate) fn write_marked(marked: &MarkedService) -> String {
    let options = ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME);
    // Plain structures of numbers and text have a form in RON.
    options.to_string(marked).unwrap_or_default()
}

/// As the configuration has it: `(sloppy_tcp: 0, conn_reuse_mode: 1, …)`.
fn write_ipvs(settings: &IpvsSettings) -> String {
    let numbers = ipvs_numbers(settings).map(|(name, number)| format!("{name}: {number}"));
    format!("({})", numbers.join(", "))
}

/// By the names and in the numbers of IPVS.
pub(crate) fn ipvs_numbers(settings: &IpvsSettings) -> [(&'static str, u8); 7] {
    let IpvsSettings {
        sloppy_tcp,
        sloppy_sctp,
        schedule_icmp,
        reuse,
        ends_with_destination,
        expire_quiescent_template,
        fragments_tunnelled,
    } = settings;
    let reuse_mode = match reuse {
        Reuse::Never => 0,
        Reuse::Over => 1,
        Reuse::OverOrFinWait => 3,
    };
    [
        ("sloppy_tcp", u8::from(*sloppy_tcp)),
        ("sloppy_sctp", u8::from(*sloppy_sctp)),
        ("schedule_icmp", u8::from(*schedule_icmp)),
        ("conn_reuse_mode", reuse_mode),
        ("expire_nodest_conn", u8::from(*ends_with_destination)),
        (
            "expire_quiescent_template",
            u8::from(*expire_quiescent_template),
        ),
        ("pmtu_disc", u8::from(!*fragments_tunnelled)),
    ]
}

pub(crate) fn write_removed(removed: RemovedDestination) -> String {
    match removed {
        RemovedDestination::Finish => "Finish".to_owned(),
        RemovedDestination::Ipvs => "Ipvs".to_owned(),
    }
}

fn write_timeouts(
    Timeouts {
        tcp_established,
        tcp_fin,
        udp,
    }: &Timeouts,
) -> String {
    let [tcp_established, tcp_fin, udp] = [*tcp_established, *tcp_fin, *udp].map(duration::write);
    format!(
        "    timeouts: (tcp_established: \"{tcp_established}\", tcp_fin: \"{tcp_fin}\", udp: \"{udp}\"),\n"
    )
}
