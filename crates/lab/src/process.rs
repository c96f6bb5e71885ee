//! A program that keeps running for as long as the lab needs it.
//!
//! Promises: its output goes to a file in the lab's folder; it is gone, and reaped, when its value is dropped.
//! Does not know: what the program does.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{command, wait};

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    shown: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both of its outputs written to `log`.
    pub fn start(command: &mut Command, log: PathBuf) -> Result<Self> {
        let shown = command::shown(command);
        let file =
            File::create(&log).with_context(|| format!("{} cannot be created", log.display()))?;
        let same_file = file
            .try_clone()
            .context("a log file's descriptor cannot be duplicated")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(same_file)
            // Ctrl-C must reach us alone: the order in which things end is ours to choose.
            .process_group(0)
            .spawn()
            .with_context(|| format!("`{shown}` cannot be started; is it installed?"))?;
        Ok(Self { child, shown, log })
    }

    /// What it has printed so far, standard output and standard error together.
    pub fn printed(&self) -> String {
        read(&self.log)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Errors when the program has ended, with what it said last.
    pub fn check_alive(&mut self) -> Result<()> {
        match self
            .child
            .try_wait()
            .with_context(|| format!("`{}` cannot be asked about", self.shown))?
        {
            None => Ok(()),
            Some(status) => bail!(
                "`{}` ended with {status}; it said: {}",
                self.shown,
                last_words(&self.printed())
            ),
        }
    }

    /// Waits until `look` gives a value; ends early, with an error, when the program does.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let printed = self.log.clone();
        wait::until(what, limit, || {
            let seen = look()?;
            if seen.is_none() {
                self.check_alive()?;
            }
            Ok(seen)
        })
        .with_context(|| {
            format!(
                "the last lines of {}: {}",
                printed.display(),
                last_words(&read(&printed))
            )
        })
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("a process id that is no process id")?;
        kill(Pid::from_raw(pid), signal)
            .with_context(|| format!("{signal} cannot be sent to `{}`", self.shown))
    }

    /// Waits for the program to end by itself.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of `{}`", self.shown);
        wait::until(&what, limit, || Ok(self.child.try_wait()?))
    }

    /// Sends `signal` and waits for the end. An end by that very signal is a success for programs that do not catch
    /// it; the caller judges the status.
    pub fn stop(mut self, signal: Signal, limit: Duration) -> Result<ExitStatus> {
        self.signal(signal)?;
        self.wait_for_end(limit)
    }

    /// Lets the program run on after its value is gone.
    pub fn leave_running(self) {
        std::mem::forget(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killing what has ended already is the ordinary case after `stop`; there is nothing to do about it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether `status` is the end by `signal`, or an exit with 0.
pub fn ended_well(status: ExitStatus, signal: Signal) -> bool {
    status.success() || status.signal() == Some(signal as i32)
}

fn read(log: &Path) -> String {
    std::fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn last_words(printed: &str) -> String {
    let lines: Vec<&str> = printed.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
