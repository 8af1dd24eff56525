//! A small, fixed hash for names and fingerprints: equal on every machine and in every release,
//! which the standard library's hashers do not promise. It guards against accidents, not attackers.

/// FNV-1a with 64 bits over the parts in order.
#[must_use]
pub fn fnv1a<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    parts
        .into_iter()
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(fnv1a([]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a([b"foobar".as_slice()]), 0x8594_4171_f739_67e8);
        assert_eq!(
            fnv1a([b"foo".as_slice(), b"bar"]),
            fnv1a([b"foobar".as_slice()])
        );
    }
}
