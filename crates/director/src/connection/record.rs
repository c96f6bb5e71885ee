//! What is needed to forward the next packet of a flow: one cache line for IPv4, two for IPv6.
//!
//! ```text
//! bytes  0..16  addresses of both pairs (IPv4; unused with IPv6, whose second line has them)
//!       16..24  L4 ports of both pairs
//!       24..28  checksum deltas: IP header, L4
//!       28..36  sequence delta, the real server's initial sequence number
//!       36..40  protocol, state, flags
//!       40..44  last-seen tick
//!       44..48  next hops: inbound, outbound
//!       48..52  destination
//!       52..64  bytes forwarded inbound and outbound, 48 bits each
//! ```
//!
//! There is one pair of ends for each direction: the *client pair* is the key of inbound packets (CIP, VIP, cport,
//! vport), the *server pair* that of outbound ones (RIP, LIP, rport, lport). What one direction is rewritten to is the
//! other pair turned round.
//!
//! Promises: plain bytes, no pointers; a record is found again by its number alone.
//! Does not know: the index that leads to it, nor its timer.

use bytemuck::{Pod, Zeroable};
use weir_wire::checksum::Delta;
use weir_wire::{FlowKey, Protocol};

use super::State;
use crate::{ClientAddress, NextHopId, Tick, TunnelId};

/// The way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From client to real server.
    Inbound = 0,
    /// From real server to client.
    Outbound = 1,
}

impl Direction {
    /// The other way.
    #[inline]
    pub(crate) fn turned(self) -> Self {
        match self {
            Self::Inbound => Self::Outbound,
            Self::Outbound => Self::Inbound,
        }
    }
}

/// The number of a connection: of its (first) line in the slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EntryId(pub(crate) u32);

/// One cache line of the slab, whatever it holds.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([u64; 8]);

/// What is true of a connection, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Flags(u16);

impl Flags {
    /// The client pair is of IPv6: its addresses stand in the second line. Bit 0, as the direction's number.
    pub(crate) const CLIENT_IPV6: Self = Self(1);
    /// The server pair is of IPv6, likewise.
    pub(crate) const SERVER_IPV6: Self = Self(1 << 1);
    /// The client's address goes to the real server in a TCP option (TOA), unless [`Self::TOLD_OTHERWISE`].
    pub(crate) const TOA: Self = Self(1 << 8);
    /// It goes another way, or is kept from it; which is it, both bits and [`Self::TOA`] say together.
    pub(crate) const TOLD_OTHERWISE: Self = Self(0b11 << 14);
    /// The real server's initial sequence number is known.
    pub(crate) const ANSWERED: Self = Self(1 << 2);
    /// Inbound segments are past what TOA goes with for good.
    pub(crate) const TOA_DONE: Self = Self(1 << 3);
    /// The same bit with a PROXY header: the real server has acknowledged all of it, and `sequence_delta` counts it.
    pub(crate) const HEADER_ARRIVED: Self = Self::TOA_DONE;
    /// The client's FIN was seen while TOA still went with every segment: it does so to the end.
    pub(crate) const TOA_ALWAYS: Self = Self(1 << 4);
    /// `server_sequence` now holds the number that follows the client's last byte, as the real server sees it.
    pub(crate) const FINAL_SEQUENCE: Self = Self(1 << 5);
    /// The real server has sent more than its SYN.
    pub(crate) const SERVER_SPOKE: Self = Self(1 << 7);
    /// The real server answers the client itself (DR, TUN): no outbound packet is ever seen. Only the client pair is in
    /// the index; of the server pair the real server's end is known. The outbound next hop is none.
    pub(crate) const ONE_WAY: Self = Self(1 << 9);
    /// Inbound packets go through a tunnel (TUN), whose number stands in place of the outbound next hop.
    pub(crate) const TUNNEL: Self = Self(1 << 10);
    /// The same bit without `ONE_WAY`, which a tunnel always has: the client and the real server are of different IP
    /// versions, and every packet is translated (FULLNAT).
    pub(crate) const TRANSLATED: Self = Self::TUNNEL;
    /// It ends with the packet that opened it (one-packet scheduling): no outbound packet is ever looked up. Only the
    /// client pair is in the index.
    pub(crate) const ONE_PACKET: Self = Self(1 << 11);
    /// Not the two methods' plain way: one question sends these aside.
    pub(crate) const RARER: Self =
        Self(Self::ONE_WAY.0 | Self::TOLD_OTHERWISE.0 | Self::TRANSLATED.0);
    /// What has one key in the index.
    pub(crate) const ONE_KEY: Self = Self(Self::ONE_WAY.0 | Self::ONE_PACKET.0);
    /// A template sponsors it: the table knows which.
    pub(crate) const SPONSORED: Self = Self(1 << 13);
    /// It is no connection but a template, which no packet's key leads to. Its client pair is (prefix, VIP, 0, vport), in
    /// its server pair the real server's end counts. `sequence_delta` is its timeout, `server_sequence` the number of
    /// connections it sponsors.
    pub(crate) const TEMPLATE: Self = Self(1 << 12);
    /// The tuple was taken over: sequence numbers are shifted by `sequence_delta`.
    pub(crate) const SHIFTED: Self = Self(1 << 6);

