//! Addresses, prefixes and ranges: from text, with a sentence where the text is none.
//!
//! Promises: a refusal names the text and shows how it would be right.
//! Does not know: who may own an address, or whether it can be reached.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Addresses of one family from `first` to `last`, both included.
///
/// Invariant: one family, `first <= last`, at most [`AddressRange::LENGTH_LIMIT`] addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// As many addresses may one range hold.
    pub const LENGTH_LIMIT: u128 = 65_536;

    /// The range from `first` to `last`, both included; refused in one sentence.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, String> {
        if first.is_ipv4() != last.is_ipv4() {
            return Err(format!(
                "the range {first}-{last} mixes IPv4 and IPv6; give each family a range of its own"
            ));
        }
        if last < first {
            return Err(format!(
                "the range {first}-{last} runs backwards; write {last}-{first}"
            ));
        }
        if number(last) - number(first) >= Self::LENGTH_LIMIT {
            let limit = Self::LENGTH_LIMIT;
            return Err(format!(
                "the range {first}-{last} is too long; a range may hold {limit} addresses"
            ));
        }
        Ok(Self { first, last })
    }

    /// The lowest address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether the addresses are IPv4; else they are IPv6.
    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// Whether `address` is one of these.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.is_ipv4() == address.is_ipv4() && self.first <= address && address <= self.last
    }

    /// Whether an address is in both.
    pub fn overlaps(&self, other: &AddressRange) -> bool {
        self.is_ipv4() == other.is_ipv4() && self.first <= other.last && other.first <= self.last
    }

    /// Every address, lowest first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let is_ipv4 = self.is_ipv4();
        (number(self.first)..=number(self.last)).map(move |number| match is_ipv4 {
            // The number came from an IPv4 address, so the cast loses nothing.
            true => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
            false => IpAddr::V6(Ipv6Addr::from_bits(number)),
        })
    }
}

impl fmt::Display for AddressRange {
    /// `10.0.0.200`, or `10.0.0.201-10.0.0.203`: the form of the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// `192.0.2.1` or `2001:db8::1`.
pub(crate) fn parse_address(text: &str) -> Result<IpAddr, String> {
    if let Some((address, _)) = text.split_once('/')
        && address.parse::<IpAddr>().is_ok()
    {
        return Err(format!(
            "`{text}` has a prefix length where none belongs; write {address}"
        ));
    }
    text.parse()
        .map_err(|_| format!("`{text}` is no IP address; write one like 192.0.2.1 or 2001:db8::1"))
}

/// `192.0.2.10/24`: an address and the length of its subnet's prefix.
pub(crate) fn parse_interface_address(text: &str) -> Result<IpNet, String> {
    if text.parse::<IpAddr>().is_ok() {
        let length = if text.contains(':') { 64 } else { 24 };
        return Err(format!(
            "`{text}` has no prefix length; write one after it, as in {text}/{length}"
        ));
    }
    text.parse().map_err(|_| {
        format!("`{text}` is no address with a prefix length; write one like 192.0.2.10/24 or 2001:db8::10/64")
    })
}

/// `10.0.0.0/8`: a prefix without host bits.
pub(crate) fn parse_prefix(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let length = if address.is_ipv4() { 32 } else { 128 };
        return Err(format!(
            "`{text}` has no prefix length; for this one address write {text}/{length}"
        ));
    }
    let net: IpNet = text
        .parse()
        .map_err(|_| format!("`{text}` is no prefix; write one like 0.0.0.0/0 or 2001:db8::/32"))?;
    match net == net.trunc() {
        true => Ok(net),
        false => Err(format!(
            "`{text}` has bits set behind its prefix length; write {}",
            net.trunc()
        )),
    }
}

/// `192.0.2.100:80` or `[2001:db8::100]:80`.
pub(crate) fn parse_endpoint(text: &str) -> Result<SocketAddr, String> {
    let endpoint = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
        (Ok(endpoint), _) => endpoint,
        (Err(_), Ok(IpAddr::V4(_))) => {
            return Err(format!(
                "`{text}` has no L4 port; write one after it, as in {text}:80"
            ));
        }
        (Err(_), Ok(IpAddr::V6(_))) => {
            return Err(format!(
                "`{text}` has no L4 port; an IPv6 address stands in brackets before it, as in [{text}]:80"
            ));
        }
        (Err(_), Err(_)) => {
            return Err(format!(
                "`{text}` is no IP address with an L4 port; write one like 192.0.2.100:80 or [2001:db8::100]:80"
            ));
        }
    };
    match endpoint {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => Err(format!(
            "`{text}` names a scope; write the address without %"
        )),
        SocketAddr::V6(_) | SocketAddr::V4(_) => Ok(endpoint),
    }
}

