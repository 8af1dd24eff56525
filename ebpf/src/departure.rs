//! How a frame leaves: to a workload on this host, or to a peer.
//!
//! These are the last two parts of a frame's journey. What the parts before decided is in the working
//! memory, so that the kernel's verifier follows these once, and not anew for every way that leads here.

use maps_schema::map::{EgressPort, IngressPort, NeighborKey};
use maps_schema::{DropReason, IfIndex, Ip, Mac, PolicyList, PortId, RouterId, Vni};

use crate::edit;
use crate::frame::{Frame, Note, Refused};
use crate::icmp::{self, Message};
use crate::nat;
use crate::parse::ethernet::{self, HEADER_LEN};
use crate::parse::{Kind, Packet, ipv6, transport};
use crate::pipeline::{Action, Progress, Scratch};
use crate::router::Routed;
use crate::tables::{Count, Tables};

/// Where a frame came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The interface.
    pub interface: IfIndex,
    /// The port.
    pub port: PortId,
    /// The port's network.
    pub vni: Vni,
    /// The rules for what it sends.
    pub policy: PolicyList,
    /// What [`IngressPort::flags`] says of it.
    pub flags: u8,
}

impl Origin {
    /// Whether it came from another host, and not from an ordinary VTEP.
    #[inline(always)]
    #[must_use]
    pub const fn is_host(&self) -> bool {
        IngressPort::leads_to_host(self.flags)
    }

    /// Whether it came from the outside.
    #[inline(always)]
    #[must_use]
    pub const fn is_outside(&self) -> bool {
        self.flags & IngressPort::OUTSIDE != 0
    }

    /// Whether it came through a tunnel.
    #[inline(always)]
    #[must_use]
    pub const fn is_peer(&self) -> bool {
        self.flags & IngressPort::PEER != 0
    }
}

/// Where a frame goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// Where it came in.
    pub origin: Origin,
    /// The port that it leaves by.
    pub destination: PortId,
    /// The network that it is in when it gets there.
    pub vni: Vni,
    /// The largest packet that every router on its way sends, in bytes, to which the segments of a TCP
    /// connection are clamped; [`Way::UNCLAMPED`] if nobody wants that.
    pub clamp: u32,
    /// How many routers forward it, which is still to be written.
    pub hops: u32,
    /// The largest packet that fits through all of them, in bytes.
    pub mtu: u32,
    /// The MAC addresses that it has after them, likewise.
    pub source: Mac,
    /// As above.
    pub target: Mac,
    /// Who the last of them sends it to.
    pub next_hop: NeighborKey,
    /// The rules of those of them that have any; none in the others' places.
    pub forward: [PolicyList; GUARDS_MAX],
    /// The network behind the first of them.
    pub behind: Vni,
    /// What is translated of the packet, as [`Flow::flags`](maps_schema::map::Flow::flags) says it.
    pub translated: u8,
}

/// How many routers with rules a packet may pass.
pub const GUARDS_MAX: usize = 4;

impl Way {
    /// TCP connections say by themselves how large their segments are.
    pub const UNCLAMPED: u32 = 0;

    /// To a port of a network.
    #[inline(always)]
    #[must_use]
    pub const fn to(origin: Origin, destination: PortId, vni: Vni) -> Self {
        Self {
            origin,
            destination,
            vni,
            clamp: if origin.flags & IngressPort::CLAMPS_MSS == 0 {
                Self::UNCLAMPED
            } else {
                u32::MAX
            },
            hops: 0,
            mtu: u32::MAX,
            source: Mac::ZERO,
            target: Mac::ZERO,
            next_hop: NeighborKey::NONE,
            forward: [PolicyList::NONE; GUARDS_MAX],
            behind: Vni::NONE,
            translated: 0,
        }
    }

    /// To where it came from: the frame is an answer now.
    #[inline(always)]
    #[must_use]
    pub const fn back(origin: Origin) -> Self {
        Self::to(origin, origin.port, origin.vni)
    }

    /// Whether the frame is an answer: a bridge never sends one back, and a router changes it.
    const fn is_back(&self) -> bool {
        self.destination.0 == self.origin.port.0 && self.hops == 0
    }

    /// To where routers send it.
    #[inline(always)]
    #[must_use]
    pub const fn routed(origin: Origin, routed: &Routed) -> Self {
        Self {
            origin,
            destination: routed.port,
            vni: routed.neighbor.vni,
            clamp: if routed.clamps == 0 && origin.flags & IngressPort::CLAMPS_MSS == 0 {
                Self::UNCLAMPED
            } else {
                routed.mtu
            },
            hops: routed.hops,
            mtu: routed.mtu,
            source: routed.source,
            target: routed.destination,
            next_hop: routed.neighbor,
            forward: routed.forward,
            behind: routed.behind,
            translated: 0,
        }
    }
}

