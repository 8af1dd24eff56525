//! Which of the existing names was probably meant, for error messages.

use std::fmt;

use crate::suggestion::closest;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