/// `10.0.0.200`, or `10.0.0.201-10.0.0.203`.
pub(crate) fn parse_range(text: &str) -> Result<AddressRange, String> {
    match text.split_once('-') {
        Some((first, last)) => {
            AddressRange::new(parse_address(first.trim())?, parse_address(last.trim())?)
        }
        None if text.contains('/') => Err(format!(
            "`{text}` is a prefix; write a range, as in 10.0.0.200-10.0.0.203, or a single address"
        )),
        None => parse_address(text).and_then(|address| AddressRange::new(address, address)),
    }
}

/// Whether an address may be owned by one host: refuses the kinds that cannot.
pub(crate) fn require_host(address: IpAddr) -> Result<(), String> {
    let kind = match address {
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_loopback() => "a loopback address",
        _ if address.is_multicast() => "a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240 => "a reserved address",
        IpAddr::V4(_) => return Ok(()),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "an IPv4 address in IPv6 clothes",
        IpAddr::V6(_) => return Ok(()),
    };
    Err(format!(
        "{address} is {kind}; write the address of one host"
    ))
}

/// As [`require_host`], and known beyond its link.
pub(crate) fn require_routable(address: IpAddr) -> Result<(), String> {
    require_host(address)?;
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Err(format!(
            "{address} is a link-local address; write one that is known beyond its link"
        )),
        IpAddr::V6(_) | IpAddr::V4(_) => Ok(()),
    }
}

/// Whether a host may have the address in that subnet: not its network or broadcast address (IPv4; RFC 3021
/// exempts /31, and /32 has neither), not its subnet-router anycast address (IPv6, RFC 4291 section 2.6.1).
pub(crate) fn is_host_in(address: IpAddr, subnet: &IpNet) -> bool {
    match subnet {
        IpNet::V4(_) => {
            subnet.prefix_len() >= 31
                || (address != subnet.network() && address != subnet.broadcast())
        }
        IpNet::V6(_) => subnet.prefix_len() >= 127 || address != subnet.network(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_range_gives_every_address() {
        let range = parse_range("10.0.0.254-10.0.1.1").expect("a range");
        let addresses: Vec<String> = range
            .addresses()
            .map(|address| address.to_string())
            .collect();
        assert_eq!(
            addresses,
            ["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"]
        );
        let v6 = parse_range("2001:db8::ffff - 2001:db8::1:0").expect("a range");
        assert_eq!(v6.addresses().count(), 2);
        assert!(v6.contains(ip("2001:db8::1:0")) && !v6.contains(ip("2001:db8::1:1")));
    }

    #[test]
    fn ranges_know_their_limits() {
        assert!(parse_range("10.0.0.0-10.0.255.255").is_ok());
        for text in [
            "10.0.0.0-10.1.0.0",
            "::1-10.0.0.1",
            "10.0.0.2-10.0.0.1",
            "10.0.0.0/24",
            "10.0.0.1-",
            "-",
        ] {
            assert!(parse_range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn overlap_is_mutual_and_within_a_family() {
        let range = |text| parse_range(text).expect("a range");
        for (a, b, expected) in [
            ("10.0.0.1-10.0.0.3", "10.0.0.3", true),
            ("10.0.0.1-10.0.0.3", "10.0.0.4", false),
            ("0.0.0.1", "::1", false),
        ] {
            assert_eq!(range(a).overlaps(&range(b)), expected);
            assert_eq!(range(b).overlaps(&range(a)), expected);
        }
    }

    #[test]
    fn network_and_broadcast_belong_to_no_host() {
        let subnet = |text: &str| text.parse::<IpNet>().expect("a prefix");
        assert!(!is_host_in(ip("10.0.0.0"), &subnet("10.0.0.0/24")));
        assert!(!is_host_in(ip("10.0.0.255"), &subnet("10.0.0.0/24")));
        assert!(is_host_in(ip("10.0.0.0"), &subnet("10.0.0.0/31")));
        assert!(!is_host_in(ip("2001:db8::"), &subnet("2001:db8::/64")));
        assert!(is_host_in(ip("2001:db8::ffff"), &subnet("2001:db8::/112")));
    }
}
