//! Which of the topology's hosts this one is, where its uplink is, and how it reaches those that no
//! tunnel leads to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;
use maps_schema::{IfIndex, Mac};

use crate::kernel::underlay::{HostInterface, Interfaces, Underlay};
use crate::plan::Uplink;
use crate::problem::Problem;
use crate::similar::Similar;
use crate::source::Origin;
use crate::topology::{Host, Mtu, Topology, Tunnel};

/// What the underlay carries where nobody says it, in bytes (RFC 894).
const ETHERNET: u32 = 1500;
/// How many hosts a message lists.
const SHOWN: usize = 8;

/// What this host is in the topology.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Whereabouts {
    /// Its name; `None` in a topology without hosts.
    pub(super) host: Option<String>,
    /// Its interface to the underlay.
    pub(super) uplink: Option<Uplink>,
    /// What is possible and yet hardly meant.
    pub(super) warnings: Vec<Problem>,
}

/// Who says which host this is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Name {
    /// The user, now.
    Given(String),
    /// The user, when something was loaded.
    Recorded(String),
}

impl Whereabouts {
    /// Finds this host in a topology: by the name that somebody gave it, or by its addresses.
    ///
    /// # Errors
    ///
    /// [`Problem`]: no host, or more than one, is this one, or its uplink is not there.
    pub(super) fn find(
        topology: &Topology,
        interfaces: &Interfaces,
        name: Option<&Name>,
    ) -> Result<Self, Problem> {
        if topology.hosts.is_empty() {
            return match name {
                Some(Name::Given(name)) => Err(Problem::new(format!(
                    "this host cannot be `{name}`: the topology has no hosts"
                ))
                .help("declare it under `hosts:`, or leave out `--host`")),
                _ => Ok(Self::default()),
            };
        }
        let (name, host) = match name {
            Some(name) => by_name(topology, name)?,
            None => by_address(topology, interfaces)?,
        };
        let interface = uplink(name, host, interfaces)?;
        if !interface.is_ethernet {
            return Err(bare(name, host, interface));
        }
        Ok(Self {
            host: Some(name.to_owned()),
            uplink: Some(described(interface, interfaces)),
            warnings: match host.mtu {
                Some(mtu) => narrow(name, host, mtu, interface).into_iter().collect(),
                None => crowded(topology, name, host, interface),
            },
        })
    }

    /// Finds the interface to the outside, if a router has an uplink and no host says which one that is. A
    /// machine that is offline for a while loses the way there, and nothing else: it is warned of.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub(super) async fn find_outside(
        &mut self,
        topology: &Topology,
        interfaces: &Interfaces,
        underlay: &Underlay,
    ) -> Result<()> {
        let mut routers = topology.routers.iter();
        let found = routers.find_map(|(name, router)| Some((name, router.uplink.as_ref()?)));
        let Some((name, uplink)) = found.filter(|_| topology.hosts.is_empty()) else {
            return Ok(());
        };
        let index = underlay.outside().await?;
        match outside(interfaces, index, (name, &uplink.origin)) {
            Ok(uplink) => self.uplink = Some(uplink),
            Err(warning) => self.warnings.push(warning),
        }
        Ok(())
    }

    /// Asks for the way to every host that no tunnel leads to. One that cannot be reached now is
    /// warned of and left out.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub(super) async fn next_hops(
        &mut self,
        topology: &Topology,
        underlay: &Underlay,
    ) -> Result<BTreeMap<IpAddr, IpAddr>> {
        let mut next_hops = BTreeMap::new();
        let (Some(own), Some(uplink)) = (&self.host, &self.uplink) else {
            return Ok(next_hops);
        };
        let direct = topology
            .hosts
            .iter()
            .filter(|(name, _)| *name != own && topology.tunnel(own, name) == Tunnel::Direct);
        for (name, host) in direct {
            match underlay.way(host.address).await? {
                Some(way) if way.ifindex == uplink.ifindex => {
                    next_hops.insert(host.address, way.next_hop);
                }
                found => {
                    let why = if found.is_some() {
                        "leads through another interface than"
                    } else {
                        "is not there: no route leads to it through"
                    };
                    let message = format!(
                        "the way to host `{name}` ({}), which no tunnel leads to, {why} the uplink {}",
                        host.address, uplink.interface
                    );
                    let warning = Problem::new(message)
                        .at(&host.origin, "this address")
                        .help("load again when there is a route");
                    self.warnings.push(warning);
                }
            }
        }
        Ok(next_hops)
    }
}

