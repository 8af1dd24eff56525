//! The rows of the uplink and of what is behind it: other hosts and ordinary VTEPs.

use std::net::IpAddr;

use maps_schema::map::{Direct, EgressPort, IngressPort, MapName, Member, MemberKey, Peer, Uplink};
use maps_schema::{Ip, Mac, PolicyList, PortId};

use super::rows::{add, add_counters};
use super::view::{Place, Station, View};
use super::{PlannedUplink, PlannedXdp, Tables};
use crate::program::XdpMode;
use crate::topology::{Tunnel, Xdp};

/// What frames are sent to and taken from.
struct Endpoint {
    port: PortId,
    address: IpAddr,
    tunnel: Tunnel,
    /// The largest IP packet that the underlay carries to there, in bytes.
    underlay: u32,
}

/// Adds the row of the interface to the underlay, if anybody is behind it, and says which one it is.
pub(super) fn add_uplink(
    tables: &mut Tables,
    view: &View<'_>,
    is_gateway: bool,
) -> Option<PlannedUplink> {
    let outside = if is_gateway {
        Uplink::of(EgressPort::UPLINK)
    } else {
        0
    };
    let kinds = add_peers(tables, view).unwrap_or(0) | outside;
    let uplink = view.situation.uplink.as_ref().filter(|_| kinds != 0)?;
    let own = view.own.map(|(_, own)| own);
    let row = Uplink {
        address: own.map_or(Ip::UNSPECIFIED_V6, |own| Ip::from(own.address)),
        kinds,
        mac: uplink.mac,
        reserved: 0,
    };
    add(tables, MapName::Uplinks, &uplink.ifindex, &row);
    Some(PlannedUplink {
        interface: uplink.interface.clone(),
        ifindex: uplink.ifindex,
        xdp: own.and_then(|own| xdp(own.xdp, uplink)),
    })
}

/// Adds the rows of every peer, and says in which tunnels they are. A host gets them whether it has
/// workloads or not: it answers those who ask whether it is alive.
fn add_peers(tables: &mut Tables, view: &View<'_>) -> Option<u32> {
    let (own_name, own) = view.own?;
    let own_mtu = view.own_mtu().unwrap_or(0);
    let endpoints = endpoints(view, own_name, own_mtu);
    if endpoints.is_empty() {
        return None;
    }
    for peer in &endpoints {
        add_counters(tables, peer.port);
        let row = Peer {
            port: peer.port,
            kind: kind(peer.tunnel),
        };
        add(tables, MapName::Peers, &Ip::from(peer.address), &row);
    }
    add_members(tables, view);
    let uplink = view.situation.uplink.as_ref()?;
    let local = Ip::from(own.address);
    for peer in &endpoints {
        let remote = match peer.tunnel {
            Tunnel::Direct => view.situation.next_hops.get(&peer.address),
            Tunnel::Vxlan | Tunnel::Geneve | Tunnel::Gre => None,
        };
        let row = EgressPort {
            ifindex: uplink.ifindex,
            kind: kind(peer.tunnel),
            mtu: peer
                .underlay
                .saturating_sub(peer.tunnel.overhead(own.address)),
            policy: PolicyList::NONE,
            local,
            remote: Ip::from(*remote.unwrap_or(&peer.address)),
        };
        add(tables, MapName::Ports, &peer.port, &row);
    }
    let is_direct = endpoints.iter().any(|peer| peer.tunnel == Tunnel::Direct);
    if is_direct {
        add_direct(tables, view, own_name);
    }
    Some(kinds(&endpoints))
}

/// The driver that makes virtual pairs: for an XDP program it copies every frame, and the other end
/// does not hand it segments uncut any more. Bulk TCP loses more by it than a flood would cost.
const VETH: &str = "veth";

fn xdp(wanted: Xdp, uplink: &super::Uplink) -> Option<PlannedXdp> {
    let (mode, required) = match wanted {
        Xdp::Auto if uplink.driver.as_deref() == Some(VETH) => return None,
        Xdp::Auto => (XdpMode::Native, false),
        Xdp::Native => (XdpMode::Native, true),
        Xdp::Generic => (XdpMode::Generic, true),
        Xdp::Off => return None,
    };
    Some(PlannedXdp { mode, required })
}

