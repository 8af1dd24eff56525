//! A sequence of rules as rows.

use std::collections::BTreeSet;

use maps_schema::map::{
    Class, MapName, MatchKey, Policy, PrefixKey, RouteKey, RuleKey, ServiceKey,
};
use maps_schema::plain::bytes_of;
use maps_schema::{Ip, PolicyList, RuleId};

use super::sequence::Entry;
use super::vectors::Vectors;
use super::{Ids, Tables};
use crate::fnv::fnv1a_64;
use crate::plan::rows::add;

/// Adds a list, under an id that follows from its content.
pub(super) fn add_list(
    tables: &mut Tables,
    ids: &Ids<'_>,
    part: u32,
    entries: &[Entry<'_>],
    taken: &mut BTreeSet<PolicyList>,
) -> PolicyList {
    let vectors = Vectors::new(ids, entries);
    let list = id(part, entries, &vectors, taken);
    for (idx, entry) in (0..).zip(entries) {
        add(tables, MapName::Rules, &RuleKey { list, idx }, &entry.rule);
        if entry.rule.id != RuleId::NONE {
            add_counters(tables, entry.rule.id);
        }
    }
    for (&(property, class, chunk), row) in &vectors.matches {
        let key = MatchKey {
            list,
            property,
            class,
            chunk,
        };
        add(tables, MapName::Matches, &key, row);
    }
    for (&prefix, &number) in &vectors.prefixes {
        let (ip, bits) = mapped(prefix);
        let key = PrefixKey::new(list, ip, bits);
        add(tables, MapName::Prefixes, &key, &Class { number });
    }
    for (block, &number) in &vectors.services {
        let key = ServiceKey::new(list, block.protocol, block.port, block.bits);
        add(tables, MapName::Services, &key, &Class { number });
    }
    let rules = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    add(tables, MapName::Policies, &list, &Policy { part, rules });
    list
}

/// A prefix as the datapath has it: the address in its 16-byte form, and how many bits of that count.
pub(super) fn mapped(prefix: ipnet::IpNet) -> (Ip, u32) {
    let before = if prefix.addr().is_ipv4() {
        RouteKey::MAPPED_BITS
    } else {
        0
    };
    (
        Ip::from(prefix.network()),
        before + u32::from(prefix.prefix_len()),
    )
}

/// A row of counters is made and removed, but its value is the datapath's.
fn add_counters(tables: &mut Tables, rule: RuleId) {
    let rows = tables.entry(MapName::RuleCounters).or_default();
    rows.insert(bytes_of(&rule).to_vec(), Vec::new());
}

fn id(
    part: u32,
    entries: &[Entry<'_>],
    vectors: &Vectors,
    taken: &mut BTreeSet<PolicyList>,
) -> PolicyList {
    let mut content = bytes_of(&part).to_vec();
    for entry in entries {
        content.extend_from_slice(bytes_of(&entry.rule));
    }
    for (&(property, class, chunk), row) in &vectors.matches {
        content.extend_from_slice(bytes_of(&[property, class, chunk]));
        content.extend_from_slice(bytes_of(row));
    }
    for (&prefix, class) in &vectors.prefixes {
        let (ip, bits) = mapped(prefix);
        content.extend_from_slice(bytes_of(&ip));
        content.extend_from_slice(bytes_of(&[bits, *class]));
    }
    for (block, class) in &vectors.services {
        let (protocol, port) = (block.protocol.into(), block.port.into());
        content.extend_from_slice(bytes_of(&[protocol, port, block.bits, *class]));
    }
    let hash = fnv1a_64([content.as_slice()]);
    let mut list = PolicyList((hash ^ (hash >> 32)) as u32);
    while list == PolicyList::NONE || !taken.insert(list) {
        list = PolicyList(list.0.wrapping_add(1));
    }
    list
}
