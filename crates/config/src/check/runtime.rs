//! The section `runtime`.
//!
//! Promises: defaults are filled in; workers are CPUs on which the process may run.
//! Does not know: how much memory the workers and connections will take.

use std::path::PathBuf;

use super::{number_within, refuse_not_built};
use crate::config::{Idle, Memory, Runtime};
use crate::error::Report;
use crate::locate::Place;
use crate::spec::{IdleSpec, MemorySpec, RuntimeSpec};

/// As many threads as DPDK is built for.
const WORKERS_LIMIT: usize = 128;
const CONNECTIONS_LIMIT: u32 = 1 << 30;
/// The smallest that holds a port's buffers and any table.
const MIB_MINIMUM: u32 = 32;
/// 16 TiB.
const MIB_LIMIT: u32 = 1 << 24;
/// What a Unix socket's address holds beside its terminating zero (unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;

pub(super) fn resolve(
    report: &mut Report,
    spec: Option<&RuntimeSpec>,
    place: Place<'_>,
    allowed_cpus: &[usize],
) -> Runtime {
    let connections = connections(
        report,
        spec.and_then(|spec| spec.connections),
        place.field("connections"),
    );
    let resolved = Runtime {
        workers: workers(
            report,
            spec.and_then(|spec| spec.workers.as_deref()),
            place.field("workers"),
            allowed_cpus,
        ),
        memory: memory(
            report,
            spec.and_then(|spec| spec.memory.as_ref()),
            place.field("memory"),
        ),
        connections,
        ipv6_connections: ipv6_connections(
            report,
            spec.and_then(|spec| spec.ipv6_connections),
            place.field("ipv6_connections"),
            connections,
        ),
        idle: match spec.and_then(|spec| spec.idle.as_ref()) {
            Some(IdleSpec::Poll) => Idle::Poll,
            Some(IdleSpec::Backoff) | None => Idle::Backoff,
        },
        admin_socket: admin_socket(
            report,
            spec.and_then(|spec| spec.admin_socket.as_deref()),
            place.field("admin_socket"),
        ),
    };
    if let Some(spec) = spec {
        refuse_not_built(report, place, "metrics", &spec.metrics);
    }
    resolved
}

fn workers(
    report: &mut Report,
    written: Option<&[i64]>,
    place: Place<'_>,
    allowed_cpus: &[usize],
) -> Vec<usize> {
    if allowed_cpus.is_empty() {
        report.refuse(
            place.at(),
            "this process may run on no CPU at all; allow it one",
        );
    }
    let Some(written) = written else {
        return match allowed_cpus {
            [_, others @ ..] if !others.is_empty() => {
                others.iter().copied().take(WORKERS_LIMIT).collect()
            }
            _ => allowed_cpus.to_vec(),
        };
    };
    if written.is_empty() {
        report.refuse(
            place.at(),
            "`workers` names no CPU; name one at least, or leave it out",
        );
    }
    if written.len() > WORKERS_LIMIT {
        report.refuse(
            place.item(WORKERS_LIMIT).at(),
            format!("there are more than {WORKERS_LIMIT} workers; name fewer CPUs"),
        );
    }
    let mut workers = Vec::new();
    for (index, &cpu) in written.iter().enumerate() {
        let result = match usize::try_from(cpu)
            .ok()
            .filter(|cpu| allowed_cpus.contains(cpu))
        {
            None => Err(format!(
                "this process may not run on CPU {cpu}; choose from {}",
                cpu_list(allowed_cpus)
            )),
            Some(cpu) if workers.contains(&cpu) => Err(format!(
                "CPU {cpu} is named twice; each worker needs one of its own"
            )),
            Some(cpu) => Ok(cpu),
        };
        workers.extend(report.keep(place.item(index).at(), result));
    }
    workers
}

/// As taskset(1) writes it: `0-3,8`.
fn cpu_list(cpus: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &cpu in cpus {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            Some(_) | None => parts.push((cpu, cpu)),
        }
    }
    let written = parts.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    written.collect::<Vec<_>>().join(",")
}

fn memory(report: &mut Report, written: Option<&MemorySpec>, place: Place<'_>) -> Memory {
    let mut amount = |mib: &Option<i64>| {
        let Some(mib) = *mib else {
            report.refuse(
                place.at(),
                "the memory has no size; write one in MiB, as in Anonymous(mib: 256)",
            );
            return MIB_MINIMUM;
        };
        let result = number_within(
            "the memory in MiB",
            mib,
            MIB_MINIMUM.into(),
            MIB_LIMIT.into(),
        );
        report
            .keep(place.field("mib").at(), result)
            .map_or(MIB_MINIMUM, |mib| mib as u32)
    };
    match written {
        Some(MemorySpec::Hugepages { mib }) => Memory::Hugepages { mib: amount(mib) },
        Some(MemorySpec::Anonymous { mib }) => Memory::Anonymous { mib: amount(mib) },
        None => Memory::DEFAULT,
    }
}

fn connections(report: &mut Report, written: Option<i64>, place: Place<'_>) -> u32 {
    let resolved = written.and_then(|written| {
        let result = number_within(
            "the number of connections per worker",
            written,
            1,
            CONNECTIONS_LIMIT.into(),
        );
        report.keep(place.at(), result)
    });
    resolved.map_or(Runtime::DEFAULT_CONNECTIONS, |connections| {
        connections as u32
    })
}

/// Beside `connections`: each takes two of the table's lines.
fn ipv6_connections(
    report: &mut Report,
    written: Option<i64>,
    place: Place<'_>,
    connections: u32,
) -> u32 {
    let most = i64::from((CONNECTIONS_LIMIT - connections) / 2);
    let resolved = written.and_then(|written| {
        let result = match most {
            0 if written != 0 => Err(format!(
                "{connections} connections leave no room for IPv6 connections beside them, of which each takes that of two; write fewer `connections`, at most {}",
                CONNECTIONS_LIMIT - 2
            )),
            _ => number_within("the number of IPv6 connections per worker", written, 0, most),
        };
        report.keep(place.at(), result)
    });
    resolved.map_or(0, |ipv6_connections| ipv6_connections as u32)
}

fn admin_socket(report: &mut Report, written: Option<&str>, place: Place<'_>) -> PathBuf {
    let written = written.unwrap_or(Runtime::DEFAULT_ADMIN_SOCKET);
    if !written.starts_with('/') {
        report.refuse(
            place.at(),
            format!(
                "\"{written}\" is no absolute path; begin it with /, as in /run/weir/admin.sock"
            ),
        );
    } else if written.contains('\0') {
        report.refuse(
            place.at(),
            "the path of the admin socket holds a zero character; remove it",
        );
    } else if written.len() > SOCKET_PATH_LIMIT {
        report.refuse(
            place.at(),
            format!("the path of the admin socket has {} bytes; a socket's path may have {SOCKET_PATH_LIMIT}", written.len()),
        );
    }
    PathBuf::from(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locate::Node;

    #[test]
    fn workers_left_out_are_every_allowed_cpu_but_the_first() {
        let node = Node::scan("()");
        for (allowed, expected) in [(&[0, 1, 2][..], &[1, 2][..]), (&[3], &[3]), (&[4, 9], &[9])] {
            assert_eq!(
                workers(&mut Report::default(), None, node.place(), allowed),
                expected
            );
        }
    }

    #[test]
    fn cpu_lists_are_short() {
        assert_eq!(cpu_list(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(cpu_list(&[3]), "3");
    }
}
