//! The network driver: networks, and what is plugged into them.

use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::Mac;

use super::ipam::address;
use super::options::{EndpointChoices, NetworkChoices};
use super::protocol::{
    Answer, CreateEndpoint, CreateNetwork, Decided, InterfaceName, Join, NetworkGiven, PoolData,
    PortMapping, Program, protocol_name,
};
use super::records::{
    Endpoint, GatewayMode, Holder, Lease, Network, Records, Scope, Subnet, short,
};
use super::world::{Declared, World};
use super::{ADDRESS_SPACE, Refusal, Setting};
use crate::document::parse_mac;
use crate::fnv::fnv1a_32;
use crate::similar::Similar;

/// The second byte of MAC addresses that are given to containers here: no workload or router of a file
/// has such a one unless it is given it.
const MAC_KIND: u8 = b'd';
/// Docker's ids are 64 hexadecimal digits; names are made of their beginning.
const ID_MIN: usize = 16;
/// Where ports of the host are taken from that nobody named: Linux's own range for such
/// (`ip_local_port_range`).
const ANY_PORT: std::ops::RangeInclusive<u16> = 32768..=60999;

impl Records {
    /// Makes a network.
    pub(super) fn create_network(
        &mut self,
        request: &CreateNetwork,
        setting: Setting<'_>,
    ) -> Result<Answer, Refusal> {
        check_id(&request.network)?;
        if self.networks.contains_key(&request.network) {
            return Ok(Answer::Done {});
        }
        let choices = NetworkChoices::read(&request.options.generic)?;
        let pools = request.ipv4.iter().chain(&request.ipv6);
        let subnets: Vec<Subnet> = pools
            .filter_map(|pool| subnet(pool).transpose())
            .collect::<Result<_, _>>()?;
        let net = self.network_of_file(&choices, &subnets, setting.world)?;
        let known = |kind: &str, name: &Option<String>, all: Vec<String>| match name {
            Some(name) if !all.contains(name) => Err(Refusal(format!(
                "`-o {kind}={name}`: no loaded file declares this {kind}: {}",
                Similar::new(name, all)
            ))),
            _ => Ok(()),
        };
        let world = setting.world;
        let routers = world.routers.keys().cloned().collect();
        known("router", &choices.router, routers)?;
        let policies = world.policies.iter().cloned().collect();
        known("policy", &choices.policy, policies)?;
        let network = Network {
            net,
            label: None,
            subnets,
            internal: request.options.internal,
            mtu: choices.mtu,
            router: choices.router,
            policy: choices.policy,
            gateway: choices.gateway,
            conditions: choices.conditions,
        };
        for subnet in network.subnets.iter().filter(|subnet| subnet.leased) {
            let scope = network.scope(subnet.subnet);
            let gateway = subnet.gateway.map(|ip| (ip, Holder::Gateway));
            let auxiliary = subnet.auxiliary.iter().map(|ip| (*ip, Holder::Auxiliary));
            for (ip, holder) in gateway.into_iter().chain(auxiliary) {
                self.hold(&scope, ip, holder);
            }
        }
        self.networks.insert(request.network.clone(), network);
        Ok(Answer::Done {})
    }

    /// The network of a file that one of Docker's is to be: named by `-o net=`, or by `--ipam-opt net=`
    /// when its pool was asked for.
    fn network_of_file(
        &self,
        choices: &NetworkChoices,
        subnets: &[Subnet],
        world: &World,
    ) -> Result<Option<String>, Refusal> {
        let pools_of = |subnet: &Subnet| {
            let pools = self.pools.values();
            let subnet = subnet.subnet;
            pools.filter(move |pool| pool.scope.subnet == subnet && pool.scope.net.is_some())
        };
        let leased = subnets.iter().filter(|subnet| subnet.leased);
        let by_pool = leased
            .clone()
            .find_map(|subnet| pools_of(subnet).max_by_key(|pool| pool.named));
        let net = match (&choices.net, by_pool) {
            (Some(net), _) => net.clone(),
            (None, None) => return Ok(None),
            (None, Some(pool)) => {
                let net = pool.scope.net.clone().unwrap_or_default();
                if !pool.named {
                    return Err(Refusal(format!(
                        "subnet {} is that of network {net}: to be a part of it, say `-o net={net}`; \
                         else choose another subnet",
                        pool.scope.subnet
                    )));
                }
                net
            }
        };
        let declared = world.network(&net)?;
        for subnet in subnets {
            let is_its = declared.subnets.contains(&subnet.subnet)
                && (!subnet.leased
                    || pools_of(subnet).any(|pool| pool.scope.net.as_ref() == Some(&net)));
            if !is_its {
                let own = declared.subnets.first();
                let own = own.map_or_else(String::new, |own| format!(" or `--subnet {own}`"));
                return Err(Refusal(format!(
                    "network {net} of source {} has not the subnet {}: add `--ipam-opt net={net}`{own}",
                    declared.source, subnet.subnet
                )));
            }
            if !subnet.leased && world.hosts.len() > 1 {
                return Err(Refusal(format!(
                    "network {net} is shared by several hosts, which Docker's own IPAM driver knows \
                     nothing of: add `--ipam-driver bowline --ipam-opt net={net}`"
                )));
            }
        }
        let own = [
            ("mtu", choices.mtu.is_some()),
            ("router", choices.router.is_some()),
            ("policy", choices.policy.is_some()),
            ("conditions", choices.conditions.is_some()),
        ];
        if let Some((key, _)) = own.into_iter().find(|(_, given)| *given) {
            return Err(Refusal(format!(
                "`-o {key}` cannot be said of network {net}, which source {} declares: say it there",
                declared.source
            )));
        }
        Ok(Some(net))
    }

