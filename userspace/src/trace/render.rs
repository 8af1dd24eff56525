//! A trace as plain text: numbered steps under the name of their stage, each with its place in the
//! file at the right, and the verdict in the end.

use std::fmt;

use super::{Outcome, Trace};

/// Texts longer than this do not push the column of places further to the right.
const WIDEST: usize = 88;

impl Trace {
    /// Where the places in the file begin, counted from the beginning of a text.
    fn column(&self) -> usize {
        let widths = self.steps.iter().map(|step| step.text.chars().count());
        widths.filter(|&width| width <= WIDEST).max().unwrap_or(0)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.column();
        let mut stage = None;
        for (number, step) in (1..).zip(&self.steps) {
            let heading = (step.stage, &step.router);
            if stage.replace(heading) != Some(heading) {
                match &step.router {
                    Some(router) => writeln!(f, "{} {router}", step.stage)?,
                    None => writeln!(f, "{}", step.stage)?,
                }
            }
            match &step.origin {
                Some(origin) => {
                    writeln!(f, "{number:>4}. {:<column$}  {origin}", step.text)?;
                }
                None => writeln!(f, "{number:>4}. {}", step.text)?,
            }
        }
        verdict(f, &self.verdict, column)
    }
}

/// The verdict, its place under those of the steps.
fn verdict(f: &mut fmt::Formatter<'_>, verdict: &Outcome, column: usize) -> fmt::Result {
    let line = format!("verdict: {verdict}");
    match verdict {
        Outcome::Delivered {
            origin: Some(origin),
            ..
        }
        | Outcome::Answered { origin, .. } => {
            writeln!(f, "{line:<width$}  {origin}", width = column + 6)
        }
        Outcome::Dropped(refusal) | Outcome::NotSent(refusal) => {
            writeln!(f, "{line}\n      {}", refusal.meaning)?;
            if let Some(told) = &refusal.told {
                writeln!(f, "      {told}")?;
            }
            match &refusal.hint {
                Some(hint) => writeln!(f, "      hint: {hint}"),
                None => Ok(()),
            }
        }
        _ => writeln!(f, "{line}"),
    }
}
