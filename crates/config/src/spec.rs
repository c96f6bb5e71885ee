//! The configuration as written: what RON may say, nothing filled in, nothing judged.
//!
//! Promises: every key of the language has a field, those of features to come included ([`NotBuilt`]), so that an
//! unknown key is a type error that lists the known ones, and a known one is never ignored.
//! Does not know: positions (`locate`), rules (`check`), defaults (`config`).

use std::fmt;
use std::marker::PhantomData;

use ron::value::RawValue;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::ipvs::MarkedService;
use crate::locate::Node;

#[derive(serde::Deserialize)]
#[serde(rename = "configuration", deny_unknown_fields)]
pub(crate) struct Spec {
    pub(crate) runtime: Option<RuntimeSpec>,
    pub(crate) ports: Option<Entries<PortSpec>>,
    pub(crate) routes: Option<Vec<RouteSpec>>,
    pub(crate) local_pools: Option<Entries<Vec<String>>>,
    pub(crate) services: Option<Vec<ServiceSpec>>,
    pub(crate) firewall_marks: Option<Vec<MarkedService>>,
    pub(crate) timeouts: Option<TimeoutsSpec>,
    pub(crate) local_ports: Option<String>,
    pub(crate) toa_option: Option<i64>,
    pub(crate) ipvs: Option<IpvsSpec>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) removed_destination: Option<Variant>,
}

/// Settings of IPVS, by its names.
#[derive(serde::Deserialize)]
#[serde(rename = "ipvs", deny_unknown_fields)]
pub(crate) struct IpvsSpec {
    pub(crate) am_droprate: Option<i64>,
    pub(crate) amemthresh: Option<i64>,
    pub(crate) backup_only: Option<i64>,
    pub(crate) cache_bypass: Option<i64>,
    #[serde(rename = "conn_reuse_mode")]
    pub(crate) reuse_mode: Option<i64>,
    pub(crate) conntrack: Option<i64>,
    pub(crate) drop_entry: Option<i64>,
    pub(crate) drop_packet: Option<i64>,
    #[serde(rename = "expire_nodest_conn")]
    pub(crate) expire_nodest: Option<i64>,
    pub(crate) expire_quiescent_template: Option<i64>,
    pub(crate) ignore_tunneled: Option<i64>,
    pub(crate) nat_icmp_send: Option<i64>,
    pub(crate) pmtu_disc: Option<i64>,
    pub(crate) run_estimation: Option<i64>,
    pub(crate) schedule_icmp: Option<i64>,
    pub(crate) secure_tcp: Option<i64>,
    pub(crate) sloppy_sctp: Option<i64>,
    pub(crate) sloppy_tcp: Option<i64>,
    pub(crate) snat_reroute: Option<i64>,
    pub(crate) sync_persist_mode: Option<i64>,
    pub(crate) sync_ports: Option<i64>,
    pub(crate) sync_refresh_period: Option<i64>,
    pub(crate) sync_retries: Option<i64>,
    pub(crate) sync_sock_size: Option<i64>,
    pub(crate) sync_version: Option<i64>,
}

#[derive(serde::Deserialize)]
#[serde(rename = "runtime", deny_unknown_fields)]
pub(crate) struct RuntimeSpec {
    pub(crate) workers: Option<Vec<i64>>,
    pub(crate) memory: Option<MemorySpec>,
    pub(crate) connections: Option<i64>,
    pub(crate) ipv6_connections: Option<i64>,
    pub(crate) idle: Option<IdleSpec>,
    pub(crate) admin_socket: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) metrics: Option<NotBuilt>,
}

#[derive(serde::Deserialize)]
#[serde(rename = "memory", deny_unknown_fields)]
pub(crate) enum MemorySpec {
    Hugepages { mib: Option<i64> },
    Anonymous { mib: Option<i64> },
}

#[derive(serde::Deserialize)]
#[serde(rename = "idle")]
pub(crate) enum IdleSpec {
    Backoff,
    Poll,
}

#[derive(serde::Deserialize)]
#[serde(rename = "port", deny_unknown_fields)]
pub(crate) struct PortSpec {
    pub(crate) device: Option<DeviceSpec>,
    pub(crate) addresses: Option<Vec<String>>,
    pub(crate) mtu: Option<i64>,
}

#[derive(serde::Deserialize)]
#[serde(rename = "device")]
pub(crate) enum DeviceSpec {
    Pci(String),
    AfPacket(String),
    AfXdp(String),
    Tap(String),
    Vdev(String),
}

#[derive(serde::Deserialize)]
#[serde(rename = "route", deny_unknown_fields)]
pub(crate) struct RouteSpec {
    pub(crate) to: Option<String>,
    pub(crate) via: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(rename = "service", deny_unknown_fields)]
