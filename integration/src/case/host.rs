//! The runner outside the kernel: the datapath's library over tables in memory.

use std::collections::BTreeMap;

use bowline::plan::Plan;
use bowline::topology::PortName;
use datapath::Action;
use datapath::memory::{MemoryFrame, MemoryTables, port_ingress, uplink_ingress};
use maps_schema::IfIndex;

use super::{Case, Outcome, Receiver, Send, Step, receiver_of, without_macs};

/// A case's topology in memory.
#[derive(Debug)]
pub struct Host<'a> {
    case: &'a Case,
    tables: MemoryTables,
    interfaces: BTreeMap<PortName, IfIndex>,
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
        }
    }

    /// Takes a step; a frame has an outcome.
    pub fn take(&mut self, step: &Step) -> Option<Outcome> {
        match step {
            Step::Send(send) => Some(self.send(send)),
            Step::Wait(time) => {
                let passed = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                self.tables.now_ns.set(self.tables.now_ns.get() + passed);
                None
            }
            Step::Unplug(port) => {
                let id = self.case.topology.ports[port].id;
                self.tables.ports.remove(&id);
                None
            }
        }
    }

    fn send(&self, send: &Send) -> Outcome {
        let before = self.tables.counters.borrow().clone();
        let mut frame = MemoryFrame::from_wire(send.wire());
        let action = match send.arrival {
            Some(_) => uplink_ingress(&mut frame, &self.tables, UPLINK),
            None => port_ingress(&mut frame, &self.tables, self.interfaces[&send.from]),
        };
        let mut arrived: BTreeMap<Receiver, Vec<Vec<u8>>> = BTreeMap::new();
        let mut arrive = |interface: IfIndex, mut wire: Vec<u8>| {
            if interface == UPLINK {
                let peer = receiver_of(&self.case.topology, &wire).expect("a packet to a peer");
                without_macs(&mut wire);
                arrived.entry(Receiver::Peer(peer)).or_default().push(wire);
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
        if let Action::Deliver(to) | Action::Underlay { uplink: to, .. } = action {
            arrive(to, frame.to_wire());
        }
        let learned = self.tables.learned.borrow();
        Outcome {
            wire: send.comparable(frame.to_wire()),
            counted: Outcome::moved(&before, &self.tables.counters.borrow()),
            learned: learned
                .iter()
                .map(|(key, entry)| ((key.vni.number(), key.mac.to_string()), entry.port))
                .collect(),
            resolved: Outcome::neighbors(self.tables.resolved.borrow().iter()),
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
