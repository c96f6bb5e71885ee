//! One network namespace: a machine of the lab, as far as the network is concerned.
//!
//! Promises: what is run through it, program or closure, sees this namespace's interfaces only.
//! Does not know: who removes it; that is the [`crate::lab`]'s guardian, whatever way the run ends.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::command::{self, run};

/// A named network namespace. Cloning it clones the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Creates the namespace with its loopback up and IPv6 duplicate address detection off: an address is usable at
    /// once, and nothing has to be waited for.
    pub(crate) fn create(name: String) -> Result<Self> {
        command::ip(&format!("netns add {name}"))?;
        let namespace = Self { name };
        for scope in ["all", "default"] {
            namespace.sysctl(&format!("net.ipv6.conf.{scope}.accept_dad"), "0")?;
            namespace.sysctl(&format!("net.ipv6.conf.{scope}.accept_ra"), "0")?;
        }
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Names a namespace that exists already, for looking around in it.
    pub fn existing(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// The name as `ip netns list` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run `program` inside. The child's process id is the program's own: `ip netns exec`
    /// replaces itself.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `ip` inside, with the words of `arguments`.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        command::ip(&format!("-n {} {arguments}", self.name))
    }

    /// Sets a kernel setting of this namespace, `net.…`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        self.enter(|| {
            std::fs::write(&path, value).with_context(|| format!("{path} cannot be set to {value}"))
        })?
    }

    /// Has an interface's transmit checksums computed in software. Over veth they are otherwise left unfinished, and
    /// whoever is not the kernel (the director, a capture) sees wrong ones.
    pub fn finish_checksums(&self, interface: &str) -> Result<()> {
        run(self.command("ethtool").args(["-K", interface, "tx", "off"])).map(drop)
    }

    /// Runs `action` on a thread of its own that has entered the namespace, and returns its result. Sockets opened
    /// there stay in the namespace even when they are handed out.
    pub fn enter<T: Send>(&self, action: impl FnOnce() -> T + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path)
            .with_context(|| format!("{path} cannot be opened; is the lab still up?"))?;
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(file.as_fd(), CloneFlags::CLONE_NEWNET).with_context(|| {
                        format!("{} cannot be entered; this takes root", self.name)
                    })?;
                    Ok(action())
                })
                .join()
                .unwrap_or_else(|_| Err(anyhow!("the thread inside {} panicked", self.name)))
        })
    }
}
