//! The section `ports`.
//!
//! Promises: names, devices, addresses and subnets are each unique over the ports that remain.
//! Does not know: whether a device exists and what it can do.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{number_within, require_name};
use crate::address;
use crate::config::{Device, Port};
use crate::error::Report;
use crate::locate::Place;
use crate::spec::{DeviceSpec, Entries, PortSpec};

/// The smallest MTU of IPv4 (RFC 791) and of IPv6 (RFC 8200 section 5), and the largest of common NICs.
pub(super) const MTU_MINIMUM: u16 = 68;
pub(super) const MTU_MINIMUM_IPV6: u16 = 1280;
const MTU_LIMIT: u16 = 9216;
/// As many ports as DPDK is built for.
const PORTS_LIMIT: usize = 32;
/// IFNAMSIZ less the terminating zero.
const INTERFACE_NAME_LIMIT: usize = 15;

/// The ports, and whether none of their addresses was lost.
pub(super) struct Ports {
    pub(super) ports: Vec<Port>,
    pub(super) is_whole: bool,
}

pub(super) fn resolve(
    report: &mut Report,
    spec: Option<&Entries<PortSpec>>,
    place: Place<'_>,
) -> Ports {
    let entries = spec.map_or(&[][..], |entries| &entries.0);
    if entries.is_empty() {
        report.refuse(
            place.at(),
            "there is no port; name one at least, as in ports: {\"wan\": (device: AfPacket(\"eth1\"), addresses: [\"192.0.2.10/24\"])}",
        );
        return Ports {
            ports: Vec::new(),
            is_whole: false,
        };
    }
    if let Some((name, _)) = entries.get(PORTS_LIMIT) {
        report.refuse(
            place.item(PORTS_LIMIT).key_at(),
            format!(
                "\"{name}\" is one port too many; {PORTS_LIMIT} is as many as DPDK is built for"
            ),
        );
    }
    let mut ports: Vec<Port> = Vec::new();
    let mut is_whole = true;
    for (index, (name, spec)) in entries.iter().enumerate() {
        let entry = place.item(index);
        if ports.iter().any(|port| port.name == *name) {
            report.refuse(
                entry.key_at(),
                format!("two ports are called \"{name}\"; rename one"),
            );
        }
        report.keep(entry.key_at(), require_name("a port", name, 32));
        let device = device(report, spec.device.as_ref(), entry, &ports);
        let n_before = report.n_problems();
        let addresses = addresses(report, name, spec.addresses.as_deref(), entry, &ports);
        is_whole &= report.n_problems() == n_before;
        let mtu = mtu(report, spec.mtu, entry.field("mtu"), &addresses);
        // A port without a valid device stays out of the result, which is then refused; its addresses stay in the
        // picture, so that what is on its subnets is not blamed.
        let device = device.unwrap_or_else(|| Device::Vdev(String::new()));
        ports.push(Port {
            name: name.clone(),
            device,
            addresses,
            mtu,
        });
    }
    Ports { ports, is_whole }
}

fn device(
    report: &mut Report,
    spec: Option<&DeviceSpec>,
    entry: Place<'_>,
    others: &[Port],
) -> Option<Device> {
    let place = entry.field("device");
    let Some(spec) = spec else {
        report.refuse(
            entry.key_at(),
            "this port has no `device`; write one, as in device: Pci(\"0000:01:00.0\") or device: AfPacket(\"eth1\")",
        );
        return None;
    };
    let result = match spec {
        DeviceSpec::Pci(text) => pci_address(text).map(Device::Pci),
        DeviceSpec::AfPacket(name) => interface_name(name).map(Device::AfPacket),
        DeviceSpec::AfXdp(name) => interface_name(name).map(Device::AfXdp),
        DeviceSpec::Tap(name) => interface_name(name).map(Device::Tap),
        DeviceSpec::Vdev(text) => device_string(text).map(Device::Vdev),
    };
    let device = report.keep(place.item(0).at(), result)?;
    if let Some(other) = others
        .iter()
        .find(|other| is_same_device(&other.device, &device))
    {
        report.refuse(
            place.at(),
            format!(
                "port \"{}\" has this device already; a device can be one port",
                other.name
            ),
        );
    }
    Some(device)
}

/// AF_PACKET and AF_XDP are two doors to one interface.
fn is_same_device(a: &Device, b: &Device) -> bool {
    match (a, b) {
        (Device::AfPacket(a) | Device::AfXdp(a), Device::AfPacket(b) | Device::AfXdp(b)) => a == b,
        (
            Device::Pci(_)
            | Device::AfPacket(_)
            | Device::AfXdp(_)
            | Device::Tap(_)
            | Device::Vdev(_),
            _,
        ) => a == b,
    }
}

