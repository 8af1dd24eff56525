//! The journey of one packet: the workload's decision, the question for the next hop, the frame.

use datapath::memory::MemoryTables;
use datapath::{Action, Bytes as _};
use etherparse::err::packet::BuildVecWriteError;
use maps_schema::{IfIndex, Mac, PortId};

use super::departure::Departure;
use super::hops::{self, Itinerary, RouterHop};
use super::onward::{Arrival, Onward};
use super::outcome::{Circumstances, NotSent, Outcome};
use super::packet::Station;
use super::party::Holder;
use super::record::Passage;
use super::route::Hop;
use super::story::Story;
use super::{Error, Protocol, Query, Stage, Step, Trace, packet, party};
use crate::instance::Instance;
use crate::plan::{Plan, PlannedLink};
use crate::source::Origin;
use crate::topology::Topology;

/// Traces the packet that the query asks about.
pub(super) fn travel(
    topology: &Topology,
    instance: &Instance,
    plan: &Plan,
    tables: &MemoryTables,
    query: &Query<'_>,
) -> Result<Trace, Error> {
    let sender = party::sender(topology, query.from)?;
    let receiver = party::receiver(topology, query.to)?;
    let mut journey = Journey {
        topology,
        instance,
        plan,
        tables,
        steps: Vec::new(),
    };
    let end = match journey.depart(&sender, &receiver, query.protocol) {
        Ok(departure) => journey.cross(&departure, query)?,
        Err(outcome) => {
            let arrives = matches!(outcome, Outcome::Kept { .. });
            End::here(outcome, arrives)
        }
    };
    let End {
        verdict,
        elsewhere,
        arrives,
    } = end;
    Ok(Trace {
        steps: journey.steps,
        verdict,
        elsewhere,
        arrives,
    })
}

/// A packet on its way.
pub(super) struct Journey<'a> {
    pub(super) topology: &'a Topology,
    pub(super) instance: &'a Instance,
    pub(super) plan: &'a Plan,
    pub(super) tables: &'a MemoryTables,
    pub(super) steps: Vec<Step>,
}

/// How a journey ended.
struct End {
    verdict: Outcome,
    elsewhere: Vec<Arrival>,
    arrives: bool,
}

impl End {
    /// On the host that it began on.
    const fn here(verdict: Outcome, arrives: bool) -> Self {
        Self {
            verdict,
            elsewhere: Vec::new(),
            arrives,
        }
    }
}

/// What the workload knows after its question.
enum Answer {
    /// The next hop's MAC address.
    Mac(Mac),
    /// Nothing; but this is the MAC address that it was told before, if ever.
    Before(Mac),
    /// Nothing, which is the end.
    Nobody(Outcome),
}

impl<'a> Journey<'a> {
    pub(super) fn tell(&mut self, stage: Stage, text: String, origin: Option<&Origin>) {
        self.steps.push(Step {
            stage,
            host: self.plan.host.clone(),
            router: None,
            text,
            origin: origin.map(ToString::to_string),
        });
    }

    /// The way through the virtual network.
    fn cross(
        &mut self,
        departure: &Departure<'a>,
        query: &Query<'_>,
    ) -> Result<End, BuildVecWriteError> {
        let answer = match departure.way.hop {
            Hop::Group(mac) => Answer::Mac(mac),
            Hop::OnLink(_) | Hop::Via(..) => self.ask(departure)?,
        };
        let port = query.port.unwrap_or(Query::DEFAULT_PORT);
        let what = match query.protocol {
            Protocol::Tcp => format!("a TCP SYN to port {port}"),
            Protocol::Udp => format!("a UDP datagram to port {port}"),
            Protocol::Icmp => "an echo request".to_owned(),
        };
        let (mac, text) = match answer {
            Answer::Mac(mac) => (mac, format!("sends {what} in a frame to {mac}")),
            Answer::Before(mac) => {
                let text = format!("sends {what} all the same, if it was told {mac} before");
                (mac, text)
            }
            Answer::Nobody(outcome) => return Ok(End::here(outcome, false)),
        };
        self.tell(Stage::Frame, text, None);
        let destination = Station {
            mac,
            ip: departure.destination,
        };
        let wire = packet::packet(departure.source(), destination, query.protocol, port)?;
        let passage = self.pass(Stage::Frame, departure, &wire);
        let hops = hops::hops(&passage);
        self.tell_routers(departure, &passage, &hops);
        // What a router asks the stations of other hosts is not the packet.
        let onward = match passage.refused() {
            Some(_) => Vec::new(),
            None => self.go_on(&passage),
        };
        for way in &onward {
            self.tell_onward(Stage::Frame, departure, way);
        }
        let (verdict, arrives) = self.judge(departure, &passage, &hops, &onward);
        let elsewhere = onward.iter().map(|way| way.arrival(&verdict)).collect();
        Ok(End {
            verdict,
            elsewhere,
            arrives,
        })
    }