/// Makes the frame what it is when it leaves the way that was decided, but for the header of a tunnel. Until
/// it is known that it can leave, it stays as it is.
#[inline(always)]
pub fn prepare<F: Frame, T: Tables>(frame: &mut F, tables: &T, scratch: &mut Scratch) -> Progress {
    let origin = scratch.way.origin;
    if scratch.way.is_back() && !origin.is_peer() {
        // An answer: the way back needs no row, which may just have been removed.
        return Progress::Done(send_back(frame, tables, &origin));
    }
    match change(frame, tables, scratch) {
        Ok(Change::Made) => Progress::Depart,
        Ok(Change::Answered) => Progress::Done(send_back(frame, tables, &origin)),
        Err(reason) => Progress::Done(Action::refuse(tables, origin.port, reason)),
    }
}

/// What became of the frame.
enum Change {
    /// It can leave.
    Made,
    /// It is an error about itself now.
    Answered,
}

#[inline(always)]
fn change<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
) -> Result<Change, DropReason> {
    let Scratch {
        packet,
        way,
        track,
        exit,
        ..
    } = scratch;
    *exit = tables
        .egress_port(way.destination)
        .ok_or(DropReason::PortUnplugged)?;
    if exit.is_peer() {
        // An ordinary VTEP's frame may go to another host: it has not sent it there itself.
        if way.origin.is_host() && way.origin.port != way.destination {
            return Err(DropReason::SplitHorizon);
        }
        if size(frame, packet) > exit.mtu {
            nat::restore(packet, track);
            refuse_size(frame, tables, packet, way, exit.mtu)?;
            return Ok(Change::Answered);
        }
        if exit.kind == EgressPort::DIRECT && !fits_directly(tables, packet, way, exit) {
            return Err(DropReason::NeedsTunnel);
        }
    }
    let refused = |_refused| DropReason::KernelRefused;
    if way.clamp != Way::UNCLAMPED && packet.protocol == transport::TCP {
        let is_wrapped = exit.mtu != 0;
        let mtu = if is_wrapped {
            way.clamp.min(exit.mtu)
        } else {
            way.clamp
        };
        edit::mss::clamp(frame, packet, mtu).map_err(refused)?;
    }
    if way.translated != 0 {
        edit::nat::write(frame, packet, track).map_err(refused)?;
    }
    if way.hops != 0 {
        edit::forward::write(frame, packet, way.target, way.source, way.hops).map_err(refused)?;
    }
    Ok(Change::Made)
}

/// Whether the kernel finds the neighbor for a packet, which it does for those of its own family only, and the
/// peer the station: what is for the outside would be that host's own, and not its router's.
#[inline(always)]
fn fits_directly<T: Tables>(tables: &T, packet: &Packet, way: &Way, exit: &EgressPort) -> bool {
    let is_family = match packet.kind {
        Kind::Ipv4 => exit.remote.is_v4(),
        Kind::Ipv6 => !exit.remote.is_v4(),
        Kind::Arp | Kind::Opaque => false,
    };
    is_family
        && !packet.destination.is_group()
        && tables
            .direct(packet.ip_destination)
            .is_some_and(|station| station.port == way.destination)
}

/// Lets the frame leave, in a tunnel if one leads to where it goes.
#[inline(always)]
pub fn depart<F: Frame, T: Tables>(frame: &mut F, tables: &T, scratch: &mut Scratch) -> Action {
    let Scratch {
        packet, way, exit, ..
    } = scratch;
    // Without what it is wrapped in.
    let len = frame.len();
    let action = match exit.kind {
        EgressPort::WORKLOAD => Action::Deliver(exit.ifindex),
        EgressPort::HOST_NETNS => Action::Send(exit.ifindex),
        EgressPort::UPLINK => Action::Underlay {
            uplink: exit.ifindex,
            next_hop: Ip::UNSPECIFIED_V6,
        },
        EgressPort::DIRECT => Action::Underlay {
            uplink: exit.ifindex,
            next_hop: exit.remote,
        },
        _ => {
            if wrap(frame, packet, way, exit).is_err() {
                return Action::refuse(tables, way.origin.port, DropReason::KernelRefused);
            }
            if matches!(packet.kind, Kind::Arp | Kind::Opaque) {
                Action::Copied
            } else {
                Action::Underlay {
                    uplink: exit.ifindex,
                    next_hop: Ip::UNSPECIFIED_V6,
                }
            }
        }
    };
    tables.count(way.destination, Count::Egress(len));
    action
}

