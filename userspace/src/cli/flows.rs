//! `bowline flows`: who talks to whom.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use datapath::flow::phase;
use ipnet::IpNet;
use maps_schema::map::{Flow, FlowKey};
use maps_schema::{Ip, PortId, Timeouts};
use serde::Serialize;

use super::Global;
use super::output::{self, Format};
use super::titles::Titles;
use crate::host::Host;
use crate::kernel::clock;
use crate::kernel::datapath::Datapath;
use crate::plan::Names;
use crate::topology::Service;

/// Show the connections through this host
///
/// A connection is listed from the side that began it. What is behind other hosts is seen as far as it
/// passes here. A frame that segmentation offload left whole counts once.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  sudo bowline flows --address 10.1.0.0/24 --protocol tcp\n  \
                  sudo bowline flows flush --port web/eth0"
)]
pub(super) struct Flows {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Forget connections: their next packets begin new ones
    Flush(Filter),
}

/// Which connections are meant: those that all options fit.
#[derive(Args, Debug, Default)]
struct Filter {
    /// Those that enter or leave by this port, WORKLOAD/PORT or `peer HOST`
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Those that begin in this network
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// Those of this address, or of any in this subnet
    #[arg(long, value_name = "ADDRESS", value_parser = subnet)]
    address: Option<IpNet>,
    /// Those of this protocol: tcp, udp, icmp, icmpv6 or a number
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol_number)]
    protocol: Option<u8>,
    /// Those that have come so far
    #[arg(long, value_enum, value_name = "STATE")]
    state: Option<State>,
}

fn subnet(text: &str) -> Result<IpNet, String> {
    let whole = text.parse::<IpAddr>().map(IpNet::from);
    whole
        .or_else(|_| text.parse())
        .map_err(|_| "neither an address nor a subnet".to_owned())
}

fn protocol_number(text: &str) -> Result<u8, String> {
    Service::named_protocol(text)
        .ok_or_else(|| "neither a protocol's name nor its number".to_owned())
}

fn protocol_name(number: u8) -> String {
    Service::protocol(number).to_string()
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Only the side that began it has said something
    Opened,
    /// The other side has answered
    Answered,
    /// Both go on
    Established,
    /// TCP: one side has nothing more to say
    HalfClosed,
    /// TCP: neither side has
    Closed,
    /// TCP: it was reset
    Reset,
    /// The rules have changed: who began it may not go on
    Refused,
}

impl State {
    const fn of(flow: &Flow) -> Self {
        let finished = flow.flags & (Flow::FINISHED | Flow::OTHER_FINISHED);
        if flow.flags & Flow::REFUSED != 0 {
            return Self::Refused;
        }
        match (flow.state, finished) {
            (Flow::OPENED, _) => Self::Opened,
            (Flow::ANSWERED, _) => Self::Answered,
            (Flow::RESET, _) => Self::Reset,
            (_, 0) => Self::Established,
            (_, Flow::FINISHED | Flow::OTHER_FINISHED) => Self::HalfClosed,
            (_, _) => Self::Closed,
        }
    }

    fn word(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |it| it.get_name().to_owned())
    }
}

/// What tells which connections are over.
struct Clock {
    now_ns: u64,
    timeouts: Timeouts,
}

/// A connection, from the side that began it.
#[derive(Serialize)]
struct Connection {
    protocol: String,
    network: String,
    source: IpAddr,
    source_port: Option<u16>,
    destination: IpAddr,
    destination_port: Option<u16>,
    /// The sender as the other side knows it, if that is somebody else.
    translated_source: Option<End>,
    /// The other side as it knows itself, likewise.
    translated_destination: Option<End>,
    state: State,
    age_seconds: u64,
    idle_seconds: u64,
    enters: String,
    leaves: String,
    sent: Traffic,
    answered: Traffic,
    /// What it is known by in the kernel, in both directions.
    #[serde(skip)]
    keys: [FlowKey; 2],
}