fn endpoints(view: &View<'_>, own: &str, own_mtu: u32) -> Vec<Endpoint> {
    let (topology, situation) = (view.topology, view.situation);
    let underlay = |name: &String| {
        let promised = situation.promised_mtu(topology, name).unwrap_or(own_mtu);
        let found = situation.path_mtu.get(name);
        found.map_or(promised, |&found| found.min(promised))
    };
    let others = topology.hosts.iter().filter(|(name, _)| *name != own);
    let hosts = others.map(|(name, host)| Endpoint {
        port: host.id,
        address: host.address,
        tunnel: topology.tunnel(own, name),
        underlay: underlay(name),
    });
    let vteps = topology.vteps.values().map(|vtep| Endpoint {
        port: vtep.id,
        address: vtep.address,
        tunnel: vtep.tunnel,
        underlay: own_mtu,
    });
    hosts.chain(vteps).collect()
}

/// The kinds of tunnels that lead anywhere. Echoes to peers without one are in VXLAN.
fn kinds(endpoints: &[Endpoint]) -> u32 {
    endpoints.iter().fold(0, |kinds, peer| {
        let echoes = match peer.tunnel {
            Tunnel::Direct => Uplink::of(EgressPort::VXLAN),
            Tunnel::Vxlan | Tunnel::Geneve | Tunnel::Gre => 0,
        };
        kinds | echoes | Uplink::of(kind(peer.tunnel))
    })
}

/// Adds which networks the peers may send for. A router is on every host, so that one with stations in
/// any network of a part of the topology sends for all of that part.
fn add_members(tables: &mut Tables, view: &View<'_>) {
    let hosts = view.senders().into_iter();
    let hosts = hosts.map(|((port, network), learns)| (port, network, learning(learns)));
    let vteps = view.topology.vteps.values().flat_map(|vtep| {
        let networks = vtep.networks.iter();
        networks.map(|(network, behind)| {
            let flags = IngressPort::SERVED | learning(behind.learn);
            (vtep.id, network.as_str(), flags)
        })
    });
    for (port, network, flags) in hosts.chain(vteps) {
        let Some(network) = view.networks.get(network) else {
            continue;
        };
        let vni = network.vni;
        // Another host has told connections before.
        let clamping = match flags & IngressPort::SERVED {
            0 => 0,
            _ => super::clamping(network),
        };
        let row = Member {
            flags: u32::from(IngressPort::PEER | flags | clamping),
        };
        add(tables, MapName::Members, &MemberKey { port, vni }, &row);
    }
}

const fn learning(learns: bool) -> u8 {
    if learns { IngressPort::LEARNING } else { 0 }
}

const fn kind(tunnel: Tunnel) -> u32 {
    match tunnel {
        Tunnel::Vxlan => EgressPort::VXLAN,
        Tunnel::Geneve => EgressPort::GENEVE,
        Tunnel::Gre => EgressPort::GRE,
        Tunnel::Direct => EgressPort::DIRECT,
    }
}

/// Adds where addresses are for packets that come without a tunnel: from workloads behind such peers,
/// to workloads on this host.
fn add_direct(tables: &mut Tables, view: &View<'_>, own: &str) {
    for station in &view.ports {
        let concerned = match station.place {
            Place::Here => true,
            Place::There(host, _) => view.topology.tunnel(own, host) == Tunnel::Direct,
        };
        let Some(network) = view.networks.get(station.port.network.as_str()) else {
            continue;
        };
        for address in station.port.addresses.iter().filter(|_| concerned) {
            let row = Direct {
                vni: network.vni,
                port: station.at(),
                mac: station.port.mac,
                gateway: gateway(view, station, address.addr()).unwrap_or(Mac::ZERO),
            };
            add(tables, MapName::Direct, &Ip::from(address.addr()), &row);
        }
    }
}

/// The MAC address of the router that packets from other networks reach an address from: of several
/// the one that the workload itself sends to.
fn gateway(view: &View<'_>, station: &Station<'_>, ip: IpAddr) -> Option<Mac> {
    let ports = view
        .routers
        .values()
        .flat_map(|router| router.ports.values());
    let near = ports.filter(|port| {
        let mut addresses = port.addresses.iter();
        port.network == station.port.network && addresses.any(|address| address.contains(&ip))
    });
    let is_not_used = |port: &&crate::topology::RouterPort| {
        let mut routes = station.port.routes.iter();
        !routes.any(|route| port.addresses.iter().any(|own| own.addr() == route.via))
    };
    near.min_by_key(is_not_used).map(|port| port.mac)
}
