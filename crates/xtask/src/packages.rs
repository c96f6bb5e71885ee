//! What weir needs from the distribution: asked for, and installed where we may.
//!
//! Promises: as root everything missing is installed without a question; otherwise one sentence says what to install
//! and how. Nothing that is there is touched, and no service is left running that was not running before.
//! Does not know: distributions other than Debian.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// What building takes beside Rust.
const BUILD: &[&str] = &[
    "libdpdk-dev",
    "libclang-14-dev",
    "clang-14",
    "pkg-config",
    "gcc",
    "libc6-dev",
];
/// What the lab runs.
const LAB: &[&str] = &[
    "iproute2",
    "ethtool",
    "tcpdump",
    "curl",
    "nginx-light",
    "iperf3",
    "iputils-ping",
    "libusrsctp-examples",
];
/// What the virtual machine takes; its kernel is fetched, not installed (`guest_kernel`).
const VIRTUAL_MACHINE: &[&str] = &["qemu-system-x86", "busybox-static", "cpio", "binutils"];
/// What counts instructions.
const MEASURE: &[&str] = &["valgrind"];

/// Sees to it that everything is installed.
///
/// Errors: something is missing and we are not root; apt-get failed.
pub(crate) fn install_missing() -> Result<()> {
    let missing: Vec<&str> = BUILD
        .iter()
        .chain(LAB)
        .chain(VIRTUAL_MACHINE)
        .chain(MEASURE)
        .copied()
        .filter(|package| !is_installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "packages are missing: run `apt-get install {list}` as root, or this command as root"
        );
    }
    println!("Installing what is missing: {list}");
    let nginx = missing.contains(&"nginx-light").then(ServiceKeptDown::mask);
    apt_get(&["update"])?;
    apt_get(
        &[
            &["install", "--yes", "--no-install-recommends"],
            &missing[..],
        ]
        .concat(),
    )?;
    drop(nginx);
    Ok(())
}

/// Sees to it that rustfmt and clippy are there; a minimal toolchain comes without.
pub(crate) fn install_rust_components() -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let is_there = crate::build::cargo(&[subcommand, "--version"])?
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !is_there {
            println!("Installing the Rust component {component}");
            let status = Command::new("rustup")
                .args(["component", "add", component])
                .status();
            ensure!(
                status.is_ok_and(|status| status.success()),
                "cargo {subcommand} is missing and rustup cannot add it; install the component {component}"
            );
        }
    }
    Ok(())
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

fn apt_get(words: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .arg("-qq")
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("apt-get cannot be started; weir's commands know how to install packages on Debian only")?;
    ensure!(
        status.success(),
        "`apt-get {}` failed; its words are above",
        words.join(" ")
    );
    Ok(())
}

/// nginx's package starts a web server on the machine's own port 80 when it is installed. The lab starts its own inside
/// namespaces, so the machine's is masked for the time of the installation, and disabled.
struct ServiceKeptDown;

impl ServiceKeptDown {
    fn mask() -> Self {
        Self::systemctl("mask");
        Self
    }

    /// Does nothing where systemd does not run: there, nothing is started either.
    fn systemctl(verb: &str) {
        if Path::new("/run/systemd/system").exists() {
            let _ = Command::new("systemctl")
                .args([verb, "--runtime", "--quiet", "nginx.service"])
                .status();
        }
    }
}

impl Drop for ServiceKeptDown {
    fn drop(&mut self) {
        Self::systemctl("unmask");
    }
}
