//! What the user sees: steps and notes on stderr, results on stdout.
//!
//! Colour appears only on a terminal and never when NO_COLOR is set, so that logs stay plain.

use std::env;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::time::Duration;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

fn allows_colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn paint(text: &str, code: &str, on_terminal: bool) -> String {
    if on_terminal && allows_colour() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Whether the tools we run may colour what they print through us to stdout.
pub(crate) fn stdout_is_coloured() -> bool {
    stdout().is_terminal() && allows_colour()
}

/// Whether somebody watches: long work then shows its tool's own progress.
pub(crate) fn is_watched() -> bool {
    stderr().is_terminal()
}

/// Prints a line of result to stdout. Unlike `println!`, it does not panic when nobody listens
/// any more: a clean-up must not stop because its terminal was closed.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}

/// Announces the next piece of work.
pub(crate) fn step(text: &str) {
    remark("==>", GREEN, text);
}

/// Says something worth knowing that is no failure.
pub(crate) fn note(text: &str) {
    remark("note:", YELLOW, text);
}

/// Says what went wrong.
pub(crate) fn error(text: &str) {
    remark("error:", RED, text);
}

fn remark(mark: &str, colour: &str, text: &str) {
    let _ = writeln!(
        stderr(),
        "{} {text}",
        paint(mark, colour, stderr().is_terminal())
    );
}

/// A heading on stdout.
pub(crate) fn heading(text: &str) -> String {
    paint(text, BOLD, stdout().is_terminal())
}

/// A command on stdout, the way a user would type it on a host, or on the only one.
pub(crate) fn prompt(host: &str, command: &str) -> String {
    paint(&format!("{host}$ {command}"), CYAN, stdout().is_terminal())
}

/// An aside on stdout.
pub(crate) fn aside(text: &str) -> String {
    paint(text, DIM, stdout().is_terminal())
}

/// A word of judgement on stdout, padded so that what follows lines up.
pub(crate) fn verdict(word: &str, width: usize) -> String {
    let code = match word {
        "ok" | "passed" => GREEN,
        "skipped" => YELLOW,
        _ => RED,
    };
    paint(&format!("{word:<width$}"), code, stdout().is_terminal())
}

/// A duration to a tenth of a second, or in minutes when it is long.
pub(crate) fn seconds(duration: Duration) -> String {
    let total = duration.as_secs();
    if total < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {} s", total / 60, total % 60)
    }
}
