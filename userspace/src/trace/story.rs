//! What the datapath looked up, in words.

use std::net::SocketAddr;
use std::time::Duration;

use datapath::policy::{self, Ruling};
use datapath::{Action, Bytes as _};
use maps_schema::map::{
    EgressPort, IngressPort, LearnedEntry, Neighbor, NeighborKey, Network, RouteKey,
};
use maps_schema::{IfIndex, Ip, Mac, PortId, RouterId, Vni};

use super::outcome::listed;
use super::packet::Station;
use super::record::{Lookup, Passage};
use super::{Stage, Step};
use crate::counted::counted;
use crate::plan::{self, Plan};

/// One frame's way through the datapath, to be told.
pub(super) struct Story<'a> {
    pub(super) plan: &'a Plan,
    pub(super) stage: Stage,
    /// Who sent the frame.
    pub(super) source: Station,
    /// When.
    pub(super) now_ns: u64,
    pub(super) passage: &'a Passage,
}

/// Whether something was looked up before in the same way: the bridge looks at the network's row before
/// and after the learned addresses, policies ask where a port leads before the frame goes there, and copies
/// come in again.
fn is_again(lookups: &[Lookup], idx: usize) -> bool {
    let mut earlier = lookups.iter().take(idx);
    lookups.get(idx).is_some_and(|lookup| {
        let repeats = matches!(
            lookup,
            Lookup::IngressPort(..) | Lookup::Network(..) | Lookup::EgressPort(..)
        );
        repeats && earlier.any(|earlier| earlier == lookup)
    })
}

