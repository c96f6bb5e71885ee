//! Numbers and addresses as ipvsadm reads them, by the rules of C.
//!
//! Promises: accepts what `strtol`, `inet_aton` and `inet_pton` accept where ipvsadm asks them, and nothing else.
//! Does not know: options.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_config::ipvs::Transport;

use super::names::Names;

/// Longest timeout, in seconds: 31 days.
pub(super) const MAX_TIMEOUT_S: i64 = 86_400 * 31;
/// Of a persistent service that says none, in seconds.
pub(super) const PERSISTENT_TIMEOUT_S: u32 = 360;

/// `text` as a whole number from `low` to `high`.
pub(super) fn number(text: &str, low: i64, high: i64) -> Option<i64> {
    let (number, rest) = leading_number(text)?;
    (rest.is_empty() && (low..=high).contains(&number)).then_some(number)
}

/// The number at the beginning of `text`, as `strtol` finds it in base 10, and what follows. Numbers that are too
/// large are as large as can be, which no caller accepts.
fn leading_number(text: &str) -> Option<(i64, &str)> {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r');
    let unspaced = text.trim_start_matches(is_space);
    let (is_negative, digits) = match unspaced.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, unspaced.strip_prefix('+').unwrap_or(unspaced)),
    };
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let number: i64 = digits.parse().unwrap_or(i64::MAX);
    Some((if is_negative { -number } else { number }, rest))
}

/// The number that `atoi` finds.
pub(super) fn lenient_number(text: &str) -> i64 {
    leading_number(text).map_or(0, |(number, _)| number)
}

/// A firewall mark.
pub(super) fn mark(text: &str) -> Option<u32> {
    number(text, 1, u32::MAX.into()).map(|mark| mark as u32)
}

/// An IPv4 address as `inet_aton` reads it: one to four parts, each decimal, octal or hexadecimal, the last one as
/// long as what is missing; white space ends it.
pub(super) fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let end = text
        .find(|c: char| c.is_ascii_whitespace())
        .unwrap_or(text.len());
    let parts: Vec<u64> = text[..end].split('.').map(part).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|part| *part > 255) {
        return None;
    }
    let bits_left = 32 - 8 * leading.len() as u32;
    if *last >= 1 << bits_left {
        return None;
    }
    let high = leading
        .iter()
        .enumerate()
        .map(|(place, part)| part << (24 - 8 * place))
        .sum::<u64>();
    Some(Ipv4Addr::from_bits((high | last) as u32))
}

fn part(text: &str) -> Option<u64> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    let is_plain = digits.chars().all(|c| c.is_digit(radix));
    (is_plain && !digits.is_empty() && digits.len() <= 12)
        .then(|| u64::from_str_radix(digits, radix).ok())
        .flatten()
}

/// What `HOST[:PORT]` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: IpAddr,
    /// `None`: not said.
    pub(super) l4_port: Option<u16>,
}

/// `HOST[:PORT]`: an IPv6 address with an L4 port stands in brackets; names are looked up.
pub(super) fn endpoint(
    text: &str,
    transport: Option<Transport>,
    names: &impl Names,
) -> Option<Endpoint> {
    if text.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let (host, mut after) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']')?;
            (host, Some(after.strip_prefix(':')?))
        }
        None => (text, None),
    };
    let address = match host.parse::<Ipv6Addr>() {
        Ok(address) => IpAddr::V6(address),
        Err(_) => {
            // Brackets around anything else are forgotten, and with them what stands behind.
            let host = match host.rsplit_once(':') {
                Some((host, l4_port)) => {
                    after = Some(l4_port);
                    host
                }
                None => {
                    after = None;
                    host
                }
            };
            IpAddr::V4(inet_aton(host).or_else(|| names.address(host))?)
        }
    };
    let l4_port = match after {
        None => None,
        Some(text) => Some(l4_port(text, transport, names)?),
    };
    Some(Endpoint { address, l4_port })
}

fn l4_port(text: &str, transport: Option<Transport>, names: &impl Names) -> Option<u16> {
    match number(text, 0, u16::MAX.into()) {
        Some(number) => Some(number as u16),
        None => names.l4_port(text, transport?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, expected) in [
            ("5", Some(5)),
            (" 5", Some(5)),
            ("+5", Some(5)),
            ("05", Some(5)),
            ("-1", None),
            ("5x", None),
            ("5 ", None),
            ("", None),
            ("65536", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(number(text, 0, 65_535), expected, "{text:?}");
        }
        assert_eq!(lenient_number("64abc"), 64);
        assert_eq!(lenient_number("abc"), 0);
    }

    #[test]
    fn ipv4_addresses_may_be_short_octal_or_hexadecimal() {
        for (text, expected) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("10.1", Some("10.0.0.1")),
            ("10.1.2", Some("10.1.0.2")),
            ("0x0a.010.3", Some("10.8.0.3")),
            ("24", Some("0.0.0.24")),
            ("10.0.0.1 x", Some("10.0.0.1")),
            ("4294967295", Some("255.255.255.255")),
            ("4294967296", None),
            ("300.1.1.1", None),
            ("1.2.3.4.5", None),
            ("1..2", None),
            ("", None),
            ("08.1.1.1", None),
        ] {
            assert_eq!(
                inet_aton(text),
                expected.map(|text| text.parse().unwrap()),
                "{text:?}"
            );
        }
    }
}