    /// Those of a connection whose real server learns of the client so.
    pub(crate) fn telling(client_address: ClientAddress) -> Self {
        let (v1, v2) = (Self(1 << 14), Self(1 << 15));
        match client_address {
            ClientAddress::Toa => Self::TOA,
            ClientAddress::ProxyV1 => v1,
            ClientAddress::ProxyV2 => v2,
            ClientAddress::UdpOption => Self::TOA.with(v1),
            ClientAddress::UdpHeader => Self::TOA.with(v2),
            ClientAddress::None => v1.with(v2),
        }
    }

    /// How the real server learns of the client; `None` where that is none of weir's business.
    pub(crate) fn client_address(self) -> Option<ClientAddress> {
        Some(match (self.0 >> 14, self.has(Self::TOA)) {
            (0, false) => return None,
            (0, true) => ClientAddress::Toa,
            (1, false) => ClientAddress::ProxyV1,
            (2, false) => ClientAddress::ProxyV2,
            (1, true) => ClientAddress::UdpOption,
            (2, true) => ClientAddress::UdpHeader,
            _ => ClientAddress::None,
        })
    }

    #[inline]
    pub(crate) fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    #[inline]
    pub(crate) fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    #[inline]
    pub(crate) fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }
}

/// The first line of a connection.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Connection {
    /// By the direction of the packets that carry them.
    addresses: [u64; 2],
    /// Likewise.
    l4_ports: [u32; 2],
    /// What rewriting a packet inbound does to the IPv4 header checksum, the TTL aside.
    ip_delta: u16,
    /// What it does to the TCP or UDP checksum.
    l4_delta: u16,
    /// Added to sequence numbers inbound, taken from acknowledgement numbers outbound; see `Flags::SHIFTED`.
    pub(crate) sequence_delta: u32,
    /// The real server's initial sequence number (`Flags::ANSWERED`), later `Flags::FINAL_SEQUENCE`. With a PROXY header
    /// in place of the former: the number of the client's first byte. Of UDP: datagrams that carried the client's address.
    server_sequence: u32,
    pub(crate) protocol: u8,
    /// 0: no connection. Otherwise a `State`.
    state: u8,
    pub(crate) flags: Flags,
    last_seen: u32,
    /// By `Direction`.
    next_hops: [u16; 2],
    pub(crate) destination: u32,
    /// Bytes by `Direction`, low 32 bits, then high 16 bits.
    bytes_low: [u32; 2],
    bytes_high: [u16; 2],
}

/// The second line of an IPv6 connection.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Addresses {
    /// Source and destination, by the direction of the packets that carry them.
    pub(crate) pairs: [[[u64; 2]; 2]; 2],
}

const _: () = assert!(size_of::<Connection>() == 64 && size_of::<Addresses>() == 64);

/// Both keys of a connection, by the direction of the packets that carry them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys(pub(crate) [FlowKey; 2]);

impl Line {
    #[inline]
    pub(crate) fn connection(&self) -> &Connection {
        bytemuck::cast_ref(self)
    }

    #[inline]
    pub(crate) fn connection_mut(&mut self) -> &mut Connection {
        bytemuck::cast_mut(self)
    }

    #[inline]
    pub(crate) fn addresses(&self) -> &Addresses {
        bytemuck::cast_ref(self)
    }
}

impl From<Addresses> for Line {
    fn from(addresses: Addresses) -> Self {
        bytemuck::cast(addresses)
    }
}

impl From<Connection> for Line {
    fn from(connection: Connection) -> Self {
        bytemuck::cast(connection)
    }
}

/// Makes the protocol of a template none that a packet has: `Table::is_key_of` need not ask.
const TEMPLATE_PROTOCOL: u8 = 0x40;

#[inline]
fn template_bit(flags: Flags) -> u8 {
    if flags.has(Flags::TEMPLATE) {
        TEMPLATE_PROTOCOL
    } else {
        0
    }
}

/// An edit of inbound packets, undone for outbound ones. Without a branch: which way a packet goes cannot be foretold.
#[inline]
fn towards(direction: Direction, delta: u16) -> Delta {
    Delta(delta ^ 0u16.wrapping_sub(direction as u16))
}

