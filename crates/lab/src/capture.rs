//! What passes an interface, kept in a file: tcpdump.
//!
//! Promises: nothing is missed between the return of [`Capture::start`] and that of [`Capture::stop`]; a capture that
//! lost packets for want of room is an error, never a shorter list.
//! Does not know: what the frames mean (`hop`, `checksum`).

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use pcap_file::pcap::PcapReader;

use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::process::Process;

const START_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Longest frame of the lab, and some room. The kernel's ring has slots of this size, so a generous one holds few frames.
const SNAPSHOT_LEN: &str = "2048";
/// Room in the kernel for what tcpdump has not yet written, in KiB.
const BUFFER_KIB: &str = "65536";

/// A capture under way on one interface.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts to capture what passes `interface` and matches `filter` (tcpdump's language; empty for everything), both
    /// directions, whole frames.
    pub fn start(lab: &Lab, namespace: &Namespace, interface: &str, filter: &str) -> Result<Self> {
        let name = format!("{}-{interface}", namespace.name());
        let file = lab.folder().join(format!("{name}.pcap"));
        let mut command = namespace.command("tcpdump");
        command.args([
            "-i",
            interface,
            "--immediate-mode",
            "-U",
            "-n",
            "-s",
            SNAPSHOT_LEN,
            "-B",
            BUFFER_KIB,
            "-Z",
            "root",
        ]);
        command.arg("-w").arg(&file).args(filter.split_whitespace());
        let mut tcpdump = Process::start(
            &mut command,
            lab.folder().join(format!("{name}.tcpdump.log")),
        )?;
        let log = lab.folder().join(format!("{name}.tcpdump.log"));
        tcpdump.wait_until("tcpdump to listen", START_LIMIT, || {
            Ok(std::fs::read_to_string(&log)?
                .contains("listening on")
                .then_some(()))
        })?;
        Ok(Self { tcpdump, file })
    }

    /// Waits until the capture holds something that `look` accepts, and returns it. `look` is given all frames so far.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&[Vec<u8>]) -> Option<T>,
    ) -> Result<T> {
        let file = self.file.clone();
        self.tcpdump
            .wait_until(what, limit, || Ok(look(&frames_so_far(&file)?)))
    }

    /// Ends the capture and returns its frames, oldest first.
    ///
    /// Errors: tcpdump or the kernel lost some.
    pub fn stop(self) -> Result<Vec<Vec<u8>>> {
        self.tcpdump.signal(Signal::SIGINT)?;
        let mut tcpdump = self.tcpdump;
        tcpdump.wait_for_end(STOP_LIMIT)?;
        let printed = tcpdump.printed();
        if !printed.contains("\n0 packets dropped by kernel") {
            bail!(
                "the capture {} is not complete: {}",
                self.file.display(),
                printed.trim()
            );
        }
        frames_so_far(&self.file)
    }
}

/// Reads the whole frames of a capture file that may still be written to.
fn frames_so_far(path: &PathBuf) -> Result<Vec<Vec<u8>>> {
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    let mut frames = Vec::new();
    // A file without its header yet, or with half a frame at its end, is one that tcpdump is about to write to.
    let Ok(mut reader) = PcapReader::new(std::io::BufReader::new(file)) else {
        return Ok(frames);
    };
    while let Some(Ok(packet)) = reader.next_packet() {
        ensure!(
            packet.data.len() == packet.orig_len as usize,
            "a frame of {} bytes was cut off",
            packet.orig_len
        );
        frames.push(packet.data.into_owned());
    }
    Ok(frames)
}
