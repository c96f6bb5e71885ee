//! Which worker owns a flow.
//!
//! Promises: every worker gives the same answer, whatever queue a packet came in by; both directions of a FULLNAT
//! connection have the same owner, because its local port was chosen so.
//! Does not know: tables and rings. Asked on a miss only.

use weir_wire::{FlowKey, L4Port};

use crate::{AddressUse, Seed, WorkerId};

/// Decides the owner of a flow. The same for all workers of a process.
#[derive(Clone, Debug)]
pub struct Steering {
    n_workers: u8,
    seed: Seed,
}

impl Default for Steering {
    /// One worker owns everything.
    fn default() -> Self {
        Self::new(1, Seed([0; 4]))
    }
}

impl Steering {
    /// For `n_workers` workers, at least one.
    pub fn new(n_workers: u8, seed: Seed) -> Self {
        Self {
            n_workers: n_workers.max(1),
            seed,
        }
    }

    /// The worker that owns a packet of flow `key`, whose destination address has `destination_use`.
    ///
    /// A client's packet belongs by a hash of (CIP, cport); a reply by its local port.
    pub fn owner(&self, key: &FlowKey, destination_use: AddressUse) -> WorkerId {
        if self.n_workers == 1 {
            return WorkerId(0);
        }
        match destination_use {
            AddressUse::Virtual | AddressUse::Own => self.owner_of_client(key),
            AddressUse::Local => self.owner_of_local_port(key.destination().port()),
        }
    }

    /// How many local ports lie between two that belong to the same worker.
    pub(crate) fn local_port_stride(&self) -> u16 {
        u16::from(self.n_workers)
    }

    fn owner_of_local_port(&self, lport: L4Port) -> WorkerId {
        WorkerId((lport % u16::from(self.n_workers)) as u8)
    }

    fn owner_of_client(&self, key: &FlowKey) -> WorkerId {
        let client_only = match *key {
            FlowKey::V4(mut key) => {
                key.addresses = half(key.addresses);
                key.l4_ports = first_l4_port(key.l4_ports);
                FlowKey::V4(key)
            }
            FlowKey::V6(mut key) => {
                key.destination = [0; 2];
                key.l4_ports = first_l4_port(key.l4_ports);
                FlowKey::V6(key)
            }
        };
        let hash = self.seed.hash(&client_only) >> 32;
        WorkerId(((hash * u64::from(self.n_workers)) >> 32) as u8)
    }
}

/// The source address alone of a pair as it lies in a packet.
fn half(addresses: u64) -> u64 {
    let [a, b, c, d, ..] = addresses.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0])
}

/// The source L4 port alone of a pair as it lies in a packet.
fn first_l4_port(l4_ports: u32) -> u32 {
    let [a, b, ..] = l4_ports.to_ne_bytes();
    u32::from_ne_bytes([a, b, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_wire::Protocol;

    const SEED: Seed = Seed([
        0x9ae1_6a3b_2f90_404f,
        0xc3a5_c85c_97cb_3127,
        0xb492_b66f_be98_f273,
        0x9ae1_6a3b_2f90_4051,
    ]);

    fn key(source: &str, destination: &str) -> FlowKey {
        FlowKey::new(
            Protocol::Tcp,
            source.parse().unwrap(),
            destination.parse().unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn a_client_has_one_owner_whatever_it_talks_to() {
        let steering = Steering::new(3, SEED);
        for (client, first, second) in [
            ("192.0.2.1:4000", "198.51.100.1:80", "198.51.100.2:443"),
            (
                "[2001:db8::7]:4000",
                "[2001:db8::1]:80",
                "[2001:db8::2]:443",
            ),
        ] {
            let owner = |vip| steering.owner(&key(client, vip), AddressUse::Virtual);
            assert_eq!(owner(first), owner(second));
        }
    }

    #[test]
    fn clients_are_spread_evenly() {
        let steering = Steering::new(2, SEED);
        let n_second = (0..10_000u16)
            .map(|cport| key(&format!("192.0.2.1:{cport}"), "198.51.100.1:80"))
            .filter(|key| steering.owner(key, AddressUse::Virtual) == WorkerId(1))
            .count();
        assert!((4_700..5_300).contains(&n_second), "{n_second}");
    }

    #[test]
    fn a_reply_belongs_by_its_local_port() {
        let steering = Steering::new(2, Seed([0; 4]));
        for lport in [1024u16, 1025, 65_535] {
            let reply = key("10.0.0.11:80", &format!("10.0.0.200:{lport}"));
            assert_eq!(
                steering.owner(&reply, AddressUse::Local),
                WorkerId((lport % 2) as u8)
            );
        }
    }
}
