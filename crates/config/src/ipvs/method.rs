//! IPVS's forwarding methods, and those of the configuration.
//!
//! Promises: ipvsadm knows methods of real servers alone, the configuration those of services too; a method that stays
//! what it was is said at the place where it was said.
//! Does not know: whether a method can reach a real server (`check`).

use std::collections::HashMap;
use std::net::SocketAddr;

use super::running::{is_own, lacking, own_pool};
use super::{Entry, Forwarding, TunnelChecksum};
use crate::config::{Encapsulation, FullNat, Method, Service, Tun};
use crate::ipvs;

/// What IPVS's tools call a method.
pub(super) fn forwarding(method: &Method) -> Forwarding {
    match method {
        Method::Nat => Forwarding::Masquerade,
        Method::Dr => Forwarding::Route,
        Method::Tun(tun) => Forwarding::Tunnel(said(tun.encapsulation)),
        Method::FullNat(_) => Forwarding::FullNat,
    }
}

fn said(encapsulation: Encapsulation) -> ipvs::Encapsulation {
    let has = |checksum| match checksum {
        true => TunnelChecksum::Full,
        false => TunnelChecksum::None,
    };
    match encapsulation {
        Encapsulation::Ipip => ipvs::Encapsulation::Ipip,
        Encapsulation::Gre { checksum } => ipvs::Encapsulation::Gre {
            checksum: has(checksum),
        },
        Encapsulation::Gue {
            destination_port,
            checksum,
        } => ipvs::Encapsulation::Gue {
            destination_port,
            checksum: has(checksum),
        },
    }
}

/// ipvsadm knows no method of a service: a new one has that which `-a` takes and which needs no pool.
pub(super) fn of_service(entry: &Entry, before: Option<&Service>) -> Method {
    match before.map(|before| &before.method) {
        None => Method::Dr,
        Some(Method::FullNat(full_nat)) => Method::FullNat(meant_full_nat(entry, full_nat)),
        Some(method @ (Method::Nat | Method::Dr | Method::Tun(_))) => method.clone(),
    }
}

/// What destinations have for themselves.
pub(super) fn own_methods(service: &Service) -> HashMap<SocketAddr, &Method> {
    let destinations = service.destinations.iter();
    destinations
        .filter_map(|it| it.method.as_ref().map(|method| (it.address, method)))
        .collect()
}

/// A destination's own method: `None` where its service's says it. `before`: its own until now, which may know more
/// than ipvsadm says.
pub(super) fn of_server(
    entry: &Entry,
    said: Forwarding,
    before: Option<&Method>,
    of_service: &Method,
) -> Result<Option<Method>, String> {
    let before = before.filter(|before| forwarding(before) == said);
    if before.is_none() && forwarding(of_service) == said {
        return Ok(None);
    }
    Ok(Some(match said {
        Forwarding::Masquerade => Method::Nat,
        Forwarding::Route => Method::Dr,
        Forwarding::Tunnel(encapsulation) => Method::Tun(Tun {
            encapsulation: meant(encapsulation)?,
            sources: match before {
                Some(Method::Tun(tun)) => tun.sources,
                Some(Method::Nat | Method::Dr | Method::FullNat(_)) | None => None,
            },
        }),
        Forwarding::FullNat => {
            let before = match before {
                Some(Method::FullNat(full_nat)) => full_nat,
                Some(Method::Nat | Method::Dr | Method::Tun(_)) | None => &FullNat::default(),
            };
            Method::FullNat(meant_full_nat(entry, before))
        }
    }))
}

fn meant_full_nat(entry: &Entry, before: &FullNat) -> FullNat {
    let local_pool = match entry.locals.is_empty() {
        false => own_pool(entry.service.name),
        true if is_own(&before.local_pool) => FullNat::default().local_pool,
        true => before.local_pool.clone(),
    };
    FullNat {
        local_pool,
        ..before.clone()
    }
}

fn meant(said: ipvs::Encapsulation) -> Result<Encapsulation, String> {
    let has = |checksum| match checksum {
        TunnelChecksum::None => Ok(false),
        TunnelChecksum::Full => Ok(true),
        TunnelChecksum::Remote => lacking("remote checksums in tunnels (--tun-remcsum)"),
    };
    Ok(match said {
        ipvs::Encapsulation::Ipip => Encapsulation::Ipip,
        ipvs::Encapsulation::Gre { checksum } => Encapsulation::Gre {
            checksum: has(checksum)?,
        },
        ipvs::Encapsulation::Gue {
            destination_port,
            checksum,
        } => Encapsulation::Gue {
            destination_port,
            checksum: has(checksum)?,
        },
    })
}
