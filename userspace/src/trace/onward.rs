//! How the journey goes on at the hosts that a frame is sent to.
//!
//! Every host plans its part of the same file, so that this one can say what the others do. What they have
//! loaded, and which of their workloads run, is not known here: they are taken to be as the file says.

use datapath::Action;
use datapath::memory::{MemoryFrame, parse};
use maps_schema::{IfIndex, Ip, PortId};
use serde::Serialize;

use super::departure::Departure;
use super::journey::Journey;
use super::outcome::{Outcome, Refusal};
use super::record::Passage;
use super::story::Story;
use super::{Stage, Step, packet, planned_tables};
use crate::plan::{Plan, Situation};
use crate::source::Origin;
use crate::topology::Host;

/// What becomes of a packet on a host that it was sent to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Arrival {
    /// The host.
    pub host: String,
    /// What becomes of the packet there.
    pub verdict: Outcome,
}

/// A frame that came to another host.
pub(super) struct Onward<'a> {
    host: &'a str,
    origin: &'a Origin,
    /// The port that leads to the host from where the frame came.
    pub(super) peer: PortId,
    plan: Plan,
    /// What became of the frame there.
    pub(super) passage: Passage,
}

impl<'a> Journey<'a> {
    /// Takes what left for other hosts on from there. What is for an ordinary VTEP is not known further.
    pub(super) fn go_on(&self, passage: &Passage) -> Vec<Onward<'a>> {
        let sent = passage.sent(self.tables);
        let onward = sent.iter().filter_map(|wire| {
            let (name, host) = self.host_of(passage, wire)?;
            let situation = Situation::from_afar(self.topology, name);
            let plan = Plan::new(self.topology, self.instance, &situation);
            let tables = planned_tables(&plan);
            let uplink = plan.uplink.as_ref().map(|uplink| uplink.ifindex);
            let uplink = uplink.unwrap_or(IfIndex(0));
            Some(Onward {
                host: name,
                origin: &host.origin,
                peer: host.id,
                passage: Passage::from_underlay(&tables, uplink, wire),
                plan,
            })
        });
        onward.collect()
    }

    /// The host that a packet on the underlay goes to: the one that has its address, or without a tunnel
    /// the peer that it was meant for.
    fn host_of(&self, passage: &Passage, wire: &[u8]) -> Option<(&'a str, &'a Host)> {
        let outer = parse(&MemoryFrame::from_wire(wire)).ok()?;
        let peer = passage.reached().last().copied();
        let named = self.topology.hosts.iter();
        let mut hosts = named.map(|(name, host)| (name.as_str(), host));
        let is_receiver = |host: &Host| Ip::from(host.address) == outer.ip_destination;
        let found = hosts.clone().find(|(_, host)| is_receiver(host));
        found.or_else(|| hosts.find(|(_, host)| Some(host.id) == peer))
    }

    /// Tells what another host does with a frame.
    pub(super) fn tell_onward(
        &mut self,
        stage: Stage,
        departure: &Departure<'a>,
        onward: &Onward<'_>,
    ) {
        let story = Story {
            plan: &onward.plan,
            stage,
            source: departure.source(),
            now_ns: self.tables.now_ns.get(),
            passage: &onward.passage,
        };
        let mut steps = vec![Step {
            stage,
            host: Some(onward.host.to_owned()),
            router: None,
            text: format!("comes to {}, taken to be as the file says", onward.host),
            origin: Some(onward.origin.to_string()),
        }];
        steps.extend(story.arrival());
        steps.extend(story.lookups());
        if stage == Stage::Question {
            steps.push(story.end());
        }
        self.steps.extend(steps);
    }
}

impl Onward<'_> {
    /// Whether somebody there got the frame.
    pub(super) fn arrives(&self) -> bool {
        self.passage.refused().is_none() && !self.passage.reached().is_empty()
    }

    /// What became of the packet there, after `verdict` where it came from.
    pub(super) fn arrival(&self, verdict: &Outcome) -> Arrival {
        Arrival {
            host: self.host.to_owned(),
            verdict: self.outcome(matches!(verdict, Outcome::Sent { next_hop: true, .. })),
        }
    }

    fn outcome(&self, next_hop: bool) -> Outcome {
        let (names, passage) = (&self.plan.names, &self.passage);
        if let Some(reason) = passage.refused() {
            return Outcome::Dropped(Refusal {
                reason: reason.name(),
                meaning: reason.meaning().to_owned(),
                told: None,
                hint: None,
            });
        }
        let reached = passage.reached();
        if passage.is_flooded() {
            let ports = reached.iter().map(|&port| names.port(port)).collect();
            return Outcome::Flooded { ports };
        }
        let port = reached.last().copied().unwrap_or(PortId::NONE);
        let ttl = parse(&passage.frame).map_or(packet::TTL, |packet| packet.ttl);
        match passage.action {
            Action::Pass => Outcome::Passed,
            _ => Outcome::Delivered {
                port: names.port(port),
                next_hop,
                ttl: (ttl != packet::TTL).then_some(ttl),
                origin: names.ports.get(&port).map(|named| named.origin.to_string()),
            },
        }
    }
}
