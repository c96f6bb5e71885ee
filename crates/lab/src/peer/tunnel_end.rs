//! The far end of a TUN service's tunnels: what a real server's kernel does with modules (`ipip`, `sit`, `ip_gre`,
//! `fou`) that not every kernel has.
//!
//! ```text
//! eth0 ── kernel ──► raw sockets (4, 41, 47), UDP 6080 ──► this ──► tun0 ──► kernel, as if it had just come in
//! ```
//!
//! Promises: the packet inside goes on byte for byte; what is no tunnel's packet is dropped. An open socket of the outer
//! protocol also keeps the kernel from answering that there is none.
//! Does not know: who may send: it is for a lab's real servers, which nobody else reaches.

use std::io::Read;
use std::net::{Ipv6Addr, UdpSocket};
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SetStruct;
use socket2::{Domain, Protocol, Socket, Type};
use tappers::{Interface, Tun};

use super::TUNNEL;
use crate::encapsulation::Carrier;
use crate::method::GUE;

/// The longest datagram.
const DATAGRAM_LEN: usize = 65536;
/// Room in the kernel for packets that wait for us, as much as it gives.
const BUFFER_LEN: usize = 4 << 20;

#[derive(Clone, Copy, Debug)]
struct AcceptNoChecksum;

nix::setsockopt_impl!(
    AcceptNoChecksum,
    libc::IPPROTO_UDP,
    libc::UDP_NO_CHECK6_RX,
    libc::c_int,
    SetStruct<libc::c_int>
);

/// Serves until the process is ended; the device goes with it.
pub(crate) fn serve() -> Result<()> {
    let name = Interface::new(TUNNEL).context("the tunnel's name is none")?;
    let device = Tun::new_named(name).context("a tun device cannot be made; this takes root")?;
    let device = Arc::new(device);
    let mut ends = Vec::new();
    for domain in [Domain::IPV4, Domain::IPV6] {
        for carrier in Carrier::OF_IP {
            let socket = raw_socket(domain, carrier)?;
            let device = Arc::clone(&device);
            ends.push(std::thread::spawn(move || {
                from_raw(socket, domain, carrier, &device)
            }));
        }
    }
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, GUE))
        .with_context(|| format!("UDP port {GUE} cannot be bound"))?;
    // RFC 6935: a tunnel's outer UDP header may go without a checksum over IPv6 too.
    setsockopt(&socket, AcceptNoChecksum, &1).context("UDP_NO_CHECK6_RX cannot be set")?;
    ends.push(std::thread::spawn(move || from_udp(&socket, &device)));
    println!("ready");
    for end in ends {
        match end.join() {
            Ok(outcome) => outcome?,
            Err(_) => anyhow::bail!("a thread of the tunnel's end panicked"),
        }
    }
    Ok(())
}

fn raw_socket(domain: Domain, carrier: Carrier) -> Result<Socket> {
    let number = carrier.number().context("this carrier is in UDP")?;
    let protocol = Protocol::from(i32::from(number));
    let socket = Socket::new(domain, Type::RAW, Some(protocol))
        .with_context(|| format!("a raw socket for {carrier} cannot be opened; this takes root"))?;
    socket
        .set_recv_buffer_size(BUFFER_LEN)
        .context("a raw socket's buffer cannot be set")?;
    Ok(socket)
}

/// A raw IPv4 socket gives the outer header too (raw(7)), an IPv6 one does not (RFC 3542 section 3).
fn from_raw(mut socket: Socket, domain: Domain, carrier: Carrier, device: &Tun) -> Result<()> {
    let mut datagram = vec![0; DATAGRAM_LEN];
    loop {
        let len = socket
            .read(&mut datagram)
            .context("a raw socket cannot be read")?;
        let mut payload = &datagram[..len];
        if domain == Domain::IPV4 {
            let header_len = payload
                .first()
                .map_or(0, |&first| usize::from(first & 15) * 4);
            payload = payload.get(header_len..).unwrap_or_default();
        }
        pass_on(carrier, payload, device);
    }
}

fn from_udp(socket: &UdpSocket, device: &Tun) -> Result<()> {
    let mut datagram = vec![0; DATAGRAM_LEN];
    loop {
        let (len, _) = socket
            .recv_from(&mut datagram)
            .context("the UDP socket cannot be read")?;
        pass_on(Carrier::Gue, &datagram[..len], device);
    }
}

fn pass_on(carrier: Carrier, payload: &[u8], device: &Tun) {
    if let Some(packet) = carrier.inside(payload) {
        // A device that is not up yet, or a packet that the kernel finds wrong, is a lost packet, as on any wire.
        let _ = device.send(packet);
    }
}
