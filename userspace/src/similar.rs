//! Which of the existing names was probably meant, for error messages.

use std::fmt;

/// The names closest to one that does not exist, and how many there are at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Similar {
    close: Vec<String>,
    all: Vec<String>,
}

impl Similar {
    /// Compares `wanted` with the names that exist.
    #[must_use]
    pub fn new(wanted: &str, existing: impl IntoIterator<Item = String>) -> Self {
        let mut all: Vec<String> = existing.into_iter().collect();
        all.sort();
        let mut close: Vec<(usize, &String)> = all
            .iter()
            .map(|name| (distance(wanted, name), name))
            .filter(|&(distance, name)| {
                distance <= 2.max(wanted.chars().count() / 3) && distance < name.chars().count()
            })
            .collect();
        close.sort();
        let close = close
            .into_iter()
            .take(3)
            .map(|(_, name)| name.clone())
            .collect();
        Self { close, all }
    }
}

/// A half sentence, to stand behind "there is no ...".
impl fmt::Display for Similar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        if !self.close.is_empty() {
            write!(f, "did you mean {}?", quoted(&self.close, " or "))
        } else if self.all.is_empty() {
            f.write_str("there are none at all")
        } else if self.all.len() <= SHOWN {
            write!(f, "there are {}", quoted(&self.all, ", "))
        } else {
            let (shown, rest) = self.all.split_at(SHOWN);
            write!(
                f,
                "there are {} and {} more",
                quoted(shown, ", "),
                rest.len()
            )
        }
    }
}

fn quoted(names: &[String], separator: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(separator)
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let substitution = diagonal + usize::from(x != *y);
            diagonal = *above;
            left = substitution.min(diagonal + 1).min(left + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similar(wanted: &str, existing: &[&str]) -> String {
        Similar::new(wanted, existing.iter().map(|&name| name.to_owned())).to_string()
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("web", "wbe", 2),
            ("web", "web", 0),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn the_close_ones_else_all() {
        assert_eq!(similar("wbe", &["db", "web"]), "did you mean `web`?");
        assert_eq!(similar("frontend", &["db", "web"]), "there are `db`, `web`");
        assert_eq!(similar("web", &[]), "there are none at all");
    }
}
