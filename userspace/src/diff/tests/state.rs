//! The rows of one moment, as the datapath meets them.

use std::collections::BTreeSet;

use datapath::Action;
use datapath::memory::{MemoryFrame, MemoryTables, port_ingress};
use maps_schema::map::{FdbKey, FloodKey, LearnedEntry};
use maps_schema::plain::bytes_of;
use maps_schema::{DropReason, Mac, PortId};

use super::*;

/// The rows of one moment, with the addresses that were learned before.
pub(super) fn memory(rows: &Tables, learned: &BTreeMap<FdbKey, PortId>) -> MemoryTables {
    let mut memory = MemoryTables::default();
    for (&map, rows) in rows {
        for (key, value) in rows {
            memory
                .insert(map, key, value)
                .expect("keys and values are as wide as the map's");
        }
    }
    for (&key, &port) in learned {
        let entry = LearnedEntry {
            seen_ns: 0,
            port,
            reserved: 0,
        };
        memory.learned.get_mut().insert(key, entry);
    }
    memory
}

/// Takes one step.
pub(super) fn apply(rows: &mut Tables, change: &RowChange) {
    let rows = rows.entry(change.map).or_default();
    let before = match &change.to {
        Some(value) => rows.insert(change.key.clone(), value.clone()),
        None => rows.remove(&change.key),
    };
    assert_eq!(before, change.from, "a change knows what it changes");
}

/// Everything that a row refers to is there.
pub(super) fn assert_whole(memory: &MemoryTables) {
    let counters = memory.counters.borrow();
    assert!(counters.contains_key(&PortId::NONE));
    for port in memory.ports.keys() {
        assert!(counters.contains_key(port), "{port:?} counts nowhere");
    }
    for (key, neighbor) in &memory.neighbors {
        let there = memory.ports.contains_key(&neighbor.port);
        assert!(there, "{key:?} is at {:?}, which is not", neighbor.port);
    }
    for (key, entry) in &memory.fdb {
        let there = memory.ports.contains_key(&entry.port);
        assert!(there, "{key:?} is at {:?}, which is not", entry.port);
    }
    for (vni, network) in &memory.networks {
        for idx in 0..network.flood_len {
            let list = network.flood;
            let member = memory.flood.get(&FloodKey { list, idx });
            let there = member.is_some_and(|member| memory.ports.contains_key(&member.port));
            assert!(there, "{vni}'s {list:?} lacks member {idx}: {member:?}");
        }
    }
    for (ifindex, ingress) in &memory.interfaces {
        let there = memory.ports.contains_key(&ingress.port);
        assert!(there, "{ifindex:?} is {:?}, which is not", ingress.port);
        let there = memory.networks.contains_key(&ingress.vni);
        assert!(there, "{ifindex:?} is in {}, which is not", ingress.vni);
    }
}

/// What became of a frame: who got which bytes, and why it was dropped if it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    /// By port, or by interface where no port is known to be behind it.
    received: BTreeSet<(Result<PortId, IfIndex>, Vec<u8>)>,
    dropped: Option<DropReason>,
}

/// Sends a frame into a port. `owners` says which port is, or was, behind an interface.
pub(super) fn send(
    memory: &MemoryTables,
    from: IfIndex,
    wire: &[u8],
    owners: &BTreeMap<IfIndex, PortId>,
) -> Outcome {
    let mut frame = MemoryFrame::from_wire(wire);
    let action = port_ingress(&mut frame, memory, from);
    let mut sent = std::mem::take(&mut frame.copies);
    let mut dropped = None;
    match action {
        Action::Deliver(to) => sent.push((to, frame.to_wire())),
        // A router has taken it.
        Action::Consume(_) => {}
        Action::Drop { reason, .. } => dropped = Some(reason),
        other => panic!("there are no other hosts here: {other:?}"),
    }
    let n_sent = sent.len();
    let received: BTreeSet<_> = sent
        .into_iter()
        .map(|(to, bytes)| (owners.get(&to).copied().ok_or(to), bytes))
        .collect();
    assert_eq!(received.len(), n_sent, "somebody got a frame twice");
    Outcome { received, dropped }
}

/// A frame without meaning beyond its addresses.
pub(super) fn unicast(from: Mac, to: Mac) -> Vec<u8> {
    let mut wire = [bytes_of(&to), bytes_of(&from), &[0x88, 0xb5]].concat();
    wire.resize(60, 0xa5);
    wire
}

/// "Who has `target`?", asked by `from` at `ip` (RFC 826).
pub(super) fn question(from: Mac, ip: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1];
    let parts: [&[u8]; 7] = [
        bytes_of(&Mac::BROADCAST),
        bytes_of(&from),
        &head,
        bytes_of(&from),
        &ip,
        &[0; 6],
        &target,
    ];
    parts.concat()
}