impl Connection {
    /// A connection with these keys, not yet seen.
    #[inline]
    pub(crate) fn new(
        keys: &Keys,
        state: State,
        flags: Flags,
        next_hops: [NextHopId; 2],
        destination: u32,
    ) -> Self {
        let [client, server] = keys.0;
        let ip_delta = server.addresses_sum() + -client.addresses_sum();
        let l4_delta = ip_delta + server.l4_ports_sum() + -client.l4_ports_sum();
        let family_flags = [Flags::CLIENT_IPV6, Flags::SERVER_IPV6];
        let flags = std::iter::zip(keys.0, family_flags)
            .filter(|(key, _)| matches!(key, FlowKey::V6(_)))
            .fold(flags, |flags, (_, family)| flags.with(family));
        Self {
            addresses: keys.0.map(|key| match key {
                FlowKey::V4(key) => key.addresses,
                FlowKey::V6(_) => 0,
            }),
            l4_ports: keys.0.map(|key| key.l4_ports()),
            ip_delta: ip_delta.0,
            l4_delta: l4_delta.0,
            sequence_delta: 0,
            server_sequence: 0,
            protocol: client.protocol().number() | template_bit(flags),
            state: state as u8,
            flags,
            last_seen: 0,
            next_hops: next_hops.map(|hop| hop.0),
            destination,
            bytes_low: [0; 2],
            bytes_high: [0; 2],
        }
    }

    /// `None`: the line holds no connection.
    #[inline]
    pub(crate) fn state(&self) -> Option<State> {
        State::from_byte(self.state)
    }

    #[inline]
    pub(crate) fn is_established(&self) -> bool {
        self.state == State::Established as u8
    }

    #[inline]
    pub(crate) fn set_state(&mut self, state: State) {
        self.state = state as u8;
    }

    /// Whether packets this way are of IPv6.
    #[inline]
    pub(crate) fn is_ipv6(&self, direction: Direction) -> bool {
        self.flags.0 >> direction as u16 & 1 != 0
    }

    /// Whether every packet is given an IP header of the other version.
    #[inline]
    pub(crate) fn is_translated(&self) -> bool {
        self.flags.has(Flags::TRANSLATED) && !self.flags.has(Flags::ONE_WAY)
    }

    /// Whether it takes two lines.
    #[inline]
    pub(crate) fn is_pair(&self) -> bool {
        self.flags
            .has(Flags(Flags::CLIENT_IPV6.0 | Flags::SERVER_IPV6.0))
    }

    /// Source and destination address of packets this way, of IPv4, as they lie in the header.
    #[inline]
    pub(crate) fn addresses(&self, direction: Direction) -> u64 {
        self.addresses[direction as usize]
    }

    /// Source and destination L4 port of packets this way, as they lie in the header.
    #[inline]
    pub(crate) fn l4_ports(&self, direction: Direction) -> u32 {
        self.l4_ports[direction as usize]
    }

    #[inline]
    pub(crate) fn protocol(&self) -> Protocol {
        Protocol::from_number(self.protocol & !TEMPLATE_PROTOCOL).unwrap_or(Protocol::Tcp)
    }

    #[inline]
    pub(crate) fn last_seen(&self) -> Tick {
        Tick(self.last_seen)
    }

    #[inline]
    pub(crate) fn next_hop(&self, direction: Direction) -> NextHopId {
        NextHopId(self.next_hops[direction as usize])
    }

    /// The tunnel that inbound packets go through.
    #[inline]
    pub(crate) fn tunnel(&self) -> Option<TunnelId> {
        let is_there = self.flags.has(Flags::ONE_WAY) && self.flags.has(Flags::TUNNEL);
        is_there.then_some(TunnelId(self.next_hops[Direction::Outbound as usize]))
    }

    /// What rewriting a packet this way does to the IPv4 header checksum, the TTL aside.
    #[inline]
    pub(crate) fn ip_delta(&self, direction: Direction) -> Delta {
        towards(direction, self.ip_delta)
    }

    /// What rewriting a packet this way does to the TCP or UDP checksum.
    #[inline]
    pub(crate) fn l4_delta(&self, direction: Direction) -> Delta {
        towards(direction, self.l4_delta)
    }

    /// The real server's initial sequence number, while it is known and needed.
    #[inline]
    pub(crate) fn server_initial_sequence(&self) -> Option<u32> {
        let is_there = self.flags.has(Flags::ANSWERED) && !self.flags.has(Flags::FINAL_SEQUENCE);
        is_there.then_some(self.server_sequence)
    }

