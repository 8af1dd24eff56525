//! Packets that come from the underlay without a tunnel: the underlay routes the workloads' addresses.

use maps_schema::map::EgressPort;
use maps_schema::{DropReason, Mac, PortId};

use crate::edit;
use crate::frame::Frame;
use crate::parse::Kind;
use crate::pipeline::{self, Action, Scratch};
use crate::tables::{Count, Tables};

/// Hands a packet to the workload on this host that it is for. What is for nobody here passes on to
/// the host.
#[inline(always)]
pub fn receive<F: Frame, T: Tables>(frame: &mut F, tables: &T, scratch: &mut Scratch) -> Action {
    if pipeline::read(frame, &mut scratch.packet).is_err() {
        return Action::Pass;
    }
    let packet = &scratch.packet;
    if !matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6) {
        return Action::Pass;
    }
    let Some(station) = tables.direct(packet.ip_destination) else {
        return Action::Pass;
    };
    let Some(exit) = tables.egress_port(station.port) else {
        return Action::Pass;
    };
    if exit.kind != EgressPort::WORKLOAD {
        return Action::Pass;
    }
    let Some(sender) = tables.direct(packet.ip_source) else {
        return Action::refuse(tables, PortId::NONE, DropReason::UnknownPeer);
    };
    tables.count(sender.port, Count::Ingress(frame.len()));
    let source = if sender.vni == station.vni {
        sender.mac
    } else {
        station.gateway
    };
    let behind_peer = tables
        .egress_port(sender.port)
        .is_some_and(|port| port.kind == EgressPort::DIRECT);
    // Without a router between the two networks nobody at the other end could have sent it.
    if !behind_peer || source == Mac::ZERO {
        return Action::refuse(tables, sender.port, DropReason::SpoofedIp);
    }
    if edit::write_macs(frame, station.mac, source).is_err() {
        return Action::refuse(tables, sender.port, DropReason::KernelRefused);
    }
    tables.count(station.port, Count::Egress(frame.len()));
    Action::Deliver(exit.ifindex)
}
