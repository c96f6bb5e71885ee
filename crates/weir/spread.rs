//! How packets find their worker: what the ports tell of their RSS, made to agree where they can be, put into words.
//!
//! Promises: one answer for all ports, fixed at the start; each port gets a sentence that says what was chosen and why.
//! Does not know: how a port is asked (`ports`), or how an owner is computed (`weir_director::Steering`).
//!
//! How it works: one port, by which most clients come, names the owner of clients' flows on all ports, so that a route
//! that moves to another port loses none. The others are given its key and table, so that their queues agree; where one
//! does not take them, its packets may have to be handed over. Replies go by the port on whose link their LIP lies.

use std::sync::Arc;

use ipnet::IpNet;
use weir_config::Config;
use weir_director::{Hashed, HashedFields, Link, Rss, Seed, Steering};
use weir_dpdk::RssState;

/// Bytes of a key that matter to a flow of IPv6, the longest input.
const KEY_BYTES: usize = 40;

/// What a port told of how it spreads packets.
pub(crate) enum Told {
    /// Key, table and fields.
    Rss(RssState),
    /// Nothing that can be computed with, for this reason.
    Nothing(String),
    /// It was not asked: there is one worker.
    OneWorker,
}

/// How a port's packets find their worker.
#[derive(Default)]
pub(crate) struct Spread {
    /// What the director computes with, if the port tells.
    rss: Option<Arc<Rss>>,
    /// What was chosen and why, in words.
    pub(crate) why: String,
}

/// The port by which most clients come: the one with the widest route, or else the first.
pub(crate) fn client_port(config: &Config) -> usize {
    let widest = config
        .routes
        .iter()
        .min_by_key(|route| route.to.prefix_len());
    let place = widest.and_then(|route| {
        let is_on = |subnet: &IpNet| subnet.contains(&route.via);
        config
            .ports
            .iter()
            .position(|port| port.addresses.iter().any(is_on))
    });
    place.unwrap_or(0)
}

/// What a port must be given so that its queues agree with those of the clients' port; `None`: they do, or never will.
pub(crate) fn wanted(clients: &RssState, port: &RssState) -> Option<RssState> {
    let head = clients.key.get(..KEY_BYTES)?;
    let tail = port.key.get(KEY_BYTES..)?;
    let wanted = RssState {
        key: [head, tail].concat(),
        table: (clients.table.iter().copied().cycle())
            .take(port.table.len())
            .collect(),
        fields: port.fields,
    };
    (wanted != *port).then_some(wanted)
}

/// Whether two ports give a flow to queues of the same number.
fn agree(one: &RssState, other: &RssState) -> bool {
    let n_entries = one.table.len().max(other.table.len());
    let same = |one: &[u16], other: &[u16]| {
        let (one, other) = (one.iter().cycle(), other.iter().cycle());
        one.zip(other)
            .take(n_entries)
            .all(|(one, other)| one == other)
    };
    one.key.get(..KEY_BYTES) == other.key.get(..KEY_BYTES)
        && same(&one.table, &other.table)
        && hashed(one) == hashed(other)
}

/// What each port's packets find their worker by, of ports with these names, `clients` being the number of the one by
/// which most clients come.
pub(crate) fn choose(ports: &[(&str, Told)], clients: usize, n_workers: usize) -> Vec<Spread> {
    let computable = |told: &Told| match told {
        Told::Rss(state) => Rss::new(&state.key, &state.table, hashed(state), n_workers as u8),
        Told::Nothing(_) | Told::OneWorker => None,
    };
    let rss: Vec<_> = ports.iter().map(|(_, told)| computable(told)).collect();
    let reference = ports.get(clients).zip(rss.get(clients));
    let of_clients = reference.and_then(|((name, told), rss)| match (told, rss) {
        (Told::Rss(state), Some(_)) => Some((*name, state)),
        (Told::Rss(_) | Told::Nothing(_) | Told::OneWorker, _) => None,
    });
    let clients_name = ports.get(clients).map_or("", |(name, _)| name);
    let rows = ports.iter().zip(rss).enumerate();
    rows.map(|(place, ((_, told), rss))| {
        let by_clients = match of_clients {
            Some((name, _)) => format!("the RSS of {name} names the owner of clients' flows"),
            None => "weir's own hash names the owner of clients' flows".to_owned(),
        };
        let why = match (told, &rss) {
            (Told::OneWorker, _) => "one worker owns every flow".to_owned(),
            (Told::Nothing(why), _) if place == clients || of_clients.is_none() => {
                format!("{why}; weir's own hash names the owner")
            }
            (Told::Nothing(why), _) => format!("{why}; {by_clients}"),
            (Told::Rss(_), None) => {
                format!("the device's RSS key or table cannot be computed with; {by_clients}")
            }
            (Told::Rss(state), Some(_)) => {
                let replies = replies(hashed(state));
                match of_clients {
                    Some(_) if place == clients => {
                        format!("RSS: its queue names the owner, {replies}")
                    }
                    Some((_, of_clients)) if agree(of_clients, state) => {
                        format!("RSS as on {clients_name}: its queue names the owner, {replies}")
                    }
                    Some(_) => format!(
                        "RSS, but not that of {clients_name}, which names the owner of clients' flows: those that come \
                         here are handed over; {replies}"
                    ),
                    None => format!("RSS; {by_clients}, for {clients_name} does not tell; {replies}"),
                }
            }
        };
        Spread {
            rss: rss.map(Arc::new),
            why,
        }
    })
    .collect()
}

