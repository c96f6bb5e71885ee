//! The hash of a flow key: two folded multiplications, seeded.
//!
//! Promises: with a seed from the system's randomness an outsider cannot aim at one bucket. Not a CRC, whose
//! collisions do not depend on its seed.
//! Does not know: what the bits are used for (`connection/index.rs`, `steering.rs`).

use weir_wire::{FlowKey, FlowKeyV4, FlowKeyV6};

/// Secret numbers, drawn once at start. Equal seeds give equal hashes.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub [u64; 4]);

impl Seed {
    /// The hash of a flow.
    #[inline]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        match key {
            FlowKey::V4(key) => self.hash_v4(key),
            FlowKey::V6(key) => self.hash_v6(key),
        }
    }

    #[inline]
    fn hash_v4(&self, key: &FlowKeyV4) -> u64 {
        let [a, b, c, d] = self.0;
        let rest = u64::from(key.l4_ports) | u64::from(key.protocol.number()) << 32;
        fold(fold(key.addresses ^ a, rest ^ b) ^ c, d | 1)
    }

    #[inline]
    fn hash_v6(&self, key: &FlowKeyV6) -> u64 {
        let [a, b, c, d] = self.0;
        let rest = u64::from(key.l4_ports) | u64::from(key.protocol.number()) << 32;
        let source = fold(key.source[0] ^ a, key.source[1] ^ b);
        let destination = fold(key.destination[0] ^ c, key.destination[1] ^ d);
        fold(source ^ rest, destination ^ b.rotate_left(32))
    }
}

/// The 128-bit product with its halves exclusive-ored. A zero factor loses everything, but which input makes one only
/// the seed knows.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
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

    #[test]
    fn every_bit_of_a_key_changes_the_hash() {
        let v4 = FlowKeyV4 {
            addresses: 0x0102_0304_0506_0708,
            l4_ports: 0x090a_0b0c,
            protocol: Protocol::Tcp,
        };
        let hash = SEED.hash(&FlowKey::V4(v4));
        for bit in 0..64 {
            let other = FlowKeyV4 {
                addresses: v4.addresses ^ 1 << bit,
                ..v4
            };
            assert_ne!(SEED.hash(&FlowKey::V4(other)), hash, "address bit {bit}");
        }
        for bit in 0..32 {
            let other = FlowKeyV4 {
                l4_ports: v4.l4_ports ^ 1 << bit,
                ..v4
            };
            assert_ne!(SEED.hash(&FlowKey::V4(other)), hash, "L4 port bit {bit}");
        }
        let v6 = FlowKeyV6 {
            source: [1, 2],
            destination: [3, 4],
            l4_ports: 5,
            protocol: Protocol::Udp,
        };
        let hash = SEED.hash(&FlowKey::V6(v6));
        for bit in 0..32 {
            let other = FlowKeyV6 {
                l4_ports: v6.l4_ports ^ 1 << bit,
                ..v6
            };
            assert_ne!(SEED.hash(&FlowKey::V6(other)), hash, "L4 port bit {bit}");
        }
        for bit in 0..64 {
            let other = FlowKeyV6 {
                source: [1, 2 ^ 1 << bit],
                ..v6
            };
            assert_ne!(SEED.hash(&FlowKey::V6(other)), hash, "address bit {bit}");
        }
    }
}
