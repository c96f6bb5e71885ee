//! New connections: SYN in to SYN out, with service, scheduler, local port and both keys.
//!
//! Promises: every SYN measured opens a connection, and in the steady state as many end. Does not know: established
//! ones.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use weir_director::{BURST, Direction, Scheduler, bytes_needed};

use crate::bench::Bench;
use crate::established::Mix;
use crate::frames::{Family, Segment, Tape};
use crate::row::{Row, rounded};
use crate::source::{Mbufs, Source};
use crate::stage::{Method, Stage, arrives_by};
use crate::window::{self, Figures, PACKETS, Round};

/// IPVS's timeout in SYN_RECV, in nanoseconds.
const SYN_RECV_NS: u64 = 60_000_000_000;

/// Measures every case.
pub(crate) fn run(bench: &mut Bench, is_quick: bool) -> Result<()> {
    fill(bench, "new/rr-16/1M", Scheduler::Rr, 16)?;
    fill(bench, "new/wlc-100/1M", Scheduler::Wlc, 100)?;
    full(bench, "new/rr-16/1M-full")?;
    steady(bench, "new/rr-16/1M-steady", 1_000_000)?;
    if !is_quick {
        steady(bench, "new/rr-16/10M-steady", 10_000_000)?;
    }
    Ok(())
}

/// Memory of a connection, by its family.
pub(crate) fn memory(bench: &mut Bench) -> Result<()> {
    const CONNECTIONS: u32 = 1_000_000;
    for (family, protocol, n_bytes) in [
        (Family::V4, "ipv4", bytes_needed(CONNECTIONS, 0)),
        (Family::V6, "ipv6", bytes_needed(0, CONNECTIONS)),
    ] {
        let row = Row {
            case: format!("memory/{protocol}/1M"),
            method: Method::FullNat.name(),
            protocol: crate::established::protocol_name("any", family),
            direction: "both",
            flows: CONNECTIONS as usize,
            workers: 1,
            bytes_per_connection: rounded(n_bytes as f64 / f64::from(CONNECTIONS)),
            ..Row::default()
        };
        if bench.is_wanted(&row.case) {
            bench.report.add(&row)?;
        }
    }
    Ok(())
}

/// A table that is filled; its second half is measured.
fn fill(bench: &mut Bench, case: &str, scheduler: Scheduler, n_destinations: usize) -> Result<()> {
    const CONNECTIONS: usize = 1_000_000;
    if !bench.is_wanted(case) {
        return Ok(());
    }
    let (mut stage, tape) = syns(bench, scheduler, n_destinations, CONNECTIONS, CONNECTIONS)?;
    let half = CONNECTIONS / 2;
    stage.play(&tape, Direction::Inbound, half)?;
    stage.play_on();
    let n_rounds = (CONNECTIONS - half) / PACKETS;
    let rounds = measure(&mut stage, &tape, n_rounds, |stage| stage.turn());
    ensure!(
        stage.n_transmitted() as usize == half + n_rounds * PACKETS,
        "not every SYN was forwarded; {}",
        stage.refusals()
    );
    report(bench, case, CONNECTIONS, &rounds)
}

/// A table that is full of half-open connections: for each new one an old one goes.
fn full(bench: &mut Bench, case: &str) -> Result<()> {
    const CONNECTIONS: usize = 1_000_000;
    if !bench.is_wanted(case) {
        return Ok(());
    }
    let (mut stage, tape) = syns(bench, Scheduler::Rr, 16, CONNECTIONS, 2 * CONNECTIONS)?;
    stage.play(&tape, Direction::Inbound, CONNECTIONS)?;
    stage.play_on();
    let n_rounds = CONNECTIONS / PACKETS / 2;
    let rounds = measure(&mut stage, &tape, n_rounds, |stage| stage.turn());
    report(bench, case, CONNECTIONS, &rounds)
}

/// As many connections end as begin, nine tenths of the table in use.
fn steady(bench: &mut Bench, case: &str, connections: usize) -> Result<()> {
    if !bench.is_wanted(case) {
        return Ok(());
    }
    let (mut stage, tape) = syns(bench, Scheduler::Rr, 16, connections, connections)?;
    let n_living = connections / 10 * 9;
    let span_ns = SYN_RECV_NS * BURST as u64 / n_living as u64;
    stage.play(&tape, Direction::Inbound, BURST)?;
    stage.play_on();
    // Once round: by then those that came first have ended.
    for _ in 0..connections / BURST {
        stage.turn_after(span_ns);
    }
    let rounds = measure(&mut stage, &tape, bench.n_rounds, |stage| {
        stage.turn_after(span_ns);
    });
    let n_sent = (connections / BURST + 1) * BURST + rounds.len() * PACKETS;
    ensure!(
        stage.n_transmitted() as usize == n_sent,
        "not every SYN was forwarded; {}",
        stage.refusals()
    );
    report(bench, case, connections, &rounds)
}

/// A worker without connections, and a SYN for each of `n_syns`.
fn syns(
    bench: &Bench,
    scheduler: Scheduler,
    n_destinations: usize,
    connections: usize,
    n_syns: usize,
) -> Result<(Stage<Mbufs>, Arc<Tape>)> {
    let site = Method::FullNat.site(1, scheduler, n_destinations);
    let stage = Stage::alone(bench.stock.clone(), site, u32::try_from(connections)?)?;
    let clients = Mix::Tcp.clients(Family::V4, 0..u32::try_from(n_syns)?)?;
    let tape = Tape::new(Segment::Syn, Direction::Inbound, &clients).context("SYNs")?;
    Ok((stage, tape))
}

fn measure(
    stage: &mut Stage<Mbufs>,
    tape: &Arc<Tape>,
    n_rounds: usize,
    mut turn: impl FnMut(&mut Stage<Mbufs>),
) -> Vec<Round> {
    let port = arrives_by(Direction::Inbound);
    let mut bare = Source::endless(stage.stock.clone(), tape, port);
    window::rounds(n_rounds, &mut bare, || turn(stage))
}

fn report(bench: &mut Bench, case: &str, connections: usize, rounds: &[Round]) -> Result<()> {
    let figures = Figures::of(rounds, &bench.clock);
    let row = Row {
        case: case.to_owned(),
        method: Method::FullNat.name(),
        protocol: "tcp".to_owned(),
        direction: "inbound",
        flows: connections,
        new_connections_per_s: rounded(bench.clock.hz / figures.worker_p10),
        ..Row::default()
    };
    bench.report.add(&row.with(&figures, &bench.clock))
}
