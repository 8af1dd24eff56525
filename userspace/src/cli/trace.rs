//! `bowline trace`: what becomes of a packet, and why.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::output::{self, Format};
use super::{DIFFERS, Global};
use crate::host::{Host, Outlook};
use crate::instance::Instance;
use crate::kernel::clock;
use crate::kernel::datapath::Datapath;
use crate::trace::{self, Protocol, Query};

/// Show every decision that a packet meets, with the line of the file behind it
///
/// The datapath itself runs, over what is recorded as loaded; with `--live`, over what is in the
/// kernel. Where a packet goes to other hosts, it is followed there: they are taken to be as the same
/// files say. No packet is sent. The exit code is 10 if the packet does not arrive.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sudo bowline trace web db\n  \
    sudo bowline trace web/eth0 10.77.0.20 tcp 5432 --live\n  sudo bowline trace web core icmp    # a router")]
pub(super) struct Trace {
    /// The sender: a workload or one of its ports (`web`, `web/eth0`)
    from: String,
    /// The receiver: a workload, a router, a port of either, or an IP address
    to: String,
    /// `tcp`, `udp` or `icmp`
    #[arg(default_value = "tcp")]
    protocol: Protocol,
    /// The receiver's port; 80 if not given
    port: Option<u16>,
    /// Over what is in the kernel, with the addresses that were learned or answered
    #[arg(long)]
    live: bool,
    /// Which of the topology's hosts this one is, as for `load`
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
}

impl Trace {
    pub(super) async fn run(self, global: &Global) -> Result<ExitCode> {
        let instance = global.instance()?;
        let host = Host::new(&instance)?.called(self.host.clone());
        let outlook = host.look(None).await?;
        let tables = if self.live {
            live_tables(&instance, &outlook)?
        } else {
            trace::planned_tables(&outlook.plan)
        };
        let Self {
            from,
            to,
            protocol,
            port,
            ..
        } = self;
        let titles = output::entitle(&instance);
        let object = |text: &str| {
            let name = text.split('/').next().unwrap_or_default();
            let is_own = outlook.topology.workloads.contains_key(name);
            if is_own {
                text.to_owned()
            } else {
                titles.object(text)
            }
        };
        let (from, to) = (object(&from), object(&to));
        let query = Query {
            from: &from,
            to: &to,
            protocol,
            port,
        };
        let trace = trace::trace(&outlook.topology, &instance, &outlook.plan, tables, &query)?;
        match global.output {
            Format::Table => output::print_line(trace.to_string().trim_end())?,
            format => output::print_value(format, &trace)?,
        }
        Ok(if trace.arrives {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(DIFFERS)
        })
    }
}

fn live_tables(instance: &Instance, outlook: &Outlook) -> Result<datapath::memory::MemoryTables> {
    let Some(datapath) = Datapath::open(instance)? else {
        bail!(
            "nothing is loaded in instance {}: run `bowline load FILE`",
            instance.name()
        );
    };
    let observed = trace::Observed {
        learned: datapath.learned()?,
        resolved: datapath.resolved()?,
        now_ns: clock::coarse_ns(),
    };
    Ok(trace::tables_of(&outlook.holdings.tables, observed))
}
