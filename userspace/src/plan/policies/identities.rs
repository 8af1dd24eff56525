//! Who is in which group. It does not depend on the rules: those can change without a moment in which
//! an address is in fewer groups than it should be, and who is in a group without a change of a rule.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::map::{GROUPS_MAX, Identity, IdentityKey, IdentityPrefixKey, MapName};
use maps_schema::{GroupId, Ip};

use super::list::mapped;
use super::{Ids, Tables};
use crate::link::link_local;
use crate::plan::rows::add;
use crate::plan::view::View;

/// The groups that have a prefix, by prefix.
type Prefixes<'a> = BTreeMap<IpNet, BTreeSet<&'a str>>;

/// Adds the groups of addresses: of those that ports have, on whichever host, and of those that groups
/// have besides.
pub(super) fn add_identities(tables: &mut Tables, view: &View<'_>, ids: &Ids<'_>) {
    let mut prefixes = Prefixes::new();
    for (name, group) in &view.topology.groups {
        for &prefix in &group.prefixes {
            prefixes.entry(prefix).or_default().insert(name);
        }
    }
    for &prefix in prefixes.keys() {
        let (ip, bits) = mapped(prefix);
        let row = identity(ids, &covering(&prefixes, prefix));
        let key = IdentityPrefixKey::new(ip, bits);
        add(tables, MapName::IdentityPrefixes, &key, &row);
    }
    let mut addresses: BTreeMap<(u32, IpAddr), BTreeSet<&str>> = BTreeMap::new();
    for port in view.topology.ports.values() {
        if port.groups.is_empty() || !view.networks.contains_key(port.network.as_str()) {
            continue;
        }
        let part = view.part(&port.network);
        let own = port.addresses.iter().map(|address| address.addr());
        for ip in own.chain([link_local(port.mac).into()]) {
            let groups = addresses.entry((part, ip)).or_default();
            groups.extend(port.groups.iter().map(String::as_str));
        }
    }
    for ((part, ip), mut groups) in addresses {
        groups.extend(covering(&prefixes, IpNet::from(ip)));
        let ip = Ip::from(ip);
        let row = identity(ids, &groups);
        add(tables, MapName::Identities, &IdentityKey { part, ip }, &row);
    }
}

/// The groups that have a prefix or one that covers it.
fn covering<'a>(prefixes: &Prefixes<'a>, prefix: IpNet) -> BTreeSet<&'a str> {
    let covering = std::iter::successors(Some(prefix), IpNet::supernet);
    let groups = covering.filter_map(|it| prefixes.get(&it));
    groups.flatten().copied().collect()
}

/// The topology has seen to it that there is room for all of them.
fn identity(ids: &Ids<'_>, groups: &BTreeSet<&str>) -> Identity {
    let mut identity = Identity {
        groups: [GroupId::NONE; GROUPS_MAX],
    };
    for (slot, name) in identity.groups.iter_mut().zip(groups) {
        *slot = ids.group(name);
    }
    identity
}