impl Story<'_> {
    /// A step for each thing that was looked up.
    pub(super) fn lookups(&self) -> Vec<Step> {
        let (lookups, _) = self.passage.parts();
        let mut steps = Vec::new();
        for (idx, lookup) in lookups.iter().enumerate() {
            if !is_again(lookups, idx) {
                steps.extend(self.lookup(lookup));
            }
            if let Lookup::IngressPort(Some(port)) = lookup
                && port.flags & IngressPort::MAY_SPOOF != 0
            {
                steps.push(self.at_port(port.port, "anti-spoofing: off at this port".to_owned()));
            }
        }
        steps
    }

    /// Whom it came from, as the host sees it that it came to from the underlay.
    pub(super) fn arrival(&self) -> Vec<Step> {
        // Where its stations are is asked when it is known who it came from.
        let is_before = |lookup: &&Lookup| !matches!(lookup, Lookup::Fdb(..));
        let lookups = self.passage.lookups.iter().take_while(is_before);
        lookups.filter_map(|it| self.admission(it)).collect()
    }

    /// What the host asks before it takes a frame in.
    fn admission(&self, lookup: &Lookup) -> Option<Step> {
        let names = &self.plan.names;
        Some(match *lookup {
            Lookup::Peer(address, Some(peer)) => {
                let text = format!("comes from {address}, which is {}", names.port(peer.port));
                self.at_port(peer.port, text)
            }
            Lookup::Peer(address, None) => self.step(format!("{address} is no peer's address")),
            Lookup::Member(key, found) => {
                let (peer, network) = (names.port(key.port), names.network(key.vni));
                let may = if found.is_some() { "may" } else { "may not" };
                let text = format!("{peer} {may} send for vni {}, network {network}", key.vni);
                self.step(text)
            }
            Lookup::Direct(address, Some(row)) => {
                let text = format!("{address} is {} at {}", row.mac, names.port(row.port));
                self.at_port(row.port, text)
            }
            Lookup::Direct(address, None) => {
                self.step(format!("no workload is known to have {address}"))
            }
            _ => return None,
        })
    }

    /// Where the last router's port leads, and what policies say of the way.
    pub(super) fn ends(&self) -> Vec<Step> {
        let (_, lookups) = self.passage.parts();
        let lookups = lookups
            .iter()
            .enumerate()
            .filter(|(idx, _)| !is_again(lookups, *idx));
        let ends = lookups.filter_map(|(_, lookup)| match *lookup {
            Lookup::EgressPort(port, found) => self.egress_port(port, found),
            Lookup::Ruled(ruling) => Some(self.ruling(ruling)),
            Lookup::Public(key, Some(public)) if public.ip != key.ip => {
                let text = format!("{} stands for {}", key.ip, public.ip);
                Some(self.at_port(public.uplink, text))
            }
            Lookup::Claim(key) => {
                let (ip, port) = (key.destination.to_std(), key.destination_port);
                let text = match port {
                    0 => format!("its source becomes {ip}"),
                    port => format!("its source becomes {}", SocketAddr::new(ip, port)),
                };
                Some(self.step(text))
            }
            _ => None,
        });
        ends.collect()
    }

    /// What the datapath did in the end.
    pub(super) fn end(&self) -> Step {
        let names = &self.plan.names;
        let reached = self.passage.reached();
        match (self.passage.action, reached.as_slice()) {
            (Action::Drop { reason, .. }, _) => {
                self.step(format!("dropped, {}: {}", reason.name(), reason.meaning()))
            }
            (Action::Consume(port), _) => {
                self.at_port(port, format!("taken by router port {}", names.port(port)))
            }
            (Action::Deliver(_) | Action::Send(_) | Action::Copied, ports)
                if self.passage.is_flooded() =>
            {
                let ports: Vec<String> = ports.iter().map(|&port| names.port(port)).collect();
                self.step(format!("flooded to {}", listed(&ports)))
            }
            (Action::Pass, _) => self.step("left to the host".to_owned()),
            (Action::Underlay { .. } | Action::Copied, ports) => {
                let port = ports.last().copied().unwrap_or(PortId::NONE);
                self.at_port(port, format!("sent to {}", names.port(port)))
            }
            (Action::Deliver(_) | Action::Send(_), ports) => {
                let port = ports.last().copied().unwrap_or(PortId::NONE);
                self.at_port(port, format!("delivered to {}", names.port(port)))
            }
        }
    }

    fn lookup(&self, lookup: &Lookup) -> Option<Step> {
        Some(match *lookup {
            Lookup::IngressPort(found) => self.ingress_port(found),
            Lookup::Neighbor(key, found) => self.neighbor(&key, found),
            Lookup::Fdb(key, found) => match found {
                Some(entry) if entry.router != RouterId::NONE => {
                    let port = self.plan.names.port(entry.port);
                    let router = self.plan.names.router(entry.router);
                    let text = format!("{} is router {router}, at {port}", key.mac);
                    self.at_port(entry.port, text)
                }
                Some(entry) => {
                    let port = self.plan.names.port(entry.port);
                    self.at_port(entry.port, format!("{} is at {port}", key.mac))
                }
                None => self.step(format!("nobody is known to have {}", key.mac)),
            },
            Lookup::Network(vni, found) => self.network(vni, found),
            // These are told where the routers end.
            Lookup::Public(..) | Lookup::Claim(_) => return None,
            Lookup::Learned(key, found) => self.learned(key.mac, found),
            Lookup::Learn(key, entry) => {
                let port = self.plan.names.port(entry.port);
                let text = format!("it is noted that {} is behind {port}", key.mac);
                self.at_port(entry.port, text)
            }
            // Whom it came from is told before, and what routers look up router by router.
            Lookup::Peer(..) | Lookup::Member(..) | Lookup::Direct(..) => return None,
            Lookup::RouterPort(..)
            | Lookup::RouterAddress(..)
            | Lookup::Route(..)
            | Lookup::NextHop(..)
            | Lookup::Resolved(..) => return None,
            Lookup::EgressPort(port, found) => return self.egress_port(port, found),
            Lookup::Ruled(ruling) => self.ruling(ruling),
            // Who got a copy is told together, and what is counted is what was told.
            Lookup::FloodMember(_) | Lookup::Count(..) => return None,
        })
    }

    fn ruling(&self, ruling: Ruling) -> Step {
        let names = &self.plan.names;
        let action = match ruling.action {
            policy::Action::Allow => "allowed",
            policy::Action::Reject => "rejected",
            policy::Action::Deny => "denied",
        };
        let origin = names.rules.get(&ruling.rule);
        Step {
            origin: origin.map(|named| named.origin.to_string()),
            ..self.step(format!("{action} by {}", names.rule(ruling.rule)))
        }
    }

    fn ingress_port(&self, found: Option<IngressPort>) -> Step {
        let Some(port) = found else {
            return self.step("comes in at an interface that belongs to no port".to_owned());
        };
        let names = &self.plan.names;
        let (name, network) = (names.port(port.port), names.network(port.vni));
        let text = format!(
            "comes in at {name}, which is {} on network {network}",
            port.mac
        );
        self.at_port(port.port, text)
    }

    fn neighbor(&self, key: &NeighborKey, found: Option<Neighbor>) -> Step {
        let check = if key.ip == Ip::from(self.source.ip) {
            "anti-spoofing: "
        } else {
            ""
        };
        match found {
            Some(neighbor) if neighbor.flags & Neighbor::ROUTER != 0 => {
                let port = self.plan.names.port(neighbor.port);
                let router = port.split('/').next().unwrap_or_default();
                let text = format!(
                    "{check}{} is an address of router {router}, at {port}, {}",
                    key.ip, neighbor.mac
                );
                self.at_port(neighbor.port, text)
            }
            Some(neighbor) => {
                let port = self.plan.names.port(neighbor.port);
                let text = format!("{check}{} belongs to {port}, {}", key.ip, neighbor.mac);
                self.at_port(neighbor.port, text)
            }
            None => {
                let network = self.plan.names.network(key.vni);
                self.step(format!(
                    "{check}nobody on network {network} is known to have {}",
                    key.ip
                ))
            }
        }
    }

    fn network(&self, vni: Vni, found: Option<Network>) -> Step {
        let name = self.plan.names.network(vni);
        let origin = self.plan.names.networks.get(&vni);
        let text = match found {
            None => format!("network {name} is not there"),
            Some(network) if self.passage.destination.is_group() => format!(
                "{} is for many: network {name} has {} here",
                self.passage.destination,
                counted(network.flood_len, "port")
            ),
            Some(network) if network.flags & Network::FLOOD_UNKNOWN != 0 => {
                format!("network {name} floods what is for an unknown station")
            }
            Some(_) => format!("network {name} drops what is for an unknown station"),
        };
        Step {
            origin: origin.map(|named| named.origin.to_string()),
            ..self.step(text)
        }
    }

    fn learned(&self, mac: Mac, found: Option<LearnedEntry>) -> Step {
        let Some(entry) = found else {
            return self.step(format!("{mac} was not learned either"));
        };
        let age = Duration::from_nanos(self.now_ns.saturating_sub(entry.seen_ns));
        let port = self.plan.names.port(entry.port);
        let limit = self.ageing().map_or_else(String::new, |limit| {
            format!(", and learned addresses last {} s", limit.as_secs())
        });
        let text = format!("{mac} was seen at {port} {} s ago{limit}", age.as_secs());
        self.at_port(entry.port, text)
    }

    /// The age that the network's row, which was looked up before, allows.
    fn ageing(&self) -> Option<Duration> {
        self.passage.lookups.iter().find_map(|lookup| match lookup {
            Lookup::Network(_, Some(network)) => Some(Duration::from_nanos(network.ageing_ns)),
            _ => None,
        })
    }

    fn egress_port(&self, port: PortId, found: Option<EgressPort>) -> Option<Step> {
        let name = self.plan.names.port(port);
        match found {
            // What is for many leads to no port alone.
            None if port == PortId::NONE => None,
            None => Some(self.at_port(port, format!("nothing is plugged in at {name}"))),
            Some(_) if self.passage.is_flooded() => None,
            // An answer goes back to where the question came from, and is told as one.
            Some(exit) if exit.ifindex == self.passage.interface => None,
            Some(exit) if exit.kind == EgressPort::UPLINK => {
                let text = format!("{name} leads outside by {}", self.uplink(&exit));
                Some(self.at_port(port, text))
            }
            Some(exit) if !exit.is_workload() => {
                Some(self.at_port(port, self.way_to_peer(&name, &exit)))
            }
            Some(EgressPort { ifindex, .. }) => {
                let interface = self.interface(port, ifindex);
                Some(self.at_port(port, format!("{name} is behind {interface}")))
            }
        }
    }

    /// What the interface to the underlay is called.
    fn uplink(&self, exit: &EgressPort) -> String {
        let uplink = self.plan.uplink.as_ref();
        uplink
            .filter(|uplink| uplink.ifindex == exit.ifindex)
            .map_or_else(
                || format!("interface {}", exit.ifindex.0),
                |uplink| uplink.interface.clone(),
            )
    }

    /// How the frame travels to a peer.
    fn way_to_peer(&self, name: &str, exit: &EgressPort) -> String {
        let EgressPort { local, remote, .. } = exit;
        let way = plan::way(exit.kind);
        let interface = self.uplink(exit);
        let leaves = match self.passage.action {
            Action::Underlay { .. } => format!(", {} bytes in all", self.passage.frame.len()),
            _ => String::new(),
        };
        if exit.kind == EgressPort::DIRECT {
            return format!("{name} is reached {way}: by next hop {remote} at {interface}{leaves}");
        }
        let lookups = self.passage.lookups.iter().rev();
        let vni = lookups.into_iter().find_map(|lookup| match lookup {
            Lookup::Fdb(key, _) => Some(format!(" with vni {}", key.vni)),
            _ => None,
        });
        let vni = vni.unwrap_or_default();
        format!("{name} is reached {way}{vni}: from {local} to {remote} by {interface}{leaves}")
    }

    /// What the host's end of a port's link is called.
    fn interface(&self, port: PortId, ifindex: IfIndex) -> String {
        self.plan.link_of(port).map_or_else(
            || format!("interface {}", ifindex.0),
            |planned| planned.link.name.clone(),
        )
    }

    fn step(&self, text: String) -> Step {
        Step {
            stage: self.stage,
            host: self.plan.host.clone(),
            router: None,
            text,
            origin: None,
        }
    }

    fn at_port(&self, port: PortId, text: String) -> Step {
        let named = self.plan.names.ports.get(&port);
        Step {
            origin: named.map(|named| named.origin.to_string()),
            ..self.step(text)
        }
    }
}

/// Whether a route's destinations include the one that is looked up.
pub(super) fn covers(route: &RouteKey, lookup: &RouteKey) -> bool {
    let bits = route.prefix_len.saturating_sub(RouteKey::FIXED_BITS);
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    let value = |ip: Ip| u128::from_be_bytes(ip.octets()) & mask;
    (route.router, route.family) == (lookup.router, lookup.family)
        && value(route.ip) == value(lookup.ip)
}
