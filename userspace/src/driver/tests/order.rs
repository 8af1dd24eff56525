//! Every order, with answers that get lost: a model of Docker that does what Docker does, and an agent
//! that dies whenever it likes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::UNCLAIMED_SECONDS;
use super::{Stage, id};

const SUBNETS: [&str; 2] = ["10.77.0.0/24", "10.90.0.0/28"];

/// What a user or the world does.
#[derive(Clone, Debug)]
enum Deed {
    CreateNetwork(usize),
    RemoveNetwork(usize),
    /// Starts a container of this number on a network, with an address of its own choice at times.
    Start(usize, usize, Option<u8>),
    Stop(usize),
    /// `docker network disconnect -f`, or what Docker does when it starts again.
    CleanUp(usize),
    Wait(u64),
}

fn deeds() -> impl Strategy<Value = Vec<(Deed, bool)>> {
    let deed = prop_oneof![
        2 => (0..2_usize).prop_map(Deed::CreateNetwork),
        1 => (0..2_usize).prop_map(Deed::RemoveNetwork),
        6 => (0..8_usize, 0..2_usize, proptest::option::of(2_u8..14))
            .prop_map(|(container, network, address)| Deed::Start(container, network, address)),
        4 => (0..8_usize).prop_map(Deed::Stop),
        1 => (0..8_usize).prop_map(Deed::CleanUp),
        1 => (1_u64..200).prop_map(Deed::Wait),
    ];
    proptest::collection::vec((deed, any::<bool>()), 1..60)
}

/// Docker's own memory.
#[derive(Default)]
struct Docker {
    networks: BTreeSet<usize>,
    /// By container: network, endpoint, address.
    endpoints: BTreeMap<usize, (usize, u64, String)>,
    next: u64,
}

/// A request whose answer gets lost is made again.
fn ask(stage: &mut Stage, lost: bool, method: &str, body: &Value) -> Result<Value, String> {
    let first = stage.ask(method, body);
    if !lost {
        return first;
    }
    // The agent that was killed has nothing but what is recorded.
    let again = stage.ask(method, body);
    assert_eq!(
        first.is_ok(),
        again.is_ok(),
        "{method} {body}: {first:?}, then {again:?}"
    );
    again
}

fn endpoint_body(network: usize, endpoint: u64) -> Value {
    json!({ "NetworkID": id(network as u64), "EndpointID": id(endpoint) })
}

impl Docker {
    fn act(&mut self, stage: &mut Stage, deed: &Deed, lost: bool) {
        match *deed {
            Deed::CreateNetwork(network) if !self.networks.contains(&network) => {
                let options = [json!({ "net": "front" }), json!({})];
                let subnet = SUBNETS[network];
                stage
                    .create(
                        &id(network as u64),
                        &[subnet],
                        &options[network],
                        &json!({}),
                    )
                    .unwrap();
                self.networks.insert(network);
            }
            Deed::RemoveNetwork(network) if self.networks.contains(&network) => {
                if self.endpoints.values().any(|(on, ..)| *on == network) {
                    return;
                }
                let pool = pool(stage, network);
                ask(
                    stage,
                    lost,
                    "IpamDriver.ReleasePool",
                    &json!({ "PoolID": pool }),
                )
                .unwrap();
                let body = json!({ "NetworkID": id(network as u64) });
                ask(stage, lost, "NetworkDriver.DeleteNetwork", &body).unwrap();
                self.networks.remove(&network);
            }
            Deed::Start(container, network, wanted)
                if self.networks.contains(&network) && !self.endpoints.contains_key(&container) =>
            {
                self.start(stage, lost, container, network, wanted);
            }
            Deed::Stop(container) => {
                if let Some(plugged) = self.endpoints.remove(&container) {
                    stop(stage, lost, &plugged);
                }
            }
            Deed::CleanUp(container) => {
                if let Some(plugged) = self.endpoints.remove(&container) {
                    stop(stage, true, &plugged);
                }
            }
            Deed::Wait(seconds) => stage.now += seconds,
            _ => {}
        }
    }

    fn start(
        &mut self,
        stage: &mut Stage,
        lost: bool,
        container: usize,
        network: usize,
        wanted: Option<u8>,
    ) {
        let pool = pool(stage, network);
        let prefix = SUBNETS[network].rsplit_once('.').unwrap().0;
        let wanted = wanted.map_or_else(String::new, |last| format!("{prefix}.{last}"));
        let body = json!({ "PoolID": pool, "Address": wanted, "Options": null });
        let Ok(answer) = ask(stage, lost, "IpamDriver.RequestAddress", &body) else {
            return;
        };
        let address = answer["Address"].as_str().unwrap().to_owned();
        let held = self.endpoints.values();
        let mut held = held.filter(|(on, ..)| *on == network);
        assert!(
            !held.any(|(_, _, other)| *other == address),
            "{address} is given twice"
        );
        self.next += 1;
        let endpoint = 1000 + self.next;
        let mut body = endpoint_body(network, endpoint);
        body["Interface"] = json!({ "Address": address });
        ask(stage, lost, "NetworkDriver.CreateEndpoint", &body).unwrap();
        let mut body = endpoint_body(network, endpoint);
        body["SandboxKey"] = json!("/run/docker/netns/1");
        ask(stage, lost, "NetworkDriver.Join", &body).unwrap();
        let plugged = (network, endpoint, address);
        self.endpoints.insert(container, plugged);
    }
}

fn pool(stage: &Stage, network: usize) -> String {
    let subnet = SUBNETS[network].parse().unwrap();
    let mut pools = stage.records.pools.iter();
    let found = pools.find(|(_, pool)| pool.scope.subnet == subnet);
    found.unwrap().0.clone()
}

fn stop(stage: &mut Stage, lost: bool, (network, endpoint, address): &(usize, u64, String)) {
    let body = endpoint_body(*network, *endpoint);
    for method in ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint"] {
        ask(stage, lost, &format!("NetworkDriver.{method}"), &body).unwrap();
    }
    let address = address.split('/').next().unwrap();
    let body = json!({ "PoolID": pool(stage, *network), "Address": address });
    ask(stage, lost, "IpamDriver.ReleaseAddress", &body).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_given_twice_and_no_endpoint_is_lost(deeds in deeds()) {
        let mut stage = Stage::with_file("alpha");
        let mut docker = Docker::default();
        for (deed, lost) in &deeds {
            docker.act(&mut stage, deed, *lost);
            let known: BTreeSet<String> = stage.records.endpoints.keys().cloned().collect();
            let real = docker.endpoints.values().map(|(_, endpoint, _)| id(*endpoint));
            prop_assert_eq!(known, real.collect::<BTreeSet<String>>());
        }
        let ports = stage.topology().ports;
        prop_assert_eq!(ports.len(), 1 + docker.endpoints.len());
        // In the end nothing is left.
        stage.now += UNCLAIMED_SECONDS;
        for container in 0..8 {
            docker.act(&mut stage, &Deed::Stop(container), false);
        }
        for network in 0..2 {
            docker.act(&mut stage, &Deed::RemoveNetwork(network), false);
        }
        prop_assert!(stage.records.is_empty());
        prop_assert!(stage.records.leases.is_empty());
    }
}
