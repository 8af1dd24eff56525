//! The part of `bowline show` that is about the other hosts and tunnel endpoints: what was carried, and
//! what the agent says of them.

use std::net::IpAddr;

use anyhow::Result;
use maps_schema::PortId;
use maps_schema::record::{PeerState, PortCounters};
use serde::Serialize;

use crate::agent::liveness::State;
use crate::agent::narrow;
use crate::host::Outlook;
use crate::instance::Instance;
use crate::kernel::clock;
use crate::kernel::datapath::Datapath;
use crate::topology::{Host, Tunnel, Vtep};
use crate::verdicts::{Verdict, Verdicts};

/// For how long a peer from which nothing comes counts as up where no agent asks, in nanoseconds.
const SILENCE_NS: u64 = 10_000_000_000;

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
    "LOSS",
    "PATH MTU",
    "STATE",
];

/// The agent, as far as it has told.
#[derive(Serialize)]
pub(super) struct AgentState {
    /// Whether it runs.
    running: bool,
    pid: Option<u32>,
    /// How long ago it told something; nothing if it never did, or has ended.
    told_ms: Option<u64>,
    #[serde(skip)]
    verdicts: Verdicts,
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
    /// How many of the last echoes were lost, in percent.
    loss_percent: Option<u32>,
    /// The largest underlay packet that gets there and back.
    path_mtu: Option<u32>,
    state: &'static str,
    /// What is wrong with the way there.
    warning: Option<String>,
}

/// What the agent of an instance has told.
pub(super) fn agent(instance: &Instance) -> AgentState {
    let now_ns = clock::precise_ns();
    let told = Verdicts::read(instance);
    let running = told.as_ref().is_some_and(|told| told.is_fresh(now_ns));
    let written_ns = told.as_ref().map_or(0, |told| told.written_ns);
    AgentState {
        running,
        pid: told.as_ref().map(|told| told.pid).filter(|_| running),
        told_ms: (written_ns > 0).then(|| now_ns.saturating_sub(written_ns) / 1_000_000),
        verdicts: told.filter(|_| running).unwrap_or_default(),
    }
}

/// The other hosts and tunnel endpoints, with what was counted, heard and found out.
pub(super) fn peers(
    outlook: &Outlook,
    datapath: Option<&Datapath>,
    agent: &AgentState,
) -> Result<Vec<PeerRow>> {
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
        let heard = states.get(&id).unwrap_or(&PeerState::ZERO);
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
            heard_ms: (heard.heard_ns > 0)
                .then(|| now_ns.saturating_sub(heard.heard_ns) / 1_000_000),
            rtt_us: (heard.answers > 0).then_some(heard.rtt_ns / 1000),
            loss_percent: None,
            path_mtu: None,
            state: if heard.heard_ns > 0 && now_ns.saturating_sub(heard.heard_ns) < SILENCE_NS {
                State::Up.word()
            } else {
                State::Unknown.word()
            },
            warning: None,
        }
    };
    let hosts = topology.hosts.iter().filter(|(name, _)| *name != own);
    let hosts = hosts.map(|(name, host): (&String, &Host)| {
        let tunnel = topology.tunnel(own, name);
        let mut row = row(name, "host", host.id, host.address, tunnel);
        let verdict = agent.verdicts.peers.get(name);
        if let Some(verdict) = verdict.filter(|verdict| verdict.address == host.address) {
            let promised = outlook.situation.promised_mtu(topology, name);
            row.add(verdict, promised);
        }
        row
    });
    let vteps = topology.vteps.iter();
    let vteps = vteps.map(|(name, vtep): (&String, &Vtep)| {
        row(name, "vtep", vtep.id, vtep.address, vtep.tunnel)
    });
    Ok(hosts.chain(vteps).collect())
}

