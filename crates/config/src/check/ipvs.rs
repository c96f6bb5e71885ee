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
    // As in the kernel's Documentation/networking/ipvs-sysctl.rst (6.1).
    for (key, default, written) in [
        ("am_droprate", 10, spec.am_droprate),
        ("amemthresh", 1024, spec.amemthresh),
        ("backup_only", 0, spec.backup_only),
        ("cache_bypass", 0, spec.cache_bypass),
        ("conntrack", 0, spec.conntrack),
        ("drop_entry", 0, spec.drop_entry),
        ("drop_packet", 0, spec.drop_packet),
        ("ignore_tunneled", 0, spec.ignore_tunneled),
        ("nat_icmp_send", 0, spec.nat_icmp_send),
        ("pmtu_disc", 1, spec.pmtu_disc),
        ("run_estimation", 1, spec.run_estimation),
        ("schedule_icmp", 0, spec.schedule_icmp),
        ("secure_tcp", 0, spec.secure_tcp),
        ("snat_reroute", 1, spec.snat_reroute),
        ("sync_persist_mode", 0, spec.sync_persist_mode),
        ("sync_ports", 1, spec.sync_ports),
        ("sync_refresh_period", 0, spec.sync_refresh_period),
        ("sync_retries", 0, spec.sync_retries),
        ("sync_sock_size", 0, spec.sync_sock_size),
        ("sync_version", 1, spec.sync_version),
    ] {
        if let Some(written) = written.filter(|written| *written != default) {
            let what = format!(
                "`{key}` is {written}, which is not built; write {default}, IPVS's default, or remove it"
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
        ends_with_destination: number("expire_nodest_conn", spec.expire_nodest, 0, 1) == 1,
        expire_quiescent_template: number(
            "expire_quiescent_template",
            spec.expire_quiescent_template,
            0,
            1,
        ) == 1,
    }
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