pub(crate) struct ServiceSpec {
    pub(crate) vip: Option<String>,
    pub(crate) vips: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) protocol: Option<Variant>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) scheduler: Option<Variant>,
    pub(crate) scheduler_flags: Option<Vec<i64>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) method: Option<Variant>,
    pub(crate) destinations: Option<Vec<DestinationSpec>>,
    pub(crate) persistence: Option<PersistenceSpec>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) health: Option<NotBuilt>,
    pub(crate) one_packet: Option<bool>,
}

#[derive(serde::Deserialize)]
#[serde(rename = "persistence", deny_unknown_fields)]
pub(crate) struct PersistenceSpec {
    pub(crate) timeout: Option<String>,
    /// A prefix length, or for IPv4 a mask as text.
    #[serde(default, deserialize_with = "given")]
    pub(crate) netmask: Option<Variant>,
}

/// The options of `Sh`, read from the text of its [`Variant`].
#[derive(Default, serde::Deserialize)]
#[serde(rename = "Sh", deny_unknown_fields)]
pub(crate) struct ShSpec {
    pub(crate) port: Option<bool>,
    pub(crate) fallback: Option<bool>,
}

/// The options of `Mh`, likewise.
#[derive(Default, serde::Deserialize)]
#[serde(rename = "Mh", deny_unknown_fields)]
pub(crate) struct MhSpec {
    pub(crate) port: Option<bool>,
    pub(crate) fallback: Option<bool>,
}

/// The options of `FullNat`, read from the text of its [`Variant`].
#[derive(Default, serde::Deserialize)]
#[serde(rename = "FullNat", deny_unknown_fields)]
pub(crate) struct FullNatSpec {
    pub(crate) local_pool: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) client_address: Option<Variant>,
}

/// The options of `Tun`.
#[derive(Default, serde::Deserialize)]
#[serde(rename = "Tun", deny_unknown_fields)]
pub(crate) struct TunSpec {
    #[serde(default, deserialize_with = "given")]
    pub(crate) encapsulation: Option<Variant>,
    pub(crate) sources: Option<String>,
}

/// The options of `Gre`.
#[derive(Default, serde::Deserialize)]
#[serde(rename = "Gre", deny_unknown_fields)]
pub(crate) struct GreSpec {
    pub(crate) checksum: Option<bool>,
}

/// The options of `Gue`.
#[derive(Default, serde::Deserialize)]
#[serde(rename = "Gue", deny_unknown_fields)]
pub(crate) struct GueSpec {
    pub(crate) destination_port: Option<i64>,
    pub(crate) checksum: Option<bool>,
}

#[derive(serde::Deserialize)]
#[serde(rename = "destination", deny_unknown_fields)]
pub(crate) struct DestinationSpec {
    pub(crate) address: Option<String>,
    pub(crate) weight: Option<i64>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) method: Option<Variant>,
    pub(crate) upper_threshold: Option<i64>,
    pub(crate) lower_threshold: Option<i64>,
}

#[derive(serde::Deserialize)]
#[serde(rename = "timeouts", deny_unknown_fields)]
pub(crate) struct TimeoutsSpec {
    pub(crate) tcp_established: Option<String>,
    pub(crate) tcp_fin: Option<String>,
    pub(crate) udp: Option<String>,
}

/// The value of a key whose feature is to come and has no type yet: any value at all.
pub(crate) struct NotBuilt;

/// Keys of features to come, by the name RON errors give the holder: not to be proposed for a key that is unknown.
pub(crate) const KEYS_TO_COME: [(&str, &[&str]); 2] =
    [("runtime", &["metrics"]), ("service", &["health"])];

impl<'de> Deserialize<'de> for NotBuilt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| NotBuilt)
    }
}

/// A choice by name, with or without options, whichever the name is: so that a choice to come, whose options are
/// not known here, is refused by name and not by its options.
pub(crate) struct Variant {
    /// The value as it stands in the file; comments may precede it.
    text: String,
    /// Invariant: the index of `text`.
    index: Node,
}

impl Variant {
    /// The name, or what stands in its place.
    pub(crate) fn name(&self) -> &str {
        self.index.name().unwrap_or_else(|| self.value())
    }

    pub(crate) fn has_options(&self) -> bool {
        self.index.is_container()
    }

    /// The value as written, without what stands around it.
    pub(crate) fn value(&self) -> &str {
        &self.text[self.index.bytes()]
    }
}

impl<'de> Deserialize<'de> for Variant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?
            .get_ron()
            .to_owned();
        let index = Node::scan(&text);
        Ok(Self { text, index })
    }
}

/// For keys whose value may be the bare name `None`, which RON would else read as "left out".
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A map with text for keys, in the order written; a key may come twice.
pub(crate) struct Entries<T>(pub(crate) Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("named entries in braces")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(InOrder(PhantomData))
    }
}
