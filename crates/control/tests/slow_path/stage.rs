//! A slow path with two ports, and what tests do with it: let time pass, hand it frames, read what it sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, ArpPacket, EtherType, Ethernet2Header, PacketBuilder,
};
use weir_control::{Action, Limits, PortFacts, SlowPath};
use weir_director::{
    AddressUse, DropReason, LocalAddresses, NextHopId, PortId, PuntReason, Route, RouteTarget,
    Routes,
};
use weir_wire::ethernet::Mac;

use crate::reading::read;

pub(crate) const WAN: PortId = PortId(0);
pub(crate) const LAN: PortId = PortId(1);
pub(crate) const VIP: &str = "192.0.2.100";
pub(crate) const VIP6: &str = "2001:db8:1::100";
pub(crate) const LIP: &str = "10.0.0.200";
pub(crate) const LIP6: &str = "2001:db8:2::200";
pub(crate) const WAN_LINK_LOCAL: &str = "fe80::ff:fe00:1";

/// The MAC address of host `n`; 1 and 2 are the ports' own.
pub(crate) fn mac(n: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, n]
}

/// The MAC address of a port.
pub(crate) fn port_mac(port: PortId) -> [u8; 6] {
    mac(port.0 + 1)
}

pub(crate) fn ports() -> Vec<PortFacts> {
    [
        (WAN, "wan", 1500, ["192.0.2.10/24", "2001:db8:1::10/64"]),
        (LAN, "lan", 1400, ["10.0.0.1/24", "2001:db8:2::1/64"]),
    ]
    .map(|(id, name, mtu, addresses)| PortFacts {
        id,
        name: name.into(),
        mac: Mac(port_mac(id)),
        mtu,
        addresses: addresses.map(|net| net.parse().unwrap()).into(),
    })
    .into()
}

/// VIPs and LIPs.
pub(crate) fn addresses() -> LocalAddresses {
    [
        (VIP, AddressUse::Virtual),
        (VIP6, AddressUse::Virtual),
        (LIP, AddressUse::Local),
        (LIP6, AddressUse::Local),
        ("192.0.2.10", AddressUse::Own),
    ]
    .map(|(address, address_use)| (ip(address), address_use))
    .into_iter()
    .collect()
}

/// Both subnets of both ports, and a default route where there is a gateway.
pub(crate) fn routes(gateway: Option<NextHopId>) -> Arc<Routes> {
    let mut routes: Vec<Route> = ports()
        .iter()
        .flat_map(|port| {
            port.addresses.iter().map(|net| Route {
                prefix: net.trunc(),
                target: RouteTarget::OnLink(port.id),
            })
        })
        .collect();
    routes.extend(gateway.map(|id| Route {
        prefix: "0.0.0.0/0".parse().unwrap(),
        target: RouteTarget::Gateway(id),
    }));
    Arc::new(Routes::new(routes))
}

pub(crate) fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

pub(crate) fn v4(address: &str) -> [u8; 4] {
    address.parse::<Ipv4Addr>().unwrap().octets()
}

pub(crate) fn v6(address: &str) -> [u8; 16] {
    address.parse::<Ipv6Addr>().unwrap().octets()
}

/// A slow path and its clock.
pub(crate) struct Stage {
    pub(crate) slow_path: SlowPath,
    pub(crate) now: Instant,
}

impl Stage {
    /// Ports and addresses of this file, everything announced, nothing left to take.
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        let mut stage = Self::just_started(limits);
        stage.pass(3000);
        stage.sent();
        stage.slow_path.take_changed_next_hops();
        stage
    }

    /// The same, with everything still to be announced.
    pub(crate) fn just_started(limits: Limits) -> Self {
        let now = Instant::now();
        let mut slow_path = SlowPath::new(ports(), limits, now);
        slow_path.set_addresses(ports(), &addresses(), routes(None), now);
        Self { slow_path, now }
    }

    /// Lets milliseconds pass, doing what is due when it is due.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(deadline) = self.slow_path.next_deadline().filter(|due| *due <= end) {
            self.now = deadline.max(self.now);
            self.slow_path.tick(self.now);
            assert!(
                self.slow_path
                    .next_deadline()
                    .is_none_or(|next| next > deadline),
                "what was due is done"
            );
        }
        self.now = end;
    }

    pub(crate) fn punt(&mut self, reason: PuntReason, port: PortId, frame: &[u8]) {
        self.slow_path.handle(reason, port, frame, self.now);
    }

    /// Punts a frame and says under which names packets have been counted for it.
    pub(crate) fn counted(
        &mut self,
        reason: PuntReason,
        port: PortId,
        frame: &[u8],
    ) -> Vec<DropReason> {
        let before = *self.slow_path.drops();
        self.punt(reason, port, frame);
        self.counted_since(&before)
    }

    pub(crate) fn counted_since(&self, before: &[u64; DropReason::COUNT]) -> Vec<DropReason> {
        let after = self.slow_path.drops();
        DropReason::ALL
            .iter()
            .flat_map(|reason| {
                let n = after[reason.index()] - before[reason.index()];
                std::iter::repeat_n(*reason, n as usize)
            })
            .collect()
    }

    /// What was to be done with frames since this was last asked.
    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.slow_path.take_action()).collect()
    }

    /// What was sent since this was last asked, one line for each frame: the port's number and what it says.
    pub(crate) fn sent(&mut self) -> Vec<String> {
        self.actions()
            .iter()
            .map(|action| match action {
                Action::Transmit { port, frame } => format!("{} {}", port.0, read(frame)),
                Action::Process { port, frame } => {
                    format!("{} again {} bytes", port.0, frame.len())
                }
            })
            .collect()
    }

    /// The MAC address to which a next hop's packets go, by the table that would be published.
    pub(crate) fn mac_of(&self, id: NextHopId) -> Option<[u8; 6]> {
        let hops = self.slow_path.next_hops();
        let hop = hops.get(id);
        hop.is_resolved()
            .then(|| *hop.ethernet.first_chunk().unwrap())
    }

    /// A neighbour's state as users see it.
    pub(crate) fn state_of(&self, address: &str) -> Option<&'static str> {
        self.slow_path
            .neighbours(self.now)
            .iter()
            .find(|view| view.address == ip(address))
            .map(|view| view.state)
    }
}

