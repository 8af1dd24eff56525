//! Numbers in sentences.

use std::fmt::Display;

/// A number with its noun, whose plural ends in s.
pub(crate) fn counted(number: impl Display + PartialEq + From<u8>, noun: &str) -> String {
    let plural = if number == 1.into() { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// How often: "once", "2 times".
pub(crate) fn times(number: u32) -> String {
    match number {
        1 => "once".to_owned(),
        _ => counted(number, "time"),
    }
}
