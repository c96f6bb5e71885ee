//! Receive-side scaling: a port's hash key, redirection table and hashed fields, read and written.
//!
//! Promises: numbers as the port has them, `None` where it cannot tell. Does not know: how the hash is computed, or
//! what anybody does with it.

use crate::error::{Error, Refusal};
use crate::port::OpenPort;
use weir_dpdk_sys as sys;

/// What a port offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RssInfo {
    /// Bytes of the key.
    pub key_bytes: u8,
    /// Entries of the redirection table; 0 when it cannot be read.
    pub table_entries: u16,
    /// Fields that it can hash.
    pub fields: HashedFields,
}

/// What a running port does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RssState {
    /// The Toeplitz key.
    pub key: Vec<u8>,
    /// Queue numbers; the hash modulo the length is the index.
    pub table: Vec<u16>,
    /// Fields being hashed.
    pub fields: HashedFields,
}

/// For which packets addresses alone, or addresses and L4 ports, are hashed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HashedFields {
    /// Addresses of IPv4 packets without hashed L4 ports, fragments included.
    pub ipv4: bool,
    /// Addresses and ports of TCP over IPv4.
    pub ipv4_tcp: bool,
    /// Addresses and ports of UDP over IPv4.
    pub ipv4_udp: bool,
    /// Addresses of IPv6 packets without hashed L4 ports, fragments included.
    pub ipv6: bool,
    /// Addresses and ports of TCP over IPv6.
    pub ipv6_tcp: bool,
    /// Addresses and ports of UDP over IPv6.
    pub ipv6_udp: bool,
}

const IPV4: u64 =
    sys::RTE_ETH_RSS_IPV4 | sys::RTE_ETH_RSS_FRAG_IPV4 | sys::RTE_ETH_RSS_NONFRAG_IPV4_OTHER;
const IPV6: u64 =
    sys::RTE_ETH_RSS_IPV6 | sys::RTE_ETH_RSS_FRAG_IPV6 | sys::RTE_ETH_RSS_NONFRAG_IPV6_OTHER;
const IPV6_TCP: u64 = sys::RTE_ETH_RSS_NONFRAG_IPV6_TCP | sys::RTE_ETH_RSS_IPV6_TCP_EX;
const IPV6_UDP: u64 = sys::RTE_ETH_RSS_NONFRAG_IPV6_UDP | sys::RTE_ETH_RSS_IPV6_UDP_EX;

impl HashedFields {
    /// Addresses and L4 ports of everything.
    pub const ALL: Self = Self {
        ipv4: true,
        ipv4_tcp: true,
        ipv4_udp: true,
        ipv6: true,
        ipv6_tcp: true,
        ipv6_udp: true,
    };

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            ipv4: bits & IPV4 != 0,
            ipv4_tcp: bits & sys::RTE_ETH_RSS_NONFRAG_IPV4_TCP != 0,
            ipv4_udp: bits & sys::RTE_ETH_RSS_NONFRAG_IPV4_UDP != 0,
            ipv6: bits & IPV6 != 0,
            ipv6_tcp: bits & IPV6_TCP != 0,
            ipv6_udp: bits & IPV6_UDP != 0,
        }
    }

    pub(crate) fn bits(self) -> u64 {
        let of = |is_hashed: bool, bits: u64| if is_hashed { bits } else { 0 };
        of(self.ipv4, IPV4)
            | of(self.ipv4_tcp, sys::RTE_ETH_RSS_NONFRAG_IPV4_TCP)
            | of(self.ipv4_udp, sys::RTE_ETH_RSS_NONFRAG_IPV4_UDP)
            | of(self.ipv6, IPV6)
            | of(self.ipv6_tcp, IPV6_TCP)
            | of(self.ipv6_udp, IPV6_UDP)
    }
}

/// Toeplitz over two IPv6 addresses and two L4 ports needs 40 bytes of key; what a port that does not say has.
const USUAL_KEY_BYTES: u8 = 40;
const GROUP: usize = sys::RTE_ETH_RETA_GROUP_SIZE as usize;

/// Bytes of the port's key.
pub(crate) fn key_bytes(info: &sys::rte_eth_dev_info) -> u8 {
    if info.hash_key_size == 0 {
        USUAL_KEY_BYTES
    } else {
        info.hash_key_size
    }
}

