//! `bowline unload`: takes a source out of force.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::Global;
use super::load::print;
use crate::driver;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::similar::Similar;

/// Take a topology out of force
///
/// What only this source asked for is removed from the kernel; when it was the last one, nothing of
/// bowline is left.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sudo bowline unload two-containers\n  sudo bowline unload --all"
)]
pub(super) struct Unload {
    #[command(flatten)]
    which: Which,
    /// Wait this many seconds for another bowline, the agent for example, to finish changing the instance
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    wait: u64,
}

/// One source or all of them.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// The source's `name:`, as `bowline show` lists it
    name: Option<String>,
    /// All sources, also those that are in each other's way
    #[arg(long)]
    all: bool,
}

impl Unload {
    pub(super) async fn run(self, global: &Global) -> Result<ExitCode> {
        let instance = global.instance()?;
        let host = Host::new(&instance)?;
        let lock = Ledger::new(&instance).lock(Duration::from_secs(self.wait))?;
        let summary = match &self.which.name {
            None => host.unload_all(lock).await?,
            Some(name) => {
                let sources = lock.ledger().sources()?;
                if !sources.contains_key(name) {
                    lock.remove_if_empty()?;
                    let similar = Similar::new(name, sources.into_keys());
                    bail!("no source `{name}` is loaded: {similar}");
                }
                if name == driver::source::NAME {
                    bail!(
                        "the source {name} is what Docker has of bowline: `docker network rm` takes a \
                         network out of it"
                    );
                }
                host.unload(lock, name).await?
            }
        };
        print(global.output, "unloaded", summary)?;
        Ok(ExitCode::SUCCESS)
    }
}
