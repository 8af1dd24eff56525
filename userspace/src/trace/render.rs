//! A trace as plain text: numbered steps under the name of their stage, each with its place in the
//! file at the right, and the verdict in the end.

use std::fmt;

use super::{Arrival, Outcome, Trace};

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
        let home = &self.steps.first().and_then(|step| step.host.clone());
        for (number, step) in (1..).zip(&self.steps) {
            let heading = (step.stage, &step.host, &step.router);
            if stage.replace(heading) != Some(heading) {
                write!(f, "{}", step.stage)?;
                if let Some(router) = &step.router {
                    write!(f, " {router}")?;
                }
                if let Some(host) = step.host.as_ref().filter(|_| step.host != *home) {
                    write!(f, " at {host}")?;
                }
                writeln!(f)?;
            }
            match &step.origin {
                Some(origin) => {
                    writeln!(f, "{number:>4}. {:<column$}  {origin}", step.text)?;
                }
                None => writeln!(f, "{number:>4}. {}", step.text)?,
            }
        }
        verdict(f, "verdict", &self.verdict, column)?;
        for Arrival { host, verdict: end } in &self.elsewhere {
            verdict(f, &format!("at {host}"), end, column)?;
        }
        Ok(())
    }
}

/// A verdict, its place under those of the steps.
fn verdict(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    verdict: &Outcome,
    column: usize,
) -> fmt::Result {
    let line = format!("{title}: {verdict}");
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
