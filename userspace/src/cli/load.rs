//! `bowline load`: puts a topology into force.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::output::{self, Format, GREEN, RESET};
use super::plan::warn_of_missing;
use super::{Global, read, warn_of};
use crate::counted::counted;
use crate::host::{Host, Summary};
use crate::ledger::Ledger;

/// Put a topology into force
///
/// Only what differs from what the kernel holds is touched; loading the same file again does nothing.
/// Several files can be loaded side by side, each under its `name:`; loading a file replaces what was
/// loaded under its name before. If anything fails, everything is as it was.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sudo bowline load examples/two-containers.yaml\n  \
    sudo bowline load        # after a container or the machine was restarted\n  \
    sudo bowline load lab.yaml --host alpha"
)]
pub(super) struct Load {
    /// A topology file, `-` for the standard input; without one, everything that is recorded as
    /// loaded is put into force again
    #[arg(value_name = "FILE")]
    file: Option<String>,
    /// Which of the file's hosts this one is; it is remembered. Without it, the one whose address an
    /// interface here has
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Wait this many seconds for another bowline, the agent for example, to finish changing the instance
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    wait: u64,
}

#[derive(Serialize)]
struct Loaded {
    changed: bool,
    program_loaded: bool,
    links_created: usize,
    links_adjusted: usize,
    links_deleted: usize,
    uplinks_attached: usize,
    uplinks_detached: usize,
    xdp_changed: usize,
    rows_written: usize,
    rows_removed: usize,
}

impl From<Summary> for Loaded {
    fn from(summary: Summary) -> Self {
        Self {
            changed: !summary.is_empty(),
            program_loaded: summary.program,
            links_created: summary.created,
            links_adjusted: summary.adjusted,
            links_deleted: summary.deleted,
            uplinks_attached: summary.attached,
            uplinks_detached: summary.detached,
            xdp_changed: summary.xdp,
            rows_written: summary.written,
            rows_removed: summary.removed,
        }
    }
}

impl Load {
    pub(super) async fn run(self, global: &Global) -> Result<ExitCode> {
        let request = self.file.as_deref().map(read).transpose()?;
        let instance = global.instance()?;
        let host = Host::new(&instance)?.called(self.host);
        let lock = Ledger::new(&instance).lock(Duration::from_secs(self.wait))?;
        let result = async {
            let outlook = host.look(request.as_ref()).await?;
            warn_of(&outlook.warnings);
            warn_of_missing(&outlook);
            host.load(&lock, &outlook).await
        };
        let summary = match result.await {
            Ok(summary) => summary,
            Err(error) => {
                return Err(match lock.remove_if_empty() {
                    Ok(()) => error,
                    Err(more) => error.context(format!("{more:#}")),
                });
            }
        };
        lock.remove_if_empty()?;
        print(global.output, "loaded", summary)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints what was changed.
pub(super) fn print(format: Format, done: &str, summary: Summary) -> Result<()> {
    if format != Format::Table {
        return output::print_value(format, &Loaded::from(summary));
    }
    if summary.is_empty() {
        return output::print_line(format!("{GREEN}{done}{RESET}: nothing had to be changed"));
    }
    let Summary {
        program,
        created,
        adjusted,
        deleted,
        attached,
        detached,
        xdp,
        written,
        removed,
    } = summary;
    let parts = [
        (usize::from(program), "program", ""),
        (created, "link", " made"),
        (adjusted, "link", " changed"),
        (deleted, "link", " deleted"),
        (attached, "uplink", " attached"),
        (detached, "uplink", " detached"),
        (xdp, "XDP program", " changed"),
        (written, "row", " written"),
        (removed, "row", " removed"),
    ];
    let text: Vec<String> = parts
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, noun, verb)| format!("{}{verb}", counted(count, noun)))
        .collect();
    output::print_line(format!("{GREEN}{done}{RESET}: {}", text.join(", ")))
}
