//! The part of `bowline show` that is about the underlay: hosts, the uplink and peers.

use std::net::IpAddr;

use anyhow::Result;
use maps_schema::PortId;
use maps_schema::record::{PeerState, PortCounters};
use serde::Serialize;

use crate::holdings::XdpState;
use crate::host::Outlook;
use crate::kernel::clock;
use crate::kernel::datapath::Datapath;
use crate::topology::{Host, Tunnel, Vtep};

/// For how long a peer from which nothing comes counts as up, in nanoseconds.
const SILENCE_NS: u64 = 10_000_000_000;

pub(super) const HOSTS: &[&str] = &[
    "HOST", "ADDRESS", "UPLINK", "DRIVER", "MTU", "ATTACHED", "XDP", "DECLARED",
];
pub(super) const PEERS: &[&str] = &[
    "PEER",
    "ADDRESS",
    "TUNNEL",
    "UPLINK",
    "IN",
    "IN BYTES",
    "OUT",
    "OUT BYTES",
    "DROPPED",
    "HEARD",
    "RTT",
    "PATH MTU",
    "STATE",
];

#[derive(Serialize)]
pub(super) struct HostState {
    name: String,
    address: IpAddr,
    this_host: bool,
    uplink: Option<UplinkState>,
    origin: String,
}

/// The uplink of this host.
#[derive(Serialize)]
struct UplinkState {
    interface: String,
    driver: Option<String>,
    mtu: u32,
    /// How XDP runs there: `native`, `generic` or `off`; or why it does not although it is wanted:
    /// `refused` by the driver, or `taken` by somebody else's program.
    xdp: &'static str,
    /// How the program is attached; nothing if it is not, or not as it should be.
    attached: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct PeerRow {
    name: String,
    /// `host` or `vtep`.
    kind: &'static str,
    address: IpAddr,
    tunnel: String,
    uplink: Option<String>,
    in_packets: u64,
    in_bytes: u64,
    out_packets: u64,
    out_bytes: u64,
    drops: u64,
    /// How long ago the last frame came; nothing if none did.
    heard_ms: Option<u64>,
    /// How long the last answer to an echo took; nothing if none came.
    rtt_us: Option<u64>,
    /// The largest underlay packet that was answered.
    path_mtu: Option<u32>,
    state: &'static str,
}

/// The hosts of the topology.
pub(super) fn hosts(outlook: &Outlook, datapath: Option<&Datapath>) -> Vec<HostState> {
    let own = outlook.situation.host.as_deref();
    let state = |(name, host): (&String, &Host)| HostState {
        name: name.clone(),
        address: host.address,
        this_host: own == Some(name),
        uplink: (own == Some(name))
            .then(|| uplink(outlook, datapath))
            .flatten(),
        origin: host.origin.to_string(),
    };
    outlook.topology.hosts.iter().map(state).collect()
}

fn uplink(outlook: &Outlook, datapath: Option<&Datapath>) -> Option<UplinkState> {
    let uplink = outlook.situation.uplink.as_ref()?;
    let held = outlook.holdings.uplinks.contains_key(&uplink.ifindex);
    let is_attached = held && outlook.diff.uplinks.is_empty();
    Some(UplinkState {
        interface: uplink.interface.clone(),
        driver: uplink.driver.clone(),
        mtu: uplink.mtu,
        xdp: xdp(outlook),
        attached: datapath
            .filter(|_| is_attached)
            .map(|datapath| datapath.mode().word()),
    })
}

fn xdp(outlook: &Outlook) -> &'static str {
    let Some(uplink) = &outlook.plan.uplink else {
        return "off";
    };
    let held = outlook.holdings.xdp.get(&uplink.ifindex);
    match held.map(|held| &held.state) {
        Some(XdpState::Ours { mode, .. }) => mode.word(),
        Some(XdpState::Refused) if uplink.xdp.is_some() => "refused",
        Some(XdpState::Foreign(_)) if uplink.xdp.is_some() => "taken",
        _ => "off",
    }
}

