//! Servers of our own, for what no ordinary server tells: who the client was, as TOA told it, and what arrived; and the
//! far end of tunnels, for what not every kernel does.
//!
//! They run inside a namespace as a process of their own: the same program that builds the lab, started again with the
//! words of [`Peer`]. The binary `weir-lab-peer` does nothing else; `cargo xtask peer` is the same door.
//!
//! Promises: ends only when it is ended; prints "ready" once it listens.
//! Does not know: the lab around it.

mod http;
mod saved_syn;
mod tunnel_end;
mod udp_echo;

use std::net::SocketAddr;

use anyhow::Result;

pub use http::Answer;
pub(crate) use http::hexadecimal;

/// The device that packets come out of at the far end of a tunnel.
pub const TUNNEL: &str = "tun0";

/// The words a peer is started with.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Peer {
    /// Answer HTTP with what is known about the client; count and digest what is uploaded
    Http {
        /// Address and L4 port to listen on
        listen: SocketAddr,
        /// The name to answer with
        name: String,
    },
    /// Send every datagram back to where it came from, followed by the name
    UdpEcho {
        /// Address and L4 port to listen on
        listen: SocketAddr,
        /// The name to answer with
        name: String,
    },
    /// Unpack IP in IP, GRE and GUE addressed to this machine into a tun device of it
    TunnelEnd,
}

impl Peer {
    /// Serves until the process is ended.
    pub fn serve(self) -> Result<()> {
        match self {
            Self::Http { listen, name } => http::serve(listen, &name),
            Self::UdpEcho { listen, name } => udp_echo::serve(listen, &name),
            Self::TunnelEnd => tunnel_end::serve(),
        }
    }
}
