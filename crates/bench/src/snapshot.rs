//! A configuration of 10,000 services with 100 destinations each: read, compiled, published, adopted.
//!
//! Promises: text, configuration and snapshot are made by the code that makes the appliance's, and a worker with
//! packets to forward adopts what comes out. Does not know: the slow path, whose next hops are numbered here by a map.
//!
//! How it works: two such configurations with other weights take turns, so that everything is compiled anew. They are
//! read and compiled on another core a few times, and their snapshots published many times; a turn of the worker in
//! which it changed to another snapshot is the step of adoption, the turn's burst included.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_config::Config;
use weir_config::compile::{Compiled, NextHopNumbers, Numbers};
use weir_director::{
    Direction, Generation, Load, NextHopId, PortId, Scheduler, Snapshot, WorkerId,
};
use weir_memory::cycles;
use weir_worker::{Mailbox, Publisher};

use crate::bench::Bench;
use crate::established::{Mix, N_DESTINATIONS};
use crate::frames::{Family, Segment};
use crate::interrupts::Interrupts;
use crate::row::{Row, rounded};
use crate::source::Mbufs;
use crate::stage::{Method, Shared, Stage};
use crate::window::quantile;

const N_SERVICES: usize = 10_000;
/// Destinations of each.
const N_REALS: usize = 100;
/// Real servers there are in all, each a neighbour.
const N_NEIGHBOURS: usize = 20_000;
const N_FLOWS: u32 = 10_000;
/// How often the configuration is read and compiled.
const TIMES_COMPILED: usize = 4;
/// How often a snapshot is published.
const TIMES_PUBLISHED: u64 = 2_000;
const EVERY: Duration = Duration::from_millis(1);
/// A worker that has not adopted a snapshot by then never will.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures the case.
pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let row = Row {
        case: "snapshot/10k-services".to_owned(),
        method: Method::FullNat.name(),
        protocol: "tcp".to_owned(),
        direction: "inbound",
        flows: N_FLOWS as usize,
        workers: 1,
        ..Row::default()
    };
    if !bench.is_wanted(&row.case) {
        return Ok(());
    }
    let first = Method::FullNat
        .site(1, Scheduler::Rr, N_DESTINATIONS)
        .snapshot();
    let shared = Shared::new(Arc::clone(&first), 1);
    let mut stage = Stage::new(bench.stock.clone(), &shared, WorkerId(0), N_FLOWS)?;
    let flows = stage.open(Method::FullNat, Mix::Tcp.clients(Family::V4, 0..N_FLOWS)?)?;
    let tape = flows.tape(Segment::Data, Direction::Inbound)?;
    stage.play(&tape, Direction::Inbound, tape.len())?;
    stage.play_on();
    let mailbox = Arc::clone(&stage.mailbox);
    let control = Control {
        publisher: Publisher::new(vec![Arc::clone(&mailbox)], Arc::clone(&first)),
        first,
        generation: Generation(1),
    };
    let other_core = bench.cores.get(1).copied();
    let is_over = AtomicBool::new(false);
    let (adoptions, prepared) = std::thread::scope(|scope| {
        let control = scope.spawn(|| {
            if let Some(core) = other_core {
                core_affinity::set_for_current(core);
            }
            let prepared = control.work(&mailbox);
            is_over.store(true, Ordering::Relaxed);
            prepared
        });
        let interrupts = Interrupts::of(bench.cores[0].id);
        let adoptions = turn_until(&is_over, &mut stage, &mailbox, interrupts);
        (adoptions, control.join())
    });
    let prepared = prepared
        .ok()
        .context("the control thread panicked")?
        .context("the configuration")?;
    ensure!(
        adoptions.len() as u64 >= TIMES_PUBLISHED / 4,
        "the worker adopted {} of {TIMES_PUBLISHED} snapshots without an interrupt",
        adoptions.len()
    );
    let us = |permille| {
        let spans = adoptions.iter().map(|span| bench.clock.us(*span));
        rounded(quantile(permille, spans))
    };
    let row = Row {
        adoption_us_p50: us(500),
        adoption_us_p999: us(999),
        read_ms: rounded(prepared.read_ms),
        compile_ms: rounded(prepared.compile_ms),
        live_ms: rounded(prepared.live_ms),
        ..row
    };
    bench.report.add(&row)
}

/// The worker's part; how many cycles each turn took in which it adopted a snapshot, those left out before which, since
/// the last one, there was an interrupt: the kernel's timer alone would decide the 99.9th percentile.
fn turn_until(
    is_over: &AtomicBool,
    stage: &mut Stage<Mbufs>,
    mailbox: &Mailbox,
    mut interrupts: Interrupts,
) -> Vec<u64> {
    let mut n_interrupts = interrupts.count();
    let mut adoptions = Vec::with_capacity(2 * TIMES_PUBLISHED as usize);
    while !is_over.load(Ordering::Relaxed) {
        let (generation, before) = (mailbox.adopted(), cycles());
        stage.turn();
        let span = cycles() - before;
        if mailbox.adopted() != generation {
            let n_before = std::mem::replace(&mut n_interrupts, interrupts.count());
            if n_before == n_interrupts {
                adoptions.push(span);
            }
        }
    }
    adoptions
}

