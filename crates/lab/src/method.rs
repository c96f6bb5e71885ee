//! The forwarding methods, as a user names them.
//!
//! Promises: a method is written here in each language that weir's users speak: that of the configuration and that of
//! ipvsadm.
//! Does not know: what a method does to a packet; the director does, and the real servers' side of it is in
//! `real_server`.

use crate::encapsulation::Carrier;

/// How a director gets a packet to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The destination is rewritten on the way in, the source on the way out.
    Nat,
    /// Only the MAC addresses change; the real server answers the client directly.
    Dr,
    /// The packet travels inside another one; the real server answers the client directly.
    Tun(Encapsulation),
    /// Source and destination are rewritten, both ways; TOA tells the client's address.
    FullNat,
}

/// What a packet travels in under TUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// An IP header (RFC 2003, RFC 2473, RFC 4213).
    Ipip,
    /// IP and GRE headers (RFC 2784), no checksum.
    Gre,
    /// IP, UDP and GUE headers, as Linux's `fou` module reads them, no checksum.
    Gue,
}

/// The UDP port to which GUE is sent, that of IANA and of IPVS's examples.
pub const GUE: u16 = 6080;

impl Encapsulation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ipip, Self::Gre, Self::Gue];

    /// What its packets look like on the wire.
    pub fn carriers(self) -> &'static [Carrier] {
        match self {
            Self::Ipip => &[Carrier::Ipv4, Carrier::Ipv6],
            Self::Gre => &[Carrier::Gre],
            Self::Gue => &[Carrier::Gue],
        }
    }
}

impl Method {
    /// One of each, TUN with the encapsulation that is its default.
    pub const ALL: [Self; 4] = [
        Self::Nat,
        Self::Dr,
        Self::Tun(Encapsulation::Ipip),
        Self::FullNat,
    ];

    /// The method as the configuration has it, for a service whose real servers learn of the client in the way `told`,
    /// if anything is said of it.
    pub(crate) fn in_configuration(self, told: Option<&str>) -> String {
        match self {
            Self::Nat => "Nat".into(),
            Self::Dr => "Dr".into(),
            Self::Tun(Encapsulation::Ipip) => "Tun(encapsulation: Ipip)".into(),
            Self::Tun(Encapsulation::Gre) => "Tun(encapsulation: Gre(checksum: false))".into(),
            Self::Tun(Encapsulation::Gue) => {
                format!("Tun(encapsulation: Gue(destination_port: {GUE}, checksum: false))")
            }
            Self::FullNat => match told {
                Some(told) => format!("FullNat(local_pool: \"default\", client_address: {told})"),
                None => "FullNat(local_pool: \"default\")".into(),
            },
        }
    }

    /// Whether replies pass the director.
    pub fn replies_pass_the_director(self) -> bool {
        match self {
            Self::Nat | Self::FullNat => true,
            Self::Dr | Self::Tun(_) => false,
        }
    }

    /// Whether the real servers have the VIP as an address of their own.
    pub fn real_servers_have_the_vip(self) -> bool {
        !self.replies_pass_the_director()
    }
}