    /// Forgets a network with all that is in it.
    pub(super) fn delete_network(&mut self, given: &NetworkGiven, setting: Setting<'_>) {
        let endpoints = self.endpoints_of(&given.network);
        let endpoints: Vec<String> = endpoints.map(|(id, _)| id.clone()).collect();
        for id in endpoints {
            self.delete_endpoint(&id, setting);
        }
        let Some(network) = self.networks.remove(&given.network) else {
            return;
        };
        for subnet in &network.subnets {
            let scope = network.scope(subnet.subnet);
            for ip in subnet.gateway.iter().chain(&subnet.auxiliary) {
                let mut others = self.networks.values();
                let is_used = others.any(|other| {
                    let mut subnets = other.subnets.iter();
                    subnets.any(|it| {
                        other.scope(it.subnet) == scope
                            && (it.gateway == Some(*ip) || it.auxiliary.contains(ip))
                    })
                });
                if !is_used {
                    self.leases.remove(&(scope.clone(), *ip));
                }
            }
        }
        // What is attached there without Docker's knowledge is nowhere any more.
        let name = network.name(&given.network);
        if !setting.world.networks.contains_key(&name) {
            let attached: Vec<String> = self.attachments.keys().cloned().collect();
            for id in attached {
                self.detach(&id, Some(&name), setting.now);
            }
        }
        let scopes: Vec<Scope> = network.scopes().collect();
        self.release_pools_of(&scopes);
    }

    /// Notes that a container is to be plugged in.
    pub(super) fn create_endpoint(
        &mut self,
        request: &CreateEndpoint,
        setting: Setting<'_>,
    ) -> Result<Answer, Refusal> {
        check_id(&request.endpoint)?;
        if let Some(former) = self.endpoints.get(&request.endpoint) {
            return Ok(decided(former));
        }
        let network = self.network(&request.network)?.clone();
        let title = self.network_title(&request.network);
        let choices = EndpointChoices::read(&request.options)?;
        let declared = declared(&network, setting.world)?;
        let given = [&request.interface.address, &request.interface.address_ipv6];
        let mut addresses = Vec::new();
        for text in given.into_iter().filter(|text| !text.is_empty()) {
            let found = self.address_of(&network, &request.network, text, declared)?;
            addresses.push(found);
        }
        let neighbors = self.neighbors(&network, &request.network);
        let neighbors: Vec<(Mac, String)> = neighbors
            .filter_map(|id| Some((self.endpoints.get(id)?.mac, self.endpoint_title(id))))
            .collect();
        let macs = declared.into_iter().flat_map(|it| &it.macs);
        let holder = |mac: Mac| {
            let mut macs = macs.clone();
            let file = macs.find(|(other, _)| **other == mac);
            let file = file.map(|(_, holder)| holder.clone());
            let mut neighbors = neighbors.iter();
            file.or_else(|| Some(neighbors.find(|(other, _)| *other == mac)?.1.clone()))
        };
        let mac_given = !request.interface.mac_address.is_empty();
        let mac = if mac_given {
            let text = &request.interface.mac_address;
            let mac = parse_mac(text).filter(|mac| !mac.is_group() && *mac != Mac::ZERO);
            let mac = mac.ok_or_else(|| {
                Refusal(format!("{text} is no MAC address that a station can have"))
            })?;
            if let Some(holder) = holder(mac) {
                return Err(Refusal(format!(
                    "MAC address {mac} is taken on {title}: {holder} has it"
                )));
            }
            mac
        } else {
            derived_mac(&addresses, &request.endpoint, |mac| holder(mac).is_none())
        };
        for address in &addresses {
            let scopes: Vec<Scope> = network.scopes().collect();
            let scope = scopes.iter().find(|it| it.subnet.contains(&address.addr()));
            if let Some(scope) = scope {
                let holder = Holder::Endpoint(request.endpoint.clone());
                self.hold(scope, address.addr(), holder);
            }
        }
        let endpoint = Endpoint {
            network: request.network.clone(),
            label: None,
            addresses,
            mac,
            mac_given,
            interface: choices.interface,
            groups: choices.groups,
            since: setting.now,
            sandbox: None,
            published: Vec::new(),
            aliases: None,
        };
        let answer = decided(&endpoint);
        self.endpoints.insert(request.endpoint.clone(), endpoint);
        Ok(answer)
    }

