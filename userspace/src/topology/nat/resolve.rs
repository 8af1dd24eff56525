//! The rules for uplinks of routers and for what they translate.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::PortId;

use super::{Nat, Pool, Translation, Uplink};
use crate::document::{self, Located};
use crate::problem::Problem;
use crate::similar::closest;
use crate::source::Origin;
use crate::topology::family::Family;
use crate::topology::identity::PortIds;
use crate::topology::merge::{Merged, across};
use crate::topology::router::RouterPortName;
use crate::topology::station::Stations;
use crate::topology::{Router, range};

/// What the port to the outside is called.
const UPLINK: &str = "uplink";

/// Checks the uplinks and translations of all routers, and completes the routers.
pub(in crate::topology) fn resolve(
    merged: &Merged<'_>,
    stations: &Stations<'_>,
    (routers, ids): (&mut BTreeMap<String, Router>, &mut PortIds),
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) {
    let with_uplink = merged.routers.iter();
    let with_uplink = with_uplink.filter(|(_, (given, _))| given.uplink.is_some());
    let ids = ids.assign(with_uplink.map(|(&router, _)| RouterPortName {
        router,
        port: UPLINK,
    }));
    for (&name, &(given, _)) in &merged.routers {
        let Some(router) = routers.get_mut(name) else {
            continue;
        };
        let id = ids.get(&RouterPortName {
            router: name,
            port: UPLINK,
        });
        router.uplink = (given.uplink.as_ref().zip(id))
            .map(|(given, &id)| uplink(merged, (name, id), given, problems));
        if let Some(first) = given.nat.first()
            && given.uplink.is_none()
            && !given.incomplete
        {
            problems.push(
                Problem::new(format!(
                    "router {name} translates addresses and has no uplink"
                ))
                .at(&first.origin, "addresses are translated at an uplink")
                .help("give the router one: `uplink: true`"),
            );
        }
        let checker = Checker {
            merged,
            name,
            router,
            incomplete: given.incomplete,
        };
        let nat = given.nat.iter().filter_map(|given| {
            Some(Nat {
                translation: checker.translation(given, problems)?,
                origin: given.origin.clone(),
            })
        });
        let mut nat: Vec<Nat> = nat.collect();
        // They are about one station each, and would never hold behind what is about its subnet.
        nat.sort_by_key(|nat| !matches!(nat.translation, Translation::Floating { .. }));
        checker.unused(&nat, warnings);
        for given in &given.nat {
            checker.nobodys(given, stations, warnings);
        }
        router.nat = nat;
    }
    unique(merged, problems);
}

fn uplink(
    merged: &Merged<'_>,
    (router, id): (&str, PortId),
    given: &document::Uplink,
    problems: &mut Vec<Problem>,
) -> Uplink {
    let names = given.hosts.iter().flatten();
    for name in names.clone() {
        if merged.hosts.contains_key(name.as_str()) || merged.incomplete {
            continue;
        }
        let help = match closest(name, merged.hosts.keys().copied()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => "declare it under `hosts`".to_owned(),
        };
        problems.push(
            Problem::new(format!(
                "the uplink of router {router} is on host {}, which does not exist",
                name.value
            ))
            .at(&name.origin, "no host has this name")
            .help(help),
        );
    }
    Uplink {
        id,
        hosts: given
            .hosts
            .as_ref()
            .map(|_| names.map(|name| name.value.clone()).collect()),
        origin: given.origin.clone(),
    }
}

/// Checks the translations of one router.
struct Checker<'c, 'a> {
    merged: &'c Merged<'a>,
    name: &'c str,
    router: &'c Router,
    incomplete: bool,
}