/// Key, table and fields; `None` where the port cannot tell all three.
pub(crate) fn read(
    port: &OpenPort,
    info: &sys::rte_eth_dev_info,
) -> Result<Option<RssState>, Error> {
    if info.reta_size == 0 || info.flow_type_rss_offloads == 0 {
        return Ok(None);
    }
    // (1) The key. Its length must be set beforehand: drivers copy only into a buffer that is long enough.
    let key_bytes = key_bytes(info);
    let mut key = vec![0; key_bytes.into()];
    // SAFETY: a plain C struct for which all zeroes are valid.
    let mut conf: sys::rte_eth_rss_conf = unsafe { std::mem::zeroed() };
    conf.rss_key = key.as_mut_ptr();
    conf.rss_key_len = key_bytes;
    // SAFETY: the port is open; `conf` and the key behind it are writable for their stated length.
    match port.call(|| unsafe { sys::rte_eth_dev_rss_hash_conf_get(port.id, &raw mut conf) }) {
        Ok(_) => key.truncate(conf.rss_key_len.into()),
        Err(refusal) if refusal.is_unsupported() => return Ok(None),
        Err(refusal) => return Err(port.step("reading the RSS key", &refusal)),
    }

    // (2) The table.
    let mut groups = table_groups(&vec![0; info.reta_size.into()]);
    // SAFETY: the port is open; `groups` covers `reta_size` entries.
    match port.call(|| unsafe {
        sys::rte_eth_dev_rss_reta_query(port.id, groups.as_mut_ptr(), info.reta_size)
    }) {
        Ok(_) => {}
        Err(refusal) if refusal.is_unsupported() => return Ok(None),
        Err(refusal) => return Err(port.step("reading the RSS table", &refusal)),
    }
    let table = groups
        .iter()
        .flat_map(|group| group.reta)
        .take(info.reta_size.into())
        .collect();
    Ok(Some(RssState {
        key,
        table,
        fields: HashedFields::from_bits(conf.rss_hf),
    }))
}

/// Gives the port a key, with the fields to hash, as far as it can hash them. `false` where it cannot take this key.
pub(crate) fn write_key(
    port: &OpenPort,
    info: &sys::rte_eth_dev_info,
    key: &[u8],
    fields: HashedFields,
) -> Result<bool, Error> {
    // Drivers read as many bytes as their key has, whatever the length given.
    if key.len() != usize::from(key_bytes(info)) {
        return Ok(false);
    }
    let mut key = key.to_vec();
    // SAFETY: a plain C struct for which all zeroes are valid.
    let mut conf: sys::rte_eth_rss_conf = unsafe { std::mem::zeroed() };
    conf.rss_key = key.as_mut_ptr();
    conf.rss_key_len = key_bytes(info);
    conf.rss_hf = fields.bits() & info.flow_type_rss_offloads;
    // SAFETY: the port is open; `key` is as long as the driver's own.
    let result = port.call(|| unsafe { sys::rte_eth_dev_rss_hash_update(port.id, &raw mut conf) });
    supported(port, "setting the RSS key", result)
}

/// Gives the port a redirection table, whole. `false` where it cannot take one.
pub(crate) fn write_table(port: &OpenPort, table: &[u16]) -> Result<bool, Error> {
    let mut groups = table_groups(table);
    let n_entries = u16::try_from(table.len()).unwrap_or(u16::MAX);
    // SAFETY: the port is open; `groups` covers `n_entries` entries.
    let result = port.call(|| unsafe {
        sys::rte_eth_dev_rss_reta_update(port.id, groups.as_mut_ptr(), n_entries)
    });
    supported(port, "setting the RSS table", result)
}

fn supported(
    port: &OpenPort,
    step: &'static str,
    result: Result<i32, Refusal>,
) -> Result<bool, Error> {
    match result {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.is_unsupported() => Ok(false),
        Err(refusal) => Err(port.step(step, &refusal)),
    }
}

/// The table in DPDK's form: groups of 64 entries with a mask of those meant.
fn table_groups(table: &[u16]) -> Vec<sys::rte_eth_rss_reta_entry64> {
    let group = |entries: &[u16]| {
        let mut reta = [0; GROUP];
        reta[..entries.len()].copy_from_slice(entries);
        sys::rte_eth_rss_reta_entry64 {
            mask: u64::MAX >> (GROUP - entries.len()),
            reta,
        }
    };
    table.chunks(GROUP).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive_the_way_through_bits() {
        let none = HashedFields::default();
        let fields = HashedFields {
            ipv4: true,
            ipv6_udp: true,
            ..none
        };
        for fields in [none, fields, HashedFields::ALL] {
            assert_eq!(HashedFields::from_bits(fields.bits()), fields);
        }
    }

    #[test]
    fn a_table_is_cut_into_groups_of_sixty_four() {
        let table: Vec<u16> = (0..100).collect();
        let groups = table_groups(&table);
        assert_eq!(
            groups.iter().map(|group| group.mask).collect::<Vec<_>>(),
            [u64::MAX, (1 << 36) - 1]
        );
        assert_eq!(groups[1].reta[35], 99);
        assert_eq!(groups[1].reta[36], 0);
    }
}
