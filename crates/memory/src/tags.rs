//! Ten 16-bit tags compared at once: the first step of every connection look-up.
//!
//! Promises: the same answer as comparing one by one, which is what the tests hold it against.
//! Does not know: what a tag is made of, nor that 0 stands for an empty place.

/// The tags of one bucket.
pub type Tags = [u16; 10];

/// Which of the ten places match: bit *i* stands for place *i*. Iterates over the places, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagMatches(u16);

impl TagMatches {
    /// The lowest matching place, 0 to 9.
    #[inline(always)]
    pub fn first(self) -> Option<usize> {
        if self.0 == 0 {
            None
        } else {
            Some(self.0.trailing_zeros() as usize)
        }
    }
}

impl Iterator for TagMatches {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let place = self.first()?;
        self.0 &= self.0 - 1;
        Some(place)
    }
}

/// Compares all ten tags with `tag`.
#[inline(always)]
pub fn match_tags(tags: &Tags, tag: u16) -> TagMatches {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{
            __m128i, _mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16,
            _mm_set1_epi16,
        };
        let base = tags.as_ptr();
        // SAFETY: SSE2 belongs to x86-64. Each load reads 8 of the 10 tags: places 0 to 7, and places 2 to 9.
        let mask = unsafe {
            let wanted = _mm_set1_epi16(tag.cast_signed());
            let low = _mm_cmpeq_epi16(_mm_loadu_si128(base.cast::<__m128i>()), wanted);
            let high = _mm_cmpeq_epi16(_mm_loadu_si128(base.add(2).cast::<__m128i>()), wanted);
            _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32
        };
        // Eight bits a load; the second began two places further on.
        TagMatches(((mask & 0xff) | (mask >> 8 << 2)) as u16)
    }
    #[cfg(not(target_arch = "x86_64"))]
    match_tags_one_by_one(tags, tag)
}

/// The plain version: the model for the tests, and the code for other processors.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn match_tags_one_by_one(tags: &Tags, tag: u16) -> TagMatches {
    let bits = tags.iter().enumerate().filter(|(_, there)| **there == tag);
    TagMatches(bits.fold(0, |mask, (place, _)| mask | 1 << place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_at_once_agrees_with_one_by_one() {
        // Every subset of the ten places holds the tag in turn.
        for subset in 0..1024u16 {
            let tags: Tags = std::array::from_fn(|place| {
                if subset >> place & 1 == 1 {
                    0x8001
                } else {
                    0x7001
                }
            });
            assert_eq!(
                match_tags(&tags, 0x8001),
                match_tags_one_by_one(&tags, 0x8001)
            );
            assert_eq!(match_tags(&tags, 0x8001), TagMatches(subset));
        }
    }

    #[test]
    fn places_come_lowest_first() {
        let tags: Tags = [0, 5, 0, 5, 0, 0, 0, 0, 0, 5];
        assert_eq!(match_tags(&tags, 5).collect::<Vec<_>>(), [1, 3, 9]);
        assert_eq!(match_tags(&tags, 6).first(), None);
    }
}
