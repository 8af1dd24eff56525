//! How a frame leaves: to a workload on this host, or to a peer.

use core::mem::MaybeUninit;

use maps_schema::map::{EgressPort, FloodKey};
use maps_schema::{DropReason, IfIndex, Ip, PortId, Vni};

use crate::edit;
use crate::frame::{Frame, Note};
use crate::parse::ethernet::{self, HEADER_LEN};
use crate::parse::{self, Kind, Packet, transport};
use crate::pipeline::{Action, Scratch};
use crate::tables::{Count, Tables};

/// Where a port leads, looked up before anything is written.
///
/// # Errors
/// [`DropReason::PortUnplugged`] if it leads nowhere at this moment.
#[inline(always)]
pub fn exit<'a, T: Tables>(
    tables: &T,
    destination: PortId,
    out: &'a mut MaybeUninit<EgressPort>,
) -> Result<&'a EgressPort, DropReason> {
    match tables.egress_port(destination) {
        Some(port) => Ok(out.write(port)),
        None => Err(DropReason::PortUnplugged),
    }
}

/// Whether the frame fits through the tunnel.
#[inline(always)]
pub fn fits<F: Frame>(frame: &F, packet: &Packet, exit: &EgressPort) -> bool {
    size(frame, packet) <= exit.mtu
}

/// Lets the frame leave. One for a peer gets its outer header now, as the last change to it.
///
/// # Errors
/// The frame cannot go there, or the kernel refuses.
#[inline(always)]
pub fn leave<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    interface: IfIndex,
    destination: PortId,
    exit: &EgressPort,
    vni: Vni,
) -> Result<Action, DropReason> {
    let len = frame.len();
    match exit.kind {
        EgressPort::WORKLOAD => {
            tables.count(destination, Count::Egress(len));
            return Ok(Action::Deliver(exit.ifindex));
        }
        EgressPort::DIRECT => {
            let is_ip = matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6);
            if !is_ip || packet.destination.is_group() {
                return Err(DropReason::NeedsTunnel);
            }
            tables.count(destination, Count::Egress(len));
            return Ok(Action::Underlay {
                uplink: exit.ifindex,
                next_hop: exit.remote,
            });
        }
        _ => {}
    }
    edit::outer::write(frame, packet, exit, vni).map_err(|_refused| DropReason::KernelRefused)?;
    tables.count(destination, Count::Egress(len));
    if matches!(packet.kind, Kind::Arp | Kind::Opaque) {
        // The kernel still takes the frame for what it was; when it comes in again it looks anew.
        frame
            .resubmit(interface, Note::WRAPPED)
            .map_err(|_refused| DropReason::KernelRefused)?;
        return Ok(Action::Copied);
    }
    Ok(Action::Underlay {
        uplink: exit.ifindex,
        next_hop: Ip::UNSPECIFIED_V6,
    })
}

/// A copy comes in again: it goes on to whom it is for.
///
/// # Errors
/// Nobody is there any more, the frame cannot go there, or the kernel refuses.
#[inline(always)]
pub fn resume<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
    interface: IfIndex,
    note: Note,
) -> Result<Action, DropReason> {
    if note.list == Note::WRAPPED.list {
        return resume_wrapped(frame, tables);
    }
    let Note { list, idx } = note;
    let member = tables
        .flood_member(&FloodKey { list, idx })
        .ok_or(DropReason::UnknownMember)?;
    let packet = parse::parse(frame, &mut scratch.packet)?;
    let exit = exit(tables, member.port, &mut scratch.exit)?;
    if !fits(frame, packet, exit) {
        return Err(DropReason::TunnelTooSmall);
    }
    leave(
        frame,
        tables,
        packet,
        interface,
        member.port,
        exit,
        member.vni,
    )
}

/// The frame has its outer header, which says which peer it is for.
#[inline(always)]
fn resume_wrapped<F: Frame, T: Tables>(frame: &F, tables: &T) -> Result<Action, DropReason> {
    let truncated = |_short| DropReason::MalformedOuter;
    let ethertype = frame.fixed::<12, u16>().map_err(truncated)?;
    let destination = if u16::from_be(ethertype) == ethernet::IPV4 {
        Ip::v4_from_word(frame.fixed::<30, u32>().map_err(truncated)?)
    } else {
        Ip::from_words(frame.fixed::<38, [u32; 4]>().map_err(truncated)?)
    };
    let peer = tables.peer(destination).ok_or(DropReason::UnknownMember)?;
    let exit = tables
        .egress_port(peer.port)
        .ok_or(DropReason::PortUnplugged)?;
    Ok(Action::Underlay {
        uplink: exit.ifindex,
        next_hop: Ip::UNSPECIFIED_V6,
    })
}

/// The size of the largest packet that the frame is, or will be cut into, from the IP header on; of a
/// frame that is no IP packet, what is behind the Ethernet header.
#[inline(always)]
pub fn size<F: Frame>(frame: &F, packet: &Packet) -> u32 {
    if matches!(packet.kind, Kind::Arp | Kind::Opaque) {
        return frame.len().saturating_sub(HEADER_LEN as u32);
    }
    let segment_len = frame.segment_len();
    let headers = packet.payload.start - HEADER_LEN as u32;
    if segment_len == 0 {
        // Not the frame's length: what pads a short frame is no part of the packet.
        return headers + packet.payload.len;
    }
    let transport = match packet.protocol {
        // The data offset counts words in the upper half of its byte (RFC 9293 section 3.1).
        transport::TCP => match frame.load::<[u8; 1]>(packet.payload.start + 12) {
            Ok([offset]) => u32::from(offset >> 4) * 4,
            Err(_short) => 20,
        },
        _ => 8,
    };
    headers + transport + segment_len
}
