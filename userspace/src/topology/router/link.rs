//! Direct links between two routers: each is a network of its own that no file can name.

use std::collections::BTreeMap;

use ipnet::IpNet;
use maps_schema::Vni;

use super::{RouterPortName, peer};
use crate::document::{Defaults, Located, RouterPort};
use crate::problem::Problem;
use crate::source::Origin;
use crate::topology::family::Family;
use crate::topology::merge::Merged;
use crate::topology::network::DEFAULT_AGEING;
use crate::topology::station::{Owner, Plug};
use crate::topology::{Mss, Mtu, Network, NetworkKind, UnknownUnicast, address, identity, mtu};

/// A port that leads to a router.
pub(super) struct End<'a> {
    given: &'a RouterPort,
    /// The addresses that are in order.
    pub(super) addresses: Vec<Located<IpNet>>,
    /// What this end carries, and after pairing what the link does.
    pub(super) mtu: Mtu,
    /// The link's name as a network, and the other end.
    pub(super) link: Option<(String, RouterPortName<'a>)>,
}

impl End<'_> {
    fn all_known(&self) -> bool {
        !self.given.incomplete && self.addresses.len() == self.given.addresses.len()
    }

    fn in_family(&self, family: Family) -> impl Iterator<Item = &Located<IpNet>> {
        self.addresses
            .iter()
            .filter(move |address| family.has(address))
    }

    /// What is to be seen of this end, in a problem of this family.
    fn seen(&self, name: RouterPortName<'_>, family: Family) -> (Origin, String) {
        match self.in_family(family).next() {
            Some(address) => {
                let text = format!("port {name} is in {}", address.trunc());
                (address.origin.clone(), text)
            }
            None => {
                let text = format!("port {name} has no {family} address");
                (self.given.origin.clone(), text)
            }
        }
    }
}

/// Checks all ports that lead to routers, and adds the networks that they make to the others.
pub(super) fn resolve<'a>(
    merged: &Merged<'a>,
    networks: &mut BTreeMap<String, Network>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<RouterPortName<'a>, End<'a>> {
    let pairs = peer::resolve(merged, problems);
    let mut ends = ends(merged, problems);
    let mut links = BTreeMap::new();
    // Each pair is there both ways; the end that comes first by name gives the link its name.
    for (&one, &other) in pairs.iter().filter(|(one, other)| one < other) {
        let (Some(a), Some(b)) = (ends.get(&one), ends.get(&other)) else {
            continue;
        };
        common_subnets(merged, (one, a), (other, b), problems);
        let mtu = smaller(a.mtu, b.mtu);
        let name = format!("{one}--{other}");
        links.insert(name.clone(), (network(a, b, mtu), a.given.origin.clone()));
        for (name_of_end, far) in [(one, other), (other, one)] {
            if let Some(end) = ends.get_mut(&name_of_end) {
                end.mtu = mtu;
                end.link = Some((name.clone(), far));
            }
        }
    }
    add(links, networks);
    ends
}

/// What both ends of a link carry. Nothing on a link goes through a tunnel, so that what is said of
/// one end holds for both.
fn smaller(one: Mtu, other: Mtu) -> Mtu {
    match (one, other) {
        (Mtu::Auto, said) | (said, Mtu::Auto) => said,
        (Mtu::Bytes(one), Mtu::Bytes(other)) => Mtu::Bytes(one.min(other)),
    }
}

/// What of a network follows from its two ends: its subnets and what it carries.
type Wire = (Vec<IpNet>, Mtu);

fn network(a: &End<'_>, b: &End<'_>, mtu: Mtu) -> Wire {
    let mut subnets: Vec<IpNet> = Vec::new();
    for address in a.addresses.iter().chain(&b.addresses) {
        let subnet = address.trunc();
        if !subnets.contains(&subnet) {
            subnets.push(subnet);
        }
    }
    (subnets, mtu)
}

