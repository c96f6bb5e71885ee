//! `cargo xtask test`: everything that can fail, in one run, with one count at its end.
//!
//! Promises: the last line is `N passed, N failed, N skipped` over everything; whatever is skipped is named above it
//! with its reason; the run ends in time, and what hangs is a failure. Exit code 0 only if nothing failed.
//! Does not know: what the tests test.

mod libtest;

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bench::{self, Gate};
use crate::build::{self, Linking, Profile, cargo};
use crate::{guest_kernel, packages, tidy};
use libtest::Tally;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The lab alone: real clients and servers around the real binary
    #[arg(long)]
    lab: bool,
    /// The virtual machine alone
    #[arg(long)]
    vm: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// The whole suite, installation of packages and builds apart, ends within this time on two cores.
const LIMIT: Duration = Duration::from_secs(25 * 60);

/// Runs what was asked for and prints the count.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    packages::install_missing()?;
    packages::install_rust_components()?;
    let all = !arguments.lab && !arguments.vm;
    let mut suite = Suite {
        tally: Tally::default(),
        deadline: Instant::now() + LIMIT,
    };
    let filter = arguments.filter.as_deref();
    if all && filter.is_none() {
        suite.checks()?;
    }
    if all {
        suite.workspace(filter)?;
    }
    if all || arguments.lab {
        suite.lab(filter)?;
    }
    if (all && filter.is_none()) || arguments.vm {
        suite.virtual_machine(filter)?;
    }
    if all && filter.is_none() {
        suite.instructions()?;
    }
    suite.tally.print();
    Ok(if suite.tally.failed() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Suite {
    tally: Tally,
    deadline: Instant,
}

impl Suite {
    /// What can be judged without running weir.
    fn checks(&mut self) -> Result<()> {
        self.check("formatting", cargo(&["fmt", "--all", "--check"])?)?;
        self.check(
            "lints",
            cargo(&[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])?,
        )?;
        println!("── tidy");
        let findings = tidy::findings()?;
        findings.iter().for_each(|finding| println!("{finding}"));
        self.tally.note("tidy", findings.is_empty());
        Ok(())
    }

    fn check(&mut self, name: &str, mut command: Command) -> Result<()> {
        println!("── {name}");
        let status = self.run(&mut command, |line| println!("{line}"))?;
        self.tally
            .note(name, status.is_some_and(|status| status.success()));
        Ok(())
    }

    /// Unit, property and simulation tests: everything that needs neither root nor a network.
    fn workspace(&mut self, filter: Option<&str>) -> Result<()> {
        println!("── unit, property and simulation tests");
        self.tests(
            cargo(&["test", "--workspace", "--no-fail-fast"])?,
            &[],
            filter,
        )
    }

    /// Tests with real clients and servers, one at a time: they share two cores, and a capture shows one scenario.
    fn lab(&mut self, filter: Option<&str>) -> Result<()> {
        println!("── lab");
        let is_lab = |reason: &str| reason.starts_with("lab:");
        if !nix::unistd::geteuid().is_root() {
            self.tally.skip("lab", "network namespaces need root");
            return Ok(());
        }
        self.tally.forget_skips(is_lab);
        let binary = build::weir(Profile::Debug, Linking::Shared)?;
        let mut command = lab_tests("*")?;
        command.env("WEIR_BINARY", binary);
        // The virtual machine's tests are the lab's too, and come later.
        let words = ["--ignored", "--test-threads=1", "--skip=vm::"];
        self.tests(command, &words, filter)
    }

    /// Tests on emulated PCI NICs, one at a time: two virtual processors fill two cores.
    fn virtual_machine(&mut self, filter: Option<&str>) -> Result<()> {
        println!("── virtual machine");
        if !nix::unistd::geteuid().is_root() {
            let reason = "network namespaces need root";
            self.tally.skip("virtual machine", reason);
            return Ok(());
        }
        self.tally.forget_skips(|reason| reason.starts_with("vm:"));
        let kernel = match guest_kernel::folder() {
            Ok(kernel) => kernel,
            Err(error) => {
                println!("{error:#}");
                self.tally.note("a kernel for the virtual machine", false);
                return Ok(());
            }
        };
        let binary = build::weir(Profile::Debug, Linking::Static)?;
        let mut command = lab_tests("virtual_machine")?;
        command
            .env("WEIR_BINARY", binary)
            .env(weir_lab::vm::kernel::FOLDER_VARIABLE, kernel);
        self.tests(command, &["--ignored", "--test-threads=1"], filter)
    }

    /// Whether a packet takes more instructions than recorded.
    fn instructions(&mut self) -> Result<()> {
        println!("── instruction gate");
        match bench::instruction_gate()? {
            Gate::Passed => self.tally.note("instruction gate", true),
            Gate::Failed(differences) => {
                differences
                    .iter()
                    .for_each(|difference| println!("{difference}"));
                self.tally.note("instruction gate", false);
            }
            Gate::Skipped(reason) => self.tally.skip("instruction gate", &reason),
        }
        Ok(())
    }

    fn tests(&mut self, mut command: Command, words: &[&str], filter: Option<&str>) -> Result<()> {
        command.arg("--").args(words).args(filter);
        let mut tally = Tally::default();
        let status = self.run(&mut command, |line| {
            println!("{line}");
            tally.read(&line);
        })?;
        // A test program that dies counts nothing, neither what it passed nor what killed it.
        if !status.is_some_and(|status| status.success()) && tally.failed() == 0 {
            tally.note("a test program that neither passed nor failed", false);
        }
        self.tally.add(tally);
        Ok(())
    }

    /// Runs `command` to its end and hands each line of its standard output to `read`. Nothing when the time is over:
    /// the command and its children are killed, and the labs' guardians clean up after them.
    fn run(
        &self,
        command: &mut Command,
        mut read: impl FnMut(String),
    ) -> Result<Option<ExitStatus>> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cargo cannot be started")?;
        let output = child
            .stdout
            .take()
            .context("a pipe that was asked for is not there")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        loop {
            match lines.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => read(line),
                Err(RecvTimeoutError::Disconnected) => return Ok(Some(child.wait()?)),
                Err(RecvTimeoutError::Timeout) => {
                    println!(
                        "The time of {} minutes is over; what runs now is ended.",
                        LIMIT.as_secs() / 60
                    );
                    kill_with_descendants(
                        i32::try_from(child.id()).context("a process id that is none")?,
                    );
                    child.wait()?;
                    return Ok(None);
                }
            }
        }
    }
}

