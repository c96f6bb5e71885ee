//! Packets of established connections: protocols, options, directions, numbers of flows.
//!
//! Promises: each case's frames were forwarded once before they are measured. Does not know: how to open a connection.

use anyhow::{Context, Result};
use weir_director::{Direction, Protocol, Scheduler};
use weir_wire::FlowKey;
use weir_worker::{BurstSummary, BurstTimes};

use crate::bench::Bench;
use crate::frames::{Family, Segment};
use crate::interrupts::Interrupts;
use crate::row::Row;
use crate::source::{Mbufs, Source, Stock};
use crate::stage::{Flows, Method, Stage, arrives_by};
use crate::window::{self, Figures};

/// Destinations of every service.
pub(crate) const N_DESTINATIONS: usize = 16;
/// Frames forwarded before measuring, at most.
const WARM_UP: usize = 1 << 17;
/// A case is measured again, this often at most, when few of its rounds were at the fast speed.
const TRIES: usize = 4;

/// The protocols of the flows in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    Udp,
    Tcp,
    /// Every other flow.
    Both,
}

impl Mix {
    /// The protocol of a flow.
    fn protocol(self, number: u32) -> Protocol {
        match self {
            Self::Udp => Protocol::Udp,
            Self::Tcp => Protocol::Tcp,
            Self::Both if number.is_multiple_of(2) => Protocol::Udp,
            Self::Both => Protocol::Tcp,
        }
    }

    /// Keys of clients, by the number of the flow.
    pub(crate) fn clients(
        self,
        family: Family,
        numbers: impl Iterator<Item = u32>,
    ) -> Result<Vec<FlowKey>> {
        numbers
            .map(|number| family.flow(number, self.protocol(number)))
            .collect()
    }

    /// What is measured with such flows under a method, by its name.
    pub(crate) fn variants(self, method: Method) -> Vec<(&'static str, Segment, Direction)> {
        use Direction::{Inbound, Outbound};
        let all: &[_] = match self {
            Self::Udp => &[
                ("udp", Segment::Data, Inbound),
                ("udp", Segment::Data, Outbound),
            ],
            Self::Tcp => &[
                ("tcp", Segment::Data, Inbound),
                ("tcp", Segment::Data, Outbound),
                ("tcp-timestamps", Segment::Timestamps, Inbound),
                ("tcp-timestamps", Segment::Timestamps, Outbound),
                ("tcp-toa", Segment::First, Inbound),
            ],
            Self::Both => &[
                ("tcp-udp-mixed", Segment::Data, Inbound),
                ("tcp-udp-mixed", Segment::Data, Outbound),
            ],
        };
        let is_there = |(_, segment, direction): &&(&str, Segment, Direction)| {
            (method.has_replies() || *direction == Inbound)
                && (method == Method::FullNat || *segment != Segment::First)
        };
        all.iter().filter(is_there).copied().collect()
    }
}

/// The name of a protocol in a family.
pub(crate) fn protocol_name(name: &str, family: Family) -> String {
    match family {
        Family::V4 => name.to_owned(),
        Family::V6 => format!("{name}-ipv6"),
    }
}

/// The name of a direction.
pub(crate) fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
}

/// What a table of connections is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    pub(crate) method: Method,
    pub(crate) family: Family,
    pub(crate) mix: Mix,
}

/// Measures every case of every method; with 10 M flows only where `is_quick` is not.
pub(crate) fn run(bench: &mut Bench, is_quick: bool) -> Result<()> {
    for method in Method::ALL {
        run_method(bench, method, is_quick)?;
    }
    Ok(())
}

fn run_method(bench: &mut Bench, method: Method, is_quick: bool) -> Result<()> {
    let sizes: &[u32] = match (is_quick, method) {
        (false, _) => &[1, 10_000, 100_000, 1_000_000, 10_000_000],
        (true, Method::FullNat) => &[1, 10_000, 100_000, 1_000_000],
        (true, Method::Nat | Method::Dr | Method::Tun) => &[10_000, 1_000_000],
    };
    for n_flows in sizes {
        for (family, mix) in [
            (Family::V4, Mix::Udp),
            (Family::V4, Mix::Tcp),
            (Family::V4, Mix::Both),
            (Family::V6, Mix::Udp),
            (Family::V6, Mix::Tcp),
        ] {
            let is_wanted = match (family, mix) {
                (Family::V4, Mix::Both) => *n_flows > 1,
                (Family::V4, Mix::Udp | Mix::Tcp) => true,
                (Family::V6, _) => [10_000, 1_000_000].contains(n_flows),
            };
            if is_wanted {
                let traffic = Traffic {
                    method,
                    family,
                    mix,
                };
                run_with(bench, traffic, *n_flows)?;
            }
        }
    }
    Ok(())
}

