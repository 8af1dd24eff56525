//! A host that keeps Docker's own bridge: which subnet that bridge is to have so that the virtual networks lead
//! to it, and how Docker is told.
//!
//! The file says all of it. A router routes the subnet to the host's own port on one of its networks, so every
//! host knows where it is, and the host routes the others' subnets to the router.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::similar::Similar;
use crate::topology::{Place, Port, PortName, RouteTarget, Spoofing, Topology};

/// The longest prefix that leaves the bridge an address and a container one.
const LONGEST: u8 = 30;
/// Where subnets are proposed from: what private networks use least (RFC 1918).
const PROPOSED: [u8; 2] = [10, 224];

/// What Docker's own bridge is to be like.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Share {
    /// The bridge's address, with its subnet's length.
    pub bip: IpNet,
    /// The IPv6 subnet, if there is one.
    pub ipv6: Option<IpNet>,
    /// The largest IP packet, in bytes.
    pub mtu: u32,
    /// The interface by which the host takes part.
    pub interface: String,
}

/// Why a host has no share of a network: one or more lines that tell what helps.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoShare(String);

impl Share {
    /// What a file gives a host by way of a network, whose links carry IP packets of so many bytes.
    ///
    /// # Errors
    ///
    /// The file does not give it anything, or not all of what is needed.
    pub fn of(
        topology: &Topology,
        host: Option<&str>,
        network: &str,
        carried: u32,
    ) -> Result<Self, NoShare> {
        let declared = topology.networks.get(network).ok_or_else(|| {
            let names = topology.declared_networks().map(|(name, _)| name.clone());
            let similar = Similar::new(network, names);
            NoShare(format!("there is no network `{network}`: {similar}"))
        })?;
        let doors = doors(topology, network);
        let own = doors.iter().find(|(name, _)| {
            let workload = topology.workloads.get(&name.workload);
            workload.is_some_and(|it| it.host.is_none() || it.host.as_deref() == host)
        });
        let title = host.map_or_else(|| "this host".to_owned(), |it| format!("host {it}"));
        let Some((name, port)) = own else {
            return Err(NoShare(format!(
                "{title} has no port of its own on network {network}; the file has to say:\n{}",
                proposal(topology, network)
            )));
        };
        let blocks = blocks(topology, port);
        if let Some(block) = blocks
            .iter()
            .find(|it| it.addr().is_ipv4() && it.prefix_len() > LONGEST)
        {
            return Err(NoShare(format!(
                "the subnet {block} of {title} has no room for a bridge and a container: make it \
                 larger"
            )));
        }
        let of_family = |v4: bool| {
            let mut found = blocks.iter().filter(move |it| it.addr().is_ipv4() == v4);
            match (found.next(), found.next()) {
                (Some(one), Some(other)) => Err(NoShare(format!(
                    "routers route both {one} and {other} to {title} on network {network}, and Docker's \
                     bridge takes one: leave one out"
                ))),
                (found, _) => Ok(found.copied()),
            }
        };
        let (Some(v4), ipv6) = (of_family(true)?, of_family(false)?) else {
            return Err(NoShare(format!(
                "no router routes an IPv4 subnet to {title}, which is {} on network {network}; the file \
                 has to say:\n{}",
                addresses(port),
                proposal(topology, network)
            )));
        };
        if port.spoofing == Spoofing::Deny {
            return Err(NoShare(format!(
                "port {name} sends for containers with addresses of their own: the file has to say \
                 `spoofing: allow` there"
            )));
        }
        let others = doors.iter().filter(|(other, _)| other != name);
        for (_, other) in others {
            for block in self::blocks(topology, other) {
                let mut routes = port.routes.iter();
                if !routes.any(|route| route.to.contains(&block)) {
                    return Err(NoShare(format!(
                        "{title} does not know the way to {block}: add `routes: [ {{ to: {block}, via: \
                         ROUTER'S ADDRESS }} ]` to its port on network {network}, or the subnet that all of \
                         them are in"
                    )));
                }
            }
        }
        let bip = v4
            .hosts()
            .next()
            .and_then(|first| IpNet::new(first, v4.prefix_len()).ok());
        Ok(Self {
            bip: bip.unwrap_or(v4),
            ipv6,
            mtu: port.mtu.within(declared.mtu, carried),
            interface: name.interface.clone(),
        })
    }

    /// The words of `daemon.json` (Docker's reference for dockerd).
    fn words(&self) -> Vec<(&'static str, Value)> {
        let mut words = vec![
            ("bip", self.bip.to_string().into()),
            ("mtu", self.mtu.into()),
        ];
        if let Some(ipv6) = self.ipv6 {
            words.push(("ipv6", true.into()));
            words.push(("fixed-cidr-v6", ipv6.to_string().into()));
        }
        words
    }
}

/// The ports of hosts themselves on a network.
fn doors<'t>(topology: &'t Topology, network: &str) -> Vec<(&'t PortName, &'t Port)> {
    let ports = topology.ports.iter().filter(|(name, port)| {
        let workload = topology.workloads.get(&name.workload);
        port.network == network && workload.is_some_and(|it| it.place == Place::Host)
    });
    ports.collect()
}

