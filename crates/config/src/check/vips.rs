//! `vip`, `vips` and `protocol` of a service: what clients reach it by.
//!
//! Promises: VIPs of one family, none twice in a service, none a port's own or one that no host may have.
//! Does not know: what other services have (`services`).

use std::net::SocketAddr;

use super::network::Network;
use super::services::{family, refusal, without_options};
use super::{Placed, Report};
use crate::address;
use crate::config::{Protocol, Vip};
use crate::locate::Place;
use crate::spec::{ServiceSpec, Variant};

/// What was read of them.
pub(super) struct Vips {
    /// In the order written; those that are wrong are left out.
    pub(super) all: Vec<Placed<Vip>>,
    /// The first address, whatever its protocol.
    pub(super) first: Option<SocketAddr>,
    /// Theirs, whatever the addresses.
    pub(super) protocols: Vec<Protocol>,
}

impl Vips {
    /// The vport that all have, or 0, for whatever clients choose.
    pub(super) fn vport(&self) -> u16 {
        let first = self.first.map_or(0, |first| first.port());
        let mut ports = self.all.iter().map(|vip| vip.value.endpoint.port());
        match ports.all(|vport| vport == first) {
            true => first,
            false => 0,
        }
    }

    /// A protocol of theirs that knows more than datagrams.
    pub(super) fn of_streams(&self) -> Option<Protocol> {
        let mut protocols = self.protocols.iter().copied();
        protocols.find(|protocol| match protocol {
            Protocol::Tcp | Protocol::Sctp => true,
            Protocol::Udp => false,
        })
    }
}

pub(super) fn resolve(
    report: &mut Report,
    spec: &ServiceSpec,
    place: Place<'_>,
    network: &Network,
) -> Vips {
    let vips = match (&spec.vip, &spec.vips) {
        (vip, None) => one(report, vip.as_deref(), spec, place, network),
        (None, Some(written)) => several(report, written, spec, place, network),
        (Some(_), Some(_)) => {
            let what = "a service has `vip` or `vips`; remove one of them";
            report.refuse(place.field("vips").key_at(), what);
            Vips {
                all: Vec::new(),
                first: None,
                protocols: Vec::new(),
            }
        }
    };
    let is_of_all = |vip: &&Placed<Vip>| vip.value.endpoint.port() == 0;
    if let Some(vip) = vips.all.iter().find(is_of_all)
        && spec.persistence.is_none()
    {
        let what = format!(
            "{} stands for all L4 ports, and without `persistence` a client's connections to them would go to several real servers; add it, or write an L4 port from 1 to 65535",
            vip.value.endpoint
        );
        report.refuse(vip.at, what);
    }
    vips
}

fn one(
    report: &mut Report,
    written: Option<&str>,
    spec: &ServiceSpec,
    place: Place<'_>,
    network: &Network,
) -> Vips {
    let at = place.field("vip").at();
    let result = written
        .ok_or_else(|| {
            "this service has no `vip`; write one, as in vip: \"192.0.2.100:80\"".to_owned()
        })
        .and_then(|text| endpoint(text, network));
    let first = report.keep(at, result);
    let protocol = match &spec.protocol {
        Some(written) => protocol(report, written, place),
        None => {
            let what = "this service has no `protocol`; write protocol: Tcp, protocol: Udp or protocol: Sctp";
            report.refuse(place.field("protocol").at(), what);
            None
        }
    };
    let vip = first
        .zip(protocol)
        .map(|(endpoint, protocol)| Vip { protocol, endpoint });
    Vips {
        all: vip.map(|value| Placed { value, at }).into_iter().collect(),
        first,
        protocols: protocol.into_iter().collect(),
    }
}

fn several(
    report: &mut Report,
    written: &[String],
    spec: &ServiceSpec,
    place: Place<'_>,
    network: &Network,
) -> Vips {
    let place_of_all = place.field("vips");
    let common = spec.protocol.as_ref();
    let common = common.map(|written| protocol(report, written, place));
    let mut vips = Vips {
        all: Vec::with_capacity(written.len()),
        first: None,
        protocols: Vec::new(),
    };
    if written.is_empty() {
        report.refuse(place_of_all.at(), "`vips` is empty; write one VIP at least");
    }
    for (index, text) in written.iter().enumerate() {
        let at = place_of_all.item(index).at();
        let (protocol, text) = match text.split_once('/') {
            Some(("tcp", rest)) => (Some(Protocol::Tcp), rest),
            Some(("udp", rest)) => (Some(Protocol::Udp), rest),
            Some(("sctp", rest)) => (Some(Protocol::Sctp), rest),
            Some(_) | None => match common {
                Some(protocol) => (protocol, text.as_str()),
                None => {
                    let what = format!(
                        "`{text}` has no protocol; write tcp/, udp/ or sctp/ before it, or give the service a `protocol`"
                    );
                    report.refuse(at, what);
                    (None, text.as_str())
                }
            },
        };
        vips.protocols.extend(protocol);
        let result = endpoint(text, network).and_then(|endpoint| fits(endpoint, vips.first));
        let Some(endpoint) = report.keep(at, result) else {
            continue;
        };
        vips.first = vips.first.or(Some(endpoint));
        if let Some(protocol) = protocol {
            let value = Vip { protocol, endpoint };
            vips.all.push(Placed { value, at });
        }
    }
    vips
}

/// A VIP beside the first.
fn fits(endpoint: SocketAddr, first: Option<SocketAddr>) -> Result<SocketAddr, String> {
    match first.filter(|first| first.is_ipv4() != endpoint.is_ipv4()) {
        None => Ok(endpoint),
        Some(first) => Err(format!(
            "{endpoint} is of {} and {first} of {}, and one service speaks one of them; make two services",
            family(endpoint.ip()),
            family(first.ip())
        )),
    }
}

fn endpoint(text: &str, network: &Network) -> Result<SocketAddr, String> {
    let endpoint = address::parse_endpoint(text)?;
    address::require_routable(endpoint.ip())?;
    network.require_no_end(endpoint.ip())?;
    Ok(endpoint)
}

fn protocol(report: &mut Report, written: &Variant, place: Place<'_>) -> Option<Protocol> {
    const BUILT: [&str; 3] = ["Tcp", "Udp", "Sctp"];
    let result = match written.name() {
        "Tcp" => without_options(written, Protocol::Tcp),
        "Udp" => without_options(written, Protocol::Udp),
        "Sctp" => without_options(written, Protocol::Sctp),
        _ => Err(refusal(written, &BUILT, &[])),
    };
    report.keep(place.field("protocol").at(), result)
}
