//! weir: the daemon and its client in one binary. Composition only: arguments, wiring, exit codes.
//!
//! Promises: exit code 0 done, 1 refused or invalid, 2 wrong usage, 3 the daemon cannot be reached; an error is one
//! sentence on standard error, or one line per error of a configuration.
//! Does not know: how anything is done.

mod appliance;
mod arguments;
mod cycles;
mod daemon;
mod io;
mod ports;
mod rows;
mod run;
mod spread;
mod statistics;
mod way;

use std::io::Write;
use std::process::ExitCode;

use arguments::{Arguments, Command};
use weir_admin::ipvsadm::{Remote, Streams, SystemNames, ipvsadm};
use weir_config::sizing::Sizing;

fn main() -> ExitCode {
    if let Some(ipvsadm) = arguments::ipvsadm_of_this_process() {
        return speak_as_ipvsadm(&ipvsadm);
    }
    let arguments = Arguments::of_this_process();
    let outcome = match &arguments.command {
        Command::Run(run) => {
            run::run(run, arguments.socket.as_deref()).map_err(|error| (1, error.to_string()))
        }
        Command::Check(check) => check_config(&check.config).map_err(|sentence| (1, sentence)),
        client => {
            ask(&arguments, client).map_err(|failure| (failure.exit_code(), failure.to_string()))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, sentence)) => {
            // Nobody may be left to read it; the exit code says it too.
            let _ = writeln!(std::io::stderr(), "{sentence}");
            ExitCode::from(code)
        }
    }
}

/// Does as ipvsadm does, whose exit codes differ from weir's.
fn speak_as_ipvsadm(asked: &arguments::Ipvsadm) -> ExitCode {
    let streams = Streams {
        input: &mut std::io::stdin().lock(),
        output: &mut std::io::BufWriter::new(std::io::stdout().lock()),
        errors: &mut std::io::stderr(),
    };
    ExitCode::from(ipvsadm(
        &asked.program,
        &asked.words,
        &mut Remote::new(&asked.socket),
        &SystemNames::read(),
        streams,
    ))
}

/// Asks the running daemon.
fn ask(arguments: &Arguments, command: &Command) -> Result<(), weir_admin::Failure> {
    let socket = arguments.client_socket();
    let mut out = std::io::stdout().lock();
    match command {
        Command::Reload(reload) => {
            weir_admin::reload(socket, reload.config.as_deref(), reload.attempt(), &mut out)
        }
        Command::Config(arguments::Config::Save(save)) => {
            weir_admin::config_save(socket, save.output.as_deref(), &mut out)
        }
        Command::Show(show) => weir_admin::show(socket, &show.view(), &mut out),
        Command::Stop => weir_admin::stop(socket),
        // Those that need no daemon were dealt with by the caller.
        Command::Run(_) | Command::Check(_) | Command::Ipvsadm(_) => Ok(()),
    }
}

/// Says whether a configuration is right, and what it would take.
fn check_config(file: &std::path::Path) -> Result<(), String> {
    let config = run::read_config(file).map_err(|error| error.to_string())?;
    let sizing = Sizing::of(&config);
    let line = format!(
        "{} is valid: {} worker(s), {} each, {} MiB",
        file.display(),
        sizing.n_workers,
        sizing.connections(),
        sizing.mib()
    );
    // As above.
    let _ = writeln!(std::io::stdout(), "{line}");
    Ok(())
}