impl Checker<'_, '_> {
    fn translation(
        &self,
        given: &document::Nat,
        problems: &mut Vec<Problem>,
    ) -> Option<Translation> {
        match &given.translation {
            document::Translation::MasqueradeAll => {
                let ports = self.router.ports.values();
                let addresses = ports.flat_map(|port| &port.addresses);
                let v4 = addresses.filter(|address| Family::V4.has(address));
                let sources: BTreeSet<IpNet> = v4.map(IpNet::trunc).collect();
                if sources.is_empty() && !self.incomplete {
                    problems.push(
                        Problem::new(format!(
                            "router {} masquerades all of its IPv4 networks and has none",
                            self.name
                        ))
                        .at(&given.origin, "`true` stands for no IPv6 networks")
                        .help("name them: `masquerade: [\"fd00:1::/64\"]`"),
                    );
                }
                Some(Translation::Masquerade { sources })
            }
            document::Translation::Masquerade(sources) => Some(Translation::Masquerade {
                sources: self.sources(sources, problems),
            }),
            document::Translation::Source(given, to) => {
                let sources = self.sources(given, problems);
                let family = Family::of(to.first());
                if let Some(other) = given.iter().find(|source| !family.has(source)) {
                    problems.push(
                        Problem::new(format!(
                            "a translation of router {} mixes IPv4 and IPv6",
                            self.name
                        ))
                        .at(&to.origin, format!("these addresses are {family}"))
                        .at(&other.origin, "these are not")
                        .help("write a translation for each family"),
                    );
                }
                self.outside(to, problems);
                let pool = to.value;
                Some(Translation::Source { sources, pool })
            }
            document::Translation::Floating { outside, inside } => {
                let pool = Located {
                    value: Pool::from(outside.value),
                    origin: outside.origin.clone(),
                };
                self.outside(&pool, problems);
                if Family::of(outside.value) != Family::of(inside.value) {
                    problems.push(
                        Problem::new(format!(
                            "a translation of router {} mixes IPv4 and IPv6",
                            self.name
                        ))
                        .at(
                            &inside.origin,
                            format!("this is {}", Family::of(inside.value)),
                        )
                        .at(
                            &outside.origin,
                            format!("this is {}", Family::of(outside.value)),
                        )
                        .help("both are of one family"),
                    );
                }
                Some(Translation::Floating {
                    outside: outside.value,
                    inside: inside.value,
                })
            }
        }
    }

    fn sources(&self, given: &[Located<IpNet>], problems: &mut Vec<Problem>) -> BTreeSet<IpNet> {
        for source in given {
            if source.trunc() != source.value {
                problems.push(
                    Problem::new(format!(
                        "the source {} of a translation of router {} has host bits set",
                        source.value, self.name
                    ))
                    .at(&source.origin, "an address, not a prefix")
                    .help(format!("write {}", source.trunc())),
                );
            }
        }
        given.iter().map(|source| source.trunc()).collect()
    }

    /// What is wrong with addresses that stations are to be known by outside.
    fn outside(&self, pool: &Located<Pool>, problems: &mut Vec<Problem>) {
        let name = self.name;
        let subject = format!("router {name} translates to {}", pool.value);
        let kind = [pool.first(), pool.last()]
            .into_iter()
            .find_map(range::special);
        if let Some(kind) = kind {
            problems.push(
                Problem::new(format!("{subject}, which is {kind}"))
                    .at(&pool.origin, "nobody outside can answer to it")
                    .help("write an address that the outside routes to the hosts"),
            );
        }
        for (port, own) in &self.router.ports {
            let mut addresses = own.addresses.iter();
            if let Some(own) = addresses.find(|own| pool.meets(&own.trunc())) {
                problems.push(
                    Problem::new(format!("{subject}, which is in its own subnet {}", own.trunc()))
                        .at(&pool.origin, "this is not outside")
                        .help(format!(
                            "the networks of port {port} are inside; behind `floating` stands the outer address"
                        )),
                );
            }
        }
        for (host, given) in &self.merged.hosts {
            if let Some(address) = &given.address
                && pool.contains(address.value)
            {
                problems.push(
                    Problem::new(format!("{subject}, which host {host} has"))
                        .at(&pool.origin, "what is for the host would be taken from it")
                        .at(&address.origin, "the host's address")
                        .help("write `masquerade` for the host's own address"),
                );
            }
        }
    }