    /// An address that Docker has for an endpoint, if it is free in the whole network.
    fn address_of(
        &self,
        network: &Network,
        id: &str,
        text: &str,
        declared: Option<&Declared>,
    ) -> Result<IpNet, Refusal> {
        let title = self.network_title(id);
        let ip = address(text.split('/').next().unwrap_or_default())?;
        let mut subnets = network.subnets.iter();
        let subnet = subnets
            .find(|it| it.subnet.contains(&ip))
            .ok_or_else(|| Refusal(format!("{ip} is in none of the subnets of {title}")))?;
        let by_file = declared.and_then(|it| it.holder(ip));
        let by_lease = self.holder(&network.scope(subnet.subnet), ip);
        let mut neighbors = self.neighbors(network, id);
        let neighbor = neighbors.find(|other| {
            let other = self.endpoints.get(*other);
            other.is_some_and(|it| it.addresses.iter().any(|a| a.addr() == ip))
        });
        let neighbor = neighbor.map(|other| self.endpoint_title(other));
        if let Some(holder) = by_file.or(by_lease).or(neighbor) {
            return Err(Refusal(format!(
                "address {ip} is taken on {title}: {holder} has it"
            )));
        }
        IpNet::new(ip, subnet.subnet.prefix_len())
            .map_err(|_| Refusal(format!("`{text}` is no address of {title}")))
    }

    /// Notes who has an address.
    fn hold(&mut self, scope: &Scope, ip: IpAddr, holder: Holder) {
        let lease = self.leases.entry((scope.clone(), ip)).or_insert(Lease {
            holder: Holder::Gateway,
            container: None,
        });
        lease.holder = holder;
    }

    /// Forgets an endpoint. Its addresses stay taken until Docker gives them back.
    pub(super) fn delete_endpoint(&mut self, id: &str, setting: Setting<'_>) {
        self.endpoints.remove(id);
        let own = Holder::Endpoint(id.to_owned());
        for lease in self.leases.values_mut().filter(|it| it.holder == own) {
            lease.holder = Holder::Unclaimed(setting.now);
        }
    }

    /// Forgets an endpoint of a container that is dead, and frees its addresses: Docker will not.
    pub fn forget_endpoint(&mut self, id: &str, now: u64) {
        self.endpoints.remove(id);
        let own = Holder::Endpoint(id.to_owned());
        for lease in self.leases.values_mut().filter(|it| it.holder == own) {
            lease.holder = Holder::Released(now);
        }
    }

    /// Says how an endpoint comes into its container. The answer is checked here because Docker would
    /// complain about a wrong one in words that nobody understands.
    pub(super) fn join(&mut self, request: &Join, setting: Setting<'_>) -> Result<Answer, Refusal> {
        let network = self.network(&request.network)?.clone();
        let title = self.network_title(&request.network);
        let endpoint = self.endpoints.get_mut(&request.endpoint).ok_or_else(|| {
            Refusal(format!(
                "{title} has no endpoint {}",
                short(&request.endpoint)
            ))
        })?;
        endpoint.sandbox = Some(request.sandbox_key.clone());
        endpoint.since = setting.now;
        let gateways = gateways(&network, endpoint, setting.world)?;
        let gateway = |v4: bool| {
            let mut gateways = gateways.iter();
            let found = gateways.find(|ip| ip.is_ipv4() == v4);
            found.map(ToString::to_string)
        };
        let (gateway, gateway_ipv6) = (gateway(true), gateway(false));
        let is_outside_possible = gateway.is_some() || gateway_ipv6.is_some();
        let by_bridge = network.gateway == GatewayMode::GwBridge && !network.internal;
        Ok(Answer::Joined {
            interface_name: InterfaceName {
                src_name: setting.instance.endpoint_inside(&request.endpoint),
                dst_prefix: "eth",
                dst_name: endpoint.interface.clone(),
            },
            disable_gateway_service: !is_outside_possible && !by_bridge,
            gateway,
            gateway_ipv6,
        })
    }

