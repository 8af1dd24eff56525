//! Which ports of routers lead directly to one another: two that name each other's router, and
//! nobody else who could be meant.

use std::collections::BTreeMap;

use super::RouterPortName;
use crate::document::{Located, Peer, Router, RouterPort};
use crate::problem::Problem;
use crate::similar::closest;
use crate::topology::merge::Merged;

/// A port that leads to a router.
type Leading<'a> = (RouterPortName<'a>, &'a Located<Peer>);

/// Pairs the ports that lead to routers; each pair is in the result both ways.
pub(super) fn resolve<'a>(
    merged: &Merged<'a>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<RouterPortName<'a>, RouterPortName<'a>> {
    let mut found = BTreeMap::new();
    for (&name, &(router, _)) in &merged.routers {
        for leading in leading(name, router) {
            let others = others(merged, leading);
            match others.as_slice() {
                [(other, _)] => {
                    found.insert(leading.0, *other);
                }
                [] => problems.extend(nobody(merged, leading)),
                [one, another, ..] => problems.push(ambiguous(leading, *one, *another)),
            }
        }
    }
    // A port that has no other choice is no pair with one that has.
    let pairs = found.iter();
    let mutual = pairs.filter(|(port, other)| found.get(other) == Some(port));
    mutual.map(|(port, other)| (*port, *other)).collect()
}

fn leading<'a>(name: &'a str, router: &'a Router) -> impl Iterator<Item = Leading<'a>> {
    router.ports.iter().filter_map(move |(port, given)| {
        let port = RouterPortName { router: name, port };
        Some((port, given.peer.as_ref()?))
    })
}

/// The ports that this one may lead to. Whether two ports may be a pair does not depend on which of
/// them is asked.
fn others<'a>(merged: &Merged<'a>, (port, peer): Leading<'a>) -> Vec<Leading<'a>> {
    if peer.router == port.router {
        return Vec::new();
    }
    let Some((&name, &(router, _))) = merged.routers.get_key_value(peer.router.as_str()) else {
        return Vec::new();
    };
    let fits = |(there, back): &Leading<'a>| {
        let named = |peer: &Peer, port: &str| peer.port.as_deref().is_none_or(|name| name == port);
        back.router == port.router && named(back, port.port) && named(peer, there.port)
    };
    leading(name, router).filter(fits).collect()
}

/// Why there is no port that this one leads to, if that can be told.
fn nobody(merged: &Merged<'_>, (port, peer): Leading<'_>) -> Option<Problem> {
    if peer.router == port.router {
        return Some(
            Problem::new(format!("port {port} leads to its own router"))
                .at(&peer.origin, "this is the same router")
                .help("name another router"),
        );
    }
    let Some((router, _)) = merged.routers.get(peer.router.as_str()) else {
        return (!merged.incomplete).then(|| unknown_router(merged, (port, peer)));
    };
    let Some(name) = &peer.port else {
        return (!router.incomplete).then(|| one_way((port, peer), router));
    };
    let Some(there) = router.ports.get(name) else {
        return (!router.incomplete).then(|| unknown_port((port, peer), name, router));
    };
    (!there.incomplete).then(|| elsewhere((port, peer), name, there))
}

fn unknown_router(merged: &Merged<'_>, (port, peer): Leading<'_>) -> Problem {
    let known = merged.routers.keys().copied();
    let known: Vec<&str> = known.filter(|name| *name != port.router).collect();
    let help = match closest(&peer.router, known.iter().copied()) {
        Some(close) => format!("did you mean `{close}`?"),
        None if known.is_empty() || known.len() > 8 => "declare it under `routers`".to_owned(),
        None => format!("known routers: {}", known.join(", ")),
    };
    Problem::new(format!(
        "port {port} leads to router {}, which does not exist",
        peer.router
    ))
    .at(&peer.origin, "no router has this name")
    .help(help)
}

fn one_way((port, peer): Leading<'_>, router: &Router) -> Problem {
    let mut problem = Problem::new(format!(
        "port {port} leads to router {}, which has no port that leads back",
        peer.router
    ))
    .at(&peer.origin, "a link has two ends");
    // One that leads back to another port of this router is probably the one that is meant.
    let back = leading(&peer.router, router).find(|(_, back)| back.router == port.router);
    problem = match back {
        Some((there, back)) => problem.at(&back.origin, format!("port {there} leads elsewhere")),
        None => problem.at(&router.origin, "the router is declared here"),
    };
    problem.help(format!(
        "add a port to router {}: `down: {{ peer: {port}, addresses: ... }}`",
        peer.router
    ))
}

fn unknown_port((port, peer): Leading<'_>, name: &str, router: &Router) -> Problem {
    let known: Vec<&str> = router.ports.keys().map(String::as_str).collect();
    let help = match closest(name, known.iter().copied()) {
        Some(close) => format!("did you mean `{}/{close}`?", peer.router),
        None => format!(
            "add it: `{name}: {{ peer: {}, addresses: ... }}`",
            port.router
        ),
    };
    Problem::new(format!(
        "port {port} leads to port {}/{name}, which does not exist",
        peer.router
    ))
    .at(&peer.origin, "the router has no port of this name")
    .at(&router.origin, "the router is declared here")
    .help(help)
}

fn elsewhere((port, peer): Leading<'_>, name: &str, there: &RouterPort) -> Problem {
    let problem = Problem::new(format!(
        "port {port} leads to port {}/{name}, which does not lead back",
        peer.router
    ))
    .at(&peer.origin, "a link has two ends");
    let problem = match &there.peer {
        Some(back) => problem.at(&back.origin, "it leads there"),
        None => problem.at(&there.origin, "it is on a network"),
    };
    problem.help(format!("give it `peer: {port}`"))
}

fn ambiguous((port, peer): Leading<'_>, one: Leading<'_>, another: Leading<'_>) -> Problem {
    Problem::new(format!(
        "port {port} may lead to {} and to {}",
        one.0, another.0
    ))
    .at(&peer.origin, "which of the two is not said")
    .at(&one.1.origin, format!("port {} leads back", one.0))
    .at(&another.1.origin, format!("port {} too", another.0))
    .help(format!("name the port: `peer: {}`", one.0))
}
