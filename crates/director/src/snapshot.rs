//! An immutable, numbered picture of services, destinations, routes and neighbours.
//!
//! Promises: never changes; made of shared parts, so that a new MAC address copies none of the services.
//! Does not know: how it reaches a worker, nor when it is freed (the publisher keeps it until all have passed).

use std::sync::Arc;
use std::time::Duration;

use weir_wire::FlowKey;

use crate::connection::State;
use crate::{
    AddressUse, DestinationId, Generation, LocalAddresses, NextHops, PathMtus, Routes, ServiceKey,
    Services, Steering, Tick, Tunnels, WorkerId,
};

/// What a worker decides by.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Its number.
    pub generation: Generation,
    /// What clients may reach.
    pub services: Arc<Services>,
    /// The way to clients and real servers.
    pub routes: Arc<Routes>,
    /// Where packets go on the wire: the one part that living connections read.
    pub next_hops: Arc<NextHops>,
    /// Where TUN leads; a row never changes.
    pub tunnels: Arc<Tunnels>,
    /// How large a packet gets through them.
    pub path_mtus: Arc<PathMtus>,
    /// The addresses that are ours.
    pub addresses: Arc<LocalAddresses>,
    /// Which worker owns a flow.
    pub steering: Arc<Steering>,
    /// The destinations whose totals are published: those of all services, and removed ones that still have
    /// connections.
    pub counted: Arc<[DestinationId]>,
    /// What is left.
    pub settings: Settings,
}

/// Settings that are copied, not shared.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a connection lives without a packet.
    pub timeouts: Timeouts,
    /// The kind of the TCP option that carries a client's address (TOA).
    pub toa_kind: u8,
    /// What IPVS lets its users choose.
    pub ipvs: IpvsSettings,
    /// What becomes of connections to a destination that was removed.
    pub removed_destination: RemovedDestination,
}

/// Settings of IPVS (`/proc/sys/net/ipv4/vs`), by its names and with its defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpvsSettings {
    /// A TCP segment that belongs to no connection opens one, unless it is a RST (`sloppy_tcp`).
    pub sloppy_tcp: bool,
    /// An SCTP packet that belongs to no connection opens one, whatever it asks for (`sloppy_sctp`).
    pub sloppy_sctp: bool,
    /// Which connections a SYN takes the place of (`conn_reuse_mode`).
    pub reuse: Reuse,
    /// An ICMP error about a packet of no connection, from a VIP's service to a client, opens one for that client
    /// (`schedule_icmp`).
    pub schedule_icmp: bool,
    /// A connection ends with its destination: at its next packet when that was removed, at its next SYN when that has
    /// weight 0 (`expire_nodest_conn`).
    pub ends_with_destination: bool,
    /// A template whose destination has weight 0 leads there no more (`expire_quiescent_template`).
    pub expire_quiescent_template: bool,
    /// What TUN carries may be fragmented on its way whatever it says itself, and is where it does not fit: `pmtu_disc` is 0.
    pub fragments_tunnelled: bool,
}

/// Which connections a SYN or INIT with their client's address and L4 port takes the place of; of others it is a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// None (0).
    Never,
    /// Those in TIME_WAIT and CLOSE, of SCTP those in CLOSED (1).
    #[default]
    Over,
    /// Those in FIN_WAIT too, of which only the client's packets are seen (2 and 3).
    OverOrFinWait,
}

/// What becomes of connections to a destination that was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemovedDestination {
    /// They run on to their end.
    #[default]
    Finish,
    /// What clients send is dropped while the destination is gone; under `expire_nodest_conn` it ends them.
    Ipvs,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            toa_kind: 254,
            ipvs: IpvsSettings::default(),
            removed_destination: RemovedDestination::default(),
        }
    }
}

/// How long a connection lives without a packet, by its state.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    ticks: [u32; State::COUNT],
}

impl Default for Timeouts {
    /// Those of Linux IPVS (`net/netfilter/ipvs/ip_vs_proto_tcp.c`, `ip_vs_proto_udp.c`,
    /// `ip_vs_proto_sctp.c`).
    fn default() -> Self {
        let mut timeouts = Self {
            ticks: [0; State::COUNT],
        };
        for (state, seconds) in [
            (State::Established, 900),
            (State::SynSent, 120),
            (State::SynRecv, 60),
            (State::FinWait, 120),
            (State::TimeWait, 120),
            (State::Close, 10),
            (State::CloseWait, 60),
            (State::LastAck, 30),
            (State::Listen, 120),
            (State::SynAck, 120),
            (State::Udp, 300),
            (State::SctpNone, 2),
            (State::SctpInit1, 4),
            (State::SctpInit, 61),
            (State::SctpCookieSent, 61),
            (State::SctpCookieReplied, 61),
            (State::SctpCookieWait, 61),
            (State::SctpCookie, 61),
            (State::SctpCookieEchoed, 61),
            (State::SctpEstablished, 900),
            (State::SctpShutdownSent, 61),
            (State::SctpShutdownReceived, 61),
            (State::SctpShutdownAckSent, 61),
            (State::SctpRejected, 4),
            (State::SctpClosed, 61),
        ] {
            timeouts = timeouts.with(state, Duration::from_secs(seconds));
        }
        timeouts
    }
}

impl Timeouts {
    /// The same but for one state.
    pub fn with(mut self, state: State, timeout: Duration) -> Self {
        self.ticks[state.index()] = Tick::span(timeout);
        self
    }

    /// The longest of them, in ticks.
    pub fn longest_ticks(&self) -> u32 {
        self.ticks.into_iter().max().unwrap_or(0)
    }

    /// Ticks that a connection in `state` lives without a packet.
    #[inline]
    pub fn ticks(&self, state: State) -> u32 {
        self.ticks[state.index()]
    }
}

impl Snapshot {
    /// The worker that owns a client's flow, or of a reply to a local address that one: where it opens its connection.
    pub(crate) fn owner(&self, key: &FlowKey, destination_use: AddressUse) -> WorkerId {
        if self.services.has_nat(&ServiceKey::of(key)) {
            self.steering.owner_under_nat(key)
        } else {
            self.steering.owner(key, destination_use)
        }
    }
}
