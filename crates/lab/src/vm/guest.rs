//! The guest with weir in it, from boot to power-off, and the line on which it is asked.
//!
//! Promises: [`Guest::boot`] returns when weir in the guest serves; [`Guest::stop`] succeeds only if weir ended with exit
//! code 0 and the guest by itself. Whatever the guest printed can be had at any time.
//! Does not know: what runs outside.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::nic::{self, Driver};
use super::{Kernel, Nic, initramfs, tap};
use crate::config::{self, Service, Setting};
use crate::director::{Row, built};
use crate::process::Process;
use crate::topology::Topology;
use crate::wait;

/// A quiet machine takes eight seconds to boot and five more until weir serves.
const START_LIMIT: Duration = Duration::from_secs(120);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The guest's memory in MiB, and how much of it are hugepages: enough for two ports with two queues each.
const MEMORY_MIB: u32 = 768;
const HUGEPAGES_MIB: u32 = 256;
const HUGEPAGE_MIB: u32 = 2;
/// What weir gets of them. The rest is for what its tables are rounded up by.
const WEIR_MEMORY: &str = "Hugepages(mib: 224)";

/// What a guest is to be.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The NIC for each of the director's ports.
    pub nic: Nic,
    /// Whose they are in the guest.
    pub driver: Driver,
    /// Workers, and processors, one for each.
    pub n_workers: usize,
}

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    qemu: Process,
    console: PathBuf,
    line: BufReader<UnixStream>,
}

impl Guest {
    /// Boots a guest in the director's place, with `services`. The binary is the one built with the test, linked
    /// statically.
    pub fn boot(
        topology: &Topology,
        kernel: &Kernel,
        shape: Shape,
        services: &[Service],
    ) -> Result<Self> {
        let Shape {
            nic,
            driver,
            n_workers,
        } = shape;
        let folder = topology.lab.folder();
        let setting = Setting {
            workers: (0..n_workers).collect(),
            memory: WEIR_MEMORY,
            admin_socket: "/run/weir/admin.sock".into(),
            devices: (0..topology.ports.len())
                .map(|number| format!("Pci({:?})", nic::pci_address(number)))
                .collect(),
        };
        let config = config::text_in(topology, &setting, services);
        let initramfs = initramfs::write(folder, kernel, &built("weir")?, &config)?;
        let taps = tap::plug(topology, nic)?;

        let (console, line) = (folder.join("console.log"), folder.join("line.sock"));
        let mut command = topology.director.command("qemu-system-x86_64");
        command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        // TCG with every feature it knows: the same guest everywhere, whatever the host's processor.
        command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-no-reboot"]);
        command.args(["-machine", "q35,kernel-irqchip=split"]);
        match driver {
            Driver::UioPciGeneric => {}
            Driver::VfioPci => {
                command.args(["-device", "intel-iommu,caching-mode=on"]);
            }
        }
        command.args(["-smp", &n_workers.to_string()]);
        command.args(["-m", &MEMORY_MIB.to_string()]);
        command.arg("-kernel").arg(&kernel.image);
        command.arg("-initrd").arg(&initramfs);
        let hugepages = HUGEPAGES_MIB / HUGEPAGE_MIB;
        command.args([
            "-append",
            &format!(
                "console=ttyS0 loglevel=4 panic=-1 hugepages={hugepages} intel_iommu=on NIC_DRIVER={}",
                driver.name()
            ),
        ]);
        command.args(["-serial", &format!("file:{}", console.display())]);
        command.args([
            "-serial",
            &format!("unix:{},server=on,wait=off", line.display()),
        ]);
        for (number, (port, tap)) in topology.ports.iter().zip(&taps).enumerate() {
            let mut netdev = format!(
                "tap,id={},ifname={tap},script=no,downscript=no,vhost=off",
                port.name
            );
            if nic.n_queues() > 1 {
                let _ = write!(netdev, ",queues={}", nic.n_queues());
            }
            command.args(["-netdev", &netdev]);
            command.args(["-device", &nic.device(driver, number, port.name, port.mac)]);
        }
        let mut qemu = Process::start(&mut command, folder.join("qemu.log"))?;
        let line = qemu.wait_until("qemu to open the guest's line", STOP_LIMIT, || {
            Ok(UnixStream::connect(&line).ok())
        })?;
        let mut guest = Self {
            qemu,
            console,
            line: BufReader::new(line),
        };
        let (code, _) = guest
            .answer(START_LIMIT)
            .with_context(|| guest.said("the guest did not start"))?;
        ensure!(
            code == "0",
            "{}",
            guest.said(&format!("weir did not start on\n{config}"))
        );
        Ok(guest)
    }

    /// Runs `weir` with `words` in the guest and returns what it printed.
    ///
    /// Errors: its exit code is not 0.
    pub fn weir(&mut self, words: &str) -> Result<String> {
        writeln!(self.line.get_mut(), "{words}").context("the guest's line is broken")?;
        let (code, text) = self.answer(ANSWER_LIMIT)?;
        ensure!(
            code == "0",
            "`weir {words}` ended with {code} in the guest: {text}"
        );
        Ok(text)
    }

    /// One of the tables: `weir NAME --json`.
    pub fn table(&mut self, name: &str) -> Result<Vec<Row>> {
        let text = self.weir(&format!("{name} --json"))?;
        serde_json::from_str(&text)
            .with_context(|| format!("`weir {name} --json` printed no array of objects: {text}"))
    }

    /// What the guest's kernel and weir have printed, below `headline`.
    pub fn said(&self, headline: &str) -> String {
        let console = std::fs::read(&self.console).unwrap_or_default();
        format!(
            "{headline}; qemu said: {}\nthe guest's console:\n{}",
            self.qemu.printed().trim(),
            String::from_utf8_lossy(&console)
        )
    }

    /// Ends weir, then the guest.
    ///
    /// Errors: weir did not end with exit code 0, or the guest not at all.
    pub fn stop(mut self) -> Result<()> {
        writeln!(self.line.get_mut(), "end").context("the guest's line is broken")?;
        let (code, _) = self.answer(STOP_LIMIT)?;
        ensure!(
            code == "0",
            "{}",
            self.said(&format!("weir ended with {code}"))
        );
        let status = self.qemu.wait_for_end(STOP_LIMIT)?;
        ensure!(
            status.success(),
            "{}",
            self.said(&format!("qemu ended with {status}"))
        );
        Ok(())
    }

    /// Reads up to the line `=CODE`. Returns the code and what came before.
    fn answer(&mut self, limit: Duration) -> Result<(String, String)> {
        self.line.get_ref().set_nonblocking(true)?;
        let (mut text, mut line) = (String::new(), String::new());
        let code = wait::until("the guest to answer", limit, || {
            loop {
                match self.line.read_line(&mut line) {
                    Ok(0) => bail!("the guest has ended"),
                    // The end of the line is still on its way.
                    Ok(_) if !line.ends_with('\n') => {}
                    Ok(_) => match line.strip_prefix('=') {
                        Some(code) => return Ok(Some(code.trim().to_owned())),
                        None => text.push_str(&std::mem::take(&mut line)),
                    },
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        return Ok(None);
                    }
                    Err(error) => return Err(error).context("the guest's line is broken"),
                }
            }
        })?;
        self.line.get_ref().set_nonblocking(false)?;
        Ok((code, text))
    }
}