    /// Asks for the MAC address of the next hop.
    fn ask(&mut self, departure: &Departure<'a>) -> Result<Answer, BuildVecWriteError> {
        let hop = departure.next_hop();
        let protocol = if hop.is_ipv4() {
            "ARP"
        } else {
            "neighbor discovery"
        };
        let text = format!("asks all stations: who has {hop}? ({protocol})");
        self.tell(Stage::Question, text, None);
        let wire = packet::question(departure.source(), hop)?;
        let passage = self.pass(Stage::Question, departure, &wire);
        if passage.is_answered()
            && let Ok(mac) = passage.frame.fixed::<6, Mac>()
        {
            let text = format!("answered at once: {hop} is at {mac}");
            self.tell(Stage::Question, text, None);
            return Ok(Answer::Mac(mac));
        }
        let onward = self.go_on(&passage);
        for way in &onward {
            self.tell_onward(Stage::Question, departure, way);
        }
        Ok(self.wait(departure, &passage, &onward))
    }

    /// The network did not answer by itself: who will?
    fn wait(
        &mut self,
        departure: &Departure<'a>,
        passage: &Passage,
        onward: &[Onward<'_>],
    ) -> Answer {
        let hop = departure.next_hop();
        let circumstances = self.circumstances(departure);
        match circumstances.holder {
            Some(holder) if self.is_reached(&holder, passage, onward) => {
                let text = format!("{holder} answers: {hop} is at {}", holder.mac());
                self.tell(Stage::Question, text, Some(holder.origin()));
                Answer::Mac(holder.mac())
            }
            Some(holder) => {
                let why = if circumstances.is_plugged {
                    "is not reached"
                } else {
                    "is not plugged in"
                };
                let text = format!("nobody answers: {holder}, which was given {hop}, {why}");
                self.tell(Stage::Question, text, Some(holder.origin()));
                Answer::Before(holder.mac())
            }
            None => Answer::Nobody(self.unanswered(departure, passage, &circumstances)),
        }
    }

    fn unanswered(
        &self,
        departure: &Departure<'a>,
        passage: &Passage,
        circumstances: &Circumstances<'_>,
    ) -> Outcome {
        let (hop, network) = (departure.next_hop(), departure.network);
        let meaning = format!("No port of network {network} was given {hop}, so nobody answers.");
        let elsewhere = Holder::all(self.topology).find(|holder| holder.has(hop));
        let learning = passage.reached().into_iter().find(|&id| {
            let mut ports = self.topology.ports.values();
            ports.any(|port| port.id == id && port.learning)
        });
        let hint = if let Action::Drop { reason, .. } = passage.action
            && let Some(hint) = circumstances.hint(reason)
        {
            hint
        } else if let Some(port) = learning {
            format!(
                "a station behind {} may still answer: what is behind a port that learns is not \
                 in the file",
                self.plan.names.port(port)
            )
        } else if let Some(holder) = elsewhere {
            format!(
                "{holder} has it, but on network {}: give the networks subnets that are apart, and \
                 a router with a port on each",
                holder.network()
            )
        } else {
            format!("give {hop} to a workload that has a port on network {network}")
        };
        Outcome::not_sent(NotSent::Unanswered, meaning, hint)
    }

    /// Sends a frame through the datapath and tells what happens.
    fn pass(&mut self, stage: Stage, departure: &Departure<'a>, wire: &[u8]) -> Passage {
        let passage = Passage::new(self.tables, departure.interface, wire);
        let story = self.story(stage, departure, &passage);
        let mut steps = story.lookups();
        // What becomes of the packet itself is the verdict, and an answer is told as one.
        if stage == Stage::Question && !passage.is_answered() {
            steps.push(story.end());
        }
        self.steps.extend(steps);
        passage
    }

    pub(super) fn circumstances(&self, departure: &Departure<'a>) -> Circumstances<'a> {
        let hop = departure.next_hop();
        let mut holders = Holder::all(self.topology);
        let holder = holders.find(|it| it.network() == departure.network && it.has(hop));
        Circumstances {
            from: departure.way.link.name.to_string(),
            network: departure.network,
            holder,
            is_plugged: holder.is_some_and(|holder| self.is_there(&holder)),
        }
    }

    /// The other host that a workload is on, if it is not on this one.
    pub(super) fn elsewhere(&self, workload: &str) -> Option<(&'a str, PortId)> {
        let host = self.topology.workloads.get(workload)?.host.as_ref()?;
        let (name, host) = self.topology.hosts.get_key_value(host)?;
        (self.plan.host.as_ref() != Some(name)).then_some((name, host.id))
    }

    /// The port that leads to a station from here: its own, or that of the peer that it is behind.
    pub(super) fn way_to(&self, holder: &Holder<'_>) -> PortId {
        let peer = match holder {
            Holder::Workload(name, _) => self.elsewhere(&name.workload),
            Holder::Router(..) => None,
        };
        peer.map_or(holder.id(), |(_, peer)| peer)
    }

    /// Whether a frame got to a station, on whichever host it is.
    pub(super) fn is_reached(
        &self,
        holder: &Holder<'_>,
        passage: &Passage,
        onward: &[Onward<'_>],
    ) -> bool {
        let way = self.way_to(holder);
        let mut onward = onward.iter().filter(|onward| onward.peer == way);
        passage.reached().contains(&way)
            && onward.all(|onward| onward.passage.reached().contains(&holder.id()))
    }

    /// Whether a port is in the tables.
    pub(super) fn is_there(&self, holder: &Holder<'_>) -> bool {
        match holder {
            Holder::Workload(..) => self.tables.ports.contains_key(&self.way_to(holder)),
            Holder::Router(_, _, port) => self.tables.router_ports.contains_key(&port.id),
        }
    }

    /// The routers that the frame came to, and what became of it behind them.
    fn tell_routers(&mut self, departure: &Departure<'a>, passage: &Passage, hops: &[RouterHop]) {
        let Some(last) = hops.last() else {
            return;
        };
        let itinerary = Itinerary {
            host: &self.plan.host,
            names: &self.plan.names,
            tables: self.tables,
            ttl: packet::TTL,
            mtu: departure.way.link.link.mtu,
        };
        let mut steps = itinerary.steps(hops);
        let story = self.story(Stage::Router, departure, passage);
        if passage.is_asked()
            && let Some((key, _)) = last.neighbor
        {
            let reached = passage.reached().into_iter();
            let asked: Vec<String> = reached.map(|port| self.plan.names.port(port)).collect();
            steps.push(itinerary.asks(last, &asked, key.ip));
        } else {
            let router = Some(self.plan.names.router(last.router()));
            let ends = story.ends().into_iter();
            steps.extend(ends.map(|step| Step {
                router: router.clone(),
                ..step
            }));
        }
        self.steps.extend(steps);
    }

    fn story<'b>(
        &'b self,
        stage: Stage,
        departure: &Departure<'_>,
        passage: &'b Passage,
    ) -> Story<'b> {
        Story {
            plan: self.plan,
            stage,
            source: departure.source(),
            now_ns: self.tables.now_ns.get(),
            passage,
        }
    }

    /// The interface behind which the datapath sees a link's port.
    pub(super) fn interface(&self, link: &PlannedLink) -> Option<IfIndex> {
        let mut rows = self.tables.interfaces.iter();
        let row = rows.find(|(_, row)| row.port == link.ingress.port);
        row.map(|(&interface, _)| interface)
    }

    pub(super) fn network_of(&self, link: &PlannedLink) -> &'a str {
        let port = self.topology.ports.get(&link.name);
        port.map_or("", |port| &port.network)
    }

    pub(super) fn origin_of(&self, link: &PlannedLink) -> Option<&'a Origin> {
        let port = self.topology.ports.get(&link.name);
        port.map(|port| &port.origin)
    }
}
