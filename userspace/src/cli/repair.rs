//! `bowline repair`: makes Docker, what is recorded of it and the kernel one again.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::Global;
use super::output::{self, Format};
use super::records::ask;
use crate::agent::plugin::REPAIR;
use crate::agent::reconcile::{RepairRequest, Repaired};

/// Make Docker, what is recorded of it and the kernel one again
///
/// Docker tells its driver once what happens. What happened while no agent was there to hear it leaves
/// endpoints in Docker's books that keep a container from starting, addresses that nobody has, and links
/// of nobody's. The agent looks for all that when it starts, when the engine does, and once a minute; this
/// lets it look now, and tells what it did.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sudo bowline repair --dry-run\n  sudo bowline repair -o json")]
pub(super) struct Repair {
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Repair {
    pub(super) fn run(self, global: &Global) -> Result<ExitCode> {
        let request = RepairRequest {
            dry_run: self.dry_run,
        };
        let answer = ask(&global.instance()?, REPAIR, &request)?;
        let repaired: Repaired = answer.context(
            "no agent runs, and only the agent may change what Docker has: start it \
             (`systemctl start bowline-agent`), which repairs by itself",
        )?;
        if global.output != Format::Table {
            output::print_value(global.output, &repaired)?;
            return Ok(ExitCode::SUCCESS);
        }
        if repaired.findings.is_empty() {
            output::print_line("nothing is wrong")?;
        }
        for repair in &repaired.findings {
            let mark = match (repair.mended, self.dry_run) {
                (false, _) => "yours",
                (true, true) => "would do",
                (true, false) => "done",
            };
            output::print_line(format!("{mark}: {}", repair.finding))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
