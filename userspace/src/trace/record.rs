//! A frame's way through the datapath, with everything that was looked up.

use std::cell::RefCell;

use datapath::memory::{MemoryFrame, MemoryTables};
use datapath::{Action, Count, Frame, Tables, port_ingress};
use maps_schema::map::{
    EgressPort, FdbEntry, FdbKey, FloodKey, FloodMember, IngressPort, LearnedEntry, Neighbor,
    NeighborKey, Network,
};
use maps_schema::{IfIndex, Mac, PortId, Vni};

/// Something that the datapath asked the tables or told them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lookup {
    IngressPort(Option<IngressPort>),
    EgressPort(PortId, Option<EgressPort>),
    Network(Vni, Option<Network>),
    Fdb(FdbKey, Option<FdbEntry>),
    Neighbor(NeighborKey, Option<Neighbor>),
    FloodMember(Option<FloodMember>),
    Learned(FdbKey, Option<LearnedEntry>),
    Learn(FdbKey, LearnedEntry),
    Count(PortId, Count),
}

/// What happened to one frame.
pub(super) struct Passage {
    /// Where it came in.
    pub(super) interface: IfIndex,
    /// The MAC address that it was for.
    pub(super) destination: Mac,
    /// What the program does with it.
    pub(super) action: Action,
    /// The frame afterwards.
    pub(super) frame: MemoryFrame,
    /// What was looked up, in order.
    pub(super) lookups: Vec<Lookup>,
}

impl Passage {
    /// Sends a frame in.
    pub(super) fn new(tables: &MemoryTables, interface: IfIndex, wire: &[u8]) -> Self {
        let mut frame = MemoryFrame::from_wire(wire);
        let destination = frame.fixed::<0, Mac>().unwrap_or(Mac::ZERO);
        let recorder = Recorder {
            tables,
            lookups: RefCell::default(),
        };
        let action = port_ingress(&mut frame, &recorder, interface);
        Self {
            interface,
            destination,
            action,
            frame,
            lookups: recorder.lookups.into_inner(),
        }
    }

    /// Whether the frame was turned into an answer.
    pub(super) fn is_answered(&self) -> bool {
        self.action == Action::Deliver(self.interface)
    }

    /// Whether members of a flood list were looked for.
    pub(super) fn is_flooded(&self) -> bool {
        self.lookups
            .iter()
            .any(|lookup| matches!(lookup, Lookup::FloodMember(_)))
    }

    /// The ports that got the frame or a copy, in order.
    pub(super) fn reached(&self) -> Vec<PortId> {
        let counts = self.lookups.iter();
        counts
            .filter_map(|lookup| match lookup {
                Lookup::Count(port, Count::Egress(_)) => Some(*port),
                _ => None,
            })
            .collect()
    }
}

/// Tables that note what they are asked.
struct Recorder<'a> {
    tables: &'a MemoryTables,
    lookups: RefCell<Vec<Lookup>>,
}

impl Recorder<'_> {
    fn note(&self, lookup: Lookup) {
        self.lookups.borrow_mut().push(lookup);
    }
}

impl Tables for Recorder<'_> {
    fn ingress_port(&self, interface: IfIndex) -> Option<IngressPort> {
        let found = self.tables.ingress_port(interface);
        self.note(Lookup::IngressPort(found));
        found
    }

    fn egress_port(&self, port: PortId) -> Option<EgressPort> {
        let found = self.tables.egress_port(port);
        self.note(Lookup::EgressPort(port, found));
        found
    }

    fn network(&self, vni: Vni) -> Option<Network> {
        let found = self.tables.network(vni);
        self.note(Lookup::Network(vni, found));
        found
    }

    fn fdb(&self, key: &FdbKey) -> Option<FdbEntry> {
        let found = Tables::fdb(self.tables, key);
        self.note(Lookup::Fdb(*key, found));
        found
    }

    fn neighbor(&self, key: &NeighborKey) -> Option<Neighbor> {
        let found = self.tables.neighbor(key);
        self.note(Lookup::Neighbor(*key, found));
        found
    }

    fn flood_member(&self, key: &FloodKey) -> Option<FloodMember> {
        let found = self.tables.flood_member(key);
        self.note(Lookup::FloodMember(found));
        found
    }

    fn learned(&self, key: &FdbKey) -> Option<LearnedEntry> {
        let found = Tables::learned(self.tables, key);
        self.note(Lookup::Learned(*key, found));
        found
    }

    fn learn(&self, key: &FdbKey, entry: &LearnedEntry) {
        self.tables.learn(key, entry);
        self.note(Lookup::Learn(*key, *entry));
    }

    fn now_ns(&self) -> u64 {
        Tables::now_ns(self.tables)
    }

    fn count(&self, port: PortId, count: Count) {
        self.tables.count(port, count);
        self.note(Lookup::Count(port, count));
    }
}
