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
        fold(fold(key.addresses ^ a, rest ^ b) ^ c, d)
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

/// The 128-bit product with its halves exclusive-ored. An even factor loses little, a zero one all: hence the
/// second round, whose factor is the seed's own (and odd).
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b | 1);
    (product as u64) ^ (product >> 64) as u64
}
