//! One TCP connection, both ends scripted.

use weir_director::Scheduler;
use weir_testkit::{
    Decoded, Family, FrameBuilder, IntoEndpoint, LAN_MAC, Rig, Site, TcpOption, real_server_mac,
    tcp, udp,
};
use weir_wire::{Endpoint, Protocol};

/// Where clients' sequence numbers begin.
pub(crate) const CLIENT_ISN: u32 = 1000;
/// Where real servers' sequence numbers begin.
pub(crate) const SERVER_ISN: u32 = 5000;

/// A connection as both ends see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conversation {
    pub(crate) client: Endpoint,
    pub(crate) vip: Endpoint,
    pub(crate) local: Endpoint,
    pub(crate) real: Endpoint,
}

impl Conversation {
    /// The client's SYN went through.
    #[track_caller]
    pub(crate) fn begin(rig: &mut Rig, client: impl IntoEndpoint, vip: impl IntoEndpoint) -> Self {
        let (client, vip) = (client.into_endpoint(), vip.into_endpoint());
        let syn = tcp(client, vip).syn().seq(CLIENT_ISN);
        let sent = rig.forward(&syn.options(&TcpOption::of_syn()));
        Self::seen_by_both(client, vip, &sent)
    }

    /// As the first packet and what became of it tell.
    pub(crate) fn seen_by_both(client: Endpoint, vip: Endpoint, sent: &Decoded) -> Self {
        Self {
            client,
            vip,
            local: sent.source,
            real: sent.destination,
        }
    }

    /// The three-way handshake went through.
    #[track_caller]
    pub(crate) fn establish(
        rig: &mut Rig,
        client: impl IntoEndpoint,
        vip: impl IntoEndpoint,
    ) -> Self {
        let conversation = Self::begin(rig, client, vip);
        rig.forward(&conversation.syn_ack());
        rig.forward(&conversation.inbound(1, 1));
        conversation
    }

    /// Both ends closed, the real server first: the connection is in TIME_WAIT, and so is the real server.
    #[track_caller]
    pub(crate) fn close(&self, rig: &mut Rig) {
        rig.forward(&self.outbound(1, 1).fin());
        rig.forward(&self.inbound(1, 2).fin());
        rig.forward(&self.outbound(2, 2));
    }

    /// The real server's answer to the SYN.
    pub(crate) fn syn_ack(&self) -> FrameBuilder {
        self.outbound(0, 1).syn().options(&TcpOption::of_syn())
    }

    /// A segment from the client: `sequence` and `acknowledgement` are counted from the SYNs' numbers.
    pub(crate) fn inbound(&self, sequence: u32, acknowledgement: u32) -> FrameBuilder {
        tcp(self.client, self.vip)
            .seq(CLIENT_ISN.wrapping_add(sequence))
            .ack(SERVER_ISN.wrapping_add(acknowledgement))
    }

    /// A segment from the real server, likewise.
    pub(crate) fn outbound(&self, sequence: u32, acknowledgement: u32) -> FrameBuilder {
        tcp(self.real, self.local)
            .macs(real_server_mac(self.real.ip()), LAN_MAC)
            .seq(SERVER_ISN.wrapping_add(sequence))
            .ack(CLIENT_ISN.wrapping_add(acknowledgement))
    }
}

/// Type and code of an ICMP error, port unreachable, that this end sends.
pub(crate) fn unreachable_by(sender: impl IntoEndpoint) -> [u8; 2] {
    if sender.into_endpoint().is_ipv4() {
        [3, 3]
    } else {
        [1, 4]
    }
}

/// A datagram from a real server.
pub(crate) fn reply(real: Endpoint, local: Endpoint) -> FrameBuilder {
    udp(real, local).macs(real_server_mac(real.ip()), LAN_MAC)
}

/// A rig with one TCP service for each family, one real server each.
pub(crate) fn tcp_rig() -> Rig {
    Rig::new(Site::with_one_server(Protocol::Tcp))
}

/// A rig with one TCP service over IPv4 whose local ports are `first` to `last` of one local address.
pub(crate) fn rig_with_local_ports(family: Family, first: u16, last: u16) -> Rig {
    let local = family.local.into_endpoint().ip().to_string();
    let site = Site::new().local(&[&local], first, last).service(
        Protocol::Tcp,
        family.vip,
        Scheduler::Rr,
        &[(family.real, 1)],
    );
    Rig::new(site)
}

/// The client with its L4 port replaced.
pub(crate) fn client(family: Family, cport: u16) -> Endpoint {
    Endpoint::new(family.client.into_endpoint().ip(), cport)
}
