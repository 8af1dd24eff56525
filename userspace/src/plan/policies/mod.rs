//! The rows of policies: which rules hold at which ports and routers, and who is in which group.

mod identities;
mod ids;
mod list;
mod sequence;
#[cfg(test)]
mod tests;
mod vectors;
mod wording;

use std::collections::{BTreeMap, BTreeSet};

use maps_schema::{PolicyList, PortId};

pub(super) use ids::Ids;

use super::Tables;
use super::view::{Place, View};
use crate::topology::{Direction, Policy};

/// The lists that hold for the ports of this host, and for the routers that it needs.
#[derive(Default)]
pub(super) struct Held<'a> {
    senders: BTreeMap<PortId, PolicyList>,
    receivers: BTreeMap<PortId, PolicyList>,
    routers: BTreeMap<&'a str, PolicyList>,
}

impl Held<'_> {
    /// For what a workload sends.
    pub(super) fn of_sender(&self, port: PortId) -> PolicyList {
        self.senders.get(&port).copied().unwrap_or(PolicyList::NONE)
    }

    /// For what a workload is sent.
    pub(super) fn of_receiver(&self, port: PortId) -> PolicyList {
        let list = self.receivers.get(&port);
        list.copied().unwrap_or(PolicyList::NONE)
    }

    /// For what a router forwards.
    pub(super) fn of_router(&self, name: &str) -> PolicyList {
        self.routers.get(name).copied().unwrap_or(PolicyList::NONE)
    }
}

/// Adds the rows of everything that is judged on this host.
pub(super) fn add_policies<'a>(tables: &mut Tables, view: &View<'a>, ids: &Ids<'_>) -> Held<'a> {
    identities::add_identities(tables, view, ids);
    let mut lists = Lists {
        tables,
        ids,
        known: BTreeMap::new(),
        taken: BTreeSet::new(),
    };
    let mut held = Held::default();
    let topology = view.topology;
    for station in view.ports.iter().filter(|it| it.place == Place::Here) {
        let port = station.port;
        let part = view.part(&port.network);
        let mut list = |direction| lists.list(part, direction, topology.policies_of(port));
        held.senders.insert(port.id, list(Direction::Egress));
        held.receivers.insert(port.id, list(Direction::Ingress));
    }
    for (&name, router) in &view.routers {
        let policy = router.policy.as_ref();
        let policy = policy.and_then(|name| topology.policies.get_key_value(name));
        let network = router.ports.values().next().map(|port| &port.network);
        let Some(((policy_name, policy), network)) = policy.zip(network) else {
            continue;
        };
        let policies = std::iter::once((policy_name.as_str(), policy));
        let list = lists.list(view.part(network), Direction::Forward, policies);
        held.routers.insert(name, list);
    }
    held
}

/// What a list consists of: the part of the topology that it is for, and the policies whose rules for a
/// direction it has, in order.
type Content<'a> = (u32, Direction, Vec<&'a str>);

/// The lists that were added so far.
struct Lists<'t, 'i, 'a> {
    tables: &'t mut Tables,
    ids: &'t Ids<'i>,
    known: BTreeMap<Content<'a>, PolicyList>,
    taken: BTreeSet<PolicyList>,
}

impl<'a> Lists<'_, '_, 'a> {
    /// The list of the policies that say something about a direction, which is added unless it is there;
    /// none if no policy does.
    fn list(
        &mut self,
        part: u32,
        direction: Direction,
        policies: impl Iterator<Item = (&'a str, &'a Policy)>,
    ) -> PolicyList {
        let policies = policies.filter_map(|(name, policy)| Some((name, policy.list(direction)?)));
        let policies: Vec<_> = policies.collect();
        if policies.is_empty() {
            return PolicyList::NONE;
        }
        let names = policies.iter().map(|&(name, _)| name).collect();
        let content = (part, direction, names);
        if let Some(&list) = self.known.get(&content) {
            return list;
        }
        let entries = sequence::sequence(self.ids, direction, &policies);
        let list = list::add_list(self.tables, self.ids, part, &entries, &mut self.taken);
        self.known.insert(content, list);
        list
    }
}
