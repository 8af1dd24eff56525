//! What the ids in the maps stand for: the way back from a row to the file.

mod policies;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use maps_schema::map::{
    Direct, EgressPort, Epoch, FdbEntry, FdbKey, FloodKey, FloodMember, GatewayKey, IngressPort,
    MapName, Member, MemberKey, Neighbor, NeighborKey, Network, NextHop, NextHopKey, Peer, Public,
    PublicKey, Route, RouteKey, RouterAddressKey, RouterPort, Source, Uplink,
};
use maps_schema::plain::from_bytes;
use maps_schema::{GroupId, IfIndex, Ip, Mac, PolicyList, PortId, RouterId, RuleId, Vni};

use super::policies::Ids;
use super::routers::{broadcasts, route_key};
use crate::counted::counted;
use crate::source::Origin;
use crate::topology::{Service, Topology};

/// What the ids in the maps stand for.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Names {
    /// Ports, also those that are not plugged in.
    pub ports: BTreeMap<PortId, Named>,
    /// Virtual routers.
    pub routers: BTreeMap<RouterId, Named>,
    /// Where the routes of virtual routers come from, by destination.
    pub routes: BTreeMap<RouteKey, Origin>,
    /// Security groups.
    pub groups: BTreeMap<GroupId, Named>,
    /// Rules of policies and chains, and the defaults of policies.
    pub rules: BTreeMap<RuleId, NamedRule>,
    /// Networks.
    pub networks: BTreeMap<Vni, Named>,
    /// Ports that are not in the topology any more, as their links call themselves.
    pub former: BTreeMap<PortId, String>,
}

/// A rule, or what holds if none decides.
#[derive(Clone, PartialEq, Debug)]
pub struct NamedRule {
    /// What it belongs to: a chain, or a direction of a policy.
    pub list: String,
    /// Its position there, from 1; nothing for what holds if none decides.
    pub number: Option<usize>,
    /// What it says.
    pub wording: String,
    /// The place in the file.
    pub origin: Origin,
}

/// A name and where it comes from.
#[derive(Clone, PartialEq, Debug)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The place in the file.
    pub origin: Origin,
}

impl Names {
    pub(super) fn new(topology: &Topology, ids: &Ids<'_>) -> Self {
        let named = |name: String, origin: &Origin| Named {
            name,
            origin: origin.clone(),
        };
        let mut names = Self::default();
        for (name, group) in &topology.groups {
            let group_name = named(name.clone(), &group.origin);
            names.groups.insert(ids.group(name), group_name);
        }
        names.rules = ids.all();
        for (name, port) in &topology.ports {
            names
                .ports
                .insert(port.id, named(name.to_string(), &port.origin));
        }
        for (name, host) in &topology.hosts {
            let peer = named(format!("peer {name}"), &host.origin);
            names.ports.insert(host.id, peer);
        }
        for (name, vtep) in &topology.vteps {
            let peer = named(format!("peer {name}"), &vtep.origin);
            names.ports.insert(vtep.id, peer);
        }
        for (name, network) in &topology.networks {
            names
                .networks
                .insert(network.vni, named(name.clone(), &network.origin));
        }
        for (name, router) in &topology.routers {
            if let Some(uplink) = &router.uplink {
                let port = named(format!("{name}/uplink"), &uplink.origin);
                names.ports.insert(uplink.id, port);
            }
            names
                .routers
                .insert(router.id, named(name.clone(), &router.origin));
            for (port_name, port) in &router.ports {
                let port_name = format!("{name}/{port_name}");
                names.ports.insert(port.id, named(port_name, &port.origin));
            }
            for route in &router.routes {
                names
                    .routes
                    .insert(route_key(router, route.to), route.origin.clone());
            }
            for (to, route) in broadcasts(router) {
                names
                    .routes
                    .insert(route_key(router, to), route.origin.clone());
            }
        }
        names
    }

    /// A port's name, or its id if nobody knows the name (any more).
    #[must_use]
    pub fn port(&self, id: PortId) -> String {
        let name = self.ports.get(&id).map(|named| &named.name);
        match name.or_else(|| self.former.get(&id)) {
            Some(name) => name.clone(),
            None if id == PortId::NONE => "no port".to_owned(),
            None => format!("port {:08x}", id.0),
        }
    }

    /// A network's name, or its VNI if it is not in the topology (any more). No network is the outside.
    #[must_use]
    pub fn network(&self, vni: Vni) -> String {
        if vni == Vni::NONE {
            return "outside".to_owned();
        }
        self.networks
            .get(&vni)
            .map_or_else(|| format!("vni {vni}"), |named| named.name.clone())
    }

    /// A router's name, or its id if it is not in the topology (any more).
    #[must_use]
    pub fn router(&self, id: RouterId) -> String {
        self.routers
            .get(&id)
            .map_or_else(|| format!("router {:08x}", id.0), |it| it.name.clone())
    }

