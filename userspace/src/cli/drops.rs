//! `bowline drops`: follows dropped frames one by one.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use maps_schema::DropReason;
use maps_schema::record::DropEvent;
use serde::Serialize;

use super::Global;
use super::output::{self, Format};
use crate::host::Host;
use crate::kernel::events::Events;
use crate::plan::Names;

/// Follow dropped frames, one line each
///
/// A source must ask for it with `defaults: { drop_events: true }`; without it the datapath does no
/// work for events. The ring buffer holds about 2,000; when they come faster than they are read, the
/// newest are lost. The counters of `bowline stats` are exact all the same.
#[derive(Args, Debug)]
#[command(after_help = "Example: sudo bowline drops")]
pub(super) struct Drops {
    /// Stop after this many
    #[arg(short = 'n', long, value_name = "NUMBER")]
    count: Option<u64>,
}

#[derive(Serialize)]
struct Dropped {
    time_ns: u64,
    port: String,
    interface: u32,
    reason: String,
    bytes: u32,
    head: String,
}

impl Drops {
    pub(super) async fn run(self, global: &Global) -> Result<ExitCode> {
        let instance = global.instance()?;
        let outlook = Host::new(&instance)?.look(None).await?;
        output::entitle(&instance);
        if !outlook.plan.settings.drop_events {
            bail!(
                "no loaded source asks for events: write `defaults: {{ drop_events: true }}` in a \
                 topology file and load it"
            );
        }
        let mut events = Events::open(&instance)?;
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let event = events.next().await?;
            print(global.output, &outlook.plan.names, &event)?;
            left -= 1;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(format: Format, names: &Names, event: &DropEvent) -> Result<()> {
    let head = event
        .head
        .get(..usize::from(event.head_len))
        .unwrap_or(&event.head);
    let reason = DropReason::try_from(event.reason);
    let dropped = Dropped {
        time_ns: event.time_ns,
        port: names.port(event.port),
        interface: event.ifindex.0,
        reason: reason.map_or_else(|code| format!("reason {code}"), |it| it.name().to_owned()),
        bytes: event.len,
        head: head.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if format == Format::Table {
        let Dropped {
            time_ns,
            port,
            reason,
            bytes,
            head,
            ..
        } = dropped;
        let seconds = format!(
            "{}.{:06}",
            time_ns / 1_000_000_000,
            time_ns / 1000 % 1_000_000
        );
        return output::print_line(format!("{seconds} {port} {reason} {bytes} bytes {head}"));
    }
    // One value a line, so that a reader need not wait for an end that never comes.
    output::print_line(serde_json::to_string(&dropped)?)
}
