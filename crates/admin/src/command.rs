//! `weir reload`, `weir config save`, `weir stop`, and why a command fails.
//!
//! Promises: what is printed goes to the writer given; a reader that has gone (`| head`) is no failure.
//! Does not know: arguments, standard output, how a process exits.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::client::{Client, ClientError};
use crate::daemon::{Applied, Difference};
use crate::method::{ConfigParams, Method};

/// How long an orderly end may take before the person who asked for it is told.
const END_LIMIT: Duration = Duration::from_secs(30);

/// Why a command has failed: one sentence, or one line per error of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The daemon cannot be reached: exit code 3.
    #[error("{0}")]
    Unreachable(String),
    /// Refused or invalid: exit code 1.
    #[error("{0}")]
    Refused(String),
    /// What was to be printed could not be: exit code 1.
    #[error("the output cannot be written: {0}; make room, or write it elsewhere")]
    Output(#[from] io::Error),
}

impl Failure {
    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable(_) => 3,
            Self::Refused(_) | Self::Output(_) => 1,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable(sentence) => Self::Unreachable(sentence),
            ClientError::Refused(sentence) => Self::Refused(sentence),
        }
    }
}

/// A reader that has seen enough ends a command in order.
pub(crate) fn forgive_broken_pipe(outcome: Result<(), Failure>) -> Result<(), Failure> {
    match outcome {
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Whether a reload is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It is: all or nothing.
    Apply,
    /// Only the differences are wanted.
    DryRun,
}

/// `weir reload`: makes the running state that of `config`, or without one of the file the daemon was started with.
/// Prints one line per change, and what came of them.
pub fn reload(
    socket: &Path,
    config: Option<&Path>,
    attempt: Attempt,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let params = match config {
        None => ConfigParams::default(),
        Some(file) => ConfigParams {
            text: Some(read(file)?),
            file_name: Some(file.display().to_string()),
        },
    };
    let mut client = Client::connect(socket)?;
    let (changes, last_line) = match attempt {
        Attempt::Apply => {
            let applied: Applied = client.call(Method::ConfigApply, &params)?;
            let line = applied_line(&applied);
            (applied.changes, line)
        }
        Attempt::DryRun => {
            let difference: Difference = client.call(Method::ConfigDiff, &params)?;
            (difference.changes.clone(), dry_run_line(&difference))
        }
    };
    forgive_broken_pipe(write_changes(&changes, &last_line, out).map_err(Failure::from))
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        Failure::Refused(format!(
            "{} cannot be read: {error}; name a configuration file with --config",
            file.display()
        ))
    })
}

fn applied_line(applied: &Applied) -> String {
    let Applied {
        generation,
        not_adopted_by,
        ..
    } = applied;
    if not_adopted_by.is_empty() {
        return format!("applied as generation {generation}");
    }
    let workers: Vec<_> = not_adopted_by.iter().map(u32::to_string).collect();
    format!(
        "applied as generation {generation}, but worker {} does not answer and runs what it ran; see `weir workers`",
        workers.join(", ")
    )
}

fn dry_run_line(difference: &Difference) -> String {
    let n_changes = difference.changes.len();
    let plural = if n_changes == 1 { "" } else { "s" };
    let line = format!("valid; {n_changes} change{plural}, nothing applied");
    match &difference.refusal {
        Some(refusal) => format!("{line}\nbeware: {refusal}"),
        None => line,
    }
}

fn write_changes(changes: &[String], last_line: &str, out: &mut impl Write) -> io::Result<()> {
    if changes.is_empty() {
        writeln!(out, "nothing would change")?;
    } else {
        for change in changes {
            writeln!(out, "{change}")?;
        }
        writeln!(out, "{last_line}")?;
    }
    out.flush()
}

/// `weir config save`: the running configuration, into `output` or else to `out`.
pub fn config_save(
    socket: &Path,
    output: Option<&Path>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let text: String = Client::connect(socket)?.call(Method::ConfigShow, &())?;
    match output {
        Some(file) => save(file, &text).map_err(|error| {
            Failure::Refused(format!(
                "{} cannot be written: {error}; name another file with --output",
                file.display()
            ))
        }),
        None => {
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            forgive_broken_pipe(written.map_err(Failure::from))
        }
    }
}

/// Writes `text` beside `file` and moves it there, so that a full disk never leaves half a configuration. What is no
/// plain file, `/dev/stdout` say, is written to as it is.
fn save(file: &Path, text: &str) -> io::Result<()> {
    let target = match fs::canonicalize(file) {
        Ok(target) if !target.is_file() => return fs::write(file, text),
        Ok(target) => target,
        Err(_) => file.to_owned(),
    };
    let mut name = target.clone().into_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let written = File::create_new(&name)
        .and_then(|mut beside| {
            beside.write_all(text.as_bytes())?;
            beside.sync_all()
        })
        .and_then(|()| fs::rename(&name, &target));
    if written.is_err() {
        // The error that is told is the first one.
        let _ = fs::remove_file(&name);
    }
    written
}

/// `weir stop`: ends the daemon in order and returns when it has ended.
pub fn stop(socket: &Path) -> Result<(), Failure> {
    let mut client = Client::connect(socket)?;
    // Opened before the end begins: afterwards the number may be another process's.
    let process = client.process();
    let handle = process
        .and_then(Pid::from_raw)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let _: bool = client.call(Method::DaemonStop, &())?;
    let (Some(handle), Some(process)) = (handle, process) else {
        // A daemon in a PID namespace that cannot be seen from here: its hanging up is all there is to be seen.
        client.wait_for_end();
        return Ok(());
    };
    let limit = Timespec {
        tv_sec: END_LIMIT.as_secs() as i64,
        tv_nsec: 0,
    };
    match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit)) {
        Ok(1..) => Ok(()),
        Ok(0) | Err(_) => Err(Failure::Refused(format!(
            "weir (pid {process}) was asked to end and has not within {} s; look at its log, or end it with `kill -9 {process}`",
            END_LIMIT.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_run_what_was_applied_is_named() {
        let applied = |not_adopted_by: &[u32]| {
            applied_line(&Applied {
                changes: Vec::new(),
                generation: 7,
                not_adopted_by: not_adopted_by.to_vec(),
            })
        };
        assert_eq!(applied(&[]), "applied as generation 7");
        assert_eq!(
            applied(&[1, 3]),
            "applied as generation 7, but worker 1, 3 does not answer and runs what it ran; see `weir workers`"
        );
    }
}
