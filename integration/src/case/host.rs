//! The runner outside the kernel: the datapath's library over tables in memory.

use std::collections::BTreeMap;

use anyhow::Result;
use bowline::plan::Plan;
use bowline::topology::PortName;
use datapath::Action;
use datapath::memory::{MemoryFrame, MemoryTables, port_ingress, uplink_ingress};
use maps_schema::IfIndex;

use super::{Case, Outcome, Receiver, Send, Step, receiver_of, without_macs};
use crate::number::Numbers;

/// A case's topology in memory.
#[derive(Debug)]
pub struct Host<'a> {
    case: &'a Case,
    tables: MemoryTables,
    interfaces: BTreeMap<PortName, IfIndex>,
    numbers: Numbers,
}

/// A frame that was sent, and what became of it.
#[derive(Debug)]
pub struct Played {
    /// The frame, and what was to become of it.
    pub send: Send,
    /// What became of it.
    pub outcome: Outcome,
}

/// The index of the interface to the underlay.
const UPLINK: IfIndex = IfIndex(1000);
/// When every case begins; the kernel's clock does not begin at zero either.
const START_NS: u64 = 1_000_000_000_000;

impl<'a> Host<'a> {
    /// The tables of the case's plan.
    #[must_use]
    pub fn new(case: &'a Case) -> Self {
        let plan = case.plan(UPLINK);
        let interfaces = Case::imagined_interfaces(&plan);
        Self {
            case,
            tables: tables(&plan, &interfaces),
            interfaces: Case::host_ends(&plan)
                .into_iter()
                .map(|(port, host_end)| (port, interfaces[&host_end]))
                .collect(),
            numbers: Numbers::default(),
        }
    }

    /// The numbers that were chosen so far.
    #[must_use]
    pub const fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// Takes a step; a frame has an outcome.
    ///
    /// # Errors
    /// The step says what cannot be.
    pub fn take(&mut self, step: &Step) -> Result<Option<Played>> {
        match step {
            Step::Send(draft) => {
                let topology = &self.case.topology;
                let send = draft.send(topology, &self.numbers)?;
                let outcome = self.send(&send);
                let send = draft.settle(topology, &mut self.numbers, send, &outcome)?;
                return Ok(Some(Played { send, outcome }));
            }
            Step::Wait(time) => {
                let passed = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                self.tables.now_ns.set(self.tables.now_ns.get() + passed);
            }
            Step::Unplug(port) => {
                let id = self.case.topology.ports[port].id;
                self.tables.ports.remove(&id);
            }
        }
        Ok(None)
    }

    fn send(&self, send: &Send) -> Outcome {
        let before = self.tables.counters.borrow().clone();
        let mut frame = MemoryFrame::from_wire(&send.wire);
        let action = match &send.origin {
            Receiver::Port(port) => port_ingress(&mut frame, &self.tables, self.interfaces[port]),
            _ => uplink_ingress(&mut frame, &self.tables, UPLINK),
        };
        let mut arrived: BTreeMap<Receiver, Vec<Vec<u8>>> = BTreeMap::new();
        let mut arrive = |interface: IfIndex, mut wire: Vec<u8>| {
            if interface == UPLINK {
                let receiver = receiver_of(&self.case.topology, &wire).expect("somebody's packet");
                without_macs(&mut wire);
                arrived.entry(receiver).or_default().push(wire);
                return;
            }
            let port = self.interfaces.iter().find(|(_, has)| **has == interface);
            let (port, _) = port.expect("frames leave by interfaces that exist");
            let port = Receiver::Port(port.clone());
            arrived.entry(port).or_default().push(wire);
        };
        for (interface, wire) in frame.copies.drain(..) {
            arrive(interface, wire);
        }
        if let Action::Deliver(to) | Action::Send(to) | Action::Underlay { uplink: to, .. } = action
        {
            arrive(to, frame.to_wire());
        }
        let learned = self.tables.learned.borrow();
        let (embryos, connections) = (&self.tables.embryos, &self.tables.connections);
        let mut flows = Outcome::connections(embryos.borrow().iter());
        flows.extend(Outcome::connections(connections.borrow().iter()));
        Outcome {
            wire: Some(send.comparable(frame.to_wire())),
            counted: Outcome::moved(&before, &self.tables.counters.borrow()),
            learned: learned
                .iter()
                .map(|(key, entry)| ((key.vni.number(), key.mac.to_string()), entry.port))
                .collect(),
            resolved: Outcome::neighbors(self.tables.resolved.borrow().iter()),
            flows,
            arrived: Some(arrived),
        }
    }
}

/// A plan's rows in memory.
///
/// # Panics
/// A row is not as wide as the map contract has it.
#[must_use]
pub fn tables(plan: &Plan, interfaces: &BTreeMap<String, IfIndex>) -> MemoryTables {
    let mut tables = MemoryTables::default();
    for (map, rows) in plan.rows(interfaces) {
        for (key, value) in rows {
            tables
                .insert(map, &key, &value)
                .unwrap_or_else(|| panic!("a row of {map:?} has another width"));
        }
    }
    tables.now_ns.set(START_NS);
    tables
}
