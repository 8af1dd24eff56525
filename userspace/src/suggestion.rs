//! "Did you mean": the closest of the words that would have been right.

/// The candidate that `word` is most likely a slip of, if one is close enough to be worth saying.
///
/// Close means a third of the word's letters wrong at most, and one in a short word; transposed
/// neighbors count once. Case does not count, because it is what people get wrong first.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // What is far longer than any name needs no search, which is quadratic in the length.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    let limit = (lower.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 64)
        .map(|candidate| {
            let distance = strsim::osa_distance(&lower, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] = ["network", "addresses", "mtu", "mac"];

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        assert_eq!(closest("adresses", KEYS), Some("addresses"));
        assert_eq!(closest("netwrok", KEYS), Some("network"));
        assert_eq!(closest("MTU", KEYS), Some("mtu"));
        assert_eq!(closest("mt", KEYS), Some("mtu"));
        assert_eq!(closest("gateway", KEYS), None);
        assert_eq!(closest("", KEYS), None);
        assert_eq!(closest("x", ["a"]), None);
        assert_eq!(closest(&"a".repeat(100_000), KEYS), None);
    }
}
