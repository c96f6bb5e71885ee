//! The SYN a connection began with, as the kernel keeps it: `TCP_SAVE_SYN` and `TCP_SAVED_SYN` (Linux 4.2).
//!
//! Promises: the SYN's IP and TCP headers with all options, byte for byte, without a kernel module.
//! Does not know: what the options mean (`toa`).

use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::sockopt::{GetStruct, SetStruct};
use nix::sys::socket::{getsockopt, setsockopt};

#[derive(Clone, Copy, Debug)]
struct SaveSyn;

nix::setsockopt_impl!(
    SaveSyn,
    libc::IPPROTO_TCP,
    libc::TCP_SAVE_SYN,
    libc::c_int,
    SetStruct<libc::c_int>
);

/// Has the kernel keep the SYN of every connection that `listener` accepts from now on.
pub(crate) fn keep(listener: &TcpListener) -> Result<()> {
    setsockopt(listener, SaveSyn, &1)
        .context("TCP_SAVE_SYN cannot be set; it needs Linux 4.2 or later")
}

/// Asks for a SYN of each possible length in turn, shortest first.
///
/// `nix` reads options of one known length only, and a SYN has many. But the kernel refuses a buffer that is too short
/// with EINVAL and keeps the SYN, and headers come in multiples of four bytes: so the first length that is accepted is
/// the SYN's own.
macro_rules! try_each_length {
    ($stream:expr, $($length:literal)*) => {$({
        #[derive(Clone, Copy, Debug)]
        struct SavedSyn;
        nix::getsockopt_impl!(
            SavedSyn, libc::IPPROTO_TCP, libc::TCP_SAVED_SYN, [u8; $length], GetStruct<[u8; $length]>
        );
        match getsockopt($stream, SavedSyn) {
            Ok(syn) => return Ok(syn.to_vec()),
            Err(Errno::EINVAL) => {}
            Err(error) => return Err(error).context("TCP_SAVED_SYN cannot be read"),
        }
    })*};
}

/// The IP and TCP headers of the SYN that `stream` began with. The kernel gives them once.
///
/// Errors: [`keep`] was not called on the listener, or the SYN was read before.
pub(crate) fn take(stream: &TcpStream) -> Result<Vec<u8>> {
    // From IPv4 and TCP without options to IPv4 and TCP with all the options there is room for.
    try_each_length!(stream, 40 44 48 52 56 60 64 68 72 76 80 84 88 92 96 100 104 108 112 116 120);
    bail!("the kernel's copy of the SYN is longer than any SYN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_over_loopback_is_an_ip_packet_with_the_clients_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        keep(&listener).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let syn = take(&stream).unwrap();
        assert_eq!(syn[0] >> 4, 4);
        let header_len = usize::from(syn[0] & 15) * 4;
        assert_eq!(
            syn.len(),
            header_len + usize::from(syn[header_len + 12] >> 4) * 4
        );
        let cport = u16::from_be_bytes([syn[header_len], syn[header_len + 1]]);
        assert_eq!(cport, client.local_addr().unwrap().port());
    }
}