/// What is done so that replies fall on their worker's queue.
fn replies(fields: HashedFields) -> String {
    let all = [
        ("TCP over IPv4", fields.tcp_v4),
        ("UDP over IPv4", fields.udp_v4),
        ("TCP over IPv6", fields.tcp_v6),
        ("UDP over IPv6", fields.udp_v6),
    ];
    let named = |wanted: Hashed| {
        let names = all.iter().filter(|(_, hashed)| *hashed == wanted);
        names.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    let mut text = "local ports are chosen to match".to_owned();
    for (hashed, what) in [
        (Hashed::Addresses, "local addresses instead for"),
        (Hashed::Nothing, "nothing is hashed of"),
    ] {
        let names = named(hashed);
        if !names.is_empty() {
            text = format!("{text}; {what} {names}");
        }
    }
    text
}

fn hashed(state: &RssState) -> HashedFields {
    let of = |l4_ports, addresses| match (l4_ports, addresses) {
        (true, _) => Hashed::L4Ports,
        (false, true) => Hashed::Addresses,
        (false, false) => Hashed::Nothing,
    };
    let fields = state.fields;
    HashedFields {
        tcp_v4: of(fields.ipv4_tcp, fields.ipv4),
        udp_v4: of(fields.ipv4_udp, fields.ipv4),
        tcp_v6: of(fields.ipv6_tcp, fields.ipv6),
        udp_v6: of(fields.ipv6_udp, fields.ipv6),
    }
}

/// What decides owners on ports spread so, each with its addresses.
pub(crate) fn steering<'a>(
    ports: impl Iterator<Item = (&'a Spread, &'a [IpNet])>,
    clients: usize,
    n_workers: usize,
    seed: Seed,
) -> Steering {
    let mut of_clients = None;
    let mut links = Vec::new();
    for (place, (spread, subnets)) in ports.enumerate() {
        let Some(rss) = &spread.rss else { continue };
        if place == clients {
            of_clients = Some(Arc::clone(rss));
        }
        links.extend(subnets.iter().map(|subnet| Link {
            subnet: *subnet,
            rss: Arc::clone(rss),
        }));
    }
    Steering::new(n_workers as u8, seed, of_clients, links)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(key: u8, table: &[u16], fields: weir_dpdk::HashedFields) -> RssState {
        RssState {
            key: (0..40).map(|byte| byte ^ key).collect(),
            table: table.to_vec(),
            fields,
        }
    }

    const ALL: weir_dpdk::HashedFields = weir_dpdk::HashedFields::ALL;

    fn whys(ports: &[(&str, Told)], clients: usize) -> Vec<String> {
        let spreads = choose(ports, clients, 2);
        spreads.into_iter().map(|spread| spread.why).collect()
    }

    fn silent() -> Told {
        Told::Nothing("the device does not tell its RSS key".to_owned())
    }

    #[test]
    fn ports_of_one_key_and_table_agree_whatever_their_tables_lengths() {
        let one = told(0, &[0, 1], ALL);
        let mut longer = told(0, &[0, 1, 0, 1], ALL);
        longer.key.extend([7; 12]);
        assert!(agree(&one, &longer) && agree(&longer, &one));
        for other in [
            told(1, &[0, 1], ALL),
            told(0, &[1, 0], ALL),
            told(0, &[0, 1, 1, 0], ALL),
            told(
                0,
                &[0, 1],
                weir_dpdk::HashedFields {
                    ipv4_udp: false,
                    ..ALL
                },
            ),
        ] {
            assert!(!agree(&one, &other) && !agree(&other, &one), "{other:?}");
        }
    }

    #[test]
    fn a_port_is_given_what_makes_it_agree() {
        let clients = told(0, &[0, 1], ALL);
        assert_eq!(wanted(&clients, &clients), None);
        let mut other = told(9, &[1, 1, 0, 0], ALL);
        other.key.extend([7; 12]);
        let given = wanted(&clients, &other).unwrap();
        assert!(agree(&clients, &given));
        assert_eq!(
            (given.key.len(), given.table.len()),
            (other.key.len(), other.table.len()),
            "of the lengths that the port takes"
        );
        assert_eq!(given.key[40..], [7; 12]);
    }

    #[test]
    fn each_port_says_what_was_chosen_and_why() {
        let matched = "local ports are chosen to match";
        let (a, b) = (|| told(0, &[0, 1], ALL), || told(1, &[0, 1], ALL));
        let own_hash =
            "the device does not tell its RSS key; weir's own hash names the owner".to_owned();
        assert_eq!(
            whys(&[("wan", Told::Rss(a())), ("lan", Told::Rss(a()))], 0),
            [
                format!("RSS: its queue names the owner, {matched}"),
                format!("RSS as on wan: its queue names the owner, {matched}")
            ]
        );
        assert_eq!(
            whys(&[("wan", Told::Rss(a())), ("wan2", Told::Rss(b()))], 0)[1],
            format!(
                "RSS, but not that of wan, which names the owner of clients' flows: those that come here are handed \
                 over; {matched}"
            )
        );
        assert_eq!(
            whys(&[("lan", Told::Rss(a())), ("wan", silent())], 1),
            [
                format!(
                    "RSS; weir's own hash names the owner of clients' flows, for wan does not tell; {matched}"
                ),
                own_hash.clone()
            ]
        );
        assert_eq!(
            whys(&[("wan", Told::Rss(a())), ("wan2", silent())], 0)[1],
            "the device does not tell its RSS key; the RSS of wan names the owner of clients' flows"
        );
        assert_eq!(
            whys(&[("wan", silent()), ("lan", silent())], 0),
            [own_hash.clone(), own_hash]
        );
        assert_eq!(
            whys(&[("wan", Told::OneWorker)], 0),
            ["one worker owns every flow"]
        );
        let short = RssState {
            key: vec![0; 16],
            ..a()
        };
        assert_eq!(
            whys(&[("wan", Told::Rss(short))], 0),
            [
                "the device's RSS key or table cannot be computed with; weir's own hash names the owner of clients' flows"
            ]
        );
    }

    #[test]
    fn fields_that_are_not_hashed_are_named() {
        let fields = weir_dpdk::HashedFields {
            ipv4_udp: false,
            ipv6: false,
            ipv6_udp: false,
            ..ALL
        };
        assert_eq!(
            whys(&[("wan", Told::Rss(told(0, &[0, 1], fields)))], 0),
            [
                "RSS: its queue names the owner, local ports are chosen to match; local addresses instead for UDP over \
                 IPv4; nothing is hashed of UDP over IPv6"
            ]
        );
    }

    #[test]
    fn clients_come_by_the_widest_route() {
        let config = |routes: &str| {
            let text = format!(
                "(ports: {{\"lan\": (device: Tap(\"t0\"), addresses: [\"10.0.0.1/24\"]), \
                 \"wan\": (device: Tap(\"t1\"), addresses: [\"192.0.2.10/24\"])}}, routes: [{routes}])"
            );
            Config::parse(&text, "two.ron", &[0, 1]).unwrap_or_else(|errors| panic!("{errors}"))
        };
        let (narrow, wide) = (
            "(to: \"172.16.0.0/12\", via: \"10.0.0.2\")",
            "(to: \"0.0.0.0/0\", via: \"192.0.2.1\")",
        );
        assert_eq!(client_port(&config("")), 0);
        assert_eq!(client_port(&config(narrow)), 0);
        assert_eq!(client_port(&config(&format!("{narrow}, {wide}"))), 1);
    }
}
