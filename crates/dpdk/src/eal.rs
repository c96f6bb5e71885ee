//! EAL, DPDK's environment: memory, drivers, threads. One per process.
//!
//! Promises: quiet, leaves the caller's thread and its CPU affinity alone, leaves no file behind.
//! Does not know: which ports there will be, except the PCI devices it may touch.

use crate::error::{Error, Refusal};
use crate::{hugepages, log};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fs;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use weir_dpdk_sys as sys;

/// How EAL is to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EalConfig {
    /// Where buffers and queues lie.
    pub memory: EalMemory,
    /// Addresses (`0000:01:00.0`) of the PCI devices that may be touched; no other one is.
    pub pci: Vec<String>,
    /// Distinguishes this process from other users of DPDK on the machine.
    pub file_prefix: String,
    /// CPU named to EAL as its main one. Nothing runs there for long: EAL's own thread ends once it has started.
    pub main_cpu: u32,
    /// What of DPDK's own log reaches standard error.
    pub log_level: LogLevel,
}

impl EalConfig {
    /// `memory`, no PCI device, a prefix from the process id, the first CPU allowed, errors only.
    #[must_use]
    pub fn new(memory: EalMemory) -> Self {
        Self {
            memory,
            pci: Vec::new(),
            file_prefix: format!("weir-{}", std::process::id()),
            main_cpu: first_allowed_cpu(),
            log_level: LogLevel::Error,
        }
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "weir".to_owned(),
            format!("--lcores=0@{}", self.main_cpu),
            "--no-telemetry".to_owned(),
            format!("--file-prefix={}", self.file_prefix),
            format!("--log-level=*:{}", self.log_level.word()),
        ];
        match self.memory {
            EalMemory::Hugepages { mib } => {
                arguments.extend(["--in-memory".to_owned(), format!("-m{mib}")])
            }
            // --no-huge refuses --in-memory; --no-shconf is the part of it that keeps files away.
            EalMemory::Anonymous { mib } => {
                arguments.extend([
                    "--no-huge".to_owned(),
                    "--no-shconf".to_owned(),
                    format!("-m{mib}"),
                ]);
            }
        }
        match self.pci.as_slice() {
            [] => arguments.push("--no-pci".to_owned()),
            addresses => {
                arguments.extend(addresses.iter().map(|address| format!("--allow={address}")))
            }
        }
        arguments
    }
}

/// Memory for buffers and queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EalMemory {
    /// Hugepages of any size, reserved beforehand, no mount needed. A PCI NIC needs them.
    Hugepages {
        /// MiB taken at once.
        mib: u32,
    },
    /// Ordinary pages. Enough for virtual ports.
    Anonymous {
        /// MiB at most.
        mib: u32,
    },
}

/// How much DPDK itself may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors.
    Error,
    /// And warnings.
    Warning,
    /// And what happens at start.
    Info,
    /// Everything.
    Debug,
}

impl LogLevel {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// The running EAL.
///
/// Ownership: a counted handle. Ports, queues, pools and registered threads each hold one, so EAL outlives them; the
/// last to go ends it. Buffers hold none (they are one pointer wide): if some are still out when the last handle goes,
/// EAL and its memory are left as they are until the process ends. Reserved hugepages return to the kernel with the end
/// of the process in any case: they have no name that could outlive it.
#[derive(Debug, Clone)]
pub struct Eal(pub(crate) Arc<Environment>);

/// What the handles share.
#[derive(Debug)]
pub(crate) struct Environment {
    /// Every pool made, freed only with EAL. Invariant: none was freed.
    pools: Mutex<Vec<PoolPointer>>,
    /// DPDK's names of the devices that are open as ports. Invariant: each is in here from before it is opened until
    /// it is closed, so no device is ever closed twice.
    open_devices: Mutex<BTreeSet<String>>,
    n_virtual_devices: AtomicU32,
    /// What EAL said when it started. Its drivers look at the PCI devices then, and never again.
    said: String,
    runtime_folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy)]
struct PoolPointer(NonNull<sys::rte_mempool>);

// SAFETY: a mempool may be used from any thread; DPDK synchronises it.
unsafe impl Send for PoolPointer {}

