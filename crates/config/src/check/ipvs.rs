//! The key `ipvs`: settings of IPVS by its names, and beside it `removed_destination`.
//!
//! Promises: a setting that weir does not have may be given with IPVS's default, which is what weir does, and is refused
//! by name with any other value.
//! Does not know: what a setting does.

use weir_director::{IpvsSettings, RemovedDestination, Reuse};

use super::services::{refusal, without_options};
use super::{Report, number_within};
use crate::locate::Place;
use crate::spec::{IpvsSpec, Variant};

pub(super) fn resolve(
    report: &mut Report,
    spec: Option<&IpvsSpec>,
    place: Place<'_>,
) -> IpvsSettings {
    let Some(spec) = spec else {
        return IpvsSettings::default();
    };
    for (key, default, written, reason) in settings_without_choice(spec) {
        if let Some(written) = written.filter(|written| *written != default) {
            let what = format!(
                "`{key}` is {written}, and {reason}; write {default}, IPVS's default, or remove it"
            );
            report.refuse(place.field(key).at(), what);
        }
    }
    let mut number = |key, written: Option<i64>, default, most| {
        let what = format!("`{key}`");
        let result = number_within(&what, written.unwrap_or(default), 0, most);
        report
            .keep(place.field(key).at(), result)
            .unwrap_or(default)
    };
    IpvsSettings {
        sloppy_tcp: number("sloppy_tcp", spec.sloppy_tcp, 0, 1) == 1,
        sloppy_sctp: number("sloppy_sctp", spec.sloppy_sctp, 0, 1) == 1,
        // A mask of two bits, of which the second has the first one's meaning too.
        reuse: match number("conn_reuse_mode", spec.reuse_mode, 1, 3) {
            0 => Reuse::Never,
            1 => Reuse::Over,
            _ => Reuse::OverOrFinWait,
        },
        schedule_icmp: number("schedule_icmp", spec.schedule_icmp, 0, 1) == 1,
        ends_with_destination: number("expire_nodest_conn", spec.expire_nodest, 0, 1) == 1,
        expire_quiescent_template: number(
            "expire_quiescent_template",
            spec.expire_quiescent_template,
            0,
            1,
        ) == 1,
        fragments_tunnelled: number("pmtu_disc", spec.pmtu_disc, 1, 1) == 0,
    }
}

/// Settings that have IPVS's default only: what is written, and why nothing else may be. Defaults as in the kernel's
/// Documentation/networking/ipvs-sysctl.rst (6.1).
fn settings_without_choice(spec: &IpvsSpec) -> [(&str, i64, Option<i64>, &str); 18] {
    const NO_MEMORY_SHORTAGE: &str = "weir's memory is set aside at the start, so none runs short while it runs; a full table makes room by rules of its own";
    const NO_SYNCHRONISATION: &str = "weir does not synchronise connections with another director";
    [
        ("am_droprate", 10, spec.am_droprate, NO_MEMORY_SHORTAGE),
        ("amemthresh", 1024, spec.amemthresh, NO_MEMORY_SHORTAGE),
        ("backup_only", 0, spec.backup_only, NO_SYNCHRONISATION),
        (
            "cache_bypass",
            0,
            spec.cache_bypass,
            "a packet for whose service no destination is left is refused, for weir stands before no transparent caches",
        ),
        (
            "conntrack",
            0,
            spec.conntrack,
            "weir has no netfilter beside it that could track its connections",
        ),
        ("drop_entry", 0, spec.drop_entry, NO_MEMORY_SHORTAGE),
        ("drop_packet", 0, spec.drop_packet, NO_MEMORY_SHORTAGE),
        (
            "ignore_tunneled",
            0,
            spec.ignore_tunneled,
            "weir forwards no packet of a protocol that it does not know, so that none goes in circles",
        ),
        (
            "nat_icmp_send",
            0,
            spec.nat_icmp_send,
            "what a real server sends without a connection is routed, not answered: weir is its gateway",
        ),
        (
            "run_estimation",
            1,
            spec.run_estimation,
            "rates are reckoned aside from the packets, which gain nothing without them",
        ),
        (
            "secure_tcp",
            0,
            spec.secure_tcp,
            "timeouts do not change under attack: half-open connections are the first to make room in a full table",
        ),
        (
            "snat_reroute",
            1,
            spec.snat_reroute,
            "weir's routes go by destination alone, so that a reply goes its way whoever it seems to come from",
        ),
        (
            "sync_persist_mode",
            0,
            spec.sync_persist_mode,
            NO_SYNCHRONISATION,
        ),
        ("sync_ports", 1, spec.sync_ports, NO_SYNCHRONISATION),
        (
            "sync_refresh_period",
            0,
            spec.sync_refresh_period,
            NO_SYNCHRONISATION,
        ),
        ("sync_retries", 0, spec.sync_retries, NO_SYNCHRONISATION),
        ("sync_sock_size", 0, spec.sync_sock_size, NO_SYNCHRONISATION),
        ("sync_version", 1, spec.sync_version, NO_SYNCHRONISATION),
    ]
}

pub(super) fn removed_destination(
    report: &mut Report,
    written: Option<&Variant>,
    place: Place<'_>,
) -> RemovedDestination {
    let Some(written) = written else {
        return RemovedDestination::default();
    };
    let result = match written.name() {
        "Finish" => without_options(written, RemovedDestination::Finish),
        "Ipvs" => without_options(written, RemovedDestination::Ipvs),
        _ => Err(refusal(written, &["Finish", "Ipvs"], &[])),
    };
    report.keep(place.at(), result).unwrap_or_default()
}
