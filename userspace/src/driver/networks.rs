//! Networks of files that are to be networks of Docker's, too: which ones to make and to remove.

use std::collections::{BTreeMap, BTreeSet};

use super::inventory::{Inventory, ListedNetwork};
use super::{Refusal, Setting};

/// The label by which a network of Docker's is known for one that we made: the network of the file.
pub const NET_LABEL: &str = "bowline.net";
/// The label that says which instance made it.
pub const INSTANCE_LABEL: &str = "bowline.instance";

/// A network that Docker is to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Make {
    /// Its name, here and there.
    pub name: String,
    /// Its subnets.
    pub subnets: Vec<String>,
    /// Whether its members get no default route.
    pub internal: bool,
    /// What it is known by.
    pub labels: BTreeMap<String, String>,
}

/// What Docker is to do.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    /// Networks to be removed, by Docker's ids. That comes first: a name may be needed again.
    pub remove: Vec<String>,
    /// Networks to be made.
    pub make: Vec<Make>,
    /// Networks that cannot be made, and why.
    pub refused: BTreeMap<String, Refusal>,
}

/// Compares what files want with what Docker has. What is in use stays, whatever files say.
#[must_use]
pub fn plan(inventory: &Inventory, setting: Setting<'_>) -> Plan {
    let mut plan = Plan::default();
    let instance = setting.instance.name();
    let own = inventory.networks.iter().filter_map(|(id, network)| {
        let label = |key: &str| network.labels.get(key);
        let is_own = network.is_driven() && label(INSTANCE_LABEL).is_some_and(|it| it == instance);
        Some((id, label(NET_LABEL).filter(|_| is_own)?, network))
    });
    let mut made = BTreeSet::new();
    for (id, net, network) in own {
        let declared = setting.world.networks.get(net);
        let declared = declared.filter(|declared| declared.docker);
        let is_right = declared.is_some_and(|declared| {
            let subnets = declared.subnets.iter().map(ToString::to_string).collect();
            subnets_of(network) == subnets && network.internal == declared.internal
        });
        if is_right || !network.endpoints.is_empty() {
            made.insert(net.as_str());
        } else {
            plan.remove.push(id.clone());
        }
    }
    for (name, declared) in &setting.world.networks {
        if !declared.docker || made.contains(name.as_str()) {
            continue;
        }
        let mut others = inventory.networks.iter();
        let is_taken =
            others.any(|(id, network)| network.name == *name && !plan.remove.contains(id));
        if is_taken {
            let why = format!(
                "Docker has another network of this name: `docker network rm {name}` makes room"
            );
            plan.refused.insert(name.clone(), Refusal(why));
            continue;
        }
        let labels = [
            (NET_LABEL, name.clone()),
            (INSTANCE_LABEL, instance.to_owned()),
        ];
        plan.make.push(Make {
            name: name.clone(),
            subnets: declared.subnets.iter().map(ToString::to_string).collect(),
            internal: declared.internal,
            labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
        });
    }
    plan
}

fn subnets_of(network: &ListedNetwork) -> BTreeSet<String> {
    network
        .pools
        .iter()
        .map(|pool| pool.subnet.clone())
        .collect()
}
