//! Two workers at once, on two cores, against each of them alone.
//!
//! Promises: the workers share what the appliance's workers share; their rounds begin at the same moment.
//! Does not know: what they would share beyond that on a real NIC.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use core_affinity::CoreId;
use weir_director::{AddressUse, Direction, Protocol, Scheduler, WorkerId};
use weir_dpdk::{Eal, Mbuf};

use crate::bench::Bench;
use crate::established::N_DESTINATIONS;
use crate::frames::{Family, Segment};
use crate::row::{Row, rounded};
use crate::source::{Mbufs, Source};
use crate::stage::{Method, Shared, Stage, arrives_by};
use crate::window::{self, Clock, Figures, Round};

/// Of each worker.
const N_FLOWS: usize = 100_000;

/// Measures one worker of the two alone, and both at once.
pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let [alone, together] = ["one-of-two-workers", "two-workers"].map(|case| Row {
        case: format!("fullnat/tcp/inbound/100k-{case}"),
        method: Method::FullNat.name(),
        protocol: "tcp".to_owned(),
        direction: "inbound",
        flows: N_FLOWS,
        ..Row::default()
    });
    if !bench.is_wanted(&alone.case) && !bench.is_wanted(&together.case) {
        return Ok(());
    }
    let [first, second, ..] = bench.cores[..] else {
        println!("{}: left out, for there is one core only", together.case);
        return Ok(());
    };
    let [one, two] = on_two_cores(bench, [first, second])?;
    let figures = |rounds: &[Round]| Figures::of(rounds, &bench.clock);
    let (one_alone, two_alone) = (figures(&one.alone), figures(&two.alone));
    let (one_beside, two_beside) = (figures(&one.together), figures(&two.together));
    let rows = [
        of_two(alone, 1, &one_alone, &two_alone, &bench.clock),
        of_two(together, 2, &one_beside, &two_beside, &bench.clock),
    ];
    for row in &rows {
        bench.report.add(row)?;
    }
    Ok(())
}

/// Cycles are the mean of both workers, and so are packets per second where each ran alone; both at once, they add up.
fn of_two(row: Row, workers: usize, one: &Figures, two: &Figures, clock: &Clock) -> Row {
    let mean = |of: fn(&Figures) -> f64| (of(one) + of(two)) / 2.0;
    let packets_a_second = clock.hz / one.worker_p10 + clock.hz / two.worker_p10;
    let both = Figures {
        source_p10: mean(|figures| figures.source_p10),
        worker_p10: mean(|figures| figures.worker_p10),
        worker_median: mean(|figures| figures.worker_median),
        net_p10: mean(|figures| figures.net_p10),
        net_median: mean(|figures| figures.net_median),
        ratio: mean(|figures| figures.ratio),
        paired_ratio: mean(|figures| figures.paired_ratio),
        n_kept: one.n_kept.min(two.n_kept),
        n_rounds: one.n_rounds,
    };
    Row {
        workers,
        mpps: rounded(packets_a_second / 2.0 * workers as f64 / 1e6),
        ..row.with(&both, clock)
    }
}

/// One worker's rounds.
struct Outcome {
    alone: Vec<Round>,
    together: Vec<Round>,
}

fn on_two_cores(bench: &Bench, cores: [CoreId; 2]) -> Result<[Outcome; 2]> {
    let mut site = Method::FullNat.site(2, Scheduler::Rr, N_DESTINATIONS);
    let shared = Shared::new(site.snapshot(), 2);
    let meeting = Meeting::default();
    std::thread::scope(|scope| {
        let threads = [0, 1].map(|place| {
            let crew = Crew {
                me: WorkerId(place),
                core: cores[usize::from(place)],
                eal: bench.eal.clone(),
                stock: bench.stock.clone(),
                n_rounds: bench.n_rounds,
            };
            let (shared, meeting) = (&shared, &meeting);
            scope.spawn(move || {
                let outcome = crew.work(shared, meeting);
                meeting.leave();
                outcome
            })
        });
        let [one, two] = threads.map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| anyhow::bail!("a worker panicked"))
        });
        Ok([one?, two?])
    })
}

/// What a worker's thread is made of.
struct Crew {
    me: WorkerId,
    core: CoreId,
    eal: Eal,
    stock: Mbufs,
    n_rounds: usize,
}

impl Crew {
    fn work(self, shared: &Shared<Mbuf>, meeting: &Meeting) -> Result<Outcome> {
        ensure!(
            core_affinity::set_for_current(self.core),
            "the system does not let a worker run on CPU {}",
            self.core.id
        );
        let _thread = self.eal.register_thread()?;
        let mut stage = Stage::new(self.stock.clone(), shared, self.me, N_FLOWS as u32)?;
        let steering = &shared.snapshot.steering;
        let clients = (0..)
            .map(|number| Family::V4.flow(number, Protocol::Tcp))
            .filter(|flow| {
                flow.as_ref().map_or(true, |flow| {
                    steering.owner(flow, AddressUse::Virtual) == self.me
                })
            })
            .take(N_FLOWS)
            .collect::<Result<Vec<_>>>()?;
        let flows = stage.open(Method::FullNat, clients)?;
        let tape = flows.tape(Segment::Data, Direction::Inbound)?;
        stage.play(&tape, Direction::Inbound, N_FLOWS)?;
        stage.play_on();
        let port = arrives_by(Direction::Inbound);
        let mut bare = Source::endless(self.stock, &tape, port);
        let mut outcome = Outcome {
            alone: Vec::new(),
            together: Vec::new(),
        };
        for _ in 0..self.n_rounds {
            for turn in [WorkerId(0), WorkerId(1)] {
                meeting.wait();
                if turn == self.me {
                    let rounds = window::rounds(1, &mut bare, || stage.turn());
                    outcome.alone.extend(rounds);
                }
            }
            meeting.wait();
            let rounds = window::rounds(1, &mut bare, || stage.turn());
            outcome.together.extend(rounds);
        }
        Ok(outcome)
    }
}

/// Where two threads wait for each other, spinning, so that they go on within a microsecond.
#[derive(Default)]
struct Meeting {
    n_arrivals: AtomicUsize,
    has_one_left: AtomicBool,
}

impl Meeting {
    fn wait(&self) {
        let n_arrivals = self.n_arrivals.fetch_add(1, Ordering::AcqRel) + 1;
        let both = n_arrivals.next_multiple_of(2);
        while self.n_arrivals.load(Ordering::Acquire) < both
            && !self.has_one_left.load(Ordering::Acquire)
        {
            spin_loop();
        }
    }

    /// Nobody waits for this thread any more.
    fn leave(&self) {
        self.has_one_left.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_goes_on_alone_and_nobody_waits_for_the_gone() {
        let meeting = Meeting::default();
        let n_begun = AtomicUsize::new(0);
        let go = |n_rounds: usize| {
            for round in 1..=n_rounds {
                n_begun.fetch_add(1, Ordering::SeqCst);
                meeting.wait();
                let n_met = round + round.min(90);
                assert!(n_begun.load(Ordering::SeqCst) >= n_met, "round {round}");
            }
            meeting.leave();
        };
        std::thread::scope(|scope| {
            scope.spawn(|| go(100));
            scope.spawn(|| go(90));
        });
    }
}
