//! The 256 buckets of sh and dh, and the hash that leads to them.
//!
//! Promises: the buckets and the hash of IPVS (`IP_VS_SH_TAB_BITS` and `IP_VS_DH_TAB_BITS` 8).
//! Does not know: who fills them, and with whom.

use std::net::IpAddr;

/// How many buckets.
pub(super) const N_BUCKETS: usize = 256;

/// A place for each hash. A place fits into a byte: each takes a bucket at least, from the first on.
#[derive(Clone, Debug)]
pub(super) struct Buckets(pub(super) Box<[u8; N_BUCKETS]>);

impl Buckets {
    /// Fills the buckets by going round: `n_places` places, each of which takes `share` buckets at a time.
    pub(super) fn going_round(n_places: usize, share: impl Fn(usize) -> usize) -> Self {
        let round = (0..n_places).flat_map(|place| std::iter::repeat_n(place, share(place)));
        let mut buckets = Box::new([0; N_BUCKETS]);
        for (bucket, place) in buckets.iter_mut().zip(round.cycle()) {
            *bucket = place as u8;
        }
        Self(buckets)
    }

    /// The place in a bucket, counted round.
    #[inline]
    pub(super) fn place(&self, bucket: usize) -> usize {
        usize::from(self.0[bucket % N_BUCKETS])
    }
}

/// Linux's `hash_32` to 8 bits: the upper bits of a product.
#[inline]
pub(super) fn bucket(number: u32) -> usize {
    (number.wrapping_mul(0x61c8_8647) >> 24) as usize
}

/// An address as 32 bits: those of IPv4 in host order, the four words of IPv6 exclusive-ored.
#[inline]
pub(super) fn fold(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits >> 96) as u32 ^ (bits >> 64) as u32 ^ (bits >> 32) as u32 ^ bits as u32
        }
    }
}