impl PeerRow {
    /// Adds what the agent has found out.
    fn add(&mut self, verdict: &Verdict, promised: Option<u32>) {
        let (lost, of) = verdict.lost;
        self.rtt_us = verdict.rtt_ns.map(|rtt_ns| rtt_ns / 1000);
        self.loss_percent = (of > 0).then(|| lost * 100 / of);
        self.path_mtu = verdict.path_mtu;
        self.state = verdict.state.word();
        if let (Some(found), Some(promised)) = (verdict.path_mtu, promised)
            && found < promised
        {
            self.warning = Some(narrow(&self.name, found, promised));
        }
    }
}

pub(super) fn peer_rows(peers: &[PeerRow]) -> Vec<Vec<String>> {
    let row = |peer: &PeerRow| {
        let heard = peer
            .heard_ms
            .map(|ms| format!("{}.{} s ago", ms / 1000, ms % 1000 / 100));
        let rtt = peer
            .rtt_us
            .map(|us| format!("{}.{:03} ms", us / 1000, us % 1000));
        let dash = || "-".to_owned();
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
            peer.loss_percent.map_or_else(dash, |it| format!("{it} %")),
            peer.path_mtu.map_or_else(dash, |len| len.to_string()),
            peer.state.to_owned(),
        ]
    };
    peers.iter().map(row).collect()
}

/// What is to be said below the table.
pub(super) fn remarks(agent: &AgentState, peers: &[PeerRow]) -> Vec<String> {
    let mut remarks: Vec<String> = peers.iter().filter_map(|it| it.warning.clone()).collect();
    if !agent.running && !peers.is_empty() {
        let since = match agent.told_ms {
            Some(ms) => format!(" since {} s", ms / 1000),
            None => String::new(),
        };
        remarks.push(format!(
            "no agent runs{since}: nobody asks these hosts whether they are alive (`bowline agent` \
             does)"
        ));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(running: bool, told_ms: Option<u64>) -> AgentState {
        AgentState {
            running,
            pid: None,
            told_ms,
            verdicts: Verdicts::default(),
        }
    }

    fn row() -> PeerRow {
        PeerRow {
            name: "beta".to_owned(),
            kind: "host",
            address: "192.0.2.12".parse().unwrap(),
            tunnel: "vxlan".to_owned(),
            uplink: None,
            in_packets: 0,
            in_bytes: 0,
            out_packets: 0,
            out_bytes: 0,
            drops: 0,
            heard_ms: None,
            rtt_us: None,
            loss_percent: None,
            path_mtu: None,
            state: "unknown",
            warning: None,
        }
    }

    #[test]
    fn what_the_agent_found_out_is_shown_and_a_narrow_way_is_warned_of() {
        let verdict = |path_mtu| Verdict {
            address: "192.0.2.12".parse().unwrap(),
            state: State::Down,
            rtt_ns: Some(1_234_567),
            sent: 30,
            answered: 27,
            lost: (3, 30),
            path_mtu: Some(path_mtu),
        };
        let mut wide = row();
        wide.add(&verdict(1500), Some(1500));
        assert_eq!(wide.warning, None);
        let mut narrow = row();
        narrow.add(&verdict(1400), Some(1500));
        let cells = peer_rows(&[narrow]).remove(0);
        assert_eq!(cells[10..], ["1.234 ms", "10 %", "1400", "down"]);
        let mut narrow = row();
        narrow.add(&verdict(1400), Some(1500));
        let remarks = remarks(&agent(true, Some(10)), &[narrow]);
        let [remark] = remarks.as_slice() else {
            panic!("{remarks:?}");
        };
        assert!(remark.contains("up to 1400 bytes get to peer beta and not of 1500"));
    }

    #[test]
    fn a_stopped_agent_is_told_from_a_silent_host() {
        assert!(remarks(&agent(false, None), &[]).is_empty());
        assert!(remarks(&agent(true, Some(10)), &[row()]).is_empty());
        let never = remarks(&agent(false, None), &[row()]).remove(0);
        assert!(never.starts_with("no agent runs: "), "{never}");
        let killed = remarks(&agent(false, Some(12_345)), &[row()]).remove(0);
        assert!(killed.starts_with("no agent runs since 12 s: "), "{killed}");
    }
}
