//! The kernel that virtual machines boot: the distribution's own, unpacked and never installed.
//!
//! Promises: fetched once; what lies in the target folder afterwards is whole.
//! Does not know: what is done with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::build;

/// Depends on the newest kernel for virtual machines.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// The folder with the kernel; fetched if it is not there.
pub(crate) fn folder() -> Result<PathBuf> {
    let target = build::target_folder()?;
    let folder = target.join("guest-kernel");
    if folder.is_dir() {
        return Ok(folder);
    }
    println!("Fetching a kernel for virtual machines: {PACKAGE}");
    // A folder of this process: what an interrupted run leaves is nobody's kernel.
    let workshop = target.join(format!("guest-kernel.{}", std::process::id()));
    let fetched = fetch(&workshop, &folder);
    fs::remove_dir_all(&workshop).context("a folder for a kernel cannot be removed")?;
    fetched?;
    Ok(folder)
}

fn fetch(workshop: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(workshop).context("a folder for a kernel cannot be made")?;
    // Lists that are older than the mirror name packages that are no longer there.
    if download(workshop).is_err() {
        run(Command::new("apt-get").args(["-qq", "update"]))?;
        download(workshop)?;
    }
    let packages = fs::read_dir(workshop)?.flatten().map(|file| file.path());
    let package = packages
        .into_iter()
        .find(|file| file.extension().is_some_and(|it| it == "deb"))
        .context("apt-get downloaded no package")?;
    let unpacked = workshop.join("unpacked");
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(package)
        .arg(&unpacked))?;
    fs::rename(&unpacked, folder).context("the kernel cannot be put into its place")
}

fn download(workshop: &Path) -> Result<()> {
    let depends = run(Command::new("apt-cache").args(["depends", "--important", PACKAGE]))?;
    let image = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .with_context(|| format!("apt-cache knows no kernel for {PACKAGE}"))?;
    run(Command::new("apt-get")
        .args(["-qq", "download", image])
        .current_dir(workshop))
    .map(drop)
}

fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be started"))?;
    ensure!(
        output.status.success(),
        "{program} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
