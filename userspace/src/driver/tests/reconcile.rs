//! What Docker has, what is recorded and what the kernel holds, parted in every way and made one again.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::super::finding::Finding;
use super::super::inventory::{
    Details, Inventory, ListedContainer, ListedEndpoint, ListedNetwork, ListedPool,
};
use super::super::protocol::PortMapping;
use super::super::reconcile::{
    CONFIRM_SECONDS, Fits, Outcome, Sight, Suspects, obscure, reconcile,
};
use super::super::records::Records;
use super::super::{Refusal, Setting, UNCLAIMED_SECONDS};
use super::{Stage, id};
use crate::instance::Instance;
use crate::link::Whereabouts;

/// Docker, the kernel, and a driver that may have missed anything.
struct World {
    stage: Stage,
    docker: Inventory,
    links: BTreeMap<String, Whereabouts>,
    suspects: Suspects,
}

fn end(endpoint: u64) -> String {
    Instance::new(None).unwrap().endpoint_end(&id(endpoint))
}

impl World {
    /// Two networks, one of them of a file, and containers on them in turns.
    fn with(containers: u64) -> Self {
        let mut world = Self {
            stage: Stage::with_file("alpha"),
            docker: Inventory::default(),
            links: BTreeMap::new(),
            suspects: Suspects::new(),
        };
        let networks = [
            (
                "front",
                "10.77.0.0/24",
                "10.77.0.1/24",
                vec![("net", "front")],
            ),
            ("own", "10.90.0.0/24", "10.90.0.1/24", vec![]),
        ];
        for (number, (name, subnet, gateway, options)) in networks.into_iter().enumerate() {
            let key = id(number as u64);
            let options: BTreeMap<String, String> = options
                .into_iter()
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .collect();
            world
                .stage
                .create(&key, &[subnet], &json!(options), &json!({}))
                .unwrap();
            let listed = ListedNetwork {
                name: name.to_owned(),
                is_leased: true,
                options,
                pools: vec![ListedPool {
                    subnet: subnet.to_owned(),
                    gateway: gateway.split('/').next().unwrap().to_owned(),
                    ..ListedPool::default()
                }],
                ..ListedNetwork::default()
            };
            world.docker.networks.insert(key, listed);
        }
        for number in 0..containers {
            world.start(number);
        }
        world
    }

    fn start(&mut self, number: u64) {
        let (network, endpoint) = (id(number % 2), id(1000 + number));
        let subnet = ["10.77.0.0/24", "10.90.0.0/24"][number as usize % 2];
        let address = self.stage.address(subnet, "").unwrap();
        let interface = json!({ "Address": address });
        self.stage.plug(&network, &endpoint, &interface).unwrap();
        self.stage.join(&network, &endpoint);
        let mac = self.stage.records.endpoints[&endpoint].mac.to_string();
        let listed = ListedEndpoint {
            name: format!("c{number}"),
            is_joined: true,
            address,
            mac,
            details: Some(Details {
                sandbox: format!("/run/docker/netns/{number}"),
                ..Details::default()
            }),
            ..ListedEndpoint::default()
        };
        let endpoints = &mut self.docker.networks.get_mut(&network).unwrap().endpoints;
        endpoints.insert(endpoint, listed);
        let container = ListedContainer {
            name: format!("c{number}"),
            is_alive: true,
            ..ListedContainer::default()
        };
        self.docker.containers.insert(id(5000 + number), container);
        self.links.insert(end(1000 + number), Whereabouts::Away);
    }

    fn listed(&mut self, number: u64) -> &mut ListedEndpoint {
        let network = self.docker.networks.get_mut(&id(number % 2)).unwrap();
        network.endpoints.get_mut(&id(1000 + number)).unwrap()
    }

    /// The container ends while no agent is there: Docker keeps the endpoint, the link goes.
    fn stop_unheard(&mut self, number: u64) {
        self.listed(number).is_joined = false;
        let container = self.docker.containers.get_mut(&id(5000 + number)).unwrap();
        container.is_alive = false;
        self.links.remove(&end(1000 + number));
    }

    /// `docker network disconnect -f` or a network that is removed while no agent is there.
    fn forget_in_docker(&mut self, number: u64) {
        let network = self.docker.networks.get_mut(&id(number % 2)).unwrap();
        network.endpoints.remove(&id(1000 + number));
    }

    fn look(&mut self, inventory: bool) -> Outcome {
        self.look_with(inventory, &|_| Ok(()))
    }

    fn look_with(&mut self, inventory: bool, fits: &Fits<'_>) -> Outcome {
        let instance = Instance::new(None).unwrap();
        let setting = Setting {
            world: &self.stage.world,
            instance: &instance,
            now: self.stage.now,
        };
        let sight = Sight {
            inventory: inventory.then_some(&self.docker),
            links: &self.links,
            suspects: &self.suspects,
        };
        let outcome = reconcile(&self.stage.records, sight, setting, fits);
        self.stage.records = outcome.records.clone();
        self.stage.check();
        self.suspects = outcome.suspects.clone();
        for link in &outcome.links {
            self.links.remove(link);
        }
        // Docker does what it is told.
        for strike in &outcome.strikes {
            let network = self.docker.networks.get_mut(&strike.network).unwrap();
            let struck = network.endpoints.remove(&strike.endpoint).unwrap();
            assert!(!struck.is_joined, "a container is cut off");
        }
        outcome
    }

