//! Networks of files that are to be Docker's, too.

use std::collections::BTreeMap;

use super::super::Setting;
use super::super::inventory::{Inventory, ListedEndpoint, ListedNetwork, ListedPool};
use super::super::networks::{Plan, plan};
use super::super::world::{Declared, World};
use super::id;
use crate::instance::Instance;

fn world(subnet: &str, docker: bool) -> World {
    let declared = Declared {
        subnets: vec![subnet.parse().unwrap()],
        docker,
        ..Declared::default()
    };
    World {
        networks: BTreeMap::from([("lane".to_owned(), declared)]),
        ..World::default()
    }
}

fn look(world: &World, inventory: &Inventory) -> Plan {
    let instance = Instance::new(None).unwrap();
    let setting = Setting {
        world,
        instance: &instance,
        now: 0,
    };
    plan(inventory, setting)
}

/// What Docker has when it has done what it was told.
fn done(plan: &Plan, inventory: &mut Inventory) {
    inventory.networks.retain(|id, _| !plan.remove.contains(id));
    for (number, make) in plan.make.iter().enumerate() {
        let pool = |subnet: &String| ListedPool {
            subnet: subnet.clone(),
            ..ListedPool::default()
        };
        let network = ListedNetwork {
            name: make.name.clone(),
            internal: make.internal,
            labels: make.labels.clone(),
            pools: make.subnets.iter().map(pool).collect(),
            ..ListedNetwork::default()
        };
        let id = id((inventory.networks.len() + number) as u64);
        inventory.networks.insert(id, network);
    }
}

#[test]
fn a_network_is_made_once_and_goes_with_its_file() {
    let mut inventory = Inventory::default();
    let first = look(&world("10.1.0.0/24", true), &inventory);
    assert_eq!(first.make.len(), 1);
    done(&first, &mut inventory);
    assert_eq!(
        look(&world("10.1.0.0/24", true), &inventory),
        Plan::default()
    );
    // Another subnet is another network.
    let other = look(&world("10.2.0.0/24", true), &inventory);
    assert_eq!((other.remove.len(), other.make.len()), (1, 1));
    for gone in [World::default(), world("10.1.0.0/24", false)] {
        let gone = look(&gone, &inventory);
        assert_eq!((gone.remove.len(), gone.make.len()), (1, 0));
    }
}

#[test]
fn what_is_in_use_and_what_others_made_stays() {
    let mut inventory = Inventory::default();
    done(
        &look(&world("10.1.0.0/24", true), &inventory),
        &mut inventory,
    );
    let network = inventory.networks.values_mut().next().unwrap();
    network.endpoints.insert(id(9), ListedEndpoint::default());
    assert_eq!(look(&World::default(), &inventory), Plan::default());
    let network = inventory.networks.values_mut().next().unwrap();
    network.labels.clear();
    network.endpoints.clear();
    assert_eq!(look(&World::default(), &inventory), Plan::default());
    let taken = look(&world("10.1.0.0/24", true), &inventory);
    assert!(taken.refused["lane"].0.contains("`docker network rm lane`"));
    assert!(taken.make.is_empty());
}
