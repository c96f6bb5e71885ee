//! The kernel's side of a port on a kernel interface: what DPDK's drivers for packet sockets leave undone.
//!
//! Promises: nothing is changed that would outlive the process, except the MTU, which the operator asked for.
//! Does not know: DPDK.

use crate::error::PortProblem;
use std::ffi::{CString, c_int};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// `IFNAMSIZ` without the zero byte at the end.
const NAME_BYTES: usize = 15;

/// Refuses what cannot be a name: what would be read as an option, or not fit, must not get as far as DPDK.
pub(crate) fn check_name(interface: &str) -> Result<(), PortProblem> {
    let is_name_byte = |byte: u8| byte.is_ascii_graphic() && !b",/:=\"'[](){}".contains(&byte);
    if (1..=NAME_BYTES).contains(&interface.len()) && interface.bytes().all(is_name_byte) {
        return Ok(());
    }
    Err(PortProblem::NotAnInterfaceName {
        interface: interface.to_owned(),
    })
}

/// Whether there is such an interface in this thread's network namespace. Asked of the kernel and not of `/sys`, which may show another network namespace than this thread's.
pub(crate) fn exists(interface: &str) -> bool {
    let Ok(name) = CString::new(interface) else {
        return false;
    };
    // SAFETY: a string with its terminator.
    unsafe { libc::if_nametoindex(name.as_ptr()) != 0 }
}

/// Gives a kernel interface this MTU, which bounds what a packet socket may send through it.
pub(crate) fn set_mtu(interface: &str, mtu: u16) -> io::Result<()> {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM)?;
    let mut request = request_about(interface);
    request.ifr_ifru.ifru_mtu = mtu.into();
    // SAFETY: SIOCSIFMTU reads an `ifreq` with name and MTU.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFMTU, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a kernel interface is up and has carrier, which drivers for packet sockets do not look at.
pub(crate) fn is_running(interface: &str) -> io::Result<bool> {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM)?;
    let mut request = request_about(interface);
    // SAFETY: SIOCGIFFLAGS reads the name of an `ifreq` and writes its flags.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has written the flags.
    let flags = c_int::from(unsafe { request.ifr_ifru.ifru_flags });
    let wanted = libc::IFF_UP | libc::IFF_RUNNING;
    Ok(flags & wanted == wanted)
}

/// A request with the interface's name and nothing else.
fn request_about(interface: &str) -> libc::ifreq {
    // SAFETY: a plain C struct for which all zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    for (place, byte) in request
        .ifr_name
        .iter_mut()
        .zip(interface.bytes().take(NAME_BYTES))
    {
        *place = byte.cast_signed();
    }
    request
}

/// Receive queues of the interface; 1 where `/sys` does not show it.
pub(crate) fn n_queues(interface: &str) -> u16 {
    let Ok(entries) = fs::read_dir(Path::new("/sys/class/net").join(interface).join("queues"))
    else {
        return 1;
    };
    let n_queues = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-"))
        .count();
    u16::try_from(n_queues).unwrap_or(u16::MAX).max(1)
}

/// Lets the interface receive all multicast groups for as long as the socket returned is open, however the process
/// ends. A packet socket's membership does that; the interface's own flag would stay behind, and promiscuous reception,
/// which is all that the drivers offer, would bring in other hosts' frames.
pub(crate) fn hear_multicast(interface: &str) -> io::Result<OwnedFd> {
    let name = CString::new(interface)?;
    // SAFETY: a string with its terminator.
    let index = match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => return Err(io::Error::last_os_error()),
        index => index,
    };
    // Protocol 0: this socket itself receives nothing.
    let socket = socket(libc::AF_PACKET, libc::SOCK_RAW)?;
    let request = libc::packet_mreq {
        mr_ifindex: index.cast_signed(),
        mr_type: libc::PACKET_MR_ALLMULTI as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    // SAFETY: PACKET_ADD_MEMBERSHIP reads a `packet_mreq` of the size given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            size_of::<libc::packet_mreq>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(socket),
        _ => Err(io::Error::last_os_error()),
    }
}

fn socket(family: c_int, kind: c_int) -> io::Result<OwnedFd> {
    // SAFETY: a new socket, if it is one.
    match unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: a file descriptor that nobody else has.
        socket => Ok(unsafe { OwnedFd::from_raw_fd(socket) }),
    }
}
