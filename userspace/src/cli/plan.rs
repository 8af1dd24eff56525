//! `bowline plan`: what `load` would change.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::output::{self, Format, GREEN, RED, RESET, YELLOW};
use super::{DIFFERS, Global, read, warn_of};
use crate::diff::Line;
use crate::host::{Host, Outlook};

/// Show what `load` would change, without changing anything
///
/// `+` would be added, `~` changed, `-` removed. The exit code is 10 if there is any difference.
#[derive(Args, Debug)]
#[command(after_help = "Example: sudo bowline plan shop.yaml || test $? -eq 10")]
pub(super) struct Plan {
    /// A topology file; without one, everything that is recorded as loaded is compared
    #[arg(value_name = "FILE")]
    file: Option<String>,
    /// Which of the file's hosts this one is, as for `load`
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
}

#[derive(Serialize)]
struct Changes {
    changes: Vec<Change>,
}

#[derive(Serialize)]
struct Change {
    action: &'static str,
    kind: &'static str,
    text: String,
}

impl Plan {
    pub(super) async fn run(self, global: &Global) -> Result<ExitCode> {
        let request = self.file.as_deref().map(read).transpose()?;
        let host = Host::new(&global.instance()?)?.called(self.host);
        let outlook = host.look(request.as_ref()).await?;
        warn_of(&outlook.warnings);
        warn_of_missing(&outlook);
        let lines = outlook.diff.lines(&outlook.plan, &outlook.holdings);
        print(global.output, &lines)?;
        Ok(if lines.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(DIFFERS)
        })
    }
}

/// Says which workloads of other sources are not there, or perhaps not.
pub(super) fn warn_of_missing(outlook: &Outlook) {
    for (workload, reason) in outlook.places.missing() {
        let fate = if outlook.keeps(workload) {
            "is left as it is"
        } else {
            "stays unplugged"
        };
        output::warn(format!("workload `{workload}` {fate}: {reason:#}"));
    }
}

fn print(format: Format, lines: &[Line]) -> Result<()> {
    if format != Format::Table {
        let changes = lines
            .iter()
            .map(|line| Change {
                action: match line.sign {
                    '+' => "add",
                    '-' => "remove",
                    _ => "change",
                },
                kind: line.kind,
                text: line.text.clone(),
            })
            .collect();
        return output::print_value(format, &Changes { changes });
    }
    if lines.is_empty() {
        return output::print_line("nothing to do");
    }
    for line in lines {
        let color = match line.sign {
            '+' => GREEN,
            '-' => RED,
            _ => YELLOW,
        };
        output::print_line(format!("{color}{line}{RESET}"))?;
    }
    Ok(())
}
