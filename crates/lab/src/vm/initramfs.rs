//! The archive that a guest boots from: busybox, the binary under test and the shared libraries it still needs, the
//! modules, a configuration, and [`INIT`].
//!
//! Promises: nothing else is inside, so what weir does in the guest it does without a distribution around it.
//! Does not know: what the configuration says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Kernel;
use crate::command::run;

/// The guest's first program.
const INIT: &str = include_str!("init.sh");
/// Debian's `busybox-static`.
const BUSYBOX: &str = "/bin/busybox";

/// Writes the archive into `folder` and returns its path. `binary` is found in the guest as `weir`, `config` as
/// `/weir.ron`.
pub(super) fn write(
    folder: &Path,
    kernel: &Kernel,
    binary: &Path,
    config: &str,
) -> Result<PathBuf> {
    let root = folder.join("guest");
    for folder in ["bin", "dev", "proc", "sys", "run", "modules"] {
        fs::create_dir_all(root.join(folder)).context("the guest's root cannot be laid out")?;
    }
    fs::write(root.join("weir.ron"), config)?;
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    fs::copy(BUSYBOX, root.join("bin/busybox"))
        .with_context(|| format!("{BUSYBOX} cannot be copied; install busybox-static"))?;
    for (number, module) in kernel.modules.iter().enumerate() {
        fs::copy(module, root.join(format!("modules/{number}.ko")))
            .with_context(|| format!("{} cannot be copied", module.display()))?;
    }
    // What is for debuggers is many times as large as the program.
    let stripped = root.join("bin/weir");
    run(Command::new("strip").arg("-o").arg(&stripped).arg(binary))?;
    for library in libraries(binary)? {
        let inside = root.join(library.strip_prefix("/").unwrap_or(&library));
        fs::create_dir_all(inside.parent().context("a library lies in no folder")?)?;
        fs::copy(&library, inside)
            .with_context(|| format!("{} cannot be copied", library.display()))?;
    }

    let archive = folder.join("initramfs");
    let script = "cd \"$1\" && find . | cpio --create --format=newc --quiet > \"$2\"";
    run(Command::new("sh")
        .args(["-c", script, "sh"])
        .args([&root, &archive]))?;
    Ok(archive)
}

/// The shared libraries that `binary` needs, the loader among them.
///
/// Errors: DPDK is one of them. Then its drivers would be missing in the guest.
fn libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    let text = run(Command::new("ldd").arg(binary))?;
    let libraries: Vec<_> = paths(&text).map(PathBuf::from).collect();
    ensure!(
        !text.contains("librte_"),
        "{} is linked with shared libraries of DPDK; build it with `--features static-dpdk`",
        binary.display()
    );
    Ok(libraries)
}

/// The paths that `ldd` prints: `libm.so.6 => /lib/…/libm.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            paths(text).collect::<Vec<_>>(),
            [
                "/lib/x86_64-linux-gnu/libm.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
    }
}
