//! "Did you mean": which of the words that would have been right was probably meant.

use std::fmt;

/// The name closest to one that does not exist, and how many there are at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Similar {
    close: Option<String>,
    all: Vec<String>,
}

impl Similar {
    /// Compares `wanted` with the names that exist.
    #[must_use]
    pub fn new(wanted: &str, existing: impl IntoIterator<Item = String>) -> Self {
        let mut all: Vec<String> = existing.into_iter().collect();
        all.sort();
        let close = closest(wanted, all.iter().map(String::as_str)).map(str::to_owned);
        Self { close, all }
    }
}

/// A half sentence, to stand behind "there is no ...".
impl fmt::Display for Similar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        if let Some(close) = &self.close {
            write!(f, "did you mean `{close}`?")
        } else if self.all.is_empty() {
            f.write_str("there are none at all")
        } else if let [only] = self.all.as_slice() {
            write!(f, "there is only `{only}`")
        } else if self.all.len() <= SHOWN {
            write!(f, "there are {}", quoted(&self.all))
        } else {
            let (shown, rest) = self.all.split_at(SHOWN);
            write!(f, "there are {} and {} more", quoted(shown), rest.len())
        }
    }
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

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

    fn similar(wanted: &str, existing: &[&str]) -> String {
        Similar::new(wanted, existing.iter().map(|&name| name.to_owned())).to_string()
    }

    #[test]
    fn the_close_ones_else_all() {
        assert_eq!(similar("wbe", &["db", "web"]), "did you mean `web`?");
        assert_eq!(similar("frontend", &["db", "web"]), "there are `db`, `web`");
        assert_eq!(similar("frontend", &["db"]), "there is only `db`");
        assert_eq!(similar("web", &[]), "there are none at all");
    }

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
