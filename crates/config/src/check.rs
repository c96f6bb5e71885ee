//! From the configuration as written to the one that is meant, or everything that is wrong with it.
//!
//! Promises: all errors of meaning are found in one pass, each at the value (or the key that should not be there);
//! an error does not cause a second one that only follows from it.
//! Does not know: RON; whether devices, hugepages or CPUs beyond the allowed ones exist.
//!
//! How it works: (1) each section is resolved by itself; what it cannot resolve it leaves out and says so;
//! (2) services are resolved against the network and the pools; (3) `ownership` sees to it that every address has
//! one owner. A section that lost something is marked as not whole, and checks that would blame others for it stand
//! back.

mod ipvs;
mod marks;
mod method;
mod network;
mod ownership;
mod persistence;
mod pools;
mod ports;
mod runtime;
mod services;
mod settings;
mod vips;

use crate::config::Config;
use crate::error::{Problem, Report};
use crate::locate::{Place, Position};
use crate::spec::Spec;

/// Resolves `spec`, whose values stand where `root` says.
pub(crate) fn resolve(
    spec: &Spec,
    root: Place<'_>,
    allowed_cpus: &[usize],
) -> Result<Config, Vec<Problem>> {
    let mut report = Report::default();

    // (1) sections by themselves
    let runtime = runtime::resolve(
        &mut report,
        spec.runtime.as_ref(),
        root.field("runtime"),
        allowed_cpus,
    );
    let ports = ports::resolve(&mut report, spec.ports.as_ref(), root.field("ports"));
    let network = network::resolve(
        &mut report,
        ports,
        spec.routes.as_deref(),
        root.field("routes"),
    );
    let pools = pools::resolve(
        &mut report,
        spec.local_pools.as_ref(),
        root.field("local_pools"),
        &network,
    );
    let firewall_marks = marks::resolve(
        &mut report,
        spec.firewall_marks.as_deref(),
        root.field("firewall_marks"),
    );
    let timeouts = settings::timeouts(&mut report, spec.timeouts.as_ref(), root.field("timeouts"));
    let local_ports = settings::local_ports(
        &mut report,
        spec.local_ports.as_deref(),
        root.field("local_ports"),
    );
    let toa_option = settings::toa_option(&mut report, spec.toa_option, root.field("toa_option"));

    let ipvs = ipvs::resolve(&mut report, spec.ipvs.as_ref(), root.field("ipvs"));
    let removed_destination = ipvs::removed_destination(
        &mut report,
        spec.removed_destination.as_ref(),
        root.field("removed_destination"),
    );

    // (2) services against them
    let services = services::resolve(
        &mut report,
        spec.services.as_deref(),
        root.field("services"),
        &network,
        &pools,
    );

    // (3) one owner for each address
    ownership::check(&mut report, &network, &pools, &services);

    match report.n_problems() {
        0 => Ok(Config {
            runtime,
            ports: network.ports,
            routes: network.routes,
            local_pools: pools.into_pools(),
            services: services
                .into_iter()
                .map(|service| service.service)
                .collect(),
            firewall_marks,
            timeouts,
            local_ports,
            toa_option,
            ipvs,
            removed_destination,
        }),
        _ => Err(report.into_problems()),
    }
}

/// A value, and where it stands in the file.
#[derive(Clone, Copy)]
struct Placed<T> {
    value: T,
    at: Position,
}

/// Refuses `key` of `holder` by name where it is given.
fn refuse_not_built<T>(report: &mut Report, holder: Place<'_>, key: &str, value: &Option<T>) {
    if value.is_some() {
        report.refuse(
            holder.field(key).key_at(),
            format!("`{key}` is not built yet; remove it"),
        );
    }
}

/// `number`, if it is from `low` to `high`; `what` begins the sentence if not.
fn number_within(what: &str, number: i64, low: i64, high: i64) -> Result<i64, String> {
    match (low..=high).contains(&number) {
        true => Ok(number),
        false => Err(format!(
            "{what} is {number}; write a number from {low} to {high}"
        )),
    }
}

/// Names of ports and pools appear in tables, labels and interface names.
fn require_name(what: &str, name: &str, most: usize) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match (1..=most).contains(&name.len()) && name.chars().all(is_plain) {
        true => Ok(()),
        false => Err(format!(
            "\"{name}\" is no name for {what}; write 1 to {most} letters, digits, _, - or ."
        )),
    }
}