/// The interface to the outside, by its index, for the uplink of a router.
fn outside(
    interfaces: &Interfaces,
    index: Option<IfIndex>,
    (name, origin): (&str, &Origin),
) -> Result<Uplink, Problem> {
    let found = index.and_then(|index| interfaces.all.iter().find(|it| it.ifindex == index));
    let Some(interface) = found else {
        let message = format!("router {name} has an uplink, and this host has no default route");
        return Err(Problem::new(message)
            .at(origin, "the way to the outside is the host's own")
            .help("give the host one: `ip route add default via ...`"));
    };
    if !interface.is_ethernet {
        let message = format!(
            "the default route leads through {}, which carries no Ethernet frames",
            interface.name
        );
        return Err(Problem::new(message)
            .at(origin, "the way to the outside is the host's own")
            .help("declare the host under `hosts:` with the `uplink:` to use"));
    }
    Ok(described(interface, interfaces))
}

/// An interface as plans know it.
fn described(interface: &HostInterface, interfaces: &Interfaces) -> Uplink {
    let addresses = interfaces.addresses.iter();
    let own = addresses.filter(|(_, ifindex)| **ifindex == interface.ifindex);
    let is_global = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    Uplink {
        interface: interface.name.clone(),
        ifindex: interface.ifindex,
        mtu: interface.mtu,
        driver: interface.driver.clone(),
        mac: interface.mac.unwrap_or(Mac::ZERO),
        addresses: own.map(|(&address, _)| address).filter(is_global).collect(),
        local_ports: interfaces.local_ports,
    }
}

fn by_name<'a>(topology: &'a Topology, name: &'a Name) -> Result<(&'a str, &'a Host), Problem> {
    let (Name::Given(wanted) | Name::Recorded(wanted)) = name;
    if let Some(host) = topology.hosts.get(wanted) {
        return Ok((wanted, host));
    }
    let similar = Similar::new(wanted, topology.hosts.keys().cloned());
    let problem = Problem::new(format!("there is no host `{wanted}`: {similar}"));
    Err(match name {
        Name::Given(_) => problem,
        Name::Recorded(_) => problem.help(
            "that is the name which `bowline load --host` gave this host; `bowline load --host NAME` \
             gives it another one",
        ),
    })
}

fn by_address<'a>(
    topology: &'a Topology,
    interfaces: &Interfaces,
) -> Result<(&'a str, &'a Host), Problem> {
    let found: Vec<(&String, &Host)> = topology
        .hosts
        .iter()
        .filter(|(_, host)| interfaces.addresses.contains_key(&host.address))
        .collect();
    match found.as_slice() {
        [(name, host)] => Ok((name, host)),
        [] => {
            let all: Vec<_> = topology.hosts.iter().collect();
            Err(Problem::new(format!(
                "this is none of the topology's hosts: no interface here has the address {}",
                list(&all, " or ")
            ))
            .help("`--host NAME` says which host this is"))
        }
        several => Err(Problem::new(format!(
            "this could be several of the topology's hosts: interfaces here have the addresses {}",
            list(several, " and ")
        ))
        .help("`--host NAME` says which host this is")),
    }
}

/// Addresses with the names of their hosts.
fn list(hosts: &[(&String, &Host)], last: &str) -> String {
    let mut texts: Vec<String> = hosts
        .iter()
        .take(SHOWN)
        .map(|(name, host)| format!("{} (`{name}`)", host.address))
        .collect();
    if hosts.len() > SHOWN {
        texts.push(format!("those of {} more", hosts.len() - SHOWN));
    }
    let end = texts.pop().unwrap_or_default();
    if texts.is_empty() {
        end
    } else {
        texts.join(", ") + last + &end
    }
}

fn uplink<'a>(
    name: &str,
    host: &Host,
    interfaces: &'a Interfaces,
) -> Result<&'a HostInterface, Problem> {
    let at = |problem: Problem, what: &str| problem.at(&host.origin, what);
    if let Some(given) = &host.uplink {
        return interfaces.named(given).ok_or_else(|| {
            let names = interfaces.all.iter().map(|it| it.name.clone());
            let similar = Similar::new(given, names);
            let message =
                format!("the uplink of host `{name}` is `{given}`, which is not here: {similar}");
            at(Problem::new(message), "this host")
        });
    }
    let address = host.address;
    match interfaces.with(address) {
        Some(interface) if !interface.is_loopback => Ok(interface),
        Some(interface) => {
            let message = format!(
                "host `{name}` has its address {address} on {}, which leads nowhere",
                interface.name
            );
            let help = "name the interface to the other hosts with `uplink:`";
            Err(at(Problem::new(message).help(help), "this host"))
        }
        None => {
            let message =
                format!("host `{name}` has no uplink: no interface here has its address {address}");
            let help =
                "name the interface to the other hosts with `uplink:`, or give it the address";
            Err(at(Problem::new(message).help(help), "this host"))
        }
    }
}

