//! The project's own commands, the same for a person and for CI: `cargo xtask demo|test|lab|bench|tidy`.
//!
//! Promises: builds and starts on a machine that has Rust and nothing else, because it is what installs the rest.
//! Does not know: DPDK, or any crate that needs it.

mod bench;
mod build;
mod by_hand;
mod demo;
mod guest_kernel;
mod packages;
mod picture;
mod plot;
mod story;
mod suite;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use weir_lab::peer::Peer;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "weir's own commands: show it, test it, look around in it"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Show weir at work: real curl through weir to real nginx, and what every hop saw
    Demo(demo::Arguments),
    /// Run the whole test suite; its last line is the count
    Test(suite::Arguments),
    /// A network with weir in it, to look around by hand
    Lab {
        #[command(subcommand)]
        action: by_hand::Action,
    },
    /// Measure a worker: cycles a packet, or instructions a packet
    Bench(bench::Arguments),
    /// Check the rules that the compiler does not
    Tidy,
    /// A server of the lab, started by the commands above
    #[command(hide = true)]
    Peer {
        #[command(subcommand)]
        peer: Peer,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Some(command) => run(command),
        None => help(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(arguments) => demo::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Test(arguments) => suite::run(&arguments),
        Command::Lab { action } => by_hand::run(action),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Tidy => tidy::run(),
        Command::Peer { peer } => peer.serve().map(|()| ExitCode::SUCCESS),
    }
}

fn help() -> Result<ExitCode> {
    Arguments::command().print_help()?;
    Ok(ExitCode::SUCCESS)
}