    /// Looks until the differences are old enough.
    fn settle(&mut self) -> Vec<Finding> {
        let mut findings = self.look(true).findings;
        for _ in 0..3 {
            self.stage.now += UNCLAIMED_SECONDS;
            findings.extend(self.look(true).findings);
        }
        findings
    }
}

#[test]
fn names_are_learned_and_nothing_else_is_done_where_nothing_is_wrong() {
    let mut world = World::with(4);
    world.listed(1).details = Some(Details {
        aliases: vec!["store".to_owned()],
        ..Details::default()
    });
    let before = world.stage.records.clone();
    assert_eq!(obscure(&world.suspects, &before).len(), 4);
    assert_eq!(world.settle(), []);
    let records = &world.stage.records;
    assert_eq!(records.endpoint_title(&id(1001)), "container c1");
    assert_eq!(records.network_title(&id(1)), "network own");
    assert_eq!(records.leases, before.leases);
    // Others may ask for it by its name, and by what else it is called, for which Docker is asked once.
    assert_eq!(obscure(&world.suspects, records).len(), 0);
    let text = super::source::text(records).unwrap();
    assert!(text.contains("c1") && text.contains("store"), "{text}");
}

#[test]
fn what_has_just_changed_is_left_alone() {
    let mut world = World::with(4);
    world.stop_unheard(0);
    world.forget_in_docker(1);
    world.links.insert(end(9999), Whereabouts::Away);
    // The link of the first is gone for certain; of the rest nobody knows yet.
    let outcome = world.look(true);
    assert_eq!(
        outcome.findings,
        [Finding::EndpointGone("container c0".to_owned())]
    );
    assert_eq!((outcome.strikes.len(), outcome.links.len()), (0, 0));
    world.stage.now += CONFIRM_SECONDS;
    let outcome = world.look(true);
    assert_eq!((outcome.strikes.len(), outcome.links.len()), (1, 1));
    world.stage.now += CONFIRM_SECONDS;
    // That of an endpoint that was forgotten only then.
    assert_eq!(world.look(true).links, [end(1001)]);
}

#[test]
fn a_container_that_is_started_again_meanwhile_is_not_disconnected() {
    let mut world = World::with(2);
    world.stop_unheard(0);
    world.look(true);
    world.stage.now += CONFIRM_SECONDS;
    let container = world.docker.containers.get_mut(&id(5000)).unwrap();
    container.is_alive = true;
    assert_eq!(world.look(true).strikes, []);
}

#[test]
fn without_docker_only_the_dead_are_forgotten() {
    let mut world = World::with(4);
    world.stop_unheard(2);
    world.forget_in_docker(1);
    for _ in 0..3 {
        world.stage.now += UNCLAIMED_SECONDS;
        world.look(false);
    }
    assert_eq!(world.stage.records.endpoints.len(), 3);
    assert_eq!(world.links.len(), 3);
}

#[test]
fn another_engine_takes_nothing_away_that_is_in_use() {
    let mut world = World::with(4);
    world.docker = Inventory::default();
    world.settle();
    assert_eq!(world.stage.records.endpoints.len(), 4);
    assert_eq!(world.stage.records.networks.len(), 2);
}

#[test]
fn lost_records_are_made_again() {
    let mut world = World::with(4);
    let before = world.stage.records.clone();
    world.stage.records = Records::default();
    let findings = world.settle();
    assert_eq!(findings.len(), 6, "{findings:?}");
    let after = &world.stage.records;
    assert_eq!(
        after.networks.keys().collect::<Vec<_>>(),
        before.networks.keys().collect::<Vec<_>>()
    );
    for (id, endpoint) in &before.endpoints {
        let again = &after.endpoints[id];
        assert_eq!(
            (again.mac, &again.addresses),
            (endpoint.mac, &endpoint.addresses)
        );
    }
    assert_eq!(world.links.len(), 4);
}