/// All that is measured with one table of connections.
fn run_with(bench: &mut Bench, traffic: Traffic, n_flows: u32) -> Result<()> {
    let variants = traffic.mix.variants(traffic.method);
    let rows: Vec<_> = variants
        .iter()
        .map(|variant| (row(traffic, *variant, n_flows), variant))
        .filter(|(row, _)| bench.is_wanted(&row.case))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let (mut stage, flows) = open(bench.stock.clone(), traffic, n_flows)?;
    for (row, (_, segment, direction)) in rows {
        let (figures, bursts) = measure(bench, &mut stage, &flows, *segment, *direction)
            .with_context(|| row.case.clone())?;
        let row = row.with(&figures, &bench.clock);
        bench.report.add(&row.with_bursts(bursts, &bench.clock))?;
    }
    Ok(())
}

fn row(traffic: Traffic, (name, _, way): (&str, Segment, Direction), n_flows: u32) -> Row {
    let (protocol, direction) = (protocol_name(name, traffic.family), direction_name(way));
    let method = traffic.method.name();
    Row {
        case: format!("{method}/{protocol}/{direction}/{}", size_name(n_flows)),
        method,
        protocol,
        direction,
        flows: n_flows as usize,
        ..Row::default()
    }
}

fn size_name(n_flows: u32) -> String {
    match n_flows {
        1_000_000.. => format!("{}M", n_flows / 1_000_000),
        1_000.. => format!("{}k", n_flows / 1_000),
        _ => n_flows.to_string(),
    }
}

/// A worker with that many connections.
pub(crate) fn open<S: Stock>(
    stock: S,
    Traffic {
        method,
        family,
        mix,
    }: Traffic,
    n_flows: u32,
) -> Result<(Stage<S>, Flows)> {
    let n_lines = match family {
        Family::V4 => n_flows,
        Family::V6 => 2 * n_flows,
    };
    let mut stage = Stage::alone(
        stock,
        method.site(1, Scheduler::Rr, N_DESTINATIONS),
        n_lines,
    )?;
    let flows = stage.open(method, mix.clients(family, 0..n_flows)?)?;
    Ok((stage, flows))
}

/// Measures one case.
pub(crate) fn measure(
    bench: &Bench,
    stage: &mut Stage<Mbufs>,
    flows: &Flows,
    segment: Segment,
    direction: Direction,
) -> Result<(Figures, BurstSummary)> {
    let tape = flows.tape(segment, direction)?;
    stage.play(&tape, direction, tape.len().clamp(1_024, WARM_UP))?;
    stage.play_on();
    let mut bare = Source::endless(stage.stock.clone(), &tape, arrives_by(direction));
    let mut rounds = Vec::new();
    for _ in 0..TRIES {
        rounds.extend(window::rounds(bench.n_rounds, &mut bare, || stage.turn()));
        if Figures::of(&rounds, &bench.clock).n_kept >= bench.n_rounds / 4 {
            break;
        }
    }
    let bursts = time_bursts(bench, stage);
    Ok((Figures::of(&rounds, &bench.clock), bursts))
}

/// How long bursts take, by the worker's own histogram. Windows at the host's slow speed and those into which an
/// interrupt fell are left out: the kernel's timer alone would decide the 99.9th percentile.
fn time_bursts(bench: &Bench, stage: &mut Stage<Mbufs>) -> BurstSummary {
    let mut interrupts = Interrupts::of(bench.cores[0].id);
    let mut bursts = BurstTimes::default();
    for _ in 0..bench.n_rounds {
        let n_before = interrupts.count();
        // The first turns find the caches as the kernel left them.
        window::turns(|| stage.turn());
        stage.burst_times().forget();
        let was_fast = bench.clock.at_fast_speed(|| window::turns(|| stage.turn()));
        if was_fast && interrupts.count() == n_before {
            bursts.absorb(stage.burst_times());
        }
    }
    bursts.summary()
}
