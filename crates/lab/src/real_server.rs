//! What a real server needs where the director does not rewrite the destination: the VIP as an address of its own, that
//! nobody else hears of.
//!
//! Promises: the settings are those of the Linux Virtual Server's own guides, so that they can be copied to a real one.
//! Does not know: how packets for the VIP get there.

use anyhow::Result;

use crate::address::Addresses;
use crate::namespace::Namespace;
use crate::peer::TUNNEL;

/// Gives a real server the VIP, on `lo`.
///
/// - `arp_ignore=1`: ARP for an address is answered only on the interface that has it, so never for the VIP. IPv6 needs
///   no such setting: neighbour discovery is answered that way anyway.
/// - `arp_announce=2`: the server's own ARP requests do not name the VIP as their sender.
/// - `rp_filter=0`: a packet may come in by another interface than the one that its answer leaves by.
pub(crate) fn take_vip(real_server: &Namespace, vip: Addresses) -> Result<()> {
    for (setting, value) in [
        ("arp_ignore", "1"),
        ("arp_announce", "2"),
        ("rp_filter", "0"),
    ] {
        for scope in ["all", "default", "eth0"] {
            real_server.sysctl(&format!("net.ipv4.conf.{scope}.{setting}"), value)?;
        }
    }
    real_server.ip(&format!("addr add {}/32 dev lo", vip.ipv4))?;
    real_server
        .ip(&format!("addr add {}/128 dev lo nodad", vip.ipv6))
        .map(drop)
}

/// Puts the tunnel's end, once it is there, into operation.
pub(crate) fn raise_tunnel(real_server: &Namespace) -> Result<()> {
    real_server.ip(&format!("link set {TUNNEL} up")).map(drop)
}