#[test]
fn what_containers_publish_and_belong_to_is_made_again() {
    let mut world = World::with(4);
    let port = |port: u16, host_port: u16| PortMapping {
        proto: 6,
        port,
        host_port,
        host_port_end: host_port,
        ..PortMapping::default()
    };
    // Two want the same port of the host: only the first had it.
    for (number, published) in [
        (1, vec![port(80, 8080), port(81, 0)]),
        (3, vec![port(80, 8080)]),
    ] {
        let details = world.listed(number).details.as_mut().unwrap();
        details.published = published;
        details.options = [("groups", "clerks")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    }
    world.stage.records = Records::default();
    let texts: Vec<String> = world.settle().iter().map(ToString::to_string).collect();
    let records = &world.stage.records;
    let first = &records.endpoints[&id(1001)];
    assert_eq!(first.groups, ["clerks"]);
    assert_eq!(first.sandbox.as_deref(), Some("/run/docker/netns/1"));
    let ports: Vec<u16> = first.published.iter().map(|it| it.host_port).collect();
    assert_eq!(ports, [8080, 32768]);
    assert!(records.endpoints[&id(1003)].published.is_empty());
    for told in [
        "which port of the host leads to 81/tcp of container c1: 32768 does now",
        "port 8080/tcp is published already: container c1 has it: when that is mended, `docker restart c3`",
    ] {
        assert!(texts.iter().any(|it| it.contains(told)), "{texts:#?}");
    }
}

#[test]
fn networks_of_another_driver_are_left_alone() {
    let mut world = World::with(4);
    let before = world.stage.records.clone();
    for network in world.docker.networks.values_mut() {
        network.other_driver = Some("other".to_owned());
        network.endpoints.clear();
    }
    let findings = world.settle();
    let after = &world.stage.records;
    assert_eq!(after.endpoints.len(), before.endpoints.len());
    assert_eq!(after.networks.len(), 2);
    let cure = "--docker /run/docker/plugins/other.sock";
    assert!(findings.iter().all(|it| it.to_string().contains(cure)));
    assert_eq!(world.links.len(), 4);
}

#[test]
fn what_does_not_fit_the_files_is_not_made_again() {
    let mut world = World::with(4);
    world.stage.records = Records::default();
    // A file has taken the subnet of the second one's containers.
    let fits = |records: &Records| match records.networks.contains_key(&id(1)) {
        true => Err(Refusal("the subnet is taken".to_owned())),
        false => Ok(()),
    };
    for _ in 0..3 {
        let outcome = world.look_with(true, &fits);
        let refused = outcome.findings.iter().filter(|it| !it.is_mended());
        for finding in refused {
            assert!(finding.to_string().ends_with("the subnet is taken"));
        }
        world.stage.now += CONFIRM_SECONDS;
    }
    let records = &world.stage.records;
    assert_eq!((records.networks.len(), records.endpoints.len()), (1, 2));
}

#[test]
fn a_container_without_its_interface_is_told_of() {
    let mut world = World::with(2);
    world.links.clear();
    let findings = world.settle();
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let cure = "`docker network disconnect -f own c1`";
    assert!(texts.iter().any(|it| it.contains(cure)), "{texts:?}");
    assert_eq!(world.docker.networks[&id(1)].endpoints.len(), 1);
}

/// What the agent misses.
#[derive(Clone, Debug)]
enum Missed {
    Stop(u64),
    ForgottenByDocker(u64),
    ForgottenByUs(u64),
    LinkGone(u64),
    Everything,
}

fn missed() -> impl Strategy<Value = Vec<Missed>> {
    let missed = prop_oneof![
        4 => (0..8_u64).prop_map(Missed::Stop),
        3 => (0..8_u64).prop_map(Missed::ForgottenByDocker),
        3 => (0..8_u64).prop_map(Missed::ForgottenByUs),
        1 => (0..8_u64).prop_map(Missed::LinkGone),
        1 => Just(Missed::Everything),
    ];
    proptest::collection::vec(missed, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_missed_all_three_are_one_again(missed in missed()) {
        let mut world = World::with(8);
        let mut gone = BTreeSet::new();
        for missed in missed {
            match missed {
                Missed::Stop(number) if gone.insert(number) => world.stop_unheard(number),
                Missed::ForgottenByDocker(number) if gone.insert(number) => {
                    world.forget_in_docker(number);
                }
                Missed::ForgottenByUs(number) => {
                    let now = world.stage.now;
                    world.stage.records.forget_endpoint(&id(1000 + number), now);
                }
                Missed::LinkGone(number) => drop(world.links.remove(&end(1000 + number))),
                Missed::Everything => world.stage.records = Records::default(),
                _ => {}
            }
        }
        world.settle();
        let known: BTreeSet<String> = world.stage.records.endpoints.keys().cloned().collect();
        let plugged: BTreeSet<String> = world
            .docker
            .networks
            .values()
            .flat_map(|network| network.endpoints.keys())
            .filter(|id| world.links.contains_key(&Instance::new(None).unwrap().endpoint_end(id)))
            .cloned()
            .collect();
        prop_assert_eq!(&known, &plugged, "records and Docker");
        let ends = known.iter().map(|id| Instance::new(None).unwrap().endpoint_end(id));
        let links: BTreeSet<String> = world.links.keys().cloned().collect();
        prop_assert_eq!(ends.collect::<BTreeSet<_>>(), links, "records and links");
        // Docker keeps nothing that nobody is in, and what can be done is done.
        let mut left = world.docker.networks.values().flat_map(|it| it.endpoints.values());
        prop_assert!(left.all(|it| it.is_joined));
        world.stage.now += UNCLAIMED_SECONDS;
        let again = world.look(true);
        prop_assert!(again.findings.iter().all(|it| !it.is_mended()), "{:?}", again.findings);
        let held = world.stage.records.leases.values().filter(|it| it.is_held()).count();
        prop_assert_eq!(held, known.len() + 2, "addresses of nobody");
    }
}
