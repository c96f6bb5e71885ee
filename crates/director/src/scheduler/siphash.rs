//! SipHash-1-3 of one 32-bit number, cut to 32 bits: what Linux calls `hsiphash` on 64-bit machines.
//!
//! Promises: the function of Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), with one round for the
//! message and three at the end. Does not know: what is hashed.

/// The hash of four bytes, the lowest first, under a key whose two halves are both `key`.
pub(super) fn hash(number: u32, key: u64) -> u32 {
    let mut state = State([
        key ^ 0x736f_6d65_7073_6575,
        key ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key ^ 0x7465_6462_7974_6573,
    ]);
    // The only word: the message, and its length in bytes at the top.
    let word = u64::from(number) | 4 << 56;
    state.0[3] ^= word;
    state.round();
    state.0[0] ^= word;
    state.0[2] ^= 0xff;
    for _ in 0..3 {
        state.round();
    }
    let [a, b, c, d] = state.0;
    (a ^ b ^ c ^ d) as u32
}

struct State([u64; 4]);

impl State {
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32).wrapping_add(d);
        c = c.wrapping_add(b);
        d = d.rotate_left(21) ^ a;
        b = b.rotate_left(17) ^ c;
        self.0 = [a, b, c.rotate_left(32), d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hasher};

    /// The standard library's hasher is SipHash-1-3 too, under a key of zeros.
    #[test]
    fn it_is_that_of_the_standard_library() {
        for number in [0, 1, 0x8000_0000, 0x0a01_000b, u32::MAX] {
            let mut hasher = DefaultHasher::new();
            hasher.write(&number.to_le_bytes());
            assert_eq!(hash(number, 0), hasher.finish() as u32, "{number:#x}");
        }
    }
}
