//! A lab to look around in: `cargo xtask lab up fullnat`, `exec`, `down`.
//!
//! Promises: `up` leaves a network in operation that outlives it, and says how to look around; `down` leaves nothing.
//! What is up is read from the machine itself (namespaces and their names), so there is no state to go stale.
//! Does not know: what the demo tells about it.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use weir_lab::lab;
use weir_lab::{Lab, Namespace, Rig};

use crate::build::{self, Linking, Profile};
use crate::packages;
use crate::story::{self, Method};

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Bring up the lab NAME, with weir serving in it
    Up {
        /// The forwarding method, which is also the lab's name
        name: Method,
    },
    /// Run a command on one of the lab's machines: client, director, switch, router, rs1, rs2
    Exec {
        /// The machine
        machine: String,
        /// The command and its words
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Take down the lab NAME, or all that were left up
    Down {
        /// The lab's name
        name: Option<String>,
    },
}

/// Names of labs that can be up.
fn names() -> Vec<String> {
    let methods = Method::value_variants()
        .iter()
        .map(|method| method.name().to_owned());
    methods.chain([story::DEMO.to_owned()]).collect()
}

/// Does what was asked.
pub(crate) fn run(action: Action) -> Result<ExitCode> {
    match action {
        Action::Up { name } => up(name).map(|()| ExitCode::SUCCESS),
        Action::Exec { machine, command } => exec(&machine, &command),
        Action::Down { name } => down(name).map(|()| ExitCode::SUCCESS),
    }
}

fn up(method: Method) -> Result<()> {
    packages::install_missing()?;
    let binary = build::weir(Profile::Release, Linking::Shared)?;
    let lab = Lab::named(method.name())?;
    let mut rig = Rig::course(lab, method.of_lab(), &story::peer_program()?)?;
    let services = story::services(&rig.topology);
    let lines = rig.serve_by_ipvsadm(&binary, &services)?;
    story::print_lines(&lines);
    story::print_how_to_look_around(&rig.topology, &binary, method.name());
    rig.leave_running()
}

fn exec(machine: &str, command: &[OsString]) -> Result<ExitCode> {
    let up: Vec<Namespace> = names()
        .iter()
        .map(|name| lab::namespaces_of_named(name))
        .collect::<Result<Vec<_>>>()?
        .concat();
    let ending = format!("-{machine}");
    let Some(namespace) = up
        .iter()
        .find(|namespace| namespace.name().ends_with(&ending))
    else {
        let there: Vec<&str> = up.iter().map(Namespace::name).collect();
        if there.is_empty() {
            bail!("no lab is up; `cargo xtask lab up fullnat` brings one up");
        }
        bail!(
            "there is no machine {machine}; there are {}",
            there.join(", ")
        );
    };
    let (program, words) = command.split_first().context("no command was given")?;
    let status = namespace
        .command(program)
        .args(words)
        .status()
        .context("`ip netns exec` cannot be started")?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

fn down(name: Option<String>) -> Result<()> {
    match name {
        Some(name) => {
            ensure!(lab::take_down(&name)?, "no lab named {name} is up");
            println!("The lab {name} is down.");
        }
        None => {
            for name in names() {
                if lab::take_down(&name)? {
                    println!("The lab {name} is down.");
                }
            }
        }
    }
    Ok(())
}