/// The subnets that routers route to a port.
fn blocks(topology: &Topology, port: &Port) -> Vec<IpNet> {
    let routes = topology.routers.values().flat_map(|it| &it.routes);
    let to_it = routes.filter(|route| match &route.target {
        RouteTarget::Forward(hops) => hops.iter().any(|hop| {
            let mut addresses = port.addresses.iter();
            addresses.any(|it| Some(it.addr()) == hop.via)
        }),
        _ => false,
    });
    let mut blocks: Vec<IpNet> = to_it.map(|route| route.to).collect();
    blocks.sort();
    blocks.dedup();
    blocks
}

fn addresses(port: &Port) -> String {
    let addresses = port.addresses.iter().map(|it| it.addr().to_string());
    addresses.collect::<Vec<_>>().join(", ")
}

/// What a file could say, for all of its hosts.
fn proposal(topology: &Topology, network: &str) -> String {
    let declared = topology.networks.get(network);
    let subnet = declared.and_then(|it| it.subnets.iter().find(|it| it.addr().is_ipv4()));
    let routers = topology.routers.iter();
    let mut routers = routers.flat_map(|(name, router)| {
        let ports = router.ports.values().filter(|port| port.network == network);
        let addresses = ports.flat_map(|port| &port.addresses);
        let v4 = addresses.filter(|it| it.addr().is_ipv4());
        v4.map(move |address| (name.as_str(), address.addr()))
    });
    let known = routers.next();
    let mut taken: Vec<IpAddr> = topology
        .ports
        .values()
        .filter(|port| port.network == network)
        .flat_map(|port| port.addresses.iter().map(|it| it.addr()))
        .collect();
    let mut free = || {
        let mut stations = subnet.into_iter().flat_map(IpNet::hosts);
        let found = stations.find(|ip| {
            let mut routers = topology.routers.values().flat_map(|it| it.ports.values());
            let is_router = routers.any(|port| port.addresses.iter().any(|it| it.addr() == *ip));
            !is_router && !taken.contains(ip)
        });
        taken.extend(found);
        found
    };
    let shown =
        |address: Option<IpAddr>| address.map_or_else(|| "ADDRESS".to_owned(), |it| it.to_string());
    let (router, gateway) = match known {
        Some((name, address)) => (name, Some(address)),
        None => ("core", free()),
    };
    let gateway = shown(gateway);
    let [a, b] = PROPOSED;
    let mut hosts: Vec<&str> = topology.hosts.keys().map(String::as_str).collect();
    if hosts.is_empty() {
        hosts.push("");
    }
    let (mut routes, mut workloads) = (String::new(), String::new());
    for (number, host) in (1_u16..).zip(hosts) {
        let [high, low] = number.to_be_bytes();
        let block = format!("{a}.{}.{low}.0/24", b.saturating_add(high));
        let address = shown(free());
        // A text always takes more.
        let _ = write!(routes, "\n      - {{ to: {block}, via: {address} }}");
        let (name, place) = match host {
            "" => ("host".to_owned(), String::new()),
            host => (format!("{host}-host"), format!("host: {host}, ")),
        };
        let _ = write!(
            workloads,
            "\n  {name}: {{ {place}host_network: true, ports: [ {{ network: {network}, addresses: {address}, \
             spoofing: allow, routes: [ {{ to: {a}.{b}.0.0/16, via: {gateway} }} ] }} ] }}"
        );
    }
    format!(
        "routers:\n  {router}:\n    ports: {{ {network}: {gateway} }}\n    routes:{routes}\nworkloads:{workloads}"
    )
}

/// Docker's settings (`daemon.json`): a JSON object whose keys stay in the order in which the user wrote them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings(Vec<(String, Value)>);

impl Settings {
    /// Reads them; an empty text has none.
    ///
    /// # Errors
    ///
    /// It is no JSON object.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text)
    }

    fn get(&self, key: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value)
    }

    /// The settings with a host's share, or why Docker would not take them.
    ///
    /// # Errors
    ///
    /// What the user has set rules that out.
    pub fn with(&self, share: &Share) -> Result<Self, NoShare> {
        if let Some(bridge) = self.get("bridge") {
            return Err(NoShare(format!(
                "`bridge` is {bridge}, so Docker makes no bridge of its own: remove that"
            )));
        }
        if let Some(fixed) = self.get("fixed-cidr") {
            let range = fixed.as_str().and_then(|it| it.parse::<Ipv4Net>().ok());
            let is_within = range.is_some_and(|it| share.bip.trunc().contains(&IpNet::V4(it)));
            if !is_within {
                return Err(NoShare(format!(
                    "`fixed-cidr` is {fixed}, which is not in {}: remove that",
                    share.bip.trunc()
                )));
            }
        }
        let mut after = self.clone();
        for (key, value) in share.words() {
            match after.0.iter_mut().find(|(name, _)| name == key) {
                Some((_, former)) => *former = value,
                None => after.0.push((key.to_owned(), value)),
            }
        }
        Ok(after)
    }
}

