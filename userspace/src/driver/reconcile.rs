//! What is recorded, what Docker has and what the kernel holds, made one again.
//!
//! Docker tells its driver what happens when it happens, and does not repeat what nobody heard: an agent
//! that was away, or an engine that was killed, leaves each with things that the other has never heard of
//! or has long forgotten. What is the matter with one of them may also be that it is just being made or
//! removed. So a difference counts only when it is still there some time later.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::inventory::{Details, Inventory, ListedEndpoint, ListedNetwork};
use super::protocol::{
    Answer, Call, CreateEndpoint, CreateNetwork, ExternalOptions, Interface, NetworkGiven,
    NetworkOptions, PoolData, Program, RequestAddress, RequestPool, protocol_name,
};
use super::records::Records;
use super::{ADDRESS_SPACE, Refusal, Setting, UNCLAIMED_SECONDS, answer};
use crate::link::Whereabouts;

/// How long an interface may stay on the host before Docker has moved it into a container, in seconds.
const GRACE_SECONDS: u64 = 60;
/// For how many seconds a difference must be there.
pub const CONFIRM_SECONDS: u64 = 5;

/// What the difference is called that Docker has an endpoint that is not recorded, before its id.
const UNKNOWN_ENDPOINT: &str = "unknown endpoint ";

/// Differences that were seen before, and since when, in seconds since 1970.
pub type Suspects = BTreeMap<String, u64>;

/// The endpoints of which Docker is to tell more: those that may have to be recorded again, and those whose
/// aliases are not recorded.
#[must_use]
pub fn obscure(suspects: &Suspects, records: &Records) -> BTreeSet<String> {
    let suspects = suspects.keys();
    let unknown = suspects.filter_map(|it| it.strip_prefix(UNKNOWN_ENDPOINT));
    let endpoints = records.endpoints.iter();
    let unnamed = endpoints.filter(|(_, endpoint)| endpoint.aliases.is_none());
    let unnamed = unnamed.map(|(id, _)| id.clone());
    unknown.map(str::to_owned).chain(unnamed).collect()
}

/// What there is besides the records.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// What Docker has, if it could be asked.
    pub inventory: Option<&'a Inventory>,
    /// The links that Docker asked for, by the names of the ends that stay.
    pub links: &'a BTreeMap<String, Whereabouts>,
    /// What was suspicious when somebody looked last.
    pub suspects: &'a Suspects,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Outcome {
    /// What is recorded from now on.
    pub records: Records,
    /// Links to be removed, by the names of the ends that stay.
    pub links: Vec<String>,
    /// What Docker is to strike out of its books.
    pub strikes: Vec<Strike>,
    /// What was found, for people.
    pub findings: Vec<Finding>,
    /// What is different, and since when.
    pub suspects: Suspects,
}

/// An endpoint of Docker's that is in no container any more.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Strike {
    /// Docker's id of the network.
    pub network: String,
    /// Docker's id of the endpoint.
    pub endpoint: String,
    /// The name of the container that it was in.
    pub container: String,
}

/// Whether records hold together with what files say.
pub type Fits<'a> = dyn Fn(&Records) -> Result<(), Refusal> + 'a;

/// Finds out what is to be done. What is recorded again holds together with everything else.
#[must_use]
pub fn reconcile(
    records: &Records,
    sight: Sight<'_>,
    setting: Setting<'_>,
    fits: &Fits<'_>,
) -> Outcome {
    let outcome = attempt(records, sight, setting, &|_| Ok(()));
    let mut findings = outcome.findings.iter();
    if !findings.any(Finding::is_recalled) || fits(&outcome.records).is_ok() {
        return outcome;
    }
    // Something of it does not fit: one after the other tells what.
    attempt(records, sight, setting, fits)
}

fn attempt(records: &Records, sight: Sight<'_>, setting: Setting<'_>, fits: &Fits<'_>) -> Outcome {
    let mut work = Work {
        sight,
        setting,
        fits,
        outcome: Outcome {
            records: records.clone(),
            ..Outcome::default()
        },
    };
    if let Some(inventory) = sight.inventory {
        work.outcome.records.learn(inventory);
    }
    work.bury();
    match sight.inventory {
        Some(inventory) => {
            work.forget(inventory);
            for (id, network) in inventory.networks.iter().filter(|(_, it)| it.is_driven()) {
                work.recall(inventory, id, network);
            }
        }
        None => work.outcome.suspects = sight.suspects.clone(),
    }
    work.outcome.records.collect(setting.now);
    work.orphans();
    work.outcome
}

struct Work<'a> {
    sight: Sight<'a>,
    setting: Setting<'a>,
    fits: &'a Fits<'a>,
    outcome: Outcome,
}

