//! How to mend what makes a router drop a packet.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::DropReason;
use maps_schema::map::NeighborKey;

use super::hops::RouterHop;
use super::journey::Journey;
use super::outcome::{LOAD_AGAIN, listed};
use super::party::Holder;
use crate::plan::PlannedLink;

/// A hint on a packet to `destination` that was dropped at `hop`.
pub(super) fn hint(
    journey: &Journey<'_>,
    destination: IpAddr,
    hop: &RouterHop,
    reason: DropReason,
) -> Option<String> {
    let names = &journey.plan.names;
    let router = names.router(hop.router());
    Some(match reason {
        DropReason::NoRoute => no_route(journey, destination, &router),
        DropReason::Blackhole | DropReason::Rejected => format!(
            "the route of router {router} says so: take it out, or give the router one with a \
             longer prefix that covers {destination}"
        ),
        DropReason::TtlExceeded | DropReason::TooManyRouters => {
            "look for routes that lead in a circle: what is loaded may not be what the file says"
                .to_owned()
        }
        DropReason::TooBig => {
            let (port, _) = hop.exit?;
            format!(
                "raise the MTU of {}, or send less at once",
                names.port(port)
            )
        }
        DropReason::NeighborPending | DropReason::NeighborUnreachable => {
            let (key, _) = hop.neighbor?;
            neighbor(journey, &key, reason)
        }
        DropReason::RouterService => "routers answer echo requests only: trace icmp".to_owned(),
        DropReason::DirectedBroadcast => "send to the stations one by one, or from within the \
                                          subnet: routers do not spread what is for all of it"
            .to_owned(),
        DropReason::UnknownRouterPort | DropReason::PortUnplugged => LOAD_AGAIN.to_owned(),
        _ => return None,
    })
}

fn no_route(journey: &Journey<'_>, destination: IpAddr, router: &str) -> String {
    let holder = Holder::all(journey.topology).find(|holder| holder.has(destination));
    let Some(holder) = holder else {
        return format!(
            "give router {router} a route: `routes: [{{ to: {}, via: ... }}]`",
            IpNet::from(destination)
        );
    };
    let network = holder.network();
    let others = routers_on(journey, network);
    if others.iter().any(|it| it == router) {
        return LOAD_AGAIN.to_owned();
    }
    let port = format!("{holder} is on network {network}: give router {router} a port there");
    if others.is_empty() {
        return port;
    }
    let by = listed(&others);
    format!("{port}, or a route by a router that has one ({by})")
}

/// The routers that have a port on a network.
pub(super) fn routers_on(journey: &Journey<'_>, network: &str) -> Vec<String> {
    let routers = journey.topology.routers.iter();
    routers
        .filter(|(_, router)| router.ports.values().any(|port| port.network == network))
        .map(|(name, _)| name.clone())
        .collect()
}

/// A hint on a workload of which no route leads to `destination`.
pub(super) fn no_way(
    journey: &Journey<'_>,
    name: &str,
    links: &[&PlannedLink],
    destination: IpAddr,
    holder: Option<Holder<'_>>,
) -> String {
    if let Some(holder) = holder
        && journey.is_shared(links, &holder)
    {
        return format!(
            "{holder} is on the same network, but in another subnet: give {name} an address there \
             too, or a route"
        );
    }
    let route = format!("give {name} a route: `routes: [{{ to: default, via:");
    let networks: BTreeSet<&str> = links.iter().map(|link| journey.network_of(link)).collect();
    let gateway = Holder::all(journey.topology)
        .filter(|it| matches!(it, Holder::Router(..)) && networks.contains(it.network()))
        .find_map(|it| {
            let mut addresses = it.addresses();
            let ip = addresses.find(|ip| ip.is_ipv4() == destination.is_ipv4())?;
            Some((it, ip))
        });
    match (gateway, holder) {
        (Some((port, ip)), _) => {
            let network = port.network();
            format!("router port {port} is on network {network}: {route} {ip} }}]`")
        }
        (None, Some(holder)) => {
            let to = holder.network();
            let from: Vec<String> = networks.into_iter().map(ToOwned::to_owned).collect();
            let from = listed(&from);
            format!(
                "{holder} is on network {to}, and no router joins {from} and {to}: add one with a \
                 port on each, `routers: {{ core: {{ ports: {{ ... }} }} }}`"
            )
        }
        (None, None) => format!("{route} ... }}]`"),
    }
}

/// The next hop is not known, or does not answer.
fn neighbor(journey: &Journey<'_>, key: &NeighborKey, reason: DropReason) -> String {
    let ip = key.ip.to_std();
    let network = journey.plan.names.network(key.vni);
    if let Some(holder) = journey.absent(&network, ip) {
        return holder.plug_in();
    }
    let mut ports = journey.topology.ports.iter();
    let learning = ports.find(|(_, port)| port.network == network && port.learning);
    match learning {
        Some((name, _)) if reason == DropReason::NeighborUnreachable => format!(
            "look whether a station behind {name} has {ip}: all were asked, and none answered"
        ),
        Some((name, _)) => format!(
            "a station behind {name} may answer, and then the next packet gets through: `--live` \
             knows the answers"
        ),
        None => format!("give {ip} to a workload that has a port on network {network}"),
    }
}
