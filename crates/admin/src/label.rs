//! The name of a service in one word: `tcp/192.0.2.100:80`.
//!
//! Promises: what is written is read back equal; IPv6 addresses stand in brackets.
//! Does not know: whether such a service exists.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use weir_config::Protocol;
use weir_config::ipvs::{ServiceName, running};

/// A service as it is named in a label or a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ServiceLabel {
    /// The transport protocol.
    pub protocol: Protocol,
    /// VIP and vport.
    pub vip: SocketAddr,
}

impl ServiceLabel {
    /// As IPVS's tools name it.
    pub fn name(self) -> ServiceName {
        running::name(self.protocol, self.vip)
    }
}

impl fmt::Display for ServiceLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.vip)
    }
}

impl FromStr for ServiceLabel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(protocol, vip)| {
            let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
                .into_iter()
                .find(|known| known.to_string() == protocol)?;
            Some(Self {
                protocol,
                vip: vip.parse().ok()?,
            })
        });
        parts.ok_or_else(|| {
            format!(
                "{text:?} names no service; write it as tcp/192.0.2.100:80 or udp/[2001:db8::1]:53"
            )
        })
    }
}

impl From<ServiceLabel> for String {
    fn from(label: ServiceLabel) -> Self {
        label.to_string()
    }
}

impl TryFrom<String> for ServiceLabel {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_back_as_it_was_written() {
        for text in ["tcp/192.0.2.100:80", "udp/[2001:db8::1]:53"] {
            assert_eq!(text.parse::<ServiceLabel>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_label_is_refused_with_an_example() {
        for text in [
            "",
            "tcp",
            "tcp/",
            "tcp 192.0.2.100:80",
            "icmp/192.0.2.100:80",
            "tcp/192.0.2.100",
            "tcp/www:80",
        ] {
            let sentence = text.parse::<ServiceLabel>().unwrap_err();
            assert!(
                sentence.contains("write it as tcp/192.0.2.100:80"),
                "{sentence}"
            );
        }
    }
}
