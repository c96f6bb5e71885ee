//! Taking the admin socket, and who may speak on it.
//!
//! Promises: at most one living daemon per socket; what a dead one left behind is taken over; nobody connects before
//! the file's mode is 0660; the file goes when the [`Listener`] goes, unless it has become another's.
//! Does not know: what is said.
//!
//! # How it works
//!
//! A socket file does not tell whether someone listens; connecting does. The folder is locked (flock) from that probe
//! to the moment the new socket listens, so that two daemons that start at once cannot both find it dead. A lock file
//! would have to stay for ever; the lock of a process that dies is gone with it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::DEFAULT_SOCKET;

/// Read and write for the daemon's user and group, nothing for others.
const MODE: u32 = 0o660;
const FOLDER_MODE: u32 = 0o755;
/// The kernel keeps this many clients waiting while the control thread is busy.
const BACKLOG: i32 = 128;
/// Another daemon holds the lock for less than a millisecond.
const LOCK_LIMIT: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// It belongs to a living daemon.
    #[error("another weir is already running on {}{}; stop it with `{}` or choose another --socket", .path.display(), in_brackets(.pid), stop_command(.path))]
    AlreadyRunning {
        /// The socket.
        path: PathBuf,
        /// Its process, if the kernel tells.
        pid: Option<i32>,
    },
    /// Something else has the name.
    #[error("{} is there and is no socket; remove it or choose another --socket", .0.display())]
    NotASocket(PathBuf),
    /// The folder is not to be had.
    #[error("the folder {} of the admin socket cannot be used: {error}; run weir as root or choose another --socket", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the kernel says.
        error: io::Error,
    },
    /// Somebody keeps the folder locked.
    #[error("the folder {} of the admin socket is locked by another program; end it or choose another --socket", .0.display())]
    Locked(PathBuf),
    /// The socket is not to be had.
    #[error("the admin socket {} cannot be made: {error}; run weir as root or choose another --socket", .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        error: io::Error,
    },
}

fn in_brackets(pid: &Option<i32>) -> String {
    pid.map_or(String::new(), |pid| format!(" (pid {pid})"))
}

fn stop_command(path: &Path) -> String {
    match path == Path::new(DEFAULT_SOCKET) {
        true => "weir stop".to_owned(),
        false => format!("weir stop --socket {}", path.display()),
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: UnixListener,
    pub(crate) file: SocketFile,
}

impl Listener {
    /// Listens on `path`, making its folder if it is missing.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let failed = |error: io::Error| ListenError::Socket {
            path: path.to_owned(),
            error,
        };
        // (1) The folder, locked until the end of this function.
        let _lock = lock(&folder_of(path))?;

        // (2) The name: free, or left by the dead.
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(ListenError::NotASocket(path.to_owned()));
            }
            Ok(_) => match connect(path) {
                Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(failed)?,
                Err(Errno::NOENT) => {}
                // AGAIN: somebody listens and does not keep up.
                Err(Errno::AGAIN) => return Err(already_running(path, None)),
                Err(error) => return Err(failed(error.into())),
                Ok(stream) => return Err(already_running(path, process_of(&stream))),
            },
        }

        // (3) The socket. Until it listens, connecting is refused: so the mode is in place before anybody comes.
        let socket = bind(path).map_err(|error| failed(error.into()))?;
        let file = SocketFile::new(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed)?;
        rustix::net::listen(&socket, BACKLOG).map_err(|error| failed(error.into()))?;
        Ok(Self {
            socket: UnixListener::from(socket),
            file,
        })
    }
}

fn already_running(path: &Path, pid: Option<i32>) -> ListenError {
    ListenError::AlreadyRunning {
        path: path.to_owned(),
        pid,
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

fn lock(folder: &Path) -> Result<File, ListenError> {
    let failed = |error: io::Error| ListenError::Folder {
        folder: folder.to_owned(),
        error,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
        .map_err(failed)?;
    let file = File::open(folder).map_err(failed)?;
    let deadline = Instant::now() + LOCK_LIMIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                return Err(ListenError::Locked(folder.to_owned()));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
        }
    }
}

fn new_socket() -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

fn bind(path: &Path) -> rustix::io::Result<OwnedFd> {
    let socket = new_socket()?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Connects without waiting; the stream does not block. Errors: `AGAIN` if too many wait already.
pub(crate) fn connect(path: &Path) -> rustix::io::Result<UnixStream> {
    let socket = new_socket()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// The process at the other end, where it has a number here.
pub(crate) fn process_of(stream: &UnixStream) -> Option<i32> {
    let credentials = sockopt::socket_peercred(stream).ok()?;
    Some(credentials.pid.as_raw_nonzero().get()).filter(|pid| *pid > 0)
}

/// The file of a socket; removed when dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode: a file of the same name may be another daemon's by then.
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Nobody is left to be told; the next daemon takes the file over.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// User and group of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Owner {
    /// Of this process.
    pub(crate) fn of_this_process() -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
        }
    }

    /// Whether `self` may speak to a daemon of `daemon`'s: root, the daemon's own user, its own group.
    pub(crate) fn may_speak_to(self, daemon: Self) -> bool {
        self.user == 0 || self.user == daemon.user || self.group == daemon.group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_own_user_and_the_own_group_may_speak_and_nobody_else() {
        let owner = |user, group| Owner { user, group };
        let daemon = owner(500, 600);
        assert!(owner(0, 7).may_speak_to(daemon));
        assert!(owner(500, 7).may_speak_to(daemon));
        assert!(owner(7, 600).may_speak_to(daemon));
        assert!(!owner(7, 0).may_speak_to(daemon));
        assert!(!owner(600, 500).may_speak_to(daemon));
    }
}