    /// A route, in words.
    #[must_use]
    pub fn route(&self, key: &RouteKey, route: &Route) -> String {
        let to = destination(key);
        match route.kind {
            Route::FORWARD if route.buckets != 0 => {
                format!(
                    "{to} by {} buckets of list {:08x}",
                    route.buckets, route.next_hops.0
                )
            }
            Route::FORWARD => format!("{to} {}", self.hop(route.port, route.via)),
            Route::UPLINK if route.buckets != 0 => format!(
                "{to} outside, by {} buckets of list {:08x}",
                route.buckets, route.next_hops.0
            ),
            Route::UPLINK => format!("{to} outside {}", self.hop(route.port, route.via)),
            Route::REJECT => format!("{to} is rejected"),
            Route::BROADCAST => format!("{to} is the broadcast address of a subnet"),
            _ => format!("{to} is a blackhole"),
        }
    }

    /// A next hop, in words.
    #[must_use]
    pub fn hop(&self, port: PortId, via: Ip) -> String {
        let port = self.port(port);
        if via == Ip::UNSPECIFIED_V6 {
            format!("at {port}")
        } else {
            format!("via {via} at {port}")
        }
    }

    /// What a row says, in words.
    #[must_use]
    pub fn describe(&self, map: MapName, key: &[u8], value: &[u8]) -> String {
        self.decode(map, key, value)
            .unwrap_or_else(|| format!("{key:02x?} {value:02x?}"))
    }

    fn decode(&self, map: MapName, key: &[u8], value: &[u8]) -> Option<String> {
        Some(match map {
            MapName::Counters => self.port(from_bytes(key)?),
            MapName::Ports => {
                let name = self.port(from_bytes(key)?);
                let port: EgressPort = from_bytes(value)?;
                if port.is_workload() {
                    let held = held(port.policy, "held");
                    format!("{name} leads to interface {}{held}", port.ifindex.0)
                } else {
                    format!(
                        "{name} is reached {} from {} to {} by interface {}, mtu {}",
                        way(port.kind),
                        port.local,
                        port.remote,
                        port.ifindex.0,
                        port.mtu
                    )
                }
            }
            MapName::RouterPorts => {
                let port: RouterPort = from_bytes(value)?;
                format!(
                    "{} is {} in {} with {}, mtu {}{}{}",
                    self.port(from_bytes(key)?),
                    self.router(port.router),
                    self.network(port.vni),
                    port.mac,
                    port.mtu,
                    if port.flags & RouterPort::CLAMPS_MSS == 0 {
                        ""
                    } else {
                        CLAMPS_MSS
                    },
                    held(port.policy, "forwarding"),
                )
            }
            MapName::RouterAddresses => {
                let RouterAddressKey { router, ip } = from_bytes(key)?;
                format!("{} has {ip}", self.router(router))
            }
            MapName::NextHops => {
                let NextHopKey { list, bucket } = from_bytes(key)?;
                let NextHop { port, via } = from_bytes(value)?;
                format!("list {:08x}[{bucket}]: {}", list.0, self.hop(port, via))
            }
            MapName::Routes => {
                let key: RouteKey = from_bytes(key)?;
                format!(
                    "{}: {}",
                    self.router(key.router),
                    self.route(&key, &from_bytes(value)?)
                )
            }
            MapName::Sources => {
                let key: RouteKey = from_bytes(key)?;
                let router = self.router(key.router);
                let source: Source = from_bytes(value)?;
                format!("{router}: {} {}", destination(&key), given(&source))
            }
            MapName::Gateways => {
                let key: GatewayKey = from_bytes(key)?;
                format!("{}: by {}", self.router(key.router), self.port(key.port))
            }
            MapName::Public => {
                let key: PublicKey = from_bytes(key)?;
                let public: Public = from_bytes(value)?;
                let uplink = self.port(public.uplink);
                let service = |ip: Ip, port: u16| match (port, ip.to_std()) {
                    (0, ip) => ip.to_string(),
                    (port, ip) => SocketAddr::new(ip, port).to_string(),
                };
                let (outside, inside) =
                    (service(key.ip, key.port), service(public.ip, public.port));
                let protocol = match key.protocol {
                    0 => String::new(),
                    number => format!("{} ", Service::protocol(number)),
                };
                if public.flags & Public::ELSEWHERE != 0 {
                    return Some(format!("{protocol}{outside} is given away by {uplink}"));
                }
                format!("{protocol}{outside} is {inside} behind {uplink}")
            }
            MapName::Neighbors => {
                let key: NeighborKey = from_bytes(key)?;
                let neighbor: Neighbor = from_bytes(value)?;
                let network = self.network(key.vni);
                format!(
                    "{network}: {} is {} at {}",
                    key.ip,
                    neighbor.mac,
                    self.port(neighbor.port)
                )
            }
            MapName::Fdb => {
                let key: FdbKey = from_bytes(key)?;
                let FdbEntry { port, router: _ } = from_bytes(value)?;
                format!(
                    "{}: {} is at {}",
                    self.network(key.vni),
                    key.mac,
                    self.port(port)
                )
            }
            MapName::Flood => {
                let FloodKey { list, idx } = from_bytes(key)?;
                let FloodMember { port, .. } = from_bytes(value)?;
                format!("list {:08x}[{idx}]: {}", list.0, self.port(port))
            }
            MapName::Networks => self.decode_network(from_bytes(key)?, &from_bytes(value)?),
            MapName::Interfaces => {
                let IfIndex(ifindex) = from_bytes(key)?;
                let port: IngressPort = from_bytes(value)?;
                format!(
                    "interface {ifindex} is {} in {} with {}{}{}",
                    self.port(port.port),
                    self.network(port.vni),
                    port.mac,
                    flags(port.flags),
                    held(port.policy, "held"),
                )
            }
            MapName::Direct => {
                let ip: Ip = from_bytes(key)?;
                let direct: Direct = from_bytes(value)?;
                let gateway = if direct.gateway == Mac::ZERO {
                    String::new()
                } else {
                    format!(", from other networks by {}", direct.gateway)
                };
                format!(
                    "{ip} is {} in {} at {}{gateway}",
                    direct.mac,
                    self.network(direct.vni),
                    self.port(direct.port)
                )
            }
            MapName::Members => {
                let MemberKey { port, vni } = from_bytes(key)?;
                let member: Member = from_bytes(value)?;
                let flags = flags(member.flags as u8);
                let (peer, network) = (self.port(port), self.network(vni));
                format!("{peer} sends for {network}{flags}")
            }
            MapName::Peers => {
                let ip: Ip = from_bytes(key)?;
                let peer: Peer = from_bytes(value)?;
                let (name, way) = (self.port(peer.port), way(peer.kind));
                format!("{ip} is {name}, {way}")
            }
            MapName::Epochs => {
                let epoch: Epoch = from_bytes(value)?;
                let network = self.network(from_bytes(key)?);
                format!("flows of {network} are of epoch {:016x}", epoch.number)
            }
            MapName::RuleCounters
            | MapName::Rules
            | MapName::Matches
            | MapName::Services
            | MapName::Prefixes
            | MapName::IdentityPrefixes
            | MapName::Identities
            | MapName::Policies => self.decode_policy(map, key, value)?,
            MapName::Uplinks => {
                let IfIndex(ifindex) = from_bytes(key)?;
                let uplink: Uplink = from_bytes(value)?;
                format!("interface {ifindex} is the uplink of {}", uplink.address)
            }
        })
    }