static INITIALISED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts EAL.
    ///
    /// Errors: no right to the PCI devices, too few hugepages, a second call in this process, or EAL's own reason.
    /// The first two leave the process able to try again.
    pub fn init(config: &EalConfig) -> Result<Self, Error> {
        if let EalMemory::Hugepages { mib } = config.memory {
            hugepages::check_free(mib)?;
        }
        if !config.pci.is_empty() && !is_root() {
            return Err(Error::NotPermitted {
                what: "a PCI device".to_owned(),
                capability: "CAP_SYS_ADMIN",
            });
        }
        if INITIALISED.swap(true, Ordering::AcqRel) {
            return Err(Error::AlreadyInitialised);
        }
        let arguments = config.arguments().into_iter().map(|argument| {
            CString::new(argument).map_err(|_| Error::Eal {
                reason: "a setting contains a zero byte".to_owned(),
            })
        });
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;

        let ((result, errno), said) = init_on_own_thread(arguments);
        let runtime_folder = runtime_folder();
        remove_left_behind(runtime_folder.as_ref());
        if result < 0 {
            remove(runtime_folder.as_ref());
            return Err(Error::Eal {
                reason: Refusal::new(-errno, said).to_string(),
            });
        }
        if config.log_level != LogLevel::Error {
            eprint!("{said}");
        }
        Ok(Self(Arc::new(Environment {
            pools: Mutex::default(),
            open_devices: Mutex::default(),
            n_virtual_devices: AtomicU32::new(0),
            said,
            runtime_folder,
        })))
    }

    /// Makes this thread known to DPDK, which gives it its own cache in every pool. Pin the thread first: DPDK notes
    /// its NUMA node here.
    ///
    /// Errors: more threads than DPDK was built for (128 in Debian's), or this one is registered already.
    pub fn register_thread(&self) -> Result<RegisteredThread, Error> {
        // DPDK 22.11 would give the thread a second number and forget the first.
        // SAFETY: reads a thread-local variable.
        if unsafe { sys::shim_rte_lcore_id() } != sys::LCORE_ID_ANY {
            return Err(Error::AlreadyRegistered);
        }
        // SAFETY: EAL runs, since `self` exists.
        if unsafe { sys::rte_thread_register() } != 0 {
            // SAFETY: reads this thread's error number.
            let errno = unsafe { sys::shim_rte_errno() };
            return Err(Error::Thread {
                reason: Refusal::new(-errno, String::new()).to_string(),
            });
        }
        Ok(RegisteredThread {
            _eal: self.clone(),
            not_send: PhantomData,
        })
    }

    /// DPDK's version as it runs, for example `DPDK 22.11.11`.
    #[must_use]
    pub fn version(&self) -> String {
        // SAFETY: returns a string that lives as long as the process.
        unsafe { CStr::from_ptr(sys::rte_version()) }
            .to_string_lossy()
            .into_owned()
    }

    /// A number that no other virtual device of this process has.
    pub(crate) fn next_device_number(&self) -> u32 {
        self.0.n_virtual_devices.fetch_add(1, Ordering::Relaxed)
    }

    /// Why a PCI device was refused when EAL started, if it was.
    pub(crate) fn why_refused(&self, address: &str) -> Option<&str> {
        why_refused(&self.0.said, address)
    }

    /// Reserves a device, by DPDK's name. `false` when a port has it.
    pub(crate) fn claim_device(&self, name: &str) -> bool {
        self.0
            .open_devices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned())
    }

    /// Undoes `claim_device`.
    pub(crate) fn release_device(&self, name: &str) {
        self.0
            .open_devices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }

    /// Hands a pool over, to be freed when EAL ends.
    pub(crate) fn keep_pool(&self, pool: NonNull<sys::rte_mempool>) {
        self.0
            .pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(PoolPointer(pool));
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let pools = self.pools.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Ports are closed and threads unregistered by now (both hold a handle), so no cache is being written to and
        // the count is exact. See `docs/unsafe.md`, "The end".
        // SAFETY: none was freed.
        let all_back = pools
            .iter()
            .all(|pool| unsafe { sys::rte_mempool_in_use_count(pool.0.as_ptr()) } == 0);
        if all_back {
            log::capture(|| {
                // SAFETY: called once, by the last handle, with no buffer, port or registered thread left.
                unsafe { sys::rte_eal_cleanup() }
            });
        }
        remove(self.runtime_folder.as_ref());
    }
}

/// This thread is known to DPDK.
///
/// Ownership: owns the thread's number in DPDK and a handle of EAL; gives both back, on the thread itself, when
/// dropped. It cannot leave its thread.
#[derive(Debug)]
pub struct RegisteredThread {
    _eal: Eal,
    not_send: PhantomData<*const ()>,
}

impl RegisteredThread {
    /// DPDK's number for this thread.
    #[must_use]
    pub fn lcore(&self) -> u32 {
        // SAFETY: reads a thread-local variable.
        unsafe { sys::shim_rte_lcore_id() }
    }
}

