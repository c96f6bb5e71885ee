//! What stands by itself: `timeouts`, `local_ports`, `toa_option`.
//!
//! Promises: defaults are filled in; every value is one that can work.
//! Does not know: who uses it.

use std::time::Duration;

use super::number_within;
use crate::config::{Config, LocalPorts, Timeouts};
use crate::duration;
use crate::error::Report;
use crate::locate::Place;
use crate::spec::TimeoutsSpec;

/// That of ipvsadm.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(31 * 24 * 3600);

/// Option kinds that TCP stacks act on (IANA, TCP Option Kind Numbers): end, NOP, MSS, window scale, SACK permitted,
/// SACK, timestamps, MD5, user timeout, authentication, multipath, fast open.
const KINDS_IN_USE: [i64; 12] = [0, 1, 2, 3, 4, 5, 8, 19, 28, 29, 30, 34];

pub(super) fn timeouts(
    report: &mut Report,
    spec: Option<&TimeoutsSpec>,
    place: Place<'_>,
) -> Timeouts {
    let default = Timeouts::default();
    let Some(spec) = spec else { return default };
    let mut timeout = |key, written: &Option<String>, default| {
        let result = written.as_deref().map_or(Ok(default), |text| {
            duration::parse(text).and_then(require_timeout)
        });
        report
            .keep(place.field(key).at(), result)
            .unwrap_or(default)
    };
    Timeouts {
        tcp_established: timeout(
            "tcp_established",
            &spec.tcp_established,
            default.tcp_established,
        ),
        tcp_fin: timeout("tcp_fin", &spec.tcp_fin, default.tcp_fin),
        udp: timeout("udp", &spec.udp, default.udp),
    }
}

fn require_timeout(timeout: Duration) -> Result<Duration, String> {
    match !timeout.is_zero() && timeout <= TIMEOUT_LIMIT {
        true => Ok(timeout),
        false => Err(format!(
            "the timeout is {}; write more than nothing and at most {}",
            duration::write(timeout),
            duration::write(TIMEOUT_LIMIT)
        )),
    }
}

pub(super) fn local_ports(
    report: &mut Report,
    written: Option<&str>,
    place: Place<'_>,
) -> LocalPorts {
    let resolved = written.and_then(|text| report.keep(place.at(), parse_local_ports(text)));
    resolved.unwrap_or(LocalPorts::DEFAULT)
}

fn parse_local_ports(text: &str) -> Result<LocalPorts, String> {
    let numbers = text
        .split_once('-')
        .map(|(first, last)| (first.trim().parse(), last.trim().parse()));
    match numbers {
        Some((Ok(first), Ok(last))) if 1 <= first && first <= last => {
            Ok(LocalPorts { first, last })
        }
        Some(_) | None => Err(format!(
            "`{text}` is no range of L4 ports; write the lowest and the highest, as in 1024-65535"
        )),
    }
}

pub(super) fn toa_option(report: &mut Report, written: Option<i64>, place: Place<'_>) -> u8 {
    let Some(written) = written else {
        return Config::DEFAULT_TOA_OPTION;
    };
    let result = number_within("the option kind of TOA", written, 0, u8::MAX.into()).and_then(|kind| {
        match KINDS_IN_USE.contains(&kind) {
            true => Err(format!("the TCP option kind {kind} has a meaning of its own; write 254, or another that is free")),
            false => Ok(kind as u8),
        }
    });
    report
        .keep(place.at(), result)
        .unwrap_or(Config::DEFAULT_TOA_OPTION)
}
