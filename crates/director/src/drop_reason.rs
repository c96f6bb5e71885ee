//! Why a packet ends here. The list of names is the operator's documentation.
//!
//! Promises: every refusal in weir, of workers and of the control thread, has one of these names, and is counted
//! once under it. Each has a line in `docs/drops.md` and a test; `cargo xtask tidy` checks both.
//! Does not know: the counters.

use std::fmt;

use weir_wire::ParseError;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal: $explanation:literal,)+) => {
        /// Why a packet ends here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DropReason {
            /// All of them, in the order of [`Self::index`].
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name that users see.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// One sentence: what it means.
            pub fn explanation(self) -> &'static str {
                match self {
                    $(Self::$variant => $explanation,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// Shorter than an Ethernet header.
    EthernetTruncated = "ethernet_truncated": "The frame is shorter than an Ethernet header.",
    /// A VLAN tag with a number.
    VlanNotOurs = "vlan_not_ours": "The frame carries a VLAN number, and no port of ours belongs to a VLAN.",
    /// Neither IPv4, IPv6 nor ARP.
    EtherTypeUnknown = "ether_type_unknown": "The frame carries neither IPv4, IPv6 nor ARP.",
    /// An ARP packet that cannot be read.
    ArpMalformed = "arp_malformed": "The ARP packet is cut off, or not about IPv4 over Ethernet.",
    /// An IPv4 header that cannot be read.
    Ipv4Malformed = "ipv4_malformed": "The IPv4 header is cut off, of another version, or its lengths contradict each other.",
    /// Fewer bytes than the IPv4 header announces.
    Ipv4Truncated = "ipv4_truncated": "Fewer bytes arrived than the IPv4 header announces.",
    /// The IPv4 header checksum of a packet of no connection is wrong.
    Ipv4ChecksumWrong = "ipv4_checksum_wrong": "The checksum of the IPv4 header is wrong.",
    /// An IPv6 header that cannot be read.
    Ipv6Malformed = "ipv6_malformed": "The IPv6 header is cut off or of another version.",
    /// Fewer bytes than the IPv6 header announces.
    Ipv6Truncated = "ipv6_truncated": "Fewer bytes arrived than the IPv6 header announces.",
    /// Extension headers that cannot be read.
    Ipv6ExtensionMalformed = "ipv6_extension_malformed": "The IPv6 extension headers are cut off, too many, or out of place.",
    /// A part of a datagram of a protocol that is not forwarded.
    Fragment = "fragment": "The packet is a part of a fragmented datagram that is neither TCP nor UDP.",
    /// A fragment that cannot be read.
    FragmentMalformed = "fragment_malformed": "The fragment is empty, its length is no multiple of 8, or it ends beyond the largest datagram.",
    /// A first fragment without its L4 header.
    FragmentTooShort = "fragment_too_short": "The first fragment of the datagram does not hold its whole TCP or UDP header.",
    /// A later fragment that begins in the L4 header.
    FragmentOverlaps = "fragment_overlaps": "The fragment overlaps the TCP header in the first one of its datagram.",
    /// The first fragment did not come in time.
    FragmentFirstMissing = "fragment_first_missing": "The first fragment of the datagram did not come within a second.",
    /// The first fragment was refused.
    FragmentFirstRefused = "fragment_first_refused": "The first fragment of the datagram was refused.",
    /// A header was to be inserted, and cannot be.
    FragmentBeforeHeader = "fragment_before_header": "The datagram came in fragments, into which the PROXY header cannot be put that the real server reads first.",
    /// Newer fragments needed the room.
    FragmentStoreFull = "fragment_store_full": "The fragment waited for the first one of its datagram and made room for newer ones.",
    /// A protocol above IP that is not forwarded.
    ProtocolUnknown = "protocol_unknown": "The protocol above IP is neither TCP, UDP, SCTP nor ICMP.",
    /// A TCP header that cannot be read.
    TcpMalformed = "tcp_malformed": "The TCP header is cut off or its data offset is impossible.",
    /// A UDP header that cannot be read.
    UdpMalformed = "udp_malformed": "The UDP header is cut off or its length is impossible.",
    /// An SCTP packet that cannot be read.
    SctpMalformed = "sctp_malformed": "The SCTP header is cut off, or no chunk follows it.",
    /// An ICMP message that cannot be read.
    IcmpMalformed = "icmp_malformed": "The ICMP message is cut off, or what it quotes cannot be read.",
    /// An ICMP message whose checksum is wrong.
    IcmpChecksumWrong = "icmp_checksum_wrong": "The checksum of the ICMP message is wrong.",
    /// An ICMP error about no connection of ours.
    IcmpUnrelated = "icmp_unrelated": "The ICMP error is about a packet of no connection.",
    /// An ICMP error about a tunnel's own packet that cannot be passed on.
    TunnelErrorUntold = "tunnel_error_untold": "The ICMP error is about a packet in a tunnel, and quotes too little of it to tell whose it was, or no way to the client is known; a path MTU that it names is remembered.",
    /// An ICMP message that asks for nothing weir answers.
    IcmpIgnored = "icmp_ignored": "The ICMP message is neither an error nor a request that weir answers.",
    /// An ARP packet about addresses that are not ours.
    ArpNotForUs = "arp_not_for_us": "The ARP packet is about no address of ours and from no neighbour asked for.",
    /// A neighbour discovery message that is not for us or breaks RFC 4861.
    NeighbourDiscoveryInvalid = "neighbour_discovery_invalid": "The neighbour discovery message is malformed or about no address of ours.",
    /// Sent to another MAC address.
    MacNotOurs = "mac_not_ours": "The frame is addressed to another MAC address than the port's, or to a group to which only ARP and ICMP are sent.",
    /// Sent to an IP address that is not ours.
    AddressNotOurs = "address_not_ours": "The packet is addressed to no VIP, local address or own address, and neither from nor to a real server reached by NAT.",
    /// A source address that no packet may have.
    SourceInvalid = "source_invalid": "The source address is unspecified, multicast, broadcast, loopback or one of ours.",
    /// No service wants the L4 port.
    NoService = "no_service": "No service wants packets to this address and L4 port; answered at a limited rate.",
    /// A segment or SCTP packet of no connection.
    NoConnection = "no_connection": "The TCP segment or SCTP packet belongs to no connection and does not open one; a segment is answered with RST at a limited rate.",
    /// No destination may be used.
    NoDestination = "no_destination": "The service has no destination with a weight above 0 and fewer connections than its threshold; answered at a limited rate.",
    /// The connection's destination was removed.
    DestinationRemoved = "destination_removed": "The connection's destination was removed, and `removed_destination: Ipvs` drops its packets while that is so.",
    /// No local port is free.
    LocalPortsExhausted = "local_ports_exhausted": "No local address has an L4 port left for this destination; add local addresses.",
    /// Another connection of the same client's L4 port goes to the same real server.
    NatFlowTaken = "nat_flow_taken": "Under NAT, another connection of this client's L4 port goes to the same real server already, by way of another service, and replies could not be told apart.",
    /// Two workers did not go by the same snapshot when one chose for the other.
    ChoiceOutdated = "choice_outdated": "While a persistent service changed, one worker chose a destination for another that knew it no more, or not yet; lasts for microseconds.",
    /// The connection table is full.
    TableFull = "table_full": "The connection table is full and nothing in it may be evicted; raise `connections`.",
    /// No route leads back to the client.
    NoRoute = "no_route": "No route leads to the client, or to where a real server's packet goes; add one to `routes`.",
    /// The TTL or hop limit is used up.
    TtlExceeded = "ttl_exceeded": "The TTL or hop limit is used up; answered at a limited rate.",
    /// Larger than the next hop takes, and not to be fragmented.
    TooBig = "too_big": "The packet is larger than the next hop takes and must not be fragmented; answered with the right MTU at a limited rate.",
    /// No free bytes before the frame.
    NoHeadroom = "no_headroom": "The buffer has no free bytes before the frame for the header of a tunnel, the PROXY header, or a longer IP header.",
    /// It would have reached the real server before the PROXY header.
    BeforeProxyHeader = "before_proxy_header": "The TCP segment carries what the real server would have read before, or in place of, the PROXY header.",
    /// The other version of IP has no words for it.
    Untranslatable = "untranslatable": "The client and the real server are of different IP versions, and the packet has no counterpart in the other's: an ICMP error that only one of them knows, a source route, or a UDP datagram over IPv6 without checksum; or it is a fragment.",
    /// The next hop does not answer ARP or neighbour discovery.
    NeighbourUnreachable = "neighbour_unreachable": "The next hop does not answer ARP or neighbour discovery.",
    /// Too many packets wait for a next hop's MAC address.
    NeighbourQueueFull = "neighbour_queue_full": "Too many packets wait for the MAC address of the next hop.",
    /// No number is left for a new next hop.
    NextHopsExhausted = "next_hops_exhausted": "More neighbours than the next-hop table holds; put a router before the clients.",
    /// The control thread does not keep up.
    PuntRingFull = "punt_ring_full": "The ring to the control thread is full.",
    /// Longer than what the ports take, and the control thread's business.
    PuntTooLong = "punt_too_long": "The packet is for the control thread, and longer than the largest `mtu` of the ports.",
    /// The owning worker does not keep up.
    HandOffRingFull = "hand_off_ring_full": "The ring to the worker that owns the connection is full.",
    /// The port does not take more packets.
    TransmitQueueFull = "transmit_queue_full": "The transmit queue of the port is full.",
    /// No buffer is free.
    NoBuffer = "no_buffer": "No free buffer for a packet that the control thread wants to send, or for a fragment of one that is cut.",
}

impl DropReason {
    /// How many there are, for arrays of counts.
    pub const COUNT: usize = Self::ALL.len();

    /// A dense number, below [`Self::COUNT`].
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<ParseError> for DropReason {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::EthernetTruncated => Self::EthernetTruncated,
            ParseError::VlanNotOurs => Self::VlanNotOurs,
            ParseError::EtherTypeUnknown => Self::EtherTypeUnknown,
            ParseError::ArpMalformed => Self::ArpMalformed,
            ParseError::Ipv4Malformed => Self::Ipv4Malformed,
            ParseError::Ipv4Truncated => Self::Ipv4Truncated,
            ParseError::Ipv6Malformed => Self::Ipv6Malformed,
            ParseError::Ipv6Truncated => Self::Ipv6Truncated,
            ParseError::Ipv6ExtensionMalformed => Self::Ipv6ExtensionMalformed,
            ParseError::Fragment => Self::Fragment,
            ParseError::FragmentMalformed => Self::FragmentMalformed,
            ParseError::FragmentTooShort => Self::FragmentTooShort,
            ParseError::FragmentOverlaps => Self::FragmentOverlaps,
            ParseError::ProtocolUnknown => Self::ProtocolUnknown,
            ParseError::TcpMalformed => Self::TcpMalformed,
            ParseError::UdpMalformed => Self::UdpMalformed,
            ParseError::SctpMalformed => Self::SctpMalformed,
            ParseError::IcmpMalformed => Self::IcmpMalformed,
        }
    }
}