/// One side of a connection.
#[derive(Clone, Copy, Serialize)]
struct End {
    address: IpAddr,
    port: Option<u16>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

#[derive(Serialize)]
struct Traffic {
    packets: u64,
    bytes: u64,
}

impl Traffic {
    const fn of(flow: &Flow) -> Self {
        Self {
            packets: flow.packets,
            bytes: flow.bytes,
        }
    }
}

impl Connection {
    /// `key` and `flow` are the direction of the side that began it.
    fn new(
        key: FlowKey,
        flow: &Flow,
        answers: &Flow,
        names: &Names,
        clock: &Clock,
    ) -> Option<Self> {
        const NS: u64 = 1_000_000_000;
        let seen_ns = flow.seen_ns.max(answers.seen_ns);
        let idle_ns = clock.now_ns.saturating_sub(seen_ns);
        if idle_ns
            >= clock
                .timeouts
                .of_ns(phase(key.protocol, flow.state, flow.flags))
        {
            return None;
        }
        let port = |ids: [PortId; 3]| names.port(known(ids));
        // An echo has an identifier, which is the asker's.
        let stated = |port: u16| (port != 0).then_some(port);
        let translated = |flag: u8, ip: Ip, port: u16| {
            (flow.flags & flag != 0).then_some(End {
                address: ip.to_std(),
                port: stated(port),
            })
        };
        let new = &flow.translation;
        Some(Self {
            protocol: protocol_name(key.protocol),
            network: names.network(key.vni),
            source: key.source.to_std(),
            source_port: stated(key.source_port),
            destination: key.destination.to_std(),
            destination_port: stated(key.destination_port),
            translated_source: translated(Flow::SOURCE, new.source, new.source_port),
            translated_destination: translated(
                Flow::DESTINATION,
                new.destination,
                new.destination_port,
            ),
            state: State::of(flow),
            age_seconds: clock.now_ns.saturating_sub(flow.began_ns) / NS,
            idle_seconds: idle_ns / NS,
            enters: port([key.port, flow.origin, answers.destination]),
            leaves: port([flow.destination, flow.other_port, answers.origin]),
            sent: Traffic::of(flow),
            answered: Traffic::of(answers),
            keys: [key, flow.other(&key)],
        })
    }
}

/// The first port of several that is one.
fn known(ids: [PortId; 3]) -> PortId {
    let mut ids = ids.into_iter();
    ids.find(|&id| id != PortId::NONE).unwrap_or(PortId::NONE)
}

/// The connections that are not over, from the rows of their directions.
fn connections(rows: &BTreeMap<FlowKey, Flow>, names: &Names, clock: &Clock) -> Vec<Connection> {
    rows.iter()
        .filter_map(|(key, flow)| {
            let other = flow.other(key);
            match (rows.get(&other), flow.flags & Flow::REPLY) {
                (Some(answers), 0) => Connection::new(*key, flow, answers, names, clock),
                (Some(_), _) => None,
                // The other direction's row has made room for another one.
                (None, 0) => Connection::new(*key, flow, &flow.mirrored(key), names, clock),
                (None, _) => Connection::new(other, &flow.mirrored(key), flow, names, clock),
            }
        })
        .collect()
}

impl Filter {
    /// The same in the names of the topology.
    fn in_topology(self, titles: &Titles) -> Self {
        let object = |text: String| titles.object(&text);
        Self {
            port: self.port.map(object),
            network: self.network.map(object),
            ..self
        }
    }

