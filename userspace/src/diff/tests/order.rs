//! While one topology replaces another, row by row, every frame between ports that both have meets the
//! one or the other: nothing is lost, nothing goes astray, and no flood goes along half of a list.

use maps_schema::map::{FdbKey, IngressPort, Neighbor, NeighborKey};
use maps_schema::plain::from_bytes;
use maps_schema::{Ip, Mac, PortId};
use proptest::prelude::*;
use proptest::sample::Index;

use super::state::{Outcome, apply, assert_whole, memory, question, send, unicast};
use super::universe::{ADDRESSES, ip, pair, universe};
use super::*;

/// One topology as rows, and who is behind which interface.
type Side = (Tables, BTreeMap<IfIndex, IngressPort>);

/// A frame that enters at an interface.
type Sent = (IfIndex, Vec<u8>);

/// The address of a station that is learned behind a port.
fn station(port: &IngressPort) -> Mac {
    let [.., a, b, c] = port.mac.octets();
    Mac::new([2, 0xff, 0, a, b, c])
}

/// What was learned before the change, at the ports that learn before it.
fn learned(ports: &BTreeMap<IfIndex, IngressPort>) -> BTreeMap<FdbKey, PortId> {
    ports
        .values()
        .filter(|port| port.flags & IngressPort::LEARNING != 0)
        .map(|port| (FdbKey::new(port.vni, station(port)), port.port))
        .collect()
}

/// The IP addresses of a port.
fn addresses(rows: &Tables, port: &IngressPort) -> Vec<Ip> {
    rows[&MapName::Neighbors]
        .iter()
        .filter_map(|(key, row)| {
            let key: NeighborKey = from_bytes(key)?;
            let neighbor: Neighbor = from_bytes(row)?;
            (key.vni == port.vni && neighbor.port == port.port).then_some(key.ip)
        })
        .collect()
}

/// The frames of ports that both sides have with the same configuration, to everybody.
fn frames(one: &Side, other: &Side) -> Vec<Sent> {
    let mut frames = Vec::new();
    for (&from, port) in &one.1 {
        let own = addresses(&one.0, port);
        if other.1.get(&from) != Some(port) || addresses(&other.0, port) != own {
            continue;
        }
        let everybody = one.1.values().chain(other.1.values());
        let macs = everybody.flat_map(|it| [it.mac, station(it)]);
        let unknown = Mac::new([2, 0xee, 0, 0, 0, 0]);
        for to in macs.chain([unknown, Mac::BROADCAST]) {
            frames.push((from, unicast(port.mac, to)));
        }
        let own = (0..ADDRESSES)
            .map(ip)
            .find(|&it| own.contains(&std::net::Ipv4Addr::from(it).into()));
        for target in (0..ADDRESSES).map(ip) {
            let asker = own.unwrap_or_default();
            frames.push((from, question(port.mac, asker, target)));
        }
    }
    frames.sort_unstable();
    frames.dedup();
    frames
}

/// What becomes of all frames in one state.
struct Observer {
    learned: BTreeMap<FdbKey, PortId>,
    owners: BTreeMap<IfIndex, PortId>,
    frames: Vec<Sent>,
}

impl Observer {
    fn new(one: &Side, other: &Side) -> Self {
        let owners = one.1.iter().chain(&other.1);
        Self {
            learned: learned(&one.1),
            owners: owners.map(|(&ifindex, it)| (ifindex, it.port)).collect(),
            frames: frames(one, other),
        }
    }

    fn outcomes(&self, rows: &Tables) -> Vec<Outcome> {
        let memory = memory(rows, &self.learned);
        let frames = self.frames.iter();
        frames
            .map(|(from, wire)| send(&memory, *from, wire, &self.owners))
            .collect()
    }
}

/// Takes one topology's rows to another's, one step at a time, and looks around after each of them.
fn replace(one: &Side, other: &Side) {
    let observer = Observer::new(one, other);
    let (before, after) = (observer.outcomes(&one.0), observer.outcomes(&other.0));
    let mut rows = one.0.clone();
    assert_whole(&memory(&rows, &BTreeMap::new()));
    for change in row_changes(&one.0, &other.0) {
        apply(&mut rows, &change);
        assert_whole(&memory(&rows, &BTreeMap::new()));
        let now = observer.outcomes(&rows);
        for (((frame, now), before), after) in
            observer.frames.iter().zip(&now).zip(&before).zip(&after)
        {
            assert!(
                now == before || now == after,
                "after {change:?}\n{frame:02x?} is\n{now:02x?}, was\n{before:02x?}, shall be\n{after:02x?}"
            );
        }
    }
    assert_eq!(rows, other.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_moment_of_a_change_is_before_or_after((one, other) in pair()) {
        replace(&one.rows(), &other.rows());
    }

    /// A process may die after any step, and the user may then have something else in mind.
    #[test]
    fn a_change_can_begin_where_another_one_broke_off(
        (one, other) in pair(),
        third in universe(),
        at: Index,
    ) {
        let (one, other, third) = (one.rows().0, other.rows().0, third.rows().0);
        let changes = row_changes(&one, &other);
        let mut rows = one;
        for change in changes.iter().take(at.index(changes.len() + 1)) {
            apply(&mut rows, change);
        }
        for change in row_changes(&rows.clone(), &third) {
            apply(&mut rows, &change);
            assert_whole(&memory(&rows, &BTreeMap::new()));
        }
        prop_assert_eq!(rows, third);
    }

    /// When a step fails, those before it are taken back in the opposite order.
    #[test]
    fn a_change_taken_back_was_never_there((one, other) in pair(), at: Index) {
        let (one, other) = (one.rows(), other.rows());
        let observer = Observer::new(&one, &other);
        let (before, after) = (observer.outcomes(&one.0), observer.outcomes(&other.0));
        let changes = row_changes(&one.0, &other.0);
        let done = &changes[..at.index(changes.len() + 1)];
        let mut rows = one.0.clone();
        for change in done {
            apply(&mut rows, change);
        }
        for RowChange { map, key, from, to } in done.iter().rev() {
            let back = RowChange { map: *map, key: key.clone(), from: to.clone(), to: from.clone() };
            apply(&mut rows, &back);
            assert_whole(&memory(&rows, &BTreeMap::new()));
            for ((now, before), after) in
                observer.outcomes(&rows).iter().zip(&before).zip(&after)
            {
                prop_assert!(now == before || now == after);
            }
        }
        prop_assert_eq!(rows, one.0);
    }
}
