//! `bowline unload`: takes a source out of force.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::Global;
use super::load::print;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::similar::Similar;

/// Take a topology out of force
///
/// What only this source asked for is removed from the kernel; when it was the last one, nothing of
/// bowline is left.
#[derive(Args, Debug)]
#[command(after_help = "Example: sudo bowline unload two-containers")]
pub(super) struct Unload {
    /// The source's `name:`, as `bowline show` lists it
    name: String,
    /// Wait this many seconds for another bowline to finish changing the instance
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    wait: u64,
}

impl Unload {
    pub(super) async fn run(self, global: &Global) -> Result<ExitCode> {
        let instance = global.instance()?;
        let host = Host::new(&instance)?;
        let lock = Ledger::new(&instance).lock(Duration::from_secs(self.wait))?;
        let sources = lock.ledger().sources()?;
        if !sources.contains_key(&self.name) {
            lock.remove_if_empty()?;
            let similar = Similar::new(&self.name, sources.into_keys());
            bail!("no source `{}` is loaded: {similar}", self.name);
        }
        let summary = host.unload(lock, &self.name).await?;
        print(global.output, "unloaded", summary)?;
        Ok(ExitCode::SUCCESS)
    }
}