    fn decode_network(&self, vni: Vni, network: &Network) -> String {
        let unknown = if network.flags & Network::FLOOD_UNKNOWN == 0 {
            "dropped"
        } else {
            "flooded"
        };
        let learning = if network.flags & Network::LEARNS == 0 {
            ""
        } else {
            ", learning"
        };
        format!(
            "{} (vni {vni}): {} in list {:08x}, unknown unicast {unknown}{learning}, ageing {:?}",
            self.network(vni),
            counted(network.flood_len, "port"),
            network.flood.0,
            Duration::from_nanos(network.ageing_ns),
        )
    }
}

/// Which rules hold at a port.
fn held(list: PolicyList, how: &str) -> String {
    if list == PolicyList::NONE {
        return String::new();
    }
    format!(", {how} by {}", policies::name(list))
}

/// How frames travel to a peer.
pub(crate) const fn way(kind: u32) -> &'static str {
    match kind {
        EgressPort::VXLAN => "through vxlan",
        EgressPort::GENEVE => "through geneve",
        EgressPort::GRE => "through gre",
        EgressPort::DIRECT => "without a tunnel",
        _ => "in an unknown way",
    }
}

/// What a route is for, as people write it.
pub(crate) fn destination(key: &RouteKey) -> String {
    let bits = key.prefix_len.saturating_sub(RouteKey::FIXED_BITS);
    let is_v4 = key.family == RouteKey::IPV4;
    let bits = if is_v4 {
        bits.saturating_sub(RouteKey::MAPPED_BITS)
    } else {
        bits
    };
    format!("{}/{bits}", key.ip)
}

const CLAMPS_MSS: &str = ", clamps MSS";

fn flags(flags: u8) -> String {
    let words = [
        (IngressPort::SERVED, ", an ordinary VTEP"),
        (IngressPort::LEARNING, ", learning"),
        (IngressPort::MAY_SPOOF, ", may spoof"),
        (IngressPort::CLAMPS_MSS, CLAMPS_MSS),
    ];
    let is_set = |(flag, _): &&(u8, &str)| flags & flag != 0;
    words.iter().filter(is_set).map(|(_, word)| *word).collect()
}

/// Which address a workload is given outside, in words.
fn given(source: &Source) -> String {
    let Source {
        first,
        addresses,
        first_port,
        last_port,
    } = source;
    let more = match addresses {
        0 => return "has no address outside".to_owned(),
        1 => String::new(),
        several => format!(" and {} more", several - 1),
    };
    let ports = match first_port {
        0 => String::new(),
        first => format!(", ports {first} to {last_port}"),
    };
    format!("is {first} outside{more}{ports}")
}
