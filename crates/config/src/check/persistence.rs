//! `persistence` of a service.
//!
//! Promises: whole seconds, and a netmask of the VIP's family.
//! Does not know: what the director makes of it.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::duration;
use crate::ipvs::{Family, Netmask, Persistence};
use crate::spec::PersistenceSpec;

const DEFAULT_TIMEOUT_S: u32 = 300;
/// 31 days, IPVS's limit.
const MAX_TIMEOUT_S: u64 = 31 * 86_400;

pub(super) fn resolve(spec: &PersistenceSpec, family: Family) -> Result<Persistence, String> {
    let timeout_s = match &spec.timeout {
        None => DEFAULT_TIMEOUT_S,
        Some(text) => seconds(text, duration::parse(text)?)?,
    };
    let netmask = match &spec.netmask {
        None => Netmask::host(family),
        Some(written) => netmask(written.value(), family)?,
    };
    Ok(Persistence { timeout_s, netmask })
}

fn seconds(text: &str, timeout: Duration) -> Result<u32, String> {
    match timeout.as_secs() {
        seconds @ 1..=MAX_TIMEOUT_S if timeout.subsec_millis() == 0 => Ok(seconds as u32),
        _ => Err(format!(
            "a client cannot keep its destination for {text}; write whole seconds, from 1s to 744h"
        )),
    }
}

fn netmask(text: &str, family: Family) -> Result<Netmask, String> {
    let length: Option<u8> = text.parse().ok();
    let mask: Option<Ipv4Addr> = text.trim_matches('"').parse().ok();
    match (family, length, mask) {
        (Family::Ipv4, Some(length @ 0..=32), _) => Ok(Netmask::V4(Ipv4Addr::from_bits(
            u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0),
        ))),
        (Family::Ipv4, None, Some(mask)) => Ok(Netmask::V4(mask)),
        (Family::Ipv6, Some(length @ 1..=128), _) => Ok(Netmask::V6(length)),
        (Family::Ipv4, _, _) => Err(format!(
            "{text} is no netmask for IPv4; write a prefix length from 0 to 32, or a mask like \"255.255.255.0\""
        )),
        (Family::Ipv6, _, _) => Err(format!(
            "{text} is no netmask for IPv6; write a prefix length from 1 to 128"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_netmask_is_a_length_or_for_ipv4_a_mask() {
        let v4 = |mask: &str| Ok(Netmask::V4(mask.parse().unwrap()));
        assert_eq!(netmask("32", Family::Ipv4), v4("255.255.255.255"));
        assert_eq!(netmask("20", Family::Ipv4), v4("255.255.240.0"));
        assert_eq!(netmask("0", Family::Ipv4), v4("0.0.0.0"));
        assert_eq!(netmask("\"255.0.255.0\"", Family::Ipv4), v4("255.0.255.0"));
        assert_eq!(netmask("64", Family::Ipv6), Ok(Netmask::V6(64)));
        for (text, family) in [
            ("33", Family::Ipv4),
            ("\"x\"", Family::Ipv4),
            ("0", Family::Ipv6),
            ("129", Family::Ipv6),
            ("\"255.0.0.0\"", Family::Ipv6),
        ] {
            assert!(netmask(text, family).is_err(), "{text}");
        }
    }

    #[test]
    fn a_timeout_is_in_whole_seconds() {
        assert_eq!(seconds("5m", Duration::from_secs(300)), Ok(300));
        assert!(seconds("0s", Duration::ZERO).is_err());
        assert!(seconds("1500ms", Duration::from_millis(1500)).is_err());
        assert!(seconds("745h", Duration::from_secs(745 * 3600)).is_err());
    }
}
