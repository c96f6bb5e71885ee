//! Which crate may use which, and that every crate obeys the workspace's lints.
//!
//! Promises: reads what cargo itself understood of the manifests; test-only dependencies are free.
//! Does not know: dependencies from outside the workspace.

use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use super::Finding;
use super::rules::HOMES_OF_UNSAFE;

/// Who may use whom: a crate's folder and the folders of the crates it may use. The root package, which composes the
/// binary, may use everything that ships.
const ARROWS: [(&str, &[&str]); 14] = [
    ("wire", &[]),
    ("memory", &[]),
    ("director", &["wire", "memory"]),
    ("worker", &["director", "wire"]),
    ("config", &["director"]),
    ("control", &["director", "worker", "wire", "memory"]),
    ("admin", &["config", "worker", "control"]),
    ("dpdk-sys", &[]),
    ("dpdk", &["dpdk-sys", "wire"]),
    (
        "weir",
        &[
            "wire", "memory", "director", "worker", "config", "control", "admin", "dpdk-sys",
            "dpdk",
        ],
    ),
    ("lab", &[]),
    ("testkit", &["wire", "memory", "director", "worker"]),
    (
        "bench",
        &[
            "wire", "memory", "director", "worker", "config", "dpdk-sys", "dpdk", "testkit",
        ],
    ),
    ("xtask", &["lab"]),
];

pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let metadata = MetadataCommand::new()
        .no_deps()
        .current_dir(root)
        .exec()
        .context("cargo metadata")?;
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let manifest = package.manifest_path.as_std_path();
        let text =
            std::fs::read_to_string(manifest).with_context(|| manifest.display().to_string())?;
        let path = manifest.strip_prefix(root).unwrap_or(manifest);
        let folder = folder(&package.name);
        let used = used_by(package, &metadata.workspace_packages());
        for used in forbidden(folder, &used) {
            let line = line_of(&text, &format!("weir-{used}"));
            findings.push(Finding::new(
                path,
                line,
                format!("{folder} may not use {used}"),
            ));
        }
        if !HOMES_OF_UNSAFE.contains(&folder) && !takes_workspace_lints(&text) {
            let sentence = "`[lints] workspace = true` is missing: it forbids `unsafe`";
            findings.push(Finding::new(path, 1, sentence));
        }
    }
    Ok(findings)
}

/// A package's folder below `crates`; for the root package, `weir`.
fn folder(package: &str) -> &str {
    package.strip_prefix("weir-").unwrap_or(package)
}

/// The crates of ours that `package` needs to be built, not those its tests need.
fn used_by<'a>(package: &'a Package, members: &[&Package]) -> Vec<&'a str> {
    let is_ours = |name: &str| members.iter().any(|member| member.name.as_str() == name);
    package
        .dependencies
        .iter()
        .filter(|dependency| {
            dependency.kind != DependencyKind::Development && is_ours(&dependency.name)
        })
        .map(|dependency| folder(&dependency.name))
        .collect()
}

/// Those of `used` that the crate in `folder` may not use. A crate that no arrow starts from may use none.
fn forbidden<'a>(folder: &str, used: &[&'a str]) -> Vec<&'a str> {
    let allowed = ARROWS
        .iter()
        .find(|(from, _)| *from == folder)
        .map_or(&[][..], |(_, to)| *to);
    used.iter()
        .copied()
        .filter(|used| !allowed.contains(used))
        .collect()
}

fn takes_workspace_lints(manifest: &str) -> bool {
    let after = manifest.split("\n[lints]\n").nth(1);
    after.is_some_and(|lints| {
        lints
            .lines()
            .take_while(|line| !line.starts_with('['))
            .any(|line| line == "workspace = true")
    })
}

fn line_of(text: &str, word: &str) -> usize {
    text.lines()
        .position(|line| line.starts_with(word))
        .map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_point_as_designed_and_never_back() {
        assert_eq!(forbidden("director", &["wire", "memory"]), [""; 0]);
        assert_eq!(
            forbidden("director", &["wire", "dpdk", "config"]),
            ["dpdk", "config"]
        );
        assert_eq!(forbidden("lab", &["dpdk-sys"]), ["dpdk-sys"]);
        assert_eq!(forbidden("newcomer", &["wire"]), ["wire"]);
    }

    #[test]
    fn no_crate_that_ships_may_use_the_lab() {
        for (from, to) in ARROWS {
            assert!(from == "xtask" || !to.contains(&"lab"), "{from}");
        }
    }

    #[test]
    fn workspace_lints_are_recognised() {
        assert!(takes_workspace_lints(
            "[package]\n\n[lints]\nworkspace = true\n"
        ));
        assert!(!takes_workspace_lints(
            "[package]\n\n[lints]\n[dependencies]\nworkspace = true\n"
        ));
        assert!(!takes_workspace_lints(
            "[package]\nversion.workspace = true\n"
        ));
    }
}