    /// Warns of translations that no source gets to.
    fn unused(&self, nat: &[Nat], warnings: &mut Vec<Problem>) {
        let mut earlier: Vec<(IpNet, &Origin)> = Vec::new();
        for one in nat {
            let (Translation::Masquerade { sources } | Translation::Source { sources, .. }) =
                &one.translation
            else {
                continue;
            };
            let covers = |source: &IpNet| {
                let found = earlier.iter().find(|(prefix, _)| prefix.contains(source));
                found.map(|(_, origin)| *origin)
            };
            let covered: Option<Vec<&Origin>> = sources.iter().map(covers).collect();
            if let Some(first) = covered.as_ref().and_then(|covered| covered.first()) {
                warnings.push(
                    Problem::new(format!(
                        "a translation of router {} is for nobody",
                        self.name
                    ))
                    .at(&one.origin, "its sources have been translated")
                    .at(first, "by this one")
                    .help("write the particular before the general"),
                );
            }
            earlier.extend(sources.iter().map(|source| (*source, &one.origin)));
        }
    }

    /// Warns of a floating address that stands for nobody, as far as that is known.
    fn nobodys(&self, given: &document::Nat, stations: &Stations<'_>, warnings: &mut Vec<Problem>) {
        let document::Translation::Floating { inside, .. } = &given.translation else {
            return;
        };
        let near = self.router.ports.values().find(|port| {
            let mut addresses = port.addresses.iter();
            addresses.any(|address| address.contains(&inside.value))
        });
        let Some(network) = near.map(|port| port.network.as_str()) else {
            return;
        };
        if stations.owner(network, inside.value).is_none() && !stations.may_be_more(network) {
            warnings.push(
                Problem::new(format!(
                    "the floating address of router {} stands for {}, which is nobody's",
                    self.name, inside.value
                ))
                .at(
                    &inside.origin,
                    format!("no port on network {network} has this address"),
                )
                .help("write the address of a port"),
            );
        }
    }
}

/// A floating address stands for one station, and a station has one; no pool has it.
fn unique(merged: &Merged<'_>, problems: &mut Vec<Problem>) {
    let mut outer: BTreeMap<IpAddr, (&str, &Origin)> = BTreeMap::new();
    let mut inner: BTreeMap<(&str, IpAddr), &Origin> = BTreeMap::new();
    let translations = || {
        merged.routers.iter().flat_map(|(&name, (router, _))| {
            router.nat.iter().map(move |nat| (name, &nat.translation))
        })
    };
    for (name, translation) in translations() {
        let document::Translation::Floating { outside, inside } = translation else {
            continue;
        };
        if let Some((other, first)) = outer.insert(outside.value, (name, &outside.origin)) {
            problems.push(
                Problem::new(format!(
                    "the floating address {} is given twice",
                    outside.value
                ))
                .at(
                    &outside.origin,
                    across(&format!("by router {name}"), &outside.origin, first),
                )
                .at(
                    first,
                    across(&format!("by router {other}"), first, &outside.origin),
                )
                .help("an address stands for one station"),
            );
        }
        if let Some(first) = inner.insert((name, inside.value), &inside.origin) {
            problems.push(
                Problem::new(format!(
                    "address {} of router {name} has two floating addresses",
                    inside.value
                ))
                .at(&inside.origin, "given again here")
                .at(first, "first given here")
                .help("keep one of the two: it is the source of what the station sends"),
            );
        }
    }
    for (name, translation) in translations() {
        let document::Translation::Source(_, pool) = translation else {
            continue;
        };
        let found = outer.iter().find(|(ip, _)| pool.contains(**ip));
        if let Some((ip, (other, origin))) = found {
            problems.push(
                Problem::new(format!(
                    "the pool of router {name} has the floating address {ip} of router {other}"
                ))
                .at(&pool.origin, "this pool")
                .at(origin, "this address")
                .help("leave the address out of the pool"),
            );
        }
    }
}
