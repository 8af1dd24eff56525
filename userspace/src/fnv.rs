//! FNV-1a (Fowler, Noll, Vo; RFC 9923), a small, fixed hash for names and fingerprints: equal on
//! every machine and in every release, which the standard library's hashers do not promise. It guards against accidents, not attackers.

/// FNV-1a with 64 bits over the parts in order.
#[must_use]
pub fn fnv1a_64<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    parts.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, part| {
        // Part by part: over the bytes of the whole object, an iterator that flattens takes an
        // unoptimized build most of the time of a `load`.
        part.iter().fold(hash, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    })
}

/// FNV-1a with 32 bits.
#[must_use]
pub fn fnv1a_32(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(fnv1a_64([]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64([b"foobar".as_slice()]), 0x8594_4171_f739_67e8);
        assert_eq!(
            fnv1a_64([b"foo".as_slice(), b"bar"]),
            fnv1a_64([b"foobar".as_slice()])
        );
    }

    #[test]
    fn known_values_of_32_bits() {
        // Test vectors of RFC 9923, appendix C.
        assert_eq!(fnv1a_32(""), 0x811c_9dc5);
        assert_eq!(fnv1a_32("a"), 0xe40c_292c);
        assert_eq!(fnv1a_32("foobar"), 0xbf9c_f968);
    }
}