/// The other hosts and tunnel endpoints, with what was counted and heard.
pub(super) fn peers(outlook: &Outlook, datapath: Option<&Datapath>) -> Result<Vec<PeerRow>> {
    let topology = &outlook.topology;
    let Some(own) = &outlook.situation.host else {
        return Ok(Vec::new());
    };
    let counters = datapath.map_or(Ok(Default::default()), Datapath::counters)?;
    let states = datapath.map_or(Ok(Default::default()), Datapath::peer_states)?;
    let uplink = outlook.situation.uplink.as_ref();
    let now_ns = clock::coarse_ns();
    let row = |name: &String, kind, id: PortId, address, tunnel: Tunnel| {
        let counters = counters.get(&id).unwrap_or(&PortCounters::ZERO);
        let state = states.get(&id).unwrap_or(&PeerState::ZERO);
        PeerRow {
            name: name.clone(),
            kind,
            address,
            tunnel: tunnel.to_string(),
            uplink: uplink.map(|uplink| uplink.interface.clone()),
            in_packets: counters.ingress_packets,
            in_bytes: counters.ingress_bytes,
            out_packets: counters.egress_packets,
            out_bytes: counters.egress_bytes,
            drops: counters.drops.iter().sum(),
            heard_ms: (state.heard_ns > 0)
                .then(|| now_ns.saturating_sub(state.heard_ns) / 1_000_000),
            rtt_us: (state.answers > 0).then_some(state.rtt_ns / 1000),
            path_mtu: Some(state.answered_len).filter(|&len| len > 0),
            state: liveness(state, now_ns),
        }
    };
    let hosts = topology.hosts.iter().filter(|(name, _)| *name != own);
    let hosts = hosts.map(|(name, host): (&String, &Host)| {
        row(
            name,
            "host",
            host.id,
            host.address,
            topology.tunnel(own, name),
        )
    });
    let vteps = topology.vteps.iter();
    let vteps = vteps.map(|(name, vtep): (&String, &Vtep)| {
        row(name, "vtep", vtep.id, vtep.address, vtep.tunnel)
    });
    Ok(hosts.chain(vteps).collect())
}

/// `up`: something came a moment ago. `down`: nothing came, although the peer has answered echoes
/// before. `unknown`: nobody asked.
fn liveness(state: &PeerState, now_ns: u64) -> &'static str {
    let is_recent = |time_ns| time_ns > 0 && now_ns.saturating_sub(time_ns) < SILENCE_NS;
    if is_recent(state.heard_ns) || is_recent(state.answered_ns) {
        "up"
    } else if state.answers > 0 {
        "down"
    } else {
        "unknown"
    }
}

pub(super) fn host_rows(hosts: &[HostState]) -> Vec<Vec<String>> {
    let row = |host: &HostState| {
        let uplink = match &host.uplink {
            Some(uplink) => [
                uplink.interface.clone(),
                uplink.driver.clone().unwrap_or_else(dash),
                uplink.mtu.to_string(),
                uplink.attached.unwrap_or("no").to_owned(),
                uplink.xdp.to_owned(),
            ],
            None => [dash(), dash(), dash(), dash(), dash()],
        };
        let this = if host.this_host { " (this host)" } else { "" };
        let name = [format!("{}{this}", host.name), host.address.to_string()];
        let origin = [host.origin.clone()];
        name.into_iter().chain(uplink).chain(origin).collect()
    };
    hosts.iter().map(row).collect()
}

pub(super) fn peer_rows(peers: &[PeerRow]) -> Vec<Vec<String>> {
    let row = |peer: &PeerRow| {
        let heard = peer
            .heard_ms
            .map(|ms| format!("{}.{} s ago", ms / 1000, ms % 1000 / 100));
        let rtt = peer
            .rtt_us
            .map(|us| format!("{}.{:03} ms", us / 1000, us % 1000));
        vec![
            peer.name.clone(),
            peer.address.to_string(),
            peer.tunnel.clone(),
            peer.uplink.clone().unwrap_or_else(dash),
            peer.in_packets.to_string(),
            peer.in_bytes.to_string(),
            peer.out_packets.to_string(),
            peer.out_bytes.to_string(),
            peer.drops.to_string(),
            heard.unwrap_or_else(dash),
            rtt.unwrap_or_else(dash),
            peer.path_mtu.map_or_else(dash, |len| len.to_string()),
            peer.state.to_owned(),
        ]
    };
    peers.iter().map(row).collect()
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_up_while_it_is_heard_and_down_if_it_answered_before() {
        const NOW: u64 = 100_000_000_000;
        let state = |heard_ns, answered_ns, answers| PeerState {
            heard_ns,
            answered_ns,
            answers,
            ..PeerState::ZERO
        };
        for (state, expected) in [
            (PeerState::ZERO, "unknown"),
            (state(NOW - 1, 0, 0), "up"),
            (state(1, NOW - 1, 3), "up"),
            (state(NOW - SILENCE_NS, NOW - SILENCE_NS, 3), "down"),
            (state(NOW - SILENCE_NS, 0, 0), "unknown"),
        ] {
            assert_eq!(liveness(&state, NOW), expected, "{state:?}");
        }
    }
}