/// `0000:01:00.0`, or without the domain; given in full and in lower case.
fn pci_address(text: &str) -> Result<String, String> {
    let full = match text.matches(':').count() {
        1 => format!("0000:{text}").to_ascii_lowercase(),
        _ => text.to_ascii_lowercase(),
    };
    let is_hex = |part: &str, n_digits: usize| {
        part.len() == n_digits && part.chars().all(|c| c.is_ascii_hexdigit())
    };
    let is_address = match full.split([':', '.']).collect::<Vec<_>>()[..] {
        [domain, bus, device, function] => {
            is_hex(domain, 4)
                && is_hex(bus, 2)
                && is_hex(device, 2)
                && matches!(function, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7")
                && full == format!("{domain}:{bus}:{device}.{function}")
        }
        _ => false,
    };
    match is_address {
        true => Ok(full),
        false => Err(format!(
            "\"{text}\" is no PCI address; write one as lspci -D does, like 0000:01:00.0"
        )),
    }
}

fn interface_name(name: &str) -> Result<String, String> {
    let is_inner =
        |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':' && c != ',';
    let is_name = (1..=INTERFACE_NAME_LIMIT).contains(&name.len())
        && name.chars().all(is_inner)
        && name != "."
        && name != "..";
    match is_name {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "\"{name}\" is no name of an interface; write 1 to 15 characters as `ip link` shows them"
        )),
    }
}

fn device_string(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is no DPDK device string; write one without spaces, like net_memif0,role=server"
        )),
    }
}

fn addresses(
    report: &mut Report,
    name: &str,
    written: Option<&[String]>,
    entry: Place<'_>,
    others: &[Port],
) -> Vec<IpNet> {
    let place = entry.field("addresses");
    let written = written.unwrap_or_default();
    if written.is_empty() {
        report.refuse(
            place.key_at(),
            format!("port \"{name}\" has no address; write one at least, as in addresses: [\"192.0.2.10/24\"]"),
        );
    }
    let mut addresses: Vec<IpNet> = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let result = address::parse_interface_address(text)
            .and_then(require_host)
            .and_then(|net| require_new(net, name, &addresses, others));
        addresses.extend(report.keep(place.item(index).at(), result));
    }
    addresses
}

fn require_host(net: IpNet) -> Result<IpNet, String> {
    address::require_host(net.addr())?;
    match address::is_host_in(net.addr(), &net) {
        true => Ok(net),
        false => Err(format!(
            "{net} is not a host's address in its own subnet; write one between its ends"
        )),
    }
}

fn require_new(net: IpNet, name: &str, own: &[IpNet], others: &[Port]) -> Result<IpNet, String> {
    let is_same = |other: &&IpNet| other.addr() == net.addr();
    if own.iter().any(|other| is_same(&other)) {
        return Err(format!(
            "{} is given twice to port \"{name}\"; keep one",
            net.addr()
        ));
    }
    if let Some(other) = others
        .iter()
        .find(|other| other.addresses.iter().any(|other| is_same(&other)))
    {
        return Err(format!(
            "{} belongs to port \"{}\" already; give this port another",
            net.addr(),
            other.name
        ));
    }
    // Every link has fe80::/64, so that prefix never says which port leads there.
    let is_link_local = matches!(net.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local());
    let shares_subnet = |other: &Port| {
        other
            .addresses
            .iter()
            .any(|other| other.trunc() == net.trunc())
    };
    match others
        .iter()
        .find(|other| !is_link_local && shares_subnet(other))
    {
        Some(other) => Err(format!(
            "port \"{}\" is on {} already, and one subnet cannot lead out of two ports; give this port an address of its own subnet",
            other.name,
            net.trunc()
        )),
        None => Ok(net),
    }
}

fn mtu(report: &mut Report, written: Option<i64>, place: Place<'_>, addresses: &[IpNet]) -> u16 {
    let Some(written) = written else {
        return Port::DEFAULT_MTU;
    };
    let result = number_within("the MTU", written, MTU_MINIMUM.into(), MTU_LIMIT.into()).and_then(|mtu| {
        let has_ipv6 = addresses.iter().any(|net| net.addr().is_ipv6());
        match has_ipv6 && mtu < MTU_MINIMUM_IPV6.into() {
            true => Err(format!("the MTU is {mtu}, and IPv6 needs {MTU_MINIMUM_IPV6}; raise it, or remove the IPv6 addresses")),
            false => Ok(mtu as u16),
        }
    });
    report.keep(place.at(), result).unwrap_or(Port::DEFAULT_MTU)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses() {
        assert_eq!(pci_address("0000:01:00.0").as_deref(), Ok("0000:01:00.0"));
        assert_eq!(pci_address("3B:1f.7").as_deref(), Ok("0000:3b:1f.7"));
        for text in [
            "",
            "0000:01:00.8",
            "0000:01:00",
            "01.00:0",
            "0000:01:00.0.0",
            "0000-01-00.0",
            "eth0",
        ] {
            assert!(pci_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn interface_names() {
        assert!(interface_name("eth1.100").is_ok());
        for name in ["", "a name", "a/b", "..", "sixteen-letters-"] {
            assert!(interface_name(name).is_err(), "{name}");
        }
    }
}
