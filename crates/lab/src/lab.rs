//! The frame of one run: a prefix, a folder for files, and a guardian that takes everything down.
//!
//! What it is: every namespace of a run is named `PREFIX-…`, every interface lives inside one of them (so it needs no
//! prefix of its own), every process runs inside one, every file lies in one folder. Removing "all namespaces with
//! this prefix, what runs in them, and the folder" is therefore removing the run.
//!
//! Promises: that is done on every way out. The guardian is a small shell that waits at a pipe whose other end only
//! we hold: return, panic, signal and SIGKILL all close it. It is the only clean-up there is, so the ordinary end of
//! every test exercises the very path that a crash takes.
//!
//! Does not know: what the namespaces are for (`topology`).

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::command;
use crate::namespace::Namespace;

/// Waits for the end of standard input, then removes all namespaces `$1-…`, their processes and the folder `$2`.
/// The one word `keep` before the end leaves everything as it is.
const GUARDIAN: &str = r#"
read -r verdict
[ "$verdict" = keep ] && exit 0
for namespace in $(ip netns list | cut -d' ' -f1); do
    case $namespace in
        "$1"-*)
            for pid in $(ip netns pids "$namespace"); do kill -KILL "$pid" 2>/dev/null; done
            ip netns delete "$namespace" ;;
    esac
done
rm -rf -- "$2"
"#;

/// Labs made by one process are numbered, so that tests in one process do not meet.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// One run's namespaces and files; dropping it removes them.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    folder: PathBuf,
    guardian: Option<Child>,
}

impl Lab {
    /// A lab that ends with this process, named after its process id. Labs of the same kind whose process is gone
    /// (because it and its guardian were killed together) are removed first.
    pub fn new() -> Result<Self> {
        remove_stale()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::with_prefix(format!("weir-{}-{number}", std::process::id()))
    }

    /// A lab that may outlive this process ([`Lab::leave_running`]), found again by `name`.
    pub fn named(name: &str) -> Result<Self> {
        let lab = named_prefix(name)?;
        if !namespaces_of(&lab)?.is_empty() {
            bail!("a lab named {name} is up already; `cargo xtask lab down {name}` takes it down");
        }
        Self::with_prefix(lab)
    }

    fn with_prefix(prefix: String) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("network namespaces need root: run the same command as root");
        }
        let folder = folder_of(&prefix);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("{} cannot be created", folder.display()))?;
        let guardian = guardian(&prefix, &folder)?;
        Ok(Self {
            prefix,
            folder,
            guardian: Some(guardian),
        })
    }

    /// Creates the namespace `PREFIX-role`.
    pub fn namespace(&self, role: &str) -> Result<Namespace> {
        Namespace::create(format!("{}-{role}", self.prefix))
    }

    /// What the names of this lab's namespaces begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The folder for this lab's files: sockets, logs, captures, what servers serve.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends our hold without taking anything down.
    pub fn leave_running(mut self) -> Result<()> {
        let Some(mut guardian) = self.guardian.take() else {
            return Ok(());
        };
        if let Some(mut pipe) = guardian.stdin.take() {
            pipe.write_all(b"keep\n")
                .context("the lab's guardian is gone; take the lab down by hand")?;
        }
        guardian
            .wait()
            .context("the lab's guardian cannot be waited for")?;
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let Some(mut guardian) = self.guardian.take() else {
            return;
        };
        drop(guardian.stdin.take());
        // The guardian's own failure has no better place to go than where its words went: nowhere.
        let _ = guardian.wait();
    }
}

/// Takes down the lab that [`Lab::named`] made and [`Lab::leave_running`] left. Returns whether there was one.
pub fn take_down(name: &str) -> Result<bool> {
    let prefix = named_prefix(name)?;
    let was_up = !namespaces_of(&prefix)?.is_empty();
    sweep(&prefix)?;
    Ok(was_up)
}

/// The namespaces of the lab called `name`.
pub fn namespaces_of_named(name: &str) -> Result<Vec<Namespace>> {
    namespaces_of(&named_prefix(name)?)
}

/// The folder of the lab called `name`.
pub fn folder_of_named(name: &str) -> Result<PathBuf> {
    Ok(folder_of(&named_prefix(name)?))
}

fn named_prefix(name: &str) -> Result<String> {
    if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_lowercase()) {
        bail!("'{name}' cannot name a lab; use lower-case letters only, for example fullnat");
    }
    Ok(format!("weir-lab-{name}"))
}

fn namespaces_of(prefix: &str) -> Result<Vec<Namespace>> {
    let start = format!("{prefix}-");
    Ok(namespace_names()?
        .into_iter()
        .filter(|name| name.starts_with(&start))
        .map(Namespace::existing)
        .collect())
}

fn namespace_names() -> Result<Vec<String>> {
    let list = command::ip("netns list")?;
    Ok(list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect())
}

fn folder_of(prefix: &str) -> PathBuf {
    std::env::temp_dir().join(prefix)
}

fn guardian(prefix: &str, folder: &Path) -> Result<Child> {
    Command::new("sh")
        .args(["-c", GUARDIAN, "weir-lab-guardian", prefix])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own: Ctrl-C in the terminal must end us, not the one who cleans up after us.
        .process_group(0)
        .spawn()
        .context("the lab's guardian, a shell, cannot be started")
}

/// Removes what carries `prefix`, by a guardian whose wait is over at once.
fn sweep(prefix: &str) -> Result<()> {
    let mut guardian = guardian(prefix, &folder_of(prefix))?;
    drop(guardian.stdin.take());
    guardian
        .wait()
        .context("the lab's guardian cannot be waited for")?;
    Ok(())
}

fn remove_stale() -> Result<()> {
    for name in namespace_names()? {
        if let Some((prefix, owner)) = run_of(&name)
            && !Path::new(&format!("/proc/{owner}")).exists()
        {
            sweep(prefix)?;
        }
    }
    Ok(())
}

/// The run's prefix and its owner's process id, of a namespace called `weir-PID-NUMBER-ROLE`; nothing for any other.
fn run_of(namespace: &str) -> Option<(&str, u32)> {
    let mut parts = namespace.splitn(4, '-');
    let (Some("weir"), Some(owner), Some(number), Some(role)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    number.parse::<u32>().ok()?;
    Some((
        &namespace[..namespace.len() - role.len() - 1],
        owner.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_of_runs_are_candidates_for_removal() {
        assert_eq!(run_of("weir-812-3-client"), Some(("weir-812-3", 812)));
        assert_eq!(run_of("weir-812-3-real-server"), Some(("weir-812-3", 812)));
        assert_eq!(run_of("weir-lab-fullnat-client"), None);
        assert_eq!(run_of("somebody-812-3-client"), None);
        assert_eq!(run_of("weir-812"), None);
    }

    #[test]
    fn a_name_that_could_reach_outside_its_lab_is_refused() {
        assert!(named_prefix("fullnat").is_ok());
        assert!(named_prefix("").is_err());
        assert!(named_prefix("../etc").is_err());
        assert!(named_prefix("a-b").is_err());
    }
}