    /// Notes that an endpoint has left its container.
    pub(super) fn leave(&mut self, id: &str) {
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            endpoint.sandbox = None;
            endpoint.published.clear();
        }
    }

    /// Notes the ports that are published.
    pub(super) fn publish(
        &mut self,
        request: &Program,
        setting: Setting<'_>,
    ) -> Result<Answer, Refusal> {
        let title = self.network_title(&request.network);
        let network = self.network(&request.network)?;
        let declared = declared(network, setting.world)?;
        let is_outside_possible = match (declared, &network.router) {
            (Some(declared), _) => declared.has_uplink(setting.world),
            (None, Some(router)) => setting.world.routers.get(router) == Some(&true),
            (None, None) => true,
        };
        if !request.options.ports.is_empty() && !is_outside_possible {
            return Err(Refusal(format!(
                "no port can be published on {title}: none of its routers has a way to the outside \
                 (`uplink: true` in the file)"
            )));
        }
        let endpoint = self.endpoints.get(&request.endpoint).ok_or_else(|| {
            Refusal(format!(
                "{title} has no endpoint {}",
                short(&request.endpoint)
            ))
        })?;
        let addresses: Vec<IpNet> = endpoint.addresses.clone();
        for mapping in &request.options.ports {
            answers(mapping, &addresses)?;
        }
        let mut published = Vec::new();
        for wanted in &request.options.ports {
            let is_taken = |port: u16| {
                let candidate = PortMapping {
                    host_port: port,
                    ..wanted.clone()
                };
                let mut own = published.iter();
                let own = own.any(|other| collide(other, &candidate));
                let others = self.endpoints.iter();
                let mut others = others.filter(|(id, _)| **id != request.endpoint);
                let other = others.find(|(_, endpoint)| {
                    let mut published = endpoint.published.iter();
                    published.any(|other| collide(other, &candidate))
                });
                own.then(|| "the same container".to_owned())
                    .or_else(|| other.map(|(id, _)| self.endpoint_title(id)))
            };
            let mut candidates = match wanted.host_port {
                0 => ANY_PORT,
                first => first..=wanted.host_port_end.max(first),
            };
            let port = candidates.find(|port| is_taken(*port).is_none());
            let Some(port) = port else {
                let protocol = protocol_name(wanted.proto).unwrap_or("unknown");
                let holder = is_taken(wanted.host_port);
                let address = match wanted.host_ip.as_str() {
                    "" => String::new(),
                    ip => format!(" at {ip}"),
                };
                return Err(Refusal(format!(
                    "port {}/{protocol}{address} is published already: {} has it",
                    wanted.host_port,
                    holder.unwrap_or_else(|| "somebody else".to_owned())
                )));
            };
            published.push(PortMapping {
                host_port: port,
                host_port_end: port,
                ..wanted.clone()
            });
        }
        if let Some(endpoint) = self.endpoints.get_mut(&request.endpoint) {
            endpoint.published = published;
        }
        Ok(Answer::Done {})
    }

    /// Notes that an endpoint is no way to the outside any more.
    pub(super) fn unpublish(&mut self, id: &str) {
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            endpoint.published.clear();
        }
    }

    fn network(&self, id: &str) -> Result<&Network, Refusal> {
        self.networks.get(id).ok_or_else(|| {
            Refusal(format!(
                "network {} is not known to bowline any more: make it again by `docker network rm` and \
                 `docker network create`",
                short(id)
            ))
        })
    }
}

/// What a network is that a file declares. The file may have been unloaded meanwhile.
fn declared<'w>(network: &Network, world: &'w World) -> Result<Option<&'w Declared>, Refusal> {
    Ok(match &network.net {
        Some(net) => Some(world.network(net)?),
        None => None,
    })
}