    fn fits(&self, connection: &Connection) -> bool {
        let translated = [
            connection.translated_source,
            connection.translated_destination,
        ];
        let translated = translated.iter().flatten().map(|end| end.address);
        let own = [connection.source, connection.destination];
        let ends: Vec<IpAddr> = own.into_iter().chain(translated).collect();
        let ports = [&connection.enters, &connection.leaves];
        self.port.as_ref().is_none_or(|it| ports.contains(&it))
            && (self.network.as_ref()).is_none_or(|it| *it == connection.network)
            && (self.address).is_none_or(|it| ends.iter().any(|end| it.contains(end)))
            && (self.protocol).is_none_or(|it| protocol_name(it) == connection.protocol)
            && self.state.is_none_or(|it| it == connection.state)
    }
}

impl Flows {
    pub(super) async fn run(self, global: &Global) -> Result<ExitCode> {
        let instance = global.instance()?;
        let outlook = Host::new(&instance)?.look(None).await?;
        let Some(mut datapath) = Datapath::open(&instance)? else {
            bail!(
                "nothing is loaded in instance {}: run `bowline load FILE`",
                instance.name()
            );
        };
        let (filter, flush) = match self.action {
            None => (self.filter, false),
            Some(Action::Flush(filter)) => (filter, true),
        };
        let titles = output::entitle(&instance);
        let names = &outlook.plan.names;
        let filter = filter.in_topology(titles);
        let now = Clock {
            now_ns: clock::coarse_ns(),
            timeouts: outlook.plan.settings.timeouts,
        };
        let mut found = connections(&datapath.flows()?, names, &now);
        found.retain(|connection| filter.fits(connection));
        if !flush {
            print(global.output, &found)?;
            return Ok(ExitCode::SUCCESS);
        }
        for key in found.iter().flat_map(|connection| &connection.keys) {
            datapath.forget_flow(key)?;
        }
        let flushed = found.len();
        match global.output {
            Format::Table => output::print_line(format!("{flushed} connections forgotten"))?,
            format => output::print_value(format, &Flushed { flushed })?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Serialize)]
struct Flushed {
    flushed: usize,
}

fn print(format: Format, connections: &[Connection]) -> Result<()> {
    if format != Format::Table {
        return output::print_value(format, &connections);
    }
    let rows: Vec<Vec<String>> = connections.iter().map(row).collect();
    output::print_table(
        &[
            "PROTOCOL",
            "SOURCE",
            "DESTINATION",
            "TRANSLATED",
            "STATE",
            "AGE",
            "IDLE",
            "ENTERS",
            "LEAVES",
            "SENT",
            "SENT BYTES",
            "ANSWERED",
            "ANSWERED BYTES",
        ],
        &rows,
    )
}

fn row(it: &Connection) -> Vec<String> {
    let end = |address: IpAddr, port: Option<u16>| End { address, port }.to_string();
    let from = it.translated_source.map(|end| format!("from {end}"));
    let to = it.translated_destination.map(|end| format!("to {end}"));
    let mut translated: Vec<String> = from.into_iter().chain(to).collect();
    if translated.is_empty() {
        translated.push("-".to_owned());
    }
    vec![
        it.protocol.clone(),
        end(it.source, it.source_port),
        end(it.destination, it.destination_port),
        translated.join(" "),
        it.state.word(),
        format!("{}s", it.age_seconds),
        format!("{}s", it.idle_seconds),
        it.enters.clone(),
        it.leaves.clone(),
        it.sent.packets.to_string(),
        it.sent.bytes.to_string(),
        it.answered.packets.to_string(),
        it.answered.bytes.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use datapath::parse::transport;
    use maps_schema::Vni;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rows() -> BTreeMap<FlowKey, Flow> {
        let ip = |text: &str| Ip::from(text.parse::<IpAddr>().unwrap());
        let key = FlowKey {
            port: PortId(1),
            vni: Vni::new(7).unwrap(),
            source: ip("10.0.0.1"),
            destination: ip("10.0.0.2"),
            source_port: 4000,
            destination_port: 80,
            protocol: transport::TCP,
            reserved: [0; 3],
        };
        let flow = Flow {
            began_ns: 10 * SECOND,
            seen_ns: 70 * SECOND,
            packets: 5,
            other_port: PortId(2),
            other_vni: key.vni,
            state: Flow::ESTABLISHED,
            flags: Flow::FINISHED,
            ..Flow::NONE
        };
        let answers = Flow {
            seen_ns: 90 * SECOND,
            packets: 3,
            ..flow.mirrored(&key)
        };
        BTreeMap::from([(key, flow), (flow.other(&key), answers)])
    }

    const fn at(now_ns: u64) -> Clock {
        let timeouts = Timeouts::USUAL;
        Clock { now_ns, timeouts }
    }

    fn seen(rows: &BTreeMap<FlowKey, Flow>, now_ns: u64) -> Vec<String> {
        let found = connections(rows, &Names::default(), &at(now_ns));
        found.iter().map(|it| row(it).join(" ")).collect()
    }

    #[test]
    fn a_connection_is_listed_once_from_the_side_that_began_it() {
        assert_eq!(
            seen(&rows(), 100 * SECOND),
            [
                "tcp 10.0.0.1:4000 10.0.0.2:80 - half-closed 90s 10s port 00000001 port 00000002 5 0 3 0"
            ]
        );
    }

    #[test]
    fn one_row_of_two_is_enough() {
        for (number, counted) in [(0, "0 0 3 0"), (1, "5 0 0 0")] {
            let mut rows = rows();
            let key = *rows.keys().nth(number).unwrap();
            rows.remove(&key);
            let seen = seen(&rows, 100 * SECOND);
            assert_eq!(seen.len(), 1);
            assert!(seen[0].starts_with("tcp 10.0.0.1:4000 10.0.0.2:80 - half-closed"));
            assert!(seen[0].ends_with(counted), "{seen:?}");
        }
    }

    #[test]
    fn what_is_translated_is_listed_with_what_it_becomes() {
        let mut rows = rows();
        let (key, mut flow) = rows.pop_first().unwrap();
        rows.clear();
        flow.flags |= Flow::SOURCE;
        flow.translation.source = Ip::from("192.0.2.1".parse::<IpAddr>().unwrap());
        flow.translation.source_port = 5000;
        rows.insert(flow.other(&key), flow.mirrored(&key));
        rows.insert(key, flow);
        let seen = seen(&rows, 100 * SECOND);
        assert_eq!(seen.len(), 1, "{seen:?}");
        let expected = "tcp 10.0.0.1:4000 10.0.0.2:80 from 192.0.2.1:5000 ";
        assert!(seen[0].starts_with(expected), "{seen:?}");
    }

    #[test]
    fn what_is_over_is_not_listed() {
        assert_eq!(seen(&rows(), (90 + 3600) * SECOND), [""; 0]);
    }

    #[test]
    fn filters_choose() {
        let found = connections(&rows(), &Names::default(), &at(100 * SECOND));
        let fits = |filter: &Filter| found.iter().any(|it| filter.fits(it));
        assert!(fits(&Filter::default()));
        let address = |text: &str| Filter {
            address: Some(subnet(text).unwrap()),
            ..Filter::default()
        };
        assert!(fits(&address("10.0.0.2")) && fits(&address("10.0.0.0/31")));
        assert!(!fits(&address("10.0.0.3")) && !fits(&address("fd00::/8")));
        let protocol = |text: &str| Filter {
            protocol: Some(protocol_number(text).unwrap()),
            ..Filter::default()
        };
        assert!(fits(&protocol("tcp")) && fits(&protocol("6")) && !fits(&protocol("udp")));
        let port = |text: &str| Filter {
            port: Some(text.to_owned()),
            ..Filter::default()
        };
        assert!(fits(&port("port 00000002")) && !fits(&port("web/eth0")));
        let state = |state| Filter {
            state: Some(state),
            ..Filter::default()
        };
        assert!(fits(&state(State::HalfClosed)) && !fits(&state(State::Closed)));
    }
}