impl Work<'_> {
    /// Whether a difference has been there for so many seconds.
    fn is_confirmed(&mut self, what: String, seconds: u64) -> bool {
        let now = self.setting.now;
        let since = *self.sight.suspects.get(&what).unwrap_or(&now);
        self.outcome.suspects.insert(what, since);
        now.saturating_sub(since) >= seconds
    }

    /// Forgets the endpoints of containers that are dead: then either the link went with the container, or
    /// Docker has put it back on the host.
    fn bury(&mut self) {
        let (now, links) = (self.setting.now, self.sight.links);
        let instance = self.setting.instance;
        let records = &mut self.outcome.records;
        let dead = records.endpoints.iter().filter(|(id, endpoint)| {
            match links.get(&instance.endpoint_end(id)) {
                None => true,
                Some(Whereabouts::Away) => false,
                // It may be on its way into the container.
                Some(Whereabouts::OnHost) => endpoint.since + GRACE_SECONDS <= now,
            }
        });
        let dead: Vec<String> = dead.map(|(id, _)| id.clone()).collect();
        for id in dead {
            let title = records.endpoint_title(&id);
            self.outcome.findings.push(Finding::EndpointGone(title));
            records.forget_endpoint(&id, now);
        }
    }

    /// Forgets what Docker has not. But an engine that does not even know the network of a container that
    /// is plugged in is not the one that plugged it in.
    fn forget(&mut self, inventory: &Inventory) {
        let (now, instance) = (self.setting.now, self.setting.instance);
        let records = self.outcome.records.clone();
        let (mut kept, mut strangers) = (BTreeSet::new(), BTreeSet::new());
        for id in records.networks.keys() {
            // Of what is in there Docker was not asked.
            let listed = inventory.networks.get(id);
            if let Some(driver) = listed.and_then(|it| it.other_driver.clone()) {
                let network = records.network_title(id);
                let finding = Finding::OtherDriver { network, driver };
                self.outcome.findings.push(finding);
                kept.insert(id);
            }
        }
        for (id, endpoint) in &records.endpoints {
            let network = inventory.networks.get(&endpoint.network);
            if kept.contains(&endpoint.network) {
                continue;
            }
            let place = self.sight.links.get(&instance.endpoint_end(id));
            if network.is_none() && place == Some(&Whereabouts::Away) {
                strangers.insert(&endpoint.network);
                continue;
            }
            if network.is_some_and(|it| it.endpoints.contains_key(id))
                || !self.is_confirmed(format!("recorded endpoint {id}"), CONFIRM_SECONDS)
            {
                continue;
            }
            let title = records.endpoint_title(id);
            self.outcome.findings.push(Finding::EndpointGone(title));
            self.outcome.records.forget_endpoint(id, now);
        }
        for id in records.networks.keys() {
            if inventory.networks.contains_key(id)
                || strangers.contains(id)
                || !self.is_confirmed(format!("recorded network {id}"), CONFIRM_SECONDS)
            {
                continue;
            }
            let title = records.network_title(id);
            self.outcome.findings.push(Finding::NetworkGone(title));
            let given = NetworkGiven {
                network: id.clone(),
            };
            self.outcome.records.delete_network(&given, self.setting);
        }
        for (id, attachment) in &records.attachments {
            let container = inventory.containers.get(id);
            // One that is asked for by a label is plugged in again when it starts.
            let stays = container.is_some_and(|it| it.is_alive || !attachment.by_label);
            if stays
                || !(container.is_some()
                    || self.is_confirmed(format!("attached container {id}"), CONFIRM_SECONDS))
            {
                continue;
            }
            self.outcome.records.detach(id, None, now);
        }
        for id in records.detached.keys() {
            if !inventory.containers.contains_key(id)
                && self.is_confirmed(format!("detached container {id}"), CONFIRM_SECONDS)
            {
                self.outcome.records.detached.remove(id);
            }
        }
        // Networks of other drivers may have addresses of ours.
        let leased = inventory.networks.values().filter(|it| it.is_leased);
        let leased: BTreeSet<&str> = leased
            .flat_map(|it| it.pools.iter().map(|pool| pool.subnet.as_str()))
            .collect();
        for (name, pool) in &records.pools {
            let is_known = leased.contains(pool.scope.subnet.to_string().as_str());
            if is_known
                || self.outcome.records.is_used(&pool.scope)
                || !self.is_confirmed(format!("pool {name}"), UNCLAIMED_SECONDS)
            {
                continue;
            }
            let title = pool.scope.title();
            self.outcome.findings.push(Finding::PoolUnused(title));
            self.outcome
                .records
                .release_pools_of(std::slice::from_ref(&pool.scope));
        }
    }

    /// Records again what Docker has and we have not, and finds what Docker has and should not.
    fn recall(&mut self, inventory: &Inventory, id: &str, network: &ListedNetwork) {
        if !self.outcome.records.networks.contains_key(id) {
            if !self.is_confirmed(format!("unknown network {id}"), CONFIRM_SECONDS) {
                return;
            }
            let finding = match self.whole(|it| it.recall_network(id, network)) {
                Ok(()) => Finding::NetworkUnknown(network.name.clone()),
                Err(why) => Finding::Refused {
                    what: format!("network {}", network.name),
                    why,
                },
            };
            let is_mended = finding.is_mended();
            self.outcome.findings.push(finding);
            if !is_mended {
                return;
            }
        }
        for (endpoint, listed) in &network.endpoints {
            let is_recorded = self.outcome.records.endpoints.contains_key(endpoint);
            let end = self.setting.instance.endpoint_end(endpoint);
            let has_link = self.sight.links.contains_key(&end);
            let name = || network.name.clone();
            let container = || listed.name.clone();
            let finding = if !listed.is_joined {
                // Docker is at it itself.
                if inventory.is_alive(&listed.name)
                    || !self.is_confirmed(format!("left endpoint {endpoint}"), CONFIRM_SECONDS)
                {
                    continue;
                }
                self.outcome.strikes.push(Strike {
                    network: id.to_owned(),
                    endpoint: endpoint.clone(),
                    container: container(),
                });
                Finding::EndpointLeft {
                    network: name(),
                    container: container(),
                }
            } else if is_recorded
                || !self.is_confirmed(format!("{UNKNOWN_ENDPOINT}{endpoint}"), CONFIRM_SECONDS)
            {
                continue;
            } else if !has_link {
                Finding::Unplugged {
                    network: name(),
                    container: container(),
                }
            } else {
                let Some(details) = &listed.details else {
                    // Docker is asked next time.
                    continue;
                };
                match self.whole(|it| it.recall_endpoint(id, endpoint, (listed, details))) {
                    Ok(()) => {
                        self.republish((id, &network.name), endpoint, (listed, details));
                        Finding::EndpointUnknown {
                            network: name(),
                            container: container(),
                        }
                    }
                    Err(why) => Finding::Refused {
                        what: format!("container {} on network {}", listed.name, network.name),
                        why,
                    },
                }
            };
            self.outcome.findings.push(finding);
        }
    }

    /// Records something again: all of it, or nothing.
    fn whole(&mut self, ask: impl FnOnce(&mut Self) -> Result<(), Refusal>) -> Result<(), Refusal> {
        let before = self.outcome.records.clone();
        let result = ask(self).and_then(|()| (self.fits)(&self.outcome.records));
        if result.is_err() {
            self.outcome.records = before;
        }
        result
    }

    /// Makes a network as Docker has once asked for it.
    fn recall_network(&mut self, id: &str, network: &ListedNetwork) -> Result<(), Refusal> {
        let mut data: BTreeMap<bool, Vec<PoolData>> = BTreeMap::new();
        for pool in &network.pools {
            let v6 = pool.subnet.contains(':');
            let mut given = PoolData {
                address_space: if network.is_leased {
                    ADDRESS_SPACE.to_owned()
                } else {
                    String::new()
                },
                pool: pool.subnet.clone(),
                gateway: pool.gateway.clone(),
                aux_addresses: pool.auxiliary.clone(),
            };
            if network.is_leased {
                let request = RequestPool {
                    address_space: ADDRESS_SPACE.to_owned(),
                    pool: pool.subnet.clone(),
                    sub_pool: pool.range.clone(),
                    options: network.pool_options.clone(),
                    v6,
                };
                let Answer::Pool { pool_id, .. } = self.ask(&Call::RequestPool(request))? else {
                    return Ok(());
                };
                let kind = ("RequestAddressType", "com.docker.network.gateway");
                let request = RequestAddress {
                    pool: pool_id,
                    address: pool.gateway.clone(),
                    options: [kind].map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
                };
                if let Answer::Address { address, .. } = self.ask(&Call::RequestAddress(request))? {
                    given.gateway = address;
                }
            }
            data.entry(v6).or_default().push(given);
        }
        let request = CreateNetwork {
            network: id.to_owned(),
            options: NetworkOptions {
                generic: network.options.clone(),
                internal: network.internal,
            },
            ipv4: data.remove(&false).unwrap_or_default(),
            ipv6: data.remove(&true).unwrap_or_default(),
        };
        self.ask(&Call::CreateNetwork(request))?;
        if let Some(made) = self.outcome.records.networks.get_mut(id) {
            made.label = Some(network.name.clone());
        }
        Ok(())
    }

    /// Notes again who is plugged in.
    fn recall_endpoint(
        &mut self,
        network: &str,
        id: &str,
        (listed, details): (&ListedEndpoint, &Details),
    ) -> Result<(), Refusal> {
        let options = details.options.iter();
        let request = CreateEndpoint {
            network: network.to_owned(),
            endpoint: id.to_owned(),
            interface: Interface {
                address: listed.address.clone(),
                address_ipv6: listed.address_ipv6.clone(),
                mac_address: listed.mac.clone(),
            },
            options: options
                .map(|(key, value)| (key.clone(), value.clone().into()))
                .collect(),
        };
        self.ask(&Call::CreateEndpoint(request))?;
        if let Some(endpoint) = self.outcome.records.endpoints.get_mut(id) {
            endpoint.label = Some(listed.name.clone());
            endpoint.sandbox = Some(details.sandbox.clone()).filter(|it| !it.is_empty());
            endpoint.aliases = Some(details.aliases.clone());
        }
        Ok(())
    }

    /// Publishes again what a container publishes. Of a port of the host that we once chose Docker knows
    /// nothing.
    fn republish(
        &mut self,
        (network, title): (&str, &str),
        id: &str,
        (listed, details): (&ListedEndpoint, &Details),
    ) {
        if details.published.is_empty() {
            return;
        }
        let request = Call::Program(Program {
            network: network.to_owned(),
            endpoint: id.to_owned(),
            options: ExternalOptions {
                ports: details.published.clone(),
            },
        });
        let container = listed.name.clone();
        if let Err(why) = self.whole(|it| it.ask(&request).map(drop)) {
            self.outcome.findings.push(Finding::PortsLost {
                network: title.to_owned(),
                container,
                why,
            });
            return;
        }
        let records = &self.outcome.records;
        let published = records.endpoints.get(id).into_iter();
        let published = published.flat_map(|it| &it.published);
        let moved = published.zip(&details.published);
        let moved = moved.filter(|(_, wanted)| wanted.host_port == 0);
        let moved = moved.map(|(found, _)| Finding::PortMoved {
            container: container.clone(),
            port: format!(
                "{}/{}",
                found.port,
                protocol_name(found.proto).unwrap_or("unknown")
            ),
            host_port: found.host_port,
        });
        self.outcome.findings.extend(moved);
    }

    fn ask(&mut self, call: &Call) -> Result<Answer, Refusal> {
        answer(&mut self.outcome.records, call, self.setting)
    }

    /// Finds the links that are nobody's. One that is in a container may be a link that is to be recorded
    /// again: only Docker can say.
    fn orphans(&mut self) {
        let instance = self.setting.instance;
        let endpoints = self.outcome.records.endpoints.keys();
        let mut known: BTreeSet<String> = endpoints.map(|id| instance.endpoint_end(id)).collect();
        for network in self
            .sight
            .inventory
            .iter()
            .flat_map(|it| it.networks.values())
        {
            let joined = network.endpoints.iter().filter(|(_, it)| it.is_joined);
            known.extend(joined.map(|(id, _)| instance.endpoint_end(id)));
        }
        for (end, place) in self
            .sight
            .links
            .iter()
            .filter(|(end, _)| !known.contains(*end))
        {
            let is_orphan = match place {
                Whereabouts::OnHost => true,
                Whereabouts::Away => {
                    self.sight.inventory.is_some()
                        && self.is_confirmed(format!("link {end}"), CONFIRM_SECONDS)
                }
            };
            if is_orphan {
                let finding = Finding::LinkOfNobody(end.clone());
                self.outcome.findings.push(finding);
                self.outcome.links.push(end.clone());
            }
        }
    }
}

impl Records {
    /// Notes what Docker calls its networks and containers.
    fn learn(&mut self, inventory: &Inventory) {
        for (id, listed) in &inventory.networks {
            if let Some(network) = self.networks.get_mut(id) {
                network.label = Some(listed.name.clone());
            }
            for (id, listed) in &listed.endpoints {
                if let Some(endpoint) = self.endpoints.get_mut(id) {
                    endpoint.label = Some(listed.name.clone());
                    if let Some(details) = &listed.details {
                        endpoint.aliases = Some(details.aliases.clone());
                    }
                }
            }
        }
        for (id, attachment) in &mut self.attachments {
            if let Some(listed) = inventory.containers.get(id) {
                attachment.container = listed.name.clone();
            }
        }
    }
}