/// The next hops of an endpoint's default routes: routers that are in its reach.
fn gateways(network: &Network, endpoint: &Endpoint, world: &World) -> Result<Vec<IpAddr>, Refusal> {
    let declared = declared(network, world)?;
    let is_closed = network.internal || declared.is_some_and(|it| it.internal);
    if is_closed || network.gateway != GatewayMode::Native {
        return Ok(Vec::new());
    }
    let reach = |subnet: &&Subnet| {
        let mut addresses = endpoint.addresses.iter();
        addresses.any(|address| subnet.subnet.contains(&address.addr()))
    };
    let found = network.subnets.iter().filter(reach);
    let found = found.filter_map(|subnet| {
        let is_there = |ip: &IpAddr| declared.is_none_or(|it| it.gateways.contains_key(ip));
        subnet.gateway.filter(is_there)
    });
    Ok(found.collect())
}

/// What is told of an endpoint: only what was not given.
fn decided(endpoint: &Endpoint) -> Answer {
    let mac = (!endpoint.mac_given).then(|| endpoint.mac.to_string());
    Answer::Endpoint {
        interface: Decided { mac_address: mac },
    }
}

/// A MAC address that follows from the IPv4 address, so that who knew the last holder of the address
/// is not wrong about the next one.
pub(super) fn derived_mac(
    addresses: &[IpNet],
    endpoint: &str,
    is_free: impl Fn(Mac) -> bool,
) -> Mac {
    let v4 = addresses.iter().find_map(|address| match address.addr() {
        IpAddr::V4(v4) => Some(u32::from(v4)),
        IpAddr::V6(_) => None,
    });
    let first = addresses.first();
    let mut number = v4.unwrap_or_else(|| match first {
        Some(address) => fnv1a_32(&address.addr().to_string()),
        None => fnv1a_32(endpoint),
    });
    loop {
        let [a, b, c, d] = number.to_be_bytes();
        let mac = Mac::new([0x02, MAC_KIND, a, b, c, d]);
        if is_free(mac) {
            return mac;
        }
        number = number.wrapping_add(1);
    }
}

/// A subnet as Docker's IPAM drivers give it; the null driver gives one that is all addresses.
fn subnet(data: &PoolData) -> Result<Option<Subnet>, Refusal> {
    let subnet: IpNet = data
        .pool
        .parse()
        .map_err(|_| Refusal(format!("`{}` is no subnet", data.pool)))?;
    if subnet.prefix_len() == 0 {
        return Ok(None);
    }
    let plain = |text: &String| address(text.split('/').next().unwrap_or_default());
    let gateway = match data.gateway.as_str() {
        "" => None,
        _ => Some(plain(&data.gateway)?),
    };
    Ok(Some(Subnet {
        subnet: subnet.trunc(),
        gateway,
        auxiliary: data
            .aux_addresses
            .values()
            .map(plain)
            .collect::<Result<_, _>>()?,
        leased: data.address_space == ADDRESS_SPACE,
    }))
}

/// Names of objects and interfaces are made of ids.
fn check_id(id: &str) -> Result<(), Refusal> {
    let is_hex = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if id.len() >= ID_MIN && is_hex {
        return Ok(());
    }
    Err(Refusal(format!("`{id}` is none of Docker's ids")))
}

/// Whether somebody answers to a published port.
fn answers(mapping: &PortMapping, addresses: &[IpNet]) -> Result<(), Refusal> {
    let (family, of_family): (&str, &dyn Fn(&IpNet) -> bool) = match mapping.host_ip.as_str() {
        "" => ("IP", &|_| true),
        text => match address(text)? {
            IpAddr::V4(_) => ("IPv4", &|it| it.addr().is_ipv4()),
            IpAddr::V6(_) => ("IPv6", &|it| it.addr().is_ipv6()),
        },
    };
    if addresses.iter().any(of_family) {
        return Ok(());
    }
    Err(Refusal(format!(
        "port {} cannot be published at {}: the container has no {family} address (for IPv6, make the \
         network with --ipv6)",
        mapping.port, mapping.host_ip
    )))
}

/// Whether both want the same port of the same address.
fn collide(one: &PortMapping, other: &PortMapping) -> bool {
    let is_any = |ip: &str| matches!(ip, "0.0.0.0" | "::");
    let (a, b) = (one.host_ip.as_str(), other.host_ip.as_str());
    let is_family = a.contains(':') == b.contains(':');
    let meet = a.is_empty() || b.is_empty() || a == b || is_family && (is_any(a) || is_any(b));
    one.proto == other.proto && one.host_port == other.host_port && meet
}