    /// Notes the real server's initial sequence number.
    pub(crate) fn set_server_initial_sequence(&mut self, sequence: u32) {
        if !self.flags.has(Flags::FINAL_SEQUENCE) {
            self.server_sequence = sequence;
            self.flags = self.flags.with(Flags::ANSWERED);
        }
    }

    /// Under a PROXY header, until all of it has arrived: the number of the client's first byte, as the client counts;
    /// known once the real server has answered.
    pub(crate) fn first_byte(&self) -> Option<u32> {
        self.server_initial_sequence()
    }

    /// Notes the number of the client's first byte. The header is to go before it, whatever was before.
    pub(crate) fn set_first_byte(&mut self, sequence: u32) {
        let past = Flags(Flags::FINAL_SEQUENCE.0 | Flags::HEADER_ARRIVED.0);
        self.flags = self.flags.without(past).with(Flags::ANSWERED);
        self.server_sequence = sequence;
    }

    /// Of UDP: how many datagrams carried the client's address.
    pub(crate) fn n_told(&self) -> u32 {
        self.server_sequence
    }

    /// One more did.
    pub(crate) fn told(&mut self) {
        self.server_sequence += 1;
    }

    /// The number that follows the client's last byte, as the real server sees it, once the client has closed.
    #[inline]
    pub(crate) fn final_sequence(&self) -> Option<u32> {
        self.flags
            .has(Flags::FINAL_SEQUENCE)
            .then_some(self.server_sequence)
    }

    /// Notes the number that follows the client's last byte.
    pub(crate) fn set_final_sequence(&mut self, sequence: u32) {
        self.server_sequence = sequence;
        self.flags = self.flags.with(Flags::FINAL_SEQUENCE);
    }

    /// A SYN begins the connection anew: what was said before counts no more. Where a PROXY header goes is only for the
    /// real server's SYN to change, for a client may send its own without meaning it.
    pub(crate) fn begin_anew(&mut self) {
        self.bytes_low = [0; 2];
        self.bytes_high = [0; 2];
        if self.flags.has(Flags::TOLD_OTHERWISE) {
            return;
        }
        let said = Flags(
            Flags::ANSWERED.0
                | Flags::SERVER_SPOKE.0
                | Flags::FINAL_SEQUENCE.0
                | Flags::TOA_DONE.0
                | Flags::TOA_ALWAYS.0,
        );
        self.flags = self.flags.without(said);
    }

    /// Ticks that a template lives after its last new connection.
    #[inline]
    pub(crate) fn template_timeout(&self) -> u32 {
        self.sequence_delta
    }

    /// Sets it.
    pub(crate) fn set_template_timeout(&mut self, ticks: u32) {
        self.sequence_delta = ticks;
    }

    /// Makes a template lead to another real server. Its own key, the first, stays, and is of the second's family.
    pub(crate) fn lead_to(&mut self, keys: &Keys, destination: u32) {
        if let [FlowKey::V4(client), FlowKey::V4(server)] = keys.0 {
            self.addresses = [client.addresses, server.addresses];
        }
        self.l4_ports = keys.0.map(|key| key.l4_ports());
        self.destination = destination;
        self.set_state(State::Template);
    }

    /// Living connections that a template sponsors.
    pub(crate) fn n_sponsored(&self) -> u32 {
        self.server_sequence
    }

    /// One connection of a template more.
    pub(crate) fn hold(&mut self) {
        self.server_sequence += 1;
    }

    /// One connection of a template less.
    pub(crate) fn release(&mut self) {
        debug_assert!(self.server_sequence > 0, "released more than held");
        self.server_sequence = self.server_sequence.saturating_sub(1);
    }

    /// Notes that something happened now.
    pub(crate) fn touch(&mut self, now: Tick) {
        self.last_seen = now.0;
    }

    /// Notes a packet of `bytes`. The tick is written always: a branch would cost more than the store.
    #[inline]
    pub(crate) fn saw(&mut self, direction: Direction, bytes: u16, now: Tick) {
        self.last_seen = now.0;
        let way = direction as usize;
        let (low, carried) = self.bytes_low[way].overflowing_add(u32::from(bytes));
        self.bytes_low[way] = low;
        self.bytes_high[way] = self.bytes_high[way].wrapping_add(u16::from(carried));
    }

    /// Bytes of IP packets forwarded this way.
    pub(crate) fn bytes(&self, direction: Direction) -> u64 {
        let way = direction as usize;
        u64::from(self.bytes_high[way]) << 32 | u64::from(self.bytes_low[way])
    }
}

impl Keys {
    /// Whether either of them is of IPv6, so that the connection takes two lines.
    #[inline]
    pub(crate) fn has_ipv6(&self) -> bool {
        self.0.iter().any(|key| matches!(key, FlowKey::V6(_)))
    }
}
