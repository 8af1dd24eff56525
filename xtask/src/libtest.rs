//! Running a test executable: its output passes through, and its counts are read from it.
//!
//! Besides what libtest ignores, a test that finds out only while it runs that it cannot do its
//! work appends a line `NAME: REASON` to the file named by BOWLINE_SKIPPED. libtest counts it as
//! passed; here it becomes skipped, and the reason is shown.

use crate::failure::{Context as _, Failure, Result};
use crate::{process, terminal};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _, stdout};
use std::ops::AddAssign;
use std::path::Path;
use std::process::{Command, Stdio};

/// The variable that names the file where tests write down that they were skipped.
pub(crate) const SKIPPED: &str = "BOWLINE_SKIPPED";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    /// How many tests were looked at.
    pub(crate) fn total(&self) -> usize {
        self.passed + self.failed + self.skipped
    }

    /// What they mean, in a word.
    pub(crate) fn verdict(&self) -> &'static str {
        match self {
            Self { failed: 1.., .. } => "FAILED",
            counts if counts.total() == 0 => "NO TESTS",
            Self { passed: 0, .. } => "skipped",
            _ => "passed",
        }
    }

    /// Counts a test that libtest took for passed as skipped.
    pub(crate) fn skip(&mut self) {
        self.passed = self.passed.saturating_sub(1);
        self.skipped += 1;
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Runs one command that prints what libtest prints. A run that dies without a result line, or
/// that fails without naming a failed test, counts as one failure.
pub(crate) fn run(command: &mut Command, skip_file: &Path) -> Result<Counts> {
    let _ = fs::remove_file(skip_file);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context(|| format!("cannot start `{}`", process::display(command)))?;
    let lines = child
        .stdout
        .take()
        .ok_or_else(|| Failure::new("a test has no output"))?;
    let mut counts = Counts::default();
    let mut reader = BufReader::new(lines);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|length| length > 0)
    {
        // Nobody may be reading any more (`| head`); the tests still run to their end.
        let _ = stdout().write_all(&line);
        counts += result_line(&String::from_utf8_lossy(&line)).unwrap_or_default();
        line.clear();
    }
    let status = child
        .wait()
        .context(|| "cannot wait for a test".to_owned())?;
    if !status.success() && counts.failed == 0 {
        terminal::say(format!("the test run itself {}", process::ending(status)));
        counts.failed += 1;
    }
    for reason in fs::read_to_string(skip_file).unwrap_or_default().lines() {
        terminal::say(format!("skipped: {reason}"));
        counts.skip();
    }
    let _ = fs::remove_file(skip_file);
    Ok(counts)
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`, coloured or not.
pub(crate) fn result_line(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("test result: ")?;
    let count = |word: &str| {
        let before = rest
            .split(word)
            .next()
            .filter(|before| before.len() < rest.len())?;
        before
            .rsplit(|c: char| !c.is_ascii_digit())
            .find(|digits| !digits.is_empty())?
            .parse()
            .ok()
    };
    Some(Counts {
        passed: count(" passed;")?,
        failed: count(" failed;")?,
        skipped: count(" ignored;")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_a_plain_and_from_a_coloured_line() {
        let rest = "12 passed; 3 failed; 4 ignored; 0 measured; 99 filtered out; finished in 0.2s";
        let expected = Counts {
            passed: 12,
            failed: 3,
            skipped: 4,
        };
        assert_eq!(
            result_line(&format!("test result: FAILED. {rest}\n")),
            Some(expected)
        );
        let coloured = format!("test result: \x1b[31mFAILED\x1b[m. {rest}\n");
        assert_eq!(result_line(&coloured), Some(expected));
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(result_line("test passed; failed; ignored; ... ok"), None);
        assert_eq!(result_line("test result: unknown"), None);
    }
}