/// How long the control thread's work takes, in milliseconds; of several times the median.
struct Prepared {
    /// Text to configuration.
    read_ms: f64,
    /// Configuration to snapshot.
    compile_ms: f64,
    /// Configuration to the worker's running the snapshot.
    live_ms: f64,
}

/// The control thread.
struct Control {
    publisher: Publisher,
    /// What the worker began with: the way on the wire.
    first: Arc<Snapshot>,
    generation: Generation,
}

impl Control {
    fn work(mut self, mailbox: &Mailbox) -> Result<Prepared> {
        let texts = [text(1), text(2)];
        let mut numbers = Numbers::default();
        let mut hops = Hops::default();
        let mut spans = Vec::new();
        let mut snapshots = Vec::new();
        for place in 0..TIMES_COMPILED {
            let began = Instant::now();
            let config = Config::parse(&texts[place % 2], "bench.ron", &[0, 1])?;
            let read = began.elapsed();
            let began = Instant::now();
            let compiled = numbers.compile(&config, &mut hops, |_| Load::default())?;
            let compile = began.elapsed();
            let snapshot = self.snapshot(compiled);
            self.publisher.publish(Arc::clone(&snapshot));
            self.wait_for(mailbox)?;
            spans.push([read, compile, began.elapsed()]);
            snapshots.push(snapshot);
        }
        for place in 0..TIMES_PUBLISHED as usize {
            let snapshot = &snapshots[place % snapshots.len()];
            self.generation.0 += 1;
            self.publisher.publish(Arc::new(Snapshot {
                generation: self.generation,
                ..Snapshot::clone(snapshot)
            }));
            std::thread::sleep(EVERY);
        }
        self.wait_for(mailbox)?;
        // The first time everything is new.
        let median = |of: usize| {
            let spans = spans[1..].iter().map(|span| span[of].as_secs_f64() * 1e3);
            quantile(500, spans)
        };
        Ok(Prepared {
            read_ms: median(0),
            compile_ms: median(1),
            live_ms: median(2),
        })
    }

    /// With the next number.
    fn snapshot(&mut self, compiled: Compiled) -> Arc<Snapshot> {
        self.generation.0 += 1;
        Arc::new(Snapshot {
            tunnels: compiled.tunnels,
            path_mtus: Arc::clone(&self.first.path_mtus),
            generation: self.generation,
            services: compiled.services,
            routes: compiled.routes,
            addresses: compiled.addresses,
            counted: compiled.counted,
            settings: compiled.settings,
            next_hops: Arc::clone(&self.first.next_hops),
            steering: Arc::clone(&self.first.steering),
        })
    }

    fn wait_for(&self, mailbox: &Mailbox) -> Result<()> {
        let began = Instant::now();
        while mailbox.adopted() != self.generation {
            ensure!(began.elapsed() < PATIENCE, "the worker adopts nothing");
            std::hint::spin_loop();
        }
        Ok(())
    }
}

/// Gives out numbers as the slow path does.
#[derive(Default)]
struct Hops(HashMap<(PortId, IpAddr), NextHopId>);

impl NextHopNumbers for Hops {
    fn number(&mut self, port: PortId, address: IpAddr) -> Option<NextHopId> {
        let next = u16::try_from(self.0.len()).ok()?;
        Some(*self.0.entry((port, address)).or_insert(NextHopId(next)))
    }
}

/// The configuration, with one weight for all.
fn text(weight: u16) -> String {
    let mut text = String::from(
        r#"#![enable(implicit_some)]
(
    runtime: (workers: [1], memory: Anonymous(mib: 256)),
    ports: {
        "wan": (device: AfPacket("eth1"), addresses: ["192.0.2.10/24"]),
        "lan": (device: AfPacket("eth2"), addresses: ["10.0.0.1/16"]),
    },
    routes: [(to: "0.0.0.0/0", via: "192.0.2.1")],
    local_pools: {"default": ["10.0.255.1-10.0.255.64"]},
    services: [
"#,
    );
    for service in 0..N_SERVICES {
        let [high, low] = (service as u16).to_be_bytes();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "        (\n            vip: \"10.64.{high}.{low}:80\",\n            protocol: Tcp,\n            \
             scheduler: Wlc,\n            method: FullNat(local_pool: \"default\", client_address: Toa),\n            \
             destinations: ["
        );
        for real in 0..N_REALS {
            let [high, low] =
                (((service * N_REALS + real) % N_NEIGHBOURS + 0x100) as u16).to_be_bytes();
            let _ = writeln!(
                text,
                "                (address: \"10.0.{high}.{low}:8080\", weight: {weight}),"
            );
        }
        text.push_str("            ],\n        ),\n");
    }
    text.push_str("    ],\n)\n");
    text
}
