//! Where the workspace is, and how its binary is built.
//!
//! Promises: the path returned is the binary that cargo has just brought up to date.
//! Does not know: what the build needs to be installed (`packages`).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::MetadataCommand;

/// How much the compiler is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build, with every assertion.
    Debug,
    /// As an appliance runs it.
    Release,
}

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn workspace_root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    Ok(root.context("xtask lies outside the workspace")?.to_owned())
}

/// Cargo, in the workspace.
pub(crate) fn cargo(words: &[&str]) -> Result<Command> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(words).current_dir(workspace_root()?);
    Ok(command)
}

/// What of libdpdk is inside the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linking {
    /// Nothing: it loads the machine's libraries.
    Shared,
    /// All of it, and the drivers: it runs where nothing is installed.
    Static,
}

/// Builds `weir` and returns its path. The next build with the other linking takes its place.
pub(crate) fn weir(profile: Profile, linking: Linking) -> Result<PathBuf> {
    let mut words = vec!["build", "--bin", "weir"];
    let folder = match profile {
        Profile::Debug => "debug",
        Profile::Release => "release",
    };
    match profile {
        Profile::Debug => {}
        Profile::Release => words.push("--release"),
    }
    match linking {
        Linking::Shared => {}
        Linking::Static => words.extend(["--features", "static-dpdk"]),
    }
    let status = cargo(&words)?.status().context("cargo cannot be started")?;
    ensure!(
        status.success(),
        "weir does not build; the compiler's words are above"
    );
    Ok(target_folder()?.join(folder).join("weir"))
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let metadata = MetadataCommand::new()
        .no_deps()
        .current_dir(workspace_root()?)
        .exec()?;
    Ok(metadata.target_directory.into())
}
