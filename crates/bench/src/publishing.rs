//! A snapshot published every 10 ms, from another core, while packets of established connections pass.
//!
//! Promises: the worker ran every one of the last snapshots, so the measurement was of what it says.
//! Does not know: what changes between two snapshots; here it is the number alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use weir_director::{Direction, Generation, Scheduler, Snapshot, WorkerId};
use weir_worker::Publisher;

use crate::bench::Bench;
use crate::established::{Mix, N_DESTINATIONS, measure};
use crate::frames::{Family, Segment};
use crate::row::Row;
use crate::stage::{Method, Shared, Stage};

const EVERY: Duration = Duration::from_millis(10);
const N_FLOWS: u32 = 100_000;

/// Measures the case.
pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let row = Row {
        case: "fullnat/tcp/inbound/100k-publishing".to_owned(),
        method: Method::FullNat.name(),
        protocol: "tcp".to_owned(),
        direction: "inbound",
        flows: N_FLOWS as usize,
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
    let mut publisher = Publisher::new(vec![Arc::clone(&stage.mailbox)], Arc::clone(&first));
    let other_core = bench.cores.get(1).copied();
    let stop = AtomicBool::new(false);
    let (figures, bursts) = std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Some(core) = other_core {
                core_affinity::set_for_current(core);
            }
            publish_until(&stop, &mut publisher, &first);
        });
        let figures = measure(bench, &mut stage, &flows, Segment::Data, Direction::Inbound);
        stop.store(true, Ordering::Relaxed);
        figures
    })?;
    stage.turn();
    let n_published = publisher.current().map_or(0, |last| last.generation.0) - first.generation.0;
    ensure!(
        n_published > 0 && publisher.is_adopted(),
        "the worker did not adopt the last of {n_published} snapshots"
    );
    let row = row.with(&figures, &bench.clock);
    bench.report.add(&row.with_bursts(bursts, &bench.clock))
}

/// Publishes the same picture again and again.
fn publish_until(stop: &AtomicBool, publisher: &mut Publisher, first: &Arc<Snapshot>) {
    let mut generation = first.generation;
    while !stop.load(Ordering::Relaxed) {
        generation = Generation(generation.0 + 1);
        publisher.publish(Arc::new(Snapshot {
            generation,
            ..Snapshot::clone(first)
        }));
        std::thread::sleep(EVERY);
    }
}