/// Identifiers of links are derived after all others, so that a link moves no network's.
fn add(links: BTreeMap<String, (Wire, Origin)>, networks: &mut BTreeMap<String, Network>) {
    let taken: Vec<Vni> = networks.values().map(|network| network.vni).collect();
    let vnis = identity::vnis(links.keys().map(String::as_str), taken);
    for (name, ((subnets, mtu), origin)) in &links {
        let Some(&vni) = vnis.get(name.as_str()) else {
            continue;
        };
        let network = Network {
            vni,
            subnets: subnets.clone(),
            mtu: *mtu,
            // The networks at both ends say it.
            mss: Mss::Keep,
            internal: false,
            names: false,
            conditions: false,
            unknown_unicast: UnknownUnicast::Drop,
            ageing: DEFAULT_AGEING,
            policy: None,
            docker: false,
            kind: NetworkKind::Link,
            origin: origin.clone(),
        };
        networks.insert(name.clone(), network);
    }
}

fn ends<'a>(
    merged: &Merged<'a>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<RouterPortName<'a>, End<'a>> {
    let unsaid = mtu::unsaid(merged);
    let mut ends = BTreeMap::new();
    for (&router, &(declared, defaults)) in &merged.routers {
        for (port, given) in &declared.ports {
            if given.peer.is_none() {
                continue;
            }
            let name = RouterPortName { router, port };
            let plug = Plug {
                name: name.to_string(),
                owner: Owner::Router(router),
            };
            let addresses = address::resolve_on_link(&plug, &given.addresses, problems);
            let end = End {
                given,
                mtu: largest_packet(&plug, given, &addresses, defaults, problems).unwrap_or(unsaid),
                addresses,
                link: None,
            };
            ends.insert(name, end);
        }
    }
    ends
}

/// What one end carries, if it is said; wrong defaults are reported once, where they are given.
fn largest_packet(
    plug: &Plug<'_>,
    given: &RouterPort,
    addresses: &[Located<IpNet>],
    defaults: &Defaults,
    problems: &mut Vec<Problem>,
) -> Option<Mtu> {
    let object = format!("port {plug}");
    let (origin, value) = match &given.mtu {
        Some(own) => {
            let value = mtu::check(Some(own), &object, problems);
            (&own.origin, value.map(Mtu::Bytes))
        }
        None => (&defaults.mtu.as_ref()?.origin, mtu::of_defaults(defaults)),
    };
    let value = value?;
    let ipv6 = addresses.iter().find(|address| Family::V6.has(address));
    if let Some(ipv6) = ipv6
        && !mtu::carries_ipv6(value)
    {
        problems.push(
            mtu::too_small_for_ipv6(&object, value)
                .at(origin, "too small")
                .at(&ipv6.origin, "the port's IPv6 address"),
        );
    }
    Some(value)
}

/// The two ends of a link reach each other in every family that one of them has.
fn common_subnets(
    merged: &Merged<'_>,
    one: (RouterPortName<'_>, &End<'_>),
    other: (RouterPortName<'_>, &End<'_>),
    problems: &mut Vec<Problem>,
) {
    if !one.1.all_known() || !other.1.all_known() {
        return;
    }
    let (first, again) = if merged.rank(&one.1.given.origin) < merged.rank(&other.1.given.origin) {
        (one, other)
    } else {
        (other, one)
    };
    for family in Family::BOTH {
        let met = first.1.in_family(family).any(|here| {
            let mut there = again.1.in_family(family);
            there.any(|there| there.trunc() == here.trunc())
        });
        let mut addresses = first
            .1
            .in_family(family)
            .chain(again.1.in_family(family))
            .peekable();
        if met || addresses.peek().is_none() {
            continue;
        }
        let (here, seen_here) = again.1.seen(again.0, family);
        let (there, seen_there) = first.1.seen(first.0, family);
        let problem = Problem::new(format!(
            "ports {} and {} have no {family} subnet in common",
            first.0, again.0
        ))
        .at(&here, seen_here)
        .at(&there, seen_there);
        let (towards, lacking) = match first.1.in_family(family).next() {
            Some(address) => (address, again.0),
            None => match addresses.next() {
                Some(address) => (address, first.0),
                None => continue,
            },
        };
        problems.push(problem.help(format!(
            "give port {lacking} an address in {}",
            towards.trunc()
        )));
    }
}