/// The uplink carries packets without an Ethernet header, as WireGuard and TUN devices do.
fn bare(name: &str, host: &Host, interface: &HostInterface) -> Problem {
    let message = format!(
        "the uplink of host `{name}` is {}, which carries no Ethernet frames",
        interface.name
    );
    Problem::new(message)
        .at(&host.origin, "this host")
        .help("give the host the address and the `uplink:` of an Ethernet interface")
}

/// The file counts on more than the uplink carries.
fn narrow(name: &str, host: &Host, wanted: u32, interface: &HostInterface) -> Option<Problem> {
    let HostInterface {
        name: uplink, mtu, ..
    } = interface;
    let message = format!(
        "the mtu of host `{name}` is {wanted}, more than the {mtu} of its uplink {uplink}: larger \
         packets will be lost"
    );
    let help =
        format!("raise the interface's (`ip link set {uplink} mtu {wanted}`) or lower the host's");
    let problem = Problem::new(message).at(&host.origin, "this host");
    (wanted > *mtu).then(|| problem.help(help))
}

/// Networks whose packets do not fit through this uplink, where nobody says what the underlay carries.
/// The topology takes it for Ethernet and knows of those that would not fit there.
fn crowded(topology: &Topology, own: &str, host: &Host, interface: &HostInterface) -> Vec<Problem> {
    let others = topology.hosts.keys().filter(|name| *name != own);
    let tunnels = others.map(|name| topology.tunnel(own, name));
    let tunnels = tunnels.chain(topology.vteps.values().map(|vtep| vtep.tunnel));
    let overheads = tunnels.map(|tunnel| tunnel.overhead(host.address));
    let (Some(overhead), true) = (overheads.max(), interface.mtu < ETHERNET) else {
        return Vec::new();
    };
    let given = topology.networks.iter().filter_map(|(name, network)| {
        let Mtu::Bytes(bytes) = network.mtu else {
            return None;
        };
        let needed = bytes + overhead;
        (needed > interface.mtu && needed <= ETHERNET).then_some((name, network, needed))
    });
    given
        .map(|(name, network, needed)| {
            let message = format!(
                "the mtu of network {name} needs {needed} bytes with the tunnel, more than the {} of \
                 the uplink {}",
                interface.mtu, interface.name
            );
            Problem::new(message)
                .at(&network.origin, "this network")
                .help("lower the network's mtu, or leave it out")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use maps_schema::PortId;

    use super::*;

    fn interface(name: &str, ifindex: u32, mtu: u32) -> HostInterface {
        HostInterface {
            name: name.to_owned(),
            ifindex: IfIndex(ifindex),
            mtu,
            is_loopback: name == "lo",
            is_ethernet: !matches!(name, "lo" | "wg0"),
            driver: None,
            mac: None,
        }
    }

    /// Two interfaces to underlays, and what is at each of them.
    fn interfaces(addresses: &[(&str, u32)]) -> Interfaces {
        let address = |&(ip, ifindex): &(&str, u32)| (ip.parse().unwrap(), IfIndex(ifindex));
        Interfaces {
            all: vec![
                interface("lo", 1, 65536),
                interface("eth0", 2, 1500),
                interface("eth1", 3, 9000),
                interface("wg0", 4, 1420),
            ],
            addresses: addresses.iter().map(address).collect(),
            local_ports: (32768, 60999),
        }
    }

    fn host(topology: &mut Topology, name: &str, address: &str, uplink: Option<&str>) {
        let origin = topology.networks.values().next().unwrap().origin.clone();
        let host = Host {
            id: PortId(topology.hosts.len() as u32 + 1),
            address: address.parse().unwrap(),
            uplink: uplink.map(str::to_owned),
            xdp: crate::topology::Xdp::Auto,
            mtu: None,
            origin,
        };
        topology.hosts.insert(name.to_owned(), host);
    }

    fn topology() -> Topology {
        let mut topology = crate::plan::tests::topology("networks: { front: [10.1.0.0/24] }\n");
        host(&mut topology, "alpha", "192.0.2.11", None);
        host(&mut topology, "beta", "192.0.2.12", Some("eth1"));
        topology
    }

    fn given(name: &str) -> Name {
        Name::Given(name.to_owned())
    }

    #[test]
    fn the_host_is_the_one_whose_address_is_here() {
        let topology = topology();
        let found = |addresses: &[(&str, u32)]| {
            let found = Whereabouts::find(&topology, &interfaces(addresses), None).unwrap();
            let uplink = found.uplink.unwrap();
            (found.host.unwrap(), uplink.interface, uplink.mtu)
        };
        let expected = ("alpha".to_owned(), "eth0".to_owned(), 1500);
        assert_eq!(found(&[("192.0.2.11", 2), ("198.51.100.1", 3)]), expected);
        // A named uplink need not have the address itself.
        let expected = ("beta".to_owned(), "eth1".to_owned(), 9000);
        assert_eq!(found(&[("192.0.2.12", 1)]), expected);
    }

    #[test]
    fn a_name_decides_where_addresses_do_not() {
        let topology = topology();
        let both = interfaces(&[("192.0.2.11", 2), ("192.0.2.12", 3)]);
        for name in [given("beta"), Name::Recorded("beta".to_owned())] {
            let found = Whereabouts::find(&topology, &both, Some(&name)).unwrap();
            assert_eq!(found.host.as_deref(), Some("beta"));
        }
        let error = |interfaces: &Interfaces, name: Option<&Name>| {
            let problem = Whereabouts::find(&topology, interfaces, name).unwrap_err();
            format!("{} / {}", problem.message, problem.help.unwrap_or_default())
        };
        assert_eq!(
            error(&both, None),
            "this could be several of the topology's hosts: interfaces here have the addresses \
             192.0.2.11 (`alpha`) and 192.0.2.12 (`beta`) / `--host NAME` says which host this is"
        );
        assert_eq!(
            error(&interfaces(&[("198.51.100.1", 2)]), None),
            "this is none of the topology's hosts: no interface here has the address 192.0.2.11 \
             (`alpha`) or 192.0.2.12 (`beta`) / `--host NAME` says which host this is"
        );
        assert_eq!(
            error(&both, Some(&given("bta"))),
            "there is no host `bta`: did you mean `beta`? / "
        );
        let recorded = error(&both, Some(&Name::Recorded("gamma".to_owned())));
        assert!(recorded.contains("bowline load --host NAME"), "{recorded}");
    }

    #[test]
    fn an_uplink_that_is_not_there_is_told_with_its_place() {
        let mut topology = topology();
        host(&mut topology, "gamma", "192.0.2.13", Some("eht1"));
        host(&mut topology, "delta", "192.0.2.14", Some("wg0"));
        let none = interfaces(&[("192.0.2.11", 1)]);
        for (name, message) in [
            (
                "alpha",
                "host `alpha` has its address 192.0.2.11 on lo, which leads nowhere",
            ),
            (
                "gamma",
                "the uplink of host `gamma` is `eht1`, which is not here: did you mean `eth1`?",
            ),
            (
                "delta",
                "the uplink of host `delta` is wg0, which carries no Ethernet frames",
            ),
        ] {
            let problem = Whereabouts::find(&topology, &none, Some(&given(name))).unwrap_err();
            assert_eq!(problem.message, message);
            assert!(problem.origin().is_some());
        }
        let nowhere = Whereabouts::find(&topology, &interfaces(&[]), Some(&given("alpha")));
        assert_eq!(
            nowhere.unwrap_err().message,
            "host `alpha` has no uplink: no interface here has its address 192.0.2.11"
        );
    }

    #[test]
    fn a_topology_without_hosts_is_for_any_host() {
        let topology = crate::plan::tests::topology("networks: { front: [10.1.0.0/24] }\n");
        let interfaces = interfaces(&[]);
        let recorded = Name::Recorded("alpha".to_owned());
        for name in [None, Some(&recorded)] {
            let found = Whereabouts::find(&topology, &interfaces, name).unwrap();
            assert_eq!(found, Whereabouts::default());
        }
        let alpha = given("alpha");
        let error = Whereabouts::find(&topology, &interfaces, Some(&alpha)).unwrap_err();
        assert_eq!(
            error.message,
            "this host cannot be `alpha`: the topology has no hosts"
        );
    }

    #[test]
    fn an_uplink_narrower_than_the_file_says_is_warned_of() {
        let mut topology = topology();
        topology.hosts.get_mut("alpha").unwrap().mtu = Some(9000);
        let here = interfaces(&[("192.0.2.11", 2)]);
        let found = Whereabouts::find(&topology, &here, None).unwrap();
        let [warning] = found.warnings.as_slice() else {
            panic!("{found:?}");
        };
        assert!(warning.message.contains("9000, more than the 1500"));
        assert!(warning.origin().is_some());
    }

    #[test]
    fn a_network_too_large_for_the_uplink_is_warned_of() {
        let mut topology = topology();
        let mut here = interfaces(&[("192.0.2.11", 2)]);
        let warnings = |topology: &Topology, here: &Interfaces| -> Vec<String> {
            let found = Whereabouts::find(topology, here, None).unwrap();
            found.warnings.into_iter().map(|it| it.message).collect()
        };
        topology.networks.get_mut("front").unwrap().mtu = Mtu::Bytes(1450);
        assert_eq!(warnings(&topology, &here), [""; 0]);
        here.all[1].mtu = 1400;
        assert_eq!(
            warnings(&topology, &here),
            [
                "the mtu of network front needs 1500 bytes with the tunnel, more than the 1400 of the \
              uplink eth0"
            ]
        );
        topology.networks.get_mut("front").unwrap().mtu = Mtu::Auto;
        assert_eq!(warnings(&topology, &here), [""; 0]);
    }
}
