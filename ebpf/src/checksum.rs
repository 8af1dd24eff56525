//! The Internet checksum (RFC 1071).
//!
//! Words are summed as they lie in memory: the sum of swapped words is the swapped sum (RFC 1071
//! section 2B), so the result can be stored as it is.

/// The checksum of a sum of 16-bit words: folded and complemented, as it lies in memory.
#[must_use]
#[inline(always)]
pub const fn finish(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// The checksum after one of the words that it covers was changed (RFC 1624 equation 3).
#[must_use]
#[inline(always)]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    finish(!checksum as u64 + !old as u64 + new as u64)
}

/// What a checksum must be adjusted by when words that it covers become others: the sum of the new ones
/// and of the complements of the old ones, folded to 32 bits (RFC 1624 equation 3).
#[must_use]
#[inline(always)]
pub fn difference<const N: usize>(old: &[u32; N], new: &[u32; N]) -> u32 {
    let complements = old.iter().fold(0, |sum, &word| sum + u64::from(!word));
    fold(complements + sum32(new))
}

/// A sum of 32-bit words, folded to 32 bits.
#[must_use]
#[inline(always)]
pub const fn fold(sum: u64) -> u32 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

/// A word at `offset`, before and after a change, as the words of the message that has its checksum at
/// the offset `checksum` have it: swapped, if it is astride two of them (RFC 1071 section 2B).
#[must_use]
#[inline(always)]
pub const fn aligned(checksum: u32, offset: u32, old: u16, new: u16) -> (u16, u16) {
    if (checksum ^ offset) & 1 == 0 {
        (old, new)
    } else {
        (old.swap_bytes(), new.swap_bytes())
    }
}

/// The sum of 16-bit words, not folded.
#[must_use]
#[inline(always)]
pub fn sum16<const N: usize>(words: &[u16; N]) -> u64 {
    words.iter().fold(0, |sum, &word| sum + u64::from(word))
}

/// The sum of 32-bit words, not folded; folding it gives the sum of their halves.
#[must_use]
#[inline(always)]
pub fn sum32<const N: usize>(words: &[u32; N]) -> u64 {
    words.iter().fold(0, |sum, &word| sum + u64::from(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn example_of_rfc_1071() {
        // Section 3: the words 0001 f203 f4f5 f6f7 add up to ddf2.
        let words = [0x0001_u16, 0xf203, 0xf4f5, 0xf6f7].map(u16::to_be);
        assert_eq!(u16::from_be(finish(sum16(&words))), !0xddf2);
    }

    proptest! {
        #[test]
        fn a_message_with_its_checksum_sums_to_zero(words: [u16; 32]) {
            let checksum = finish(sum16(&words));
            prop_assert_eq!(finish(sum16(&words) + u64::from(checksum)), 0);
        }

        #[test]
        fn an_updated_checksum_is_the_one_of_the_changed_message(mut words: [u16; 10], new: u16) {
            let checksum = finish(sum16(&words));
            let old = std::mem::replace(&mut words[4], new);
            let (updated, full) = (update(checksum, old, new), finish(sum16(&words)));
            // Both forms of zero are right (RFC 1624 section 3).
            prop_assert!(updated == full || updated ^ full == u16::MAX, "{updated} {full}");
        }

        #[test]
        fn wide_words_sum_like_their_halves(words: [u32; 8]) {
            let mut halves = [0; 16];
            for (halves, word) in halves.chunks_exact_mut(2).zip(words) {
                let [a, b, c, d] = word.to_ne_bytes();
                halves.copy_from_slice(&[u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]);
            }
            prop_assert_eq!(finish(sum32(&words)), finish(sum16(&halves)));
        }
    }
}