/// The tests of the lab in files called `name`, which may hold wildcards.
fn lab_tests(name: &str) -> Result<Command> {
    let words = ["test", "--package", "weir-lab", "--no-fail-fast"];
    let mut command = cargo(&words)?;
    command.args(["--test", name]);
    Ok(command)
}

/// Kills a process we started and what it started. A process group would be simpler, but then Ctrl-C in the terminal
/// would end us and spare them.
fn kill_with_descendants(id: i32) {
    let children = children(id);
    // It may have ended by itself in the meantime, which is as good.
    let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
    children.into_iter().for_each(kill_with_descendants);
}

/// The processes whose parent is `id`: the fourth word of `/proc/PID/stat`, whose second is a name in parentheses.
fn children(id: i32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        after_name
            .split(' ')
            .nth(1)
            .and_then(|parent| parent.parse().ok())
            == Some(id)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_ended_with_what_it_started_when_the_time_is_over() {
        let suite = Suite {
            tally: Tally::default(),
            deadline: Instant::now() + Duration::from_millis(300),
        };
        let mut started = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]);
        let status = suite.run(&mut command, |line| started.push(line)).unwrap();
        assert!(status.is_none());
        let sleeper = format!("/proc/{}/stat", started[0]);
        // Until its new parent asks about it, it may remain as a zombie.
        weir_lab::wait::until("the sleeper to be gone", Duration::from_secs(10), || {
            let stat = std::fs::read_to_string(&sleeper).unwrap_or_default();
            Ok((stat.is_empty() || stat.contains(") Z ")).then_some(()))
        })
        .unwrap();
    }
}