/// Sends an answer back to where the frame came in.
#[inline(always)]
fn send_back<F: Frame, T: Tables>(frame: &F, tables: &T, origin: &Origin) -> Action {
    tables.count(origin.port, Count::Egress(frame.len()));
    if origin.flags & (IngressPort::OUTSIDE | IngressPort::HOST_NETNS) != 0 {
        Action::Send(origin.interface)
    } else {
        Action::Deliver(origin.interface)
    }
}

/// Gives the frame its outer header, as the last change to it.
#[inline(always)]
fn wrap<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    way: &Way,
    exit: &EgressPort,
) -> Result<(), Refused> {
    edit::outer::write(frame, packet, exit, way.vni, way.is_back())?;
    if matches!(packet.kind, Kind::Arp | Kind::Opaque) {
        // The kernel still takes the frame for what it was; when it comes in again it looks anew.
        frame.resubmit(way.origin.interface, Note::WRAPPED)?;
    }
    Ok(())
}

/// The frame does not fit through the tunnel. It becomes what its sender is told by the bridge, in the
/// name of whom the packet is for: bridges have no addresses.
///
/// # Errors
/// The reason why it is dropped, if nobody may be told.
#[inline(never)]
fn refuse_size<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    way: &Way,
    mtu: u32,
) -> Result<(), DropReason> {
    // An error into a tunnel is more than it is worth.
    let may_tell = !way.origin.is_peer()
        && matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6)
        && !packet.destination.is_group()
        && icmp::may_complain(packet)
        && icmp::spend(tables, RouterId::NONE, packet.ip_source);
    if !may_tell {
        return Err(DropReason::TunnelTooSmall);
    }
    tables.count(way.origin.port, Count::Drop(DropReason::TooBig));
    let source = packet.ip_destination;
    edit::icmp::write_error(frame, packet, source, Message::TooBig, mtu)
        .map_err(|_refused| DropReason::KernelRefused)
}

/// Where a frame goes that has its outer header and came in again: that says which peer it is for.
///
/// # Errors
/// The peer is gone.
#[inline(always)]
pub fn resume<F: Frame, T: Tables>(frame: &F, tables: &T) -> Result<Action, DropReason> {
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
#[inline(never)]
pub fn size<F: Frame>(frame: &F, packet: &Packet) -> u32 {
    let segment_len = frame.segment_len();
    if matches!(packet.kind, Kind::Arp | Kind::Opaque) {
        // A tag that is put aside goes along; others are among the bytes.
        let tag_len = match frame.outer_tag() {
            Some(_tag) => ethernet::TAG_LEN,
            None => 0,
        };
        if segment_len == 0 {
            return (frame.len() + tag_len).saturating_sub(HEADER_LEN as u32);
        }
        let (protocol, start) = behind_tag(frame);
        return tag_len + segment_size(frame, protocol, start, segment_len);
    }
    if segment_len == 0 {
        // Not the frame's length: what pads a short frame is no part of the packet.
        return packet.payload.start - HEADER_LEN as u32 + packet.payload.len;
    }
    segment_size(frame, packet.protocol, packet.payload.start, segment_len)
}

/// The size of a packet with `segment_len` bytes of payload behind a transport header that begins at
/// `start`, from the IP header on.
#[inline(always)]
fn segment_size<F: Frame>(frame: &F, protocol: u8, start: u32, segment_len: u32) -> u32 {
    let transport = match protocol {
        // The data offset counts words in the upper half of its byte (RFC 9293 section 3.1).
        transport::TCP => match frame.load::<[u8; 1]>(start + 12) {
            Ok([offset]) => u32::from(offset >> 4) * 4,
            Err(_short) => 20,
        },
        _ => 8,
    };
    start - HEADER_LEN as u32 + transport + segment_len
}

/// The protocol of the IP packet behind a tag, and where its header begins, of a frame that segmentation
/// offload left whole: such a frame is an IP packet that a kernel has made, without extension headers.
#[inline(always)]
fn behind_tag<F: Frame>(frame: &F) -> (u8, u32) {
    // By the helper: it is not worth a place among what the verifier follows.
    let octet = |at| frame.load::<[u8; 1]>(at).map_or(0, |[octet]| octet);
    let is_v6 = octet(14) >> 4 == 6;
    if is_v6 {
        (octet(20), (HEADER_LEN + ipv6::HEADER_LEN) as u32)
    } else {
        (
            octet(23),
            HEADER_LEN as u32 + u32::from(octet(14) & 0xf) * 4,
        )
    }
}