/// An ARP frame from host `from` to MAC address `to`.
pub(crate) fn arp(
    operation: ArpOperation,
    from: [u8; 6],
    to: [u8; 6],
    [sender, target]: [&str; 2],
) -> Vec<u8> {
    let packet = ArpEthIpv4Packet {
        operation,
        sender_mac: from,
        sender_ipv4: v4(sender),
        target_mac: if operation == ArpOperation::REQUEST {
            [0; 6]
        } else {
            to
        },
        target_ipv4: v4(target),
    };
    let mut frame = Ethernet2Header {
        source: from,
        destination: to,
        ether_type: EtherType::ARP,
    }
    .to_bytes()
    .to_vec();
    frame.extend(ArpPacket::from(packet).to_bytes());
    frame.resize(60, 0);
    frame
}

/// The MAC address of an IPv6 group, or else `unicast`.
fn group_mac(destination: [u8; 16], unicast: [u8; 6]) -> [u8; 6] {
    match destination {
        [0xff, .., a, b, c, d] => [0x33, 0x33, a, b, c, d],
        _ => unicast,
    }
}

/// An ICMPv6 message from host `from`, to the group's MAC address or else to `to`.
pub(crate) fn icmpv6(
    [from, to]: [[u8; 6]; 2],
    [source, destination]: [&str; 2],
    hop_limit: u8,
    [kind, code]: [u8; 2],
    word: [u8; 4],
    body: &[u8],
) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from, group_mac(v6(destination), to))
        .ipv6(v6(source), v6(destination), hop_limit)
        .icmpv6_raw(kind, code, word);
    let mut frame = Vec::new();
    builder.write(&mut frame, body).unwrap();
    frame
}

/// The solicited-node group of an address.
pub(crate) fn solicited_node(address: &str) -> String {
    let [.., a, b, c] = v6(address);
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]).to_string()
}

/// A neighbour solicitation for `target` from host `from`, without a source address a probe for a duplicate.
pub(crate) fn solicitation(from: [u8; 6], source: &str, target: &str) -> Vec<u8> {
    let mut body = v6(target).to_vec();
    if source != "::" {
        body.extend([1, 1]);
        body.extend(from);
    }
    let group = solicited_node(target);
    icmpv6(
        [from, [0; 6]],
        [source, &group],
        255,
        [135, 0],
        [0; 4],
        &body,
    )
}

/// A neighbour advertisement of `target` with these flags (`s`olicited, `o`verride) from host `from` to host `to` at
/// `destination`. It says its MAC address if the flags contain `m`.
pub(crate) fn advertisement(
    [from, to]: [[u8; 6]; 2],
    target: &str,
    destination: &str,
    flags: &str,
) -> Vec<u8> {
    let mut body = v6(target).to_vec();
    if flags.contains('m') {
        body.extend([2, 1]);
        body.extend(from);
    }
    let bit = |flag, bit| if flags.contains(flag) { bit } else { 0 };
    let word = [bit('s', 0x40) | bit('o', 0x20), 0, 0, 0];
    icmpv6(
        [from, to],
        [target, destination],
        255,
        [136, 0],
        word,
        &body,
    )
}

/// A TCP SYN with sequence number 7 from host `from` to a port.
pub(crate) fn syn(from: [u8; 6], port: PortId, [source, destination]: [&str; 2]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(from, port_mac(port));
    let mut frame = Vec::new();
    let written = match (ip(source), ip(destination)) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ethernet
            .ipv4(source.octets(), destination.octets(), 64)
            .tcp(40000, 80, 7, 1024)
            .syn()
            .write(&mut frame, &[]),
        (IpAddr::V6(source), IpAddr::V6(destination)) => ethernet
            .ipv6(source.octets(), destination.octets(), 64)
            .tcp(40000, 80, 7, 1024)
            .syn()
            .write(&mut frame, &[]),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("two families"),
    };
    written.unwrap();
    frame
}
