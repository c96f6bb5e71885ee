//! Instructions a packet, counted by callgrind: the same run after run, on any host of one kind.
//!
//! Promises: no DPDK, no clock, no randomness; each window is one call of [`measured_window`], which callgrind is told
//! to count and to write down one by one, so that nothing else counts. The order of the windows is printed.
//! Does not know: callgrind; `cargo xtask bench --instructions` runs it and reads what it wrote.

use anyhow::Result;
use weir_director::{Direction, HashOptions, Scheduler};

use crate::established::{self, Mix, N_DESTINATIONS, Traffic, direction_name, protocol_name};
use crate::frames::{Family, Segment, Tape};
use crate::source::{Heap, Source};
use crate::stage::{Method, Stage, arrives_by};
use crate::window::source_turn;

/// Bursts in a window.
const BURSTS: usize = 128;
const PACKETS: usize = BURSTS * weir_director::BURST;
const N_FLOWS: u32 = 1_000;

/// What callgrind counts. By its name: keep it and `cargo xtask bench` together.
#[inline(never)]
fn measured_window(turn: &mut dyn FnMut()) {
    for _ in 0..BURSTS {
        turn();
    }
}

/// Runs all windows; for each prints its name, `source` for the source before it, and its packets.
pub(crate) fn run() -> Result<()> {
    for method in Method::ALL {
        for (family, mix) in [
            (Family::V4, Mix::Udp),
            (Family::V4, Mix::Tcp),
            (Family::V4, Mix::Both),
            (Family::V6, Mix::Udp),
            (Family::V6, Mix::Tcp),
        ] {
            run_with(Traffic {
                method,
                family,
                mix,
            })?;
        }
    }
    let plain = HashOptions::default();
    for (scheduler, n_destinations) in [
        (Scheduler::Rr, N_DESTINATIONS),
        (Scheduler::Wrr, 100),
        (Scheduler::Wlc, 100),
        (Scheduler::Mh(plain), 100),
    ] {
        let mut stage = Stage::alone(
            Heap::new(),
            Method::FullNat.site(1, scheduler, n_destinations),
            16_384,
        )?;
        let clients = Mix::Tcp.clients(Family::V4, 0..PACKETS as u32 + 32)?;
        let tape = Tape::new(Segment::Syn, Direction::Inbound, &clients)?;
        stage.play(&tape, Direction::Inbound, 32)?;
        stage.play_on();
        let case = format!("new/{scheduler}-{n_destinations}");
        window(&case, &mut stage, &tape, Direction::Inbound);
    }
    Ok(())
}

/// All that is counted with one table of connections.
fn run_with(traffic: Traffic) -> Result<()> {
    let (mut stage, flows) = established::open(Heap::new(), traffic, N_FLOWS)?;
    for (name, segment, direction) in traffic.mix.variants(traffic.method) {
        let protocol = protocol_name(name, traffic.family);
        let (method, way) = (traffic.method.name(), direction_name(direction));
        let tape = flows.tape(segment, direction)?;
        stage.play(&tape, direction, tape.len())?;
        stage.play_on();
        let case = format!("{method}/{protocol}/{way}");
        window(&case, &mut stage, &tape, direction);
    }
    Ok(())
}

fn window(case: &str, stage: &mut Stage<Heap>, tape: &std::sync::Arc<Tape>, direction: Direction) {
    let mut bare = Source::endless(stage.stock.clone(), tape, arrives_by(direction));
    measured_window(&mut || source_turn(&mut bare));
    println!("source {PACKETS}");
    measured_window(&mut || stage.turn());
    println!("{case} {PACKETS}");
}
