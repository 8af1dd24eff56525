//! Identities derived from names: they stay the same when the rest of the topology changes, and are
//! the same on every host.
//!
//! The hash is FNV-1a with 32 bits (Fowler, Noll, Vo; RFC 9923): short names, no secret, and
//! everybody can compute it. Where two names meet in one number the later one in name order takes
//! the next free number; that is the one case in which an addition can move another object.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use maps_schema::{Mac, PortId, RouterId, Vni};

use crate::fnv::fnv1a_32;

/// The ids of ports, those of workloads and of routers, in one space of numbers.
pub(super) struct PortIds {
    taken: BTreeSet<u32>,
}

impl PortIds {
    pub(super) fn new() -> Self {
        let taken = BTreeSet::from([PortId::NONE.0]);
        Self { taken }
    }

    /// The ids of these ports: the hash of the name, never [`PortId::NONE`]. None of them moves an
    /// id that was given before.
    pub(super) fn assign<N: Ord + Display>(
        &mut self,
        names: impl IntoIterator<Item = N>,
    ) -> BTreeMap<N, PortId> {
        numbers(names, &mut self.taken)
            .map(|(name, number)| (name, PortId(number)))
            .collect()
    }
}

/// The ids of routers: the hash of the name, never [`RouterId::NONE`].
pub(super) fn router_ids<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> BTreeMap<&'a str, RouterId> {
    let mut taken = BTreeSet::from([RouterId::NONE.0]);
    numbers(names, &mut taken)
        .map(|(name, number)| (name, RouterId(number)))
        .collect()
}

/// Numbers the names in their order: each gets its hash or the next number that is free.
fn numbers<N: Ord + Display>(
    names: impl IntoIterator<Item = N>,
    taken: &mut BTreeSet<u32>,
) -> impl Iterator<Item = (N, u32)> {
    let names: BTreeSet<N> = names.into_iter().collect();
    names.into_iter().map(|name| {
        let mut number = fnv1a_32(&name.to_string());
        while !taken.insert(number) {
            number = number.wrapping_add(1);
        }
        (name, number)
    })
}

/// The identifiers of networks that are not given one: the hash of the name folded to 24 bits, as
/// FNV's authors advise (the upper bits onto the lower ones), none of them among those `given`.
pub(super) fn vnis<'a>(
    names: impl IntoIterator<Item = &'a str>,
    given: impl IntoIterator<Item = Vni>,
) -> BTreeMap<&'a str, Vni> {
    let mut taken: BTreeSet<Vni> = given.into_iter().collect();
    let names: BTreeSet<&str> = names.into_iter().collect();
    let mut vnis = BTreeMap::new();
    for name in names {
        let hash = fnv1a_32(name);
        let folded = ((hash >> 24) ^ (hash & 0x00ff_ffff)).min(Vni::MAX);
        // There are far more identifiers than networks in any file that the parser takes.
        let free = (folded..=Vni::MAX)
            .chain(1..folded)
            .filter_map(Vni::new)
            .find(|vni| !taken.contains(vni));
        if let Some(vni) = free {
            taken.insert(vni);
            vnis.insert(name, vni);
        }
    }
    vnis
}

/// The MAC address of a workload's port that is not given one, as unique as the id.
pub(super) fn mac(id: PortId) -> Mac {
    local_mac(b'b', id.0)
}

/// The MAC addresses of routers' ports that are not given one: the hash of what they are called here,
/// and none of a workload.
pub(super) fn router_macs<N: Ord + Display>(
    names: impl IntoIterator<Item = N>,
) -> BTreeMap<N, Mac> {
    numbers(names, &mut BTreeSet::new())
        .map(|(name, number)| (name, local_mac(b'r', number)))
        .collect()
}

/// A locally administered MAC address (the second bit of the first byte).
const fn local_mac(kind: u8, number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac::new([0x02, kind, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::PortName;

    fn port(workload: &str, interface: &str) -> PortName {
        PortName {
            workload: workload.to_owned(),
            interface: interface.to_owned(),
        }
    }

    #[test]
    fn names_that_meet_take_the_next_number() {
        // A known pair of words with the same FNV-1a hash.
        assert_eq!(fnv1a_32("costarring"), fnv1a_32("liquid"));
        let names = [port("liquid", "eth0"), port("costarring", "eth0")];
        let ids = PortIds::new().assign(&names);
        assert_eq!(ids[&names[0]].0, ids[&names[1]].0 + 1);
        let vnis = vnis(["liquid", "costarring"], []);
        let first = vnis["costarring"].number();
        assert_eq!(vnis["liquid"].number(), first + 1);
    }

    #[test]
    fn what_is_numbered_later_moves_nothing() {
        let mut ids = PortIds::new();
        let first = ids.assign(["liquid"])["liquid"];
        assert_eq!(first, PortId(fnv1a_32("liquid")));
        assert_eq!(ids.assign(["costarring"])["costarring"].0, first.0 + 1);
        let routers = router_ids(["liquid", "costarring"]);
        assert_eq!(routers["costarring"], RouterId(first.0));
        assert_eq!(routers["liquid"], RouterId(first.0 + 1));
        let macs = router_macs(["liquid", "costarring"]);
        assert_ne!(macs["liquid"], macs["costarring"]);
        // No router's port has a workload's address, whatever the two are called.
        assert_ne!(macs["costarring"], mac(first));
    }

    #[test]
    fn a_given_identifier_is_never_derived() {
        let alone = vnis(["front"], [])["front"];
        let pushed = vnis(["front"], [alone])["front"];
        assert_eq!(pushed.number(), alone.number() + 1);
    }

    #[test]
    fn ids_are_spread_and_make_unicast_macs() {
        let names = [port("web", "eth0"), port("web", "eth1"), port("db", "eth0")];
        let ids = PortIds::new().assign(&names);
        let distinct: BTreeSet<PortId> = ids.values().copied().collect();
        assert_eq!(distinct.len(), 3);
        assert_eq!(ids[&names[0]], PortId(fnv1a_32("web/eth0")));
        assert!(!mac(PortId(u32::MAX)).is_group());
        assert_eq!(
            mac(PortId(0x0a0b_0c0d)),
            Mac::new([0x02, 0x62, 0x0a, 0x0b, 0x0c, 0x0d])
        );
    }
}
