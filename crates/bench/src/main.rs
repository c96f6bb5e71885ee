//! How fast a worker is: its own turn on its own tables, beside the bare source and beside 5tswap.
//!
//! Promises: one process, one pinned core (two, where two workers are the case); a table for people and JSON lines for
//! programs. `perf/README.md` says how to read them.
//! Does not know: where results are kept (`cargo xtask bench`).

mod bench;
mod established;
mod frames;
mod instructions;
mod interrupts;
mod openings;
mod pair;
mod publishing;
mod row;
mod snapshot;
mod source;
mod stage;
mod swap;
mod window;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use bench::Bench;
use row::Report;

#[derive(Parser)]
#[command(about = "Measures a worker; `cargo xtask bench` builds and runs this")]
struct Arguments {
    /// Under two minutes: no 10 M flows, fewer rounds
    #[arg(long)]
    quick: bool,
    /// Writes JSON lines there
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only cases whose name contains this
    #[arg(long)]
    case: Option<String>,
    /// Rounds of each case, for a profiler to have enough to look at
    #[arg(long)]
    rounds: Option<usize>,
    /// Runs each case for callgrind, without DPDK and without a clock
    #[arg(long)]
    instructions: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.instructions {
        return instructions::run();
    }
    let report = Report::new(arguments.json.as_deref())?;
    let usual = if arguments.quick { 300 } else { 1_000 };
    let n_rounds = arguments.rounds.unwrap_or(usual);
    let mut bench = Bench::new(report, n_rounds, arguments.case)?;
    println!(
        "Cycles a packet of the time-stamp counter, {:.2} GHz; CPU {}; {n_rounds} rounds.",
        bench.clock.hz / 1e9,
        bench.cores[0].id
    );
    established::run(&mut bench, arguments.quick)?;
    openings::run(&mut bench, arguments.quick)?;
    publishing::run(&mut bench)?;
    snapshot::run(&mut bench)?;
    pair::run(&mut bench)?;
    openings::memory(&mut bench)
}