impl Drop for RegisteredThread {
    fn drop(&mut self) {
        // SAFETY: this thread was registered by `register_thread`, and the guard cannot leave it.
        unsafe { sys::rte_thread_unregister() }
    }
}

/// `rte_eal_init` pins its thread to the main CPU and makes it an lcore with caches of its own, for good. A thread that
/// ends afterwards takes both along: the caller keeps its affinity, and every cache left belongs to a
/// [`RegisteredThread`].
///
/// Returns the result and the error number, and what EAL said.
fn init_on_own_thread(arguments: Vec<CString>) -> ((c_int, c_int), String) {
    let thread = std::thread::Builder::new()
        .name("weir-eal".to_owned())
        .spawn(move || {
            // EAL keeps pointers into its arguments, hence they are never freed. It happens once.
            let mut pointers: Vec<*mut c_char> =
                arguments.into_iter().map(CString::into_raw).collect();
            let n_arguments = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);
            pointers.push(std::ptr::null_mut());
            log::capture(|| {
                // SAFETY: `pointers` holds that many strings and a null, all of them valid for the life of the process.
                let result =
                    unsafe { sys::rte_eal_init(n_arguments, pointers.leak().as_mut_ptr()) };
                // SAFETY: reads this thread's error number.
                (result, unsafe { sys::shim_rte_errno() })
            })
        });
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        Ok(Err(_)) | Err(_) => ((-1, libc::EAGAIN), String::new()),
    }
}

/// The first line about a PCI device, which names the cause. The last one is `Requested device ADDRESS cannot be used`;
/// those between it and the last one of the device before need not name the device.
fn why_refused<'a>(said: &'a str, address: &str) -> Option<&'a str> {
    let lines: Vec<&str> = said.lines().collect();
    let is_last = |line: &&str| line.contains("Requested device ");
    let last = lines
        .iter()
        .position(|line| is_last(line) && line.contains(address))?;
    let before = lines[..last].iter().rposition(is_last);
    Some(lines[before.map_or(0, |before| before + 1)])
}

fn first_allowed_cpu() -> u32 {
    // SAFETY: all zeroes is the empty set.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `allowed` is writable and of the size given.
    let result =
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut allowed) };
    if result != 0 {
        return 0;
    }
    // SAFETY: the numbers are below CPU_SETSIZE.
    (0..libc::CPU_SETSIZE as u32)
        .find(|&cpu| unsafe { libc::CPU_ISSET(cpu as usize, &allowed) })
        .unwrap_or(0)
}

pub(crate) fn is_root() -> bool {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn runtime_folder() -> Option<PathBuf> {
    // SAFETY: returns EAL's own buffer, empty before it is known.
    let folder = unsafe { sys::rte_eal_get_runtime_dir() };
    if folder.is_null() {
        return None;
    }
    // SAFETY: a string with its terminator.
    let folder = unsafe { CStr::from_ptr(folder) }.to_str().ok()?;
    (!folder.is_empty()).then(|| PathBuf::from(folder))
}

/// Folders beside this process's that processes left which were killed: empty, and named after an id that nobody has.
fn remove_left_behind(runtime_folder: Option<&PathBuf>) {
    let folders = runtime_folder.and_then(|folder| fs::read_dir(folder.parent()?).ok());
    for folder in folders.into_iter().flatten().flatten() {
        let name = folder.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix("weir-")?.parse::<u32>().ok());
        if process.is_some_and(|process| !PathBuf::from(format!("/proc/{process}")).exists()) {
            let _ = fs::remove_dir(folder.path());
        }
    }
}

/// EAL makes a folder and leaves it. Only an empty one goes: whatever is in there is not ours. The folder above stays,
/// because another process may be about to make its own in it.
fn remove(runtime_folder: Option<&PathBuf>) {
    if let Some(folder) = runtime_folder {
        let _ = fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_found_among_what_was_said_about_several_devices() {
        // As DPDK 22.11 says it when the files of uio are not there.
        let said = "EAL: Cannot open /dev/uio0: No such file or directory\n\
                    eth_virtio_pci_init(): Failed to init PCI device\n\
                    EAL: Requested device 0000:00:03.0 cannot be used\n\
                    EAL: Cannot open /dev/uio1: No such file or directory\n\
                    EAL: Requested device 0000:00:04.0 cannot be used\n";
        assert_eq!(
            why_refused(said, "0000:00:03.0"),
            Some("EAL: Cannot open /dev/uio0: No such file or directory")
        );
        assert_eq!(
            why_refused(said, "0000:00:04.0"),
            Some("EAL: Cannot open /dev/uio1: No such file or directory")
        );
        assert_eq!(why_refused(said, "0000:00:05.0"), None);
    }
}
