//! The driver as Docker meets it: requests that Docker 20.10.24 really made, and every order in which
//! it might make others.

mod address;
mod attach;
mod check;
mod network;
mod networks;
mod order;
mod reconcile;
mod replay;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::protocol::{Answer, Call};
use super::records::{Holder, Records};
use super::world::World;
use super::{Refusal, Setting, handle, source};
use crate::document::draft;
use crate::instance::Instance;
use crate::problem::listing::listing;
use crate::topology::{Topology, compile_drafts};

/// A file that shares a network between two hosts, and has one of its own.
const FILE: &str = "version: 1
name: shop
hosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }
networks:
  front: [10.77.0.0/24, 'fd00:77::/64']
  closed: { subnets: [10.78.0.0/28], internal: true }
routers:
  core: { ports: { front: [10.77.0.1, 'fd00:77::1'] }, uplink: true }
workloads:
  web: { host: alpha, ports: [{ network: front, addresses: 10.77.0.10, mac: '02:00:00:00:00:10' }] }
policies:
  strict: { ingress: [] }
groups: { strict: [] }
";

/// One engine and its driver.
pub(super) struct Stage {
    pub(super) records: Records,
    pub(super) world: World,
    pub(super) file: Option<&'static str>,
    pub(super) now: u64,
}

impl Stage {
    /// A host without files.
    pub(super) fn empty() -> Self {
        Self {
            records: Records::default(),
            world: World::default(),
            file: None,
            now: 1_700_000_000,
        }
    }

    /// A host that has loaded [`FILE`], by its name there.
    pub(super) fn with_file(own: &str) -> Self {
        let topology = compile_drafts([draft("shop.yaml", FILE)]);
        let topology = topology.unwrap_or_else(|problems| panic!("{}", listing(&problems)));
        Self {
            world: World::of(&topology, Some(own)),
            file: Some(FILE),
            ..Self::empty()
        }
    }

    /// Makes a request.
    pub(super) fn ask(&mut self, method: &str, body: &Value) -> Result<Value, String> {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let call = Call::read(method, text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        let answer = self.call(&call).map_err(|refusal| refusal.0)?;
        Ok(serde_json::to_value(answer).unwrap())
    }

    fn call(&mut self, call: &Call) -> Result<Answer, Refusal> {
        let instance = Instance::new(None).unwrap();
        let setting = Setting {
            world: &self.world,
            instance: &instance,
            now: self.now,
        };
        let (after, answer) = handle(&self.records, call, setting)?;
        self.records = after;
        self.check();
        Ok(answer)
    }

    /// What holds at any time.
    fn check(&self) {
        let mut held = BTreeSet::new();
        for (id, endpoint) in &self.records.endpoints {
            let network = &self.records.networks[&endpoint.network];
            let name = network.name(&endpoint.network);
            for address in &endpoint.addresses {
                let place = (name.clone(), address.addr());
                assert!(held.insert(place), "{address} of {name} is given twice");
            }
            for scope in network.scopes() {
                for address in endpoint.addresses.iter().map(|it| it.addr()) {
                    if scope.subnet.contains(&address) {
                        let lease = &self.records.leases[&(scope.clone(), address)];
                        assert_eq!(lease.holder, Holder::Endpoint(id.clone()));
                    }
                }
            }
        }
        for lease in self.records.leases.values() {
            if let Holder::Endpoint(id) = &lease.holder {
                assert!(self.records.endpoints.contains_key(id), "a lease of nobody");
            }
        }
    }

    /// What everything together is.
    pub(super) fn topology(&self) -> Topology {
        let file = self.file.map(|text| draft("shop.yaml", text));
        let text = source::text(&self.records);
        let docker = text.as_ref().map(|text| draft("docker.yaml", text));
        compile_drafts(file.into_iter().chain(docker)).unwrap_or_else(|problems| {
            panic!("{}\n{}", text.unwrap_or_default(), listing(&problems))
        })
    }

    /// `docker network create` with our IPAM driver.
    pub(super) fn create(
        &mut self,
        id: &str,
        subnets: &[&str],
        options: &Value,
        ipam: &Value,
    ) -> Result<(), String> {
        let mut data: BTreeMap<bool, Vec<Value>> = BTreeMap::new();
        for &subnet in subnets {
            let v6 = subnet == "v6" || subnet.contains(':');
            let wanted = if matches!(subnet, "v4" | "v6") {
                ""
            } else {
                subnet
            };
            let pool = self.ask(
                "IpamDriver.RequestPool",
                &json!({ "AddressSpace": "bowline", "Pool": wanted, "SubPool": "", "Options": ipam, "V6": v6 }),
            )?;
            let gateway = self.ask(
                "IpamDriver.RequestAddress",
                &json!({
                    "PoolID": pool["PoolID"],
                    "Address": "",
                    "Options": { "RequestAddressType": "com.docker.network.gateway" },
                }),
            )?;
            data.entry(v6).or_default().push(json!({
                "AddressSpace": "bowline",
                "Pool": pool["Pool"],
                "Gateway": gateway["Address"],
            }));
        }
        let body = json!({
            "NetworkID": id,
            "Options": { "com.docker.network.generic": options },
            "IPv4Data": data.get(&false),
            "IPv6Data": data.get(&true),
        });
        self.ask("NetworkDriver.CreateNetwork", &body).map(|_| ())
    }

    /// Asks for an address of the pool of a subnet.
    pub(super) fn address(&mut self, subnet: &str, wanted: &str) -> Result<String, String> {
        let subnet = subnet.parse().unwrap();
        let mut pools = self.records.pools.iter();
        let (pool, _) = pools.find(|(_, pool)| pool.scope.subnet == subnet).unwrap();
        let body = json!({ "PoolID": pool, "Address": wanted, "Options": null });
        let answer = self.ask("IpamDriver.RequestAddress", &body)?;
        Ok(answer["Address"].as_str().unwrap().to_owned())
    }

    /// Gives an address back.
    pub(super) fn release(&mut self, subnet: &str, address: &str) {
        let subnet = subnet.parse().unwrap();
        let mut pools = self.records.pools.iter();
        let (pool, _) = pools.find(|(_, pool)| pool.scope.subnet == subnet).unwrap();
        let address = address.split('/').next().unwrap();
        let body = json!({ "PoolID": pool, "Address": address });
        self.ask("IpamDriver.ReleaseAddress", &body).unwrap();
    }

    /// Plugs in.
    pub(super) fn plug(
        &mut self,
        network: &str,
        endpoint: &str,
        interface: &Value,
    ) -> Result<Value, String> {
        self.ask(
            "NetworkDriver.CreateEndpoint",
            &json!({ "NetworkID": network, "EndpointID": endpoint, "Interface": interface, "Options": {} }),
        )
    }

    /// Lets an endpoint join.
    pub(super) fn join(&mut self, network: &str, endpoint: &str) -> Value {
        self.ask(
            "NetworkDriver.Join",
            &json!({ "NetworkID": network, "EndpointID": endpoint, "SandboxKey": "/run/docker/netns/1" }),
        )
        .unwrap()
    }
}

/// An id as Docker's.
pub(super) fn id(number: u64) -> String {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{mixed:016x}").repeat(4)
}
