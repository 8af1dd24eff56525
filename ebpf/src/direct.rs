//! Packets that come from the underlay without a tunnel: the underlay routes the workloads' addresses.

use maps_schema::map::{Direct, EgressPort, IngressPort};
use maps_schema::{DropReason, IfIndex, Mac, PortId};

use crate::edit;
use crate::frame::Frame;
use crate::parse::{Kind, Packet};
use crate::pipeline::{self, Action, Progress, Scratch};
use crate::tables::{Count, Tables};

/// The workload on this host that a packet is for, if it is for one.
#[inline(always)]
pub(crate) fn station<T: Tables>(tables: &T, packet: &Packet) -> Option<Direct> {
    if !matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6) {
        return None;
    }
    let station = tables.direct(packet.ip_destination)?;
    let exit = tables.egress_port(station.port)?;
    exit.is_workload().then_some(station)
}

/// Gives a packet for a workload the MAC addresses that it has in the workload's network, and lets it go on
/// as one that comes from the port of its peer.
#[inline(always)]
pub(crate) fn receive<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
    station: &Direct,
) -> Progress {
    let packet = &mut scratch.packet;
    let refuse = |port, reason| Progress::Done(Action::refuse(tables, port, reason));
    let Some(sender) = tables.direct(packet.ip_source) else {
        return refuse(PortId::NONE, DropReason::UnknownPeer);
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
        return refuse(sender.port, DropReason::SpoofedIp);
    }
    if edit::write_macs(frame, station.mac, source).is_err() {
        return refuse(sender.port, DropReason::KernelRefused);
    }
    (packet.destination, packet.source) = (station.mac, source);
    let port = IngressPort::peer(sender.port, station.vni, IngressPort::PEER);
    match pipeline::forward(frame, tables, scratch, interface, &port) {
        Ok(progress) => progress,
        Err(reason) => refuse(sender.port, reason),
    }
}
