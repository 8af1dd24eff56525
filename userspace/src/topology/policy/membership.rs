//! How many groups an address is in: those that its port carries, and those that have a prefix which
//! contains it.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use maps_schema::map::GROUPS_MAX;

use super::Group;
use crate::link::link_local;
use crate::problem::Problem;
use crate::source::Origin;
use crate::topology::merge::Merged;
use crate::topology::{Port, PortName};

/// The groups that have a prefix, by prefix.
type Prefixes<'a> = BTreeMap<IpNet, BTreeSet<&'a str>>;

/// Reports every address of a port, and every prefix of a group, that is in more groups than the
/// datapath remembers of one address.
pub(super) fn check(
    merged: &Merged<'_>,
    groups: &BTreeMap<String, Group>,
    ports: &BTreeMap<PortName, Port>,
    problems: &mut Vec<Problem>,
) {
    let mut prefixes = Prefixes::new();
    for (name, group) in groups {
        for &prefix in &group.prefixes {
            prefixes.entry(prefix).or_default().insert(name);
        }
    }
    for (name, given) in &merged.groups {
        for address in &given.addresses {
            let whole = IpNet::from(address.ip);
            let len = address.prefix_len.unwrap_or(whole.max_prefix_len());
            let prefix = IpNet::new(address.ip, len).unwrap_or(whole).trunc();
            let around = covering(&prefixes, prefix);
            // Of several that have the same prefix, one is told.
            let last = prefixes.get(&prefix).and_then(BTreeSet::last);
            if last == Some(name) {
                let subject = format!("the prefix {prefix}");
                problems.extend(too_many(&subject, &around, &address.origin));
            }
        }
    }
    for (name, port) in ports {
        let addresses = port.addresses.iter().map(|address| address.addr());
        let addresses = addresses.chain([link_local(port.mac).into()]);
        let around = addresses
            .map(IpNet::from)
            .map(|address| covering(&prefixes, address));
        let around = around.max_by_key(BTreeSet::len).unwrap_or_default();
        // A port without groups has those of the prefixes around its address, which have been told.
        if !port.groups.is_empty() {
            let carried = port.groups.iter().map(String::as_str);
            let all = around.into_iter().chain(carried).collect();
            problems.extend(too_many(&format!("port {name}"), &all, &port.origin));
        }
    }
}

/// The groups that have a prefix or one that contains it.
fn covering<'a>(prefixes: &Prefixes<'a>, prefix: IpNet) -> BTreeSet<&'a str> {
    let covering = std::iter::successors(Some(prefix), IpNet::supernet);
    let groups = covering.filter_map(|it| prefixes.get(&it));
    groups.flatten().copied().collect()
}

fn too_many(subject: &str, groups: &BTreeSet<&str>, origin: &Origin) -> Option<Problem> {
    let names: Vec<&str> = groups.iter().copied().collect();
    let (last, others) = names.split_last()?;
    if names.len() <= GROUPS_MAX {
        return None;
    }
    let problem = Problem::new(format!(
        "{subject} is in {} groups, and {GROUPS_MAX} are the most",
        names.len()
    ));
    let label = format!("in {} and {last}", others.join(", "));
    let help = "leave out one that another one contains, or name addresses in the rules";
    Some(problem.at(origin, label).help(help))
}
