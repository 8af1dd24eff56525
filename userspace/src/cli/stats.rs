//! `bowline stats`: what was carried and what was dropped.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use maps_schema::map::PortCounters;
use maps_schema::{DropReason, PortId};
use serde::Serialize;

use super::Global;
use super::output::{self, Format};
use crate::host::Host;
use crate::kernel::datapath::Datapath;
use crate::plan::Names;

/// Show what every port carried and why frames were dropped
///
/// In is from the workload, or the other host, into its network; out is to there. A frame that
/// segmentation offload left whole counts once.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sudo bowline stats\n  sudo bowline stats --watch 2")]
pub(super) struct Stats {
    /// Repeat every so many seconds (1 if not given), with what was counted since the last time
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
    watch: Option<f64>,
}

type Counters = BTreeMap<PortId, PortCounters>;

#[derive(Serialize)]
struct Counted {
    ports: Vec<PortStats>,
    flows: FlowStats,
}

/// How many directions of connections are remembered.
#[derive(Clone, Copy, Serialize)]
struct FlowStats {
    established: Occupancy,
    opening: Occupancy,
}

#[derive(Clone, Copy, Serialize)]
struct Occupancy {
    rows: usize,
    room: u32,
}

impl Occupancy {
    const fn of((rows, room): (usize, u32)) -> Self {
        Self { rows, room }
    }
}

impl FlowStats {
    fn read(datapath: &Datapath) -> Result<Self> {
        let [established, opening] = datapath.count_flows()?;
        Ok(Self {
            established: Occupancy::of(established),
            opening: Occupancy::of(opening),
        })
    }
}

#[derive(Serialize)]
struct PortStats {
    port: String,
    in_packets: u64,
    in_bytes: u64,
    out_packets: u64,
    out_bytes: u64,
    drops: BTreeMap<&'static str, u64>,
}

impl Stats {
    pub(super) async fn run(self, global: &Global) -> Result<ExitCode> {
        let instance = global.instance()?;
        let outlook = Host::new(&instance)?.look(None).await?;
        output::entitle(&instance);
        let names = &outlook.plan.names;
        let Some(datapath) = Datapath::open(&instance)? else {
            bail!(
                "nothing is loaded in instance {}: run `bowline load FILE`",
                instance.name()
            );
        };
        let mut counters = datapath.counters()?;
        print(global.output, names, &counters, FlowStats::read(&datapath)?)?;
        let Some(seconds) = self.watch else {
            return Ok(ExitCode::SUCCESS);
        };
        if !(0.1..=86_400.0).contains(&seconds) {
            bail!("--watch takes 0.1 to 86400 seconds");
        }
        loop {
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            let now = datapath.counters()?;
            if output::is_terminal() && global.output == Format::Table {
                // Home, and everything below is cleared.
                output::print_line("\x1b[H\x1b[J")?;
            }
            let flows = FlowStats::read(&datapath)?;
            print(global.output, names, &since(&now, &counters), flows)?;
            counters = now;
        }
    }
}

/// What was counted between two readings.
fn since(now: &Counters, before: &Counters) -> Counters {
    let zero = PortCounters::ZERO;
    now.iter()
        .map(|(&port, now)| {
            let before = before.get(&port).unwrap_or(&zero);
            let mut drops = now.drops;
            for (count, before) in drops.iter_mut().zip(before.drops) {
                *count = count.saturating_sub(before);
            }
            let difference = PortCounters {
                ingress_packets: now.ingress_packets.saturating_sub(before.ingress_packets),
                ingress_bytes: now.ingress_bytes.saturating_sub(before.ingress_bytes),
                egress_packets: now.egress_packets.saturating_sub(before.egress_packets),
                egress_bytes: now.egress_bytes.saturating_sub(before.egress_bytes),
                drops,
            };
            (port, difference)
        })
        .collect()
}

fn port_stats(names: &Names, (&port, counters): (&PortId, &PortCounters)) -> PortStats {
    let drops = DropReason::ALL
        .iter()
        .filter_map(|&reason| {
            let &count = counters.drops.get(reason as usize)?;
            (count > 0).then_some((reason.name(), count))
        })
        .collect();
    PortStats {
        port: names.port(port),
        in_packets: counters.ingress_packets,
        in_bytes: counters.ingress_bytes,
        out_packets: counters.egress_packets,
        out_bytes: counters.egress_bytes,
        drops,
    }
}

fn print(format: Format, names: &Names, counters: &Counters, flows: FlowStats) -> Result<()> {
    let mut ports: Vec<_> = counters
        .iter()
        .map(|entry| port_stats(names, entry))
        .collect();
    ports.sort_by(|a, b| a.port.cmp(&b.port));
    if format != Format::Table {
        return output::print_value(format, &Counted { ports, flows });
    }
    let no_port = names.port(PortId::NONE);
    let rows: Vec<_> = ports
        .iter()
        .filter(|it| it.port != no_port)
        .map(|it| {
            let drops: u64 = it.drops.values().sum();
            let numbers = [
                it.in_packets,
                it.in_bytes,
                it.out_packets,
                it.out_bytes,
                drops,
            ];
            [it.port.clone()]
                .into_iter()
                .chain(numbers.map(|it| it.to_string()))
                .collect()
        })
        .collect();
    output::print_table(
        &["PORT", "IN", "IN BYTES", "OUT", "OUT BYTES", "DROPPED"],
        &rows,
    )?;
    let drops: Vec<_> = ports
        .iter()
        .flat_map(|it| {
            it.drops.iter().map(|(reason, count)| {
                vec![it.port.clone(), (*reason).to_owned(), count.to_string()]
            })
        })
        .collect();
    if !drops.is_empty() {
        output::print_line("")?;
        output::print_table(&["PORT", "DROP REASON", "FRAMES"], &drops)?;
    }
    output::print_line("")?;
    let rows = [
        ("established", flows.established),
        ("opening", flows.opening),
    ];
    let rows =
        rows.map(|(what, it)| vec![what.to_owned(), it.rows.to_string(), it.room.to_string()]);
    output::print_table(&["FLOWS", "ROWS", "ROOM"], &rows)
}
