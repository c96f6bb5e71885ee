//! A UDP server whose answer shows that the datagram arrived whole, and where.
//!
//! Promises: each answer is the datagram received followed by the server's name.
//! Does not know: its clients; it keeps nothing between datagrams.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result};

/// Serves until the process is ended.
pub(crate) fn serve(listen: SocketAddr, name: &str) -> Result<()> {
    let socket = UdpSocket::bind(listen).with_context(|| format!("{listen} cannot be bound"))?;
    println!("ready");
    let mut datagram = vec![0; 65536];
    loop {
        let (len, client) = socket
            .recv_from(&mut datagram)
            .context("a datagram cannot be received")?;
        let answer = [&datagram[..len], name.as_bytes()].concat();
        // A client that is gone (ECONNREFUSED, no route) must not end the server.
        let _ = socket.send_to(&answer, client);
    }
}