impl fmt::Display for Settings {
    /// As people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{\n")?;
        for (i, (key, value)) in self.0.iter().enumerate() {
            let value = serde_json::to_string_pretty(value).map_err(|_| fmt::Error)?;
            let value = value.replace('\n', "\n  ");
            let comma = if i + 1 < self.0.len() { "," } else { "" };
            writeln!(f, "  {}: {value}{comma}", Value::from(key.as_str()))?;
        }
        f.write_str("}\n")
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Settings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Settings, A::Error> {
                let mut settings = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    settings.push(entry);
                }
                Ok(Settings(settings))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::draft;
    use crate::problem::listing::listing;
    use crate::topology::compile_drafts;

    const FILE: &str = "version: 1
name: shop
hosts: { alpha: 192.0.2.11, beta: 192.0.2.12 }
networks: { fabric: 10.4.0.0/24 }
";

    fn topology(more: &str) -> Topology {
        let text = format!("{FILE}{more}");
        let topology = compile_drafts([draft("shop.yaml", &text)]);
        topology.unwrap_or_else(|problems| panic!("{text}\n{}", listing(&problems)))
    }

    fn share(topology: &Topology, host: &str) -> Result<Share, String> {
        Share::of(topology, Some(host), "fabric", 1450).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_proposed_is_what_is_needed() {
        let refused = share(&topology(""), "beta").unwrap_err();
        let (reason, proposal) = refused.split_once('\n').unwrap();
        assert_eq!(
            reason,
            "host beta has no port of its own on network fabric; the file has to say:"
        );
        let topology = topology(proposal);
        let found = share(&topology, "beta").unwrap();
        assert_eq!(found.bip.to_string(), "10.224.2.1/24");
        assert_eq!((found.mtu, found.interface.as_str()), (1450, "fabric"));
        assert_eq!(
            share(&topology, "alpha").unwrap().bip.to_string(),
            "10.224.1.1/24"
        );
        let slip = Share::of(&topology, Some("alpha"), "fabrik", 1450).unwrap_err();
        assert!(
            slip.to_string().contains("did you mean `fabric`?"),
            "{slip}"
        );
    }

    #[test]
    fn what_is_missing_is_told() {
        let refused = share(&topology(""), "alpha").unwrap_err();
        let whole = refused.split_once('\n').unwrap().1;
        for (taken, told) in [
            (
                "\n      - { to: 10.224.1.0/24, via: 10.4.0.2 }",
                "no router routes an IPv4 subnet to host alpha",
            ),
            (", spoofing: allow", "`spoofing: allow`"),
            (
                ", routes: [ { to: 10.224.0.0/16, via: 10.4.0.1 } ]",
                "does not know the way to 10.224.2.0/24",
            ),
        ] {
            let less = whole.replace(taken, "");
            assert_ne!(less, whole, "{taken}");
            let refused = share(&topology(&less), "alpha").unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
        let small = whole.replace("10.224.1.0/24", "10.224.1.0/31");
        assert!(
            share(&topology(&small), "alpha")
                .unwrap_err()
                .contains("no room")
        );
        let two = "      - { to: 10.225.0.0/24, via: 10.4.0.2 }\nworkloads:";
        let two = whole.replace("workloads:", two);
        assert!(
            share(&topology(&two), "alpha")
                .unwrap_err()
                .contains("takes one")
        );
    }

    #[test]
    fn what_the_user_has_set_stays() {
        let share = Share {
            bip: "10.224.1.1/24".parse().unwrap(),
            ipv6: Some("fd00:224:1::/64".parse().unwrap()),
            mtu: 1450,
            interface: "fabric".to_owned(),
        };
        let text = r#"{ "log-driver": "local", "bip": "172.18.0.1/16", "debug": true, "dns": ["192.0.2.53"] }"#;
        let after = Settings::read(text).unwrap().with(&share).unwrap();
        let expected = r#"{
  "log-driver": "local",
  "bip": "10.224.1.1/24",
  "debug": true,
  "dns": [
    "192.0.2.53"
  ],
  "mtu": 1450,
  "ipv6": true,
  "fixed-cidr-v6": "fd00:224:1::/64"
}
"#;
        assert_eq!(after.to_string(), expected);
        // Once more is no change.
        let again = Settings::read(expected).unwrap();
        assert_eq!(again.with(&share).unwrap(), again);
        assert!(Settings::read("").unwrap().with(&share).is_ok());
        for (text, told) in [
            (r#"{ "bridge": "none" }"#, "`bridge` is \"none\""),
            (r#"{ "fixed-cidr": "10.9.0.0/25" }"#, "`fixed-cidr` is"),
        ] {
            let refused = Settings::read(text).unwrap().with(&share).unwrap_err();
            assert!(refused.to_string().contains(told), "{refused}");
        }
        assert!(Settings::read("[]").is_err());
    }
}
