//! The key `method`, of services and of destinations.
//!
//! Promises: FULLNAT has a pool; options are whole. Does not know: whether a method can reach a real server, and whether
//! the pool has an address of its family (`services`).
//!
//! How it works: a choice that is refused is replaced by the default, so that the checks that follow have one.

use ipnet::IpNet;

use super::pools::Pools;
use super::services::{refusal, without_options};
use super::{Report, number_within};
use crate::address;
use crate::config::{ClientAddress, Encapsulation, FullNat, Method, Protocol, Tun};
use crate::error::{Problem, one_of};
use crate::locate::Place;
use crate::spec::{FullNatSpec, GreSpec, GueSpec, TunSpec, Variant};
use crate::syntax;

/// The UDP port of GUE where nothing is said (`ipvsadm --tun-port` of the same default; IANA: gue).
const DEFAULT_GUE_PORT: u16 = 6080;

/// Reads a method; where nothing is written it is FULLNAT.
pub(super) fn resolve(
    report: &mut Report,
    written: Option<&Variant>,
    place: Place<'_>,
    protocols: &[Protocol],
    pools: &Pools,
) -> Method {
    let Some(written) = written else {
        return full_nat(report, FullNatSpec::default(), place, protocols, pools);
    };
    let method = match written.name() {
        "Nat" => plain(report, written, place, Method::Nat),
        "Dr" => plain(report, written, place, Method::Dr),
        "Tun" => options::<TunSpec>(report, written, place).map(|spec| {
            let sources = spec
                .sources
                .as_deref()
                .map(|text| address::parse_prefix(text).and_then(require_sources));
            let sources =
                sources.and_then(|sources| report.keep(place.field("sources").at(), sources));
            let encapsulation = spec.encapsulation.as_ref();
            Method::Tun(Tun {
                encapsulation: encapsulated(report, encapsulation, place.field("encapsulation")),
                sources,
            })
        }),
        "FullNat" => {
            let spec = options(report, written, place);
            spec.map(|spec| full_nat(report, spec, place, protocols, pools))
        }
        _ => {
            let what = refusal(written, &["Nat", "Dr", "Tun", "FullNat"], &[]);
            report.refuse(place.at(), what);
            None
        }
    };
    method.unwrap_or(Method::FullNat(FullNat::default()))
}

fn plain(
    report: &mut Report,
    written: &Variant,
    place: Place<'_>,
    method: Method,
) -> Option<Method> {
    let result = without_options(written, method);
    report.keep(place.at(), result)
}

fn options<T: serde::de::DeserializeOwned + Default>(
    report: &mut Report,
    written: &Variant,
    place: Place<'_>,
) -> Option<T> {
    match syntax::parse_options(written, place.at()) {
        Ok(spec) => Some(spec),
        Err(Problem { at, what }) => {
            report.refuse(at, what);
            None
        }
    }
}

/// Of addresses that a packet may come from, and more than one.
fn require_sources(prefix: IpNet) -> Result<IpNet, String> {
    address::require_routable(prefix.network())?;
    address::require_routable(prefix.broadcast())?;
    match prefix.prefix_len() == prefix.max_prefix_len() {
        true => Err(format!(
            "{prefix} is a single address, by which no flow differs from another; write a shorter prefix, or remove it"
        )),
        false => Ok(prefix),
    }
}

fn encapsulated(report: &mut Report, written: Option<&Variant>, place: Place<'_>) -> Encapsulation {
    let Some(written) = written else {
        return Encapsulation::Ipip;
    };
    let encapsulation = match written.name() {
        "Ipip" => {
            let result = without_options(written, Encapsulation::Ipip);
            report.keep(place.at(), result)
        }
        "Gre" => options::<GreSpec>(report, written, place).map(|spec| Encapsulation::Gre {
            checksum: spec.checksum.unwrap_or(false),
        }),
        "Gue" => options::<GueSpec>(report, written, place).map(|spec| {
            let port = spec.destination_port.unwrap_or(DEFAULT_GUE_PORT.into());
            let port = number_within("the UDP port", port, 1, u16::MAX.into());
            let port = report.keep(place.field("destination_port").at(), port);
            Encapsulation::Gue {
                destination_port: port.map_or(DEFAULT_GUE_PORT, |port| port as u16),
                checksum: spec.checksum.unwrap_or(false),
            }
        }),
        _ => {
            report.refuse(place.at(), refusal(written, &["Ipip", "Gre", "Gue"], &[]));
            None
        }
    };
    encapsulation.unwrap_or(Encapsulation::Ipip)
}

fn full_nat(
    report: &mut Report,
    spec: FullNatSpec,
    place: Place<'_>,
    protocols: &[Protocol],
    pools: &Pools,
) -> Method {
    let local_pool = spec
        .local_pool
        .unwrap_or_else(|| FullNat::default().local_pool);
    let found = require_pool(&local_pool, pools);
    report.keep(place.field("local_pool").at(), found);
    let client_address = client_address(
        report,
        spec.client_address.as_ref(),
        protocols,
        place.field("client_address"),
    );
    Method::FullNat(FullNat {
        local_pool,
        client_address,
    })
}

fn require_pool(name: &str, pools: &Pools) -> Result<(), String> {
    if pools.find(name).is_some() {
        return Ok(());
    }
    let names: Vec<String> = pools.names().map(|name| format!("\"{name}\"")).collect();
    Err(match names.is_empty() {
        true => format!(
            "FullNat takes its source addresses from the pool \"{name}\", and there is none; write one, as in local_pools: {{\"{name}\": [\"10.0.0.200\"]}}"
        ),
        false => format!(
            "FullNat takes its source addresses from the pool \"{name}\", which is not in local_pools; choose from {}, or add it",
            names.join(", ")
        ),
    })
}

fn capitals(protocols: &[Protocol]) -> String {
    let named = [
        (Protocol::Tcp, "TCP"),
        (Protocol::Udp, "UDP"),
        (Protocol::Sctp, "SCTP"),
    ];
    let has = named.iter().filter(|(of, _)| protocols.contains(of));
    let names: Vec<&str> = has.map(|(_, name)| *name).collect();
    match names.is_empty() {
        true => "this protocol".to_owned(),
        false => names.join(" and "),
    }
}

fn client_address(
    report: &mut Report,
    written: Option<&Variant>,
    protocols: &[Protocol],
    place: Place<'_>,
) -> ClientAddress {
    let Some(written) = written else {
        return ClientAddress::Toa;
    };
    let is_possible = |choice: &ClientAddress| protocols.iter().all(|of| choice.is_for(*of));
    let possible: Vec<&str> = ClientAddress::ALL
        .into_iter()
        .filter(is_possible)
        .map(ClientAddress::name)
        .collect();
    let mut choices = ClientAddress::ALL.into_iter();
    let result = match choices.find(|choice| choice.name() == written.name()) {
        Some(choice) if is_possible(&choice) => without_options(written, choice),
        Some(choice) => Err(format!(
            "`{}` is not for services of {}; write {}",
            choice.name(),
            capitals(protocols),
            one_of(&possible)
        )),
        None => Err(refusal(written, &possible, &[])),
    };
    report
        .keep(place.at(), result)
        .unwrap_or(ClientAddress::Toa)
}
