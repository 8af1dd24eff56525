//! Whether a packet may go the way that was found: the policies of the ports at both ends, and of the
//! routers between them.
//!
//! What the workload sends is judged where it enters, what a workload gets on its own host, so that no
//! host relies on another one. A connection is judged when it begins, and again when its way is found
//! anew; what answers it is not. Address resolution is nobody's conversation, and always passes.
//!
//! A connection with the outside may leave by one gateway and be answered by way of another, which does not
//! know it. The workload's host sees both directions: what a gateway's router does not let in goes on to
//! there, as a packet that must be an answer.

use core::hint::black_box;

use maps_schema::map::{EgressPort, IngressPort, MemberKey, NeighborKey};
use maps_schema::{DropReason, Ip, Mac, PolicyList, RouterId};

use crate::departure::Way;
use crate::edit;
use crate::flow::related::is_error;
use crate::flow::{self, Found};
use crate::frame::Frame;
use crate::icmp::{self, Message};
use crate::nat;
use crate::parse::{self, Kind, Packet, TransportKind};
use crate::pipeline::Scratch;
use crate::policy::{self, Action, Subject, Workspace};
use crate::tables::Tables;
use crate::tcp;

/// Working memory for one judgement. Memory of zeros is a valid value of it.
pub(crate) struct Court {
    workspace: Workspace,
    subject: Subject,
    /// Why the packet may not pass.
    pub(crate) reason: DropReason,
    /// Whether its sender is to be told.
    pub(crate) is_told: bool,
    /// Whether it is about the packet itself, so that its rules count it.
    is_real: bool,
}

impl Court {
    pub(crate) const NEW: Self = Self {
        workspace: Workspace::NEW,
        subject: Subject {
            source: Ip::UNSPECIFIED_V6,
            destination: Ip::UNSPECIFIED_V6,
            protocol: 0,
            port: 0,
        },
        reason: DropReason::PolicyEgress,
        is_told: false,
        is_real: true,
    };
}

/// Whether the packet may go its way. If not, the working memory says why.
#[inline(never)]
pub(crate) fn admits<F: Frame, T: Tables>(tables: &T, scratch: &mut Scratch) -> bool {
    let packet = &scratch.packet;
    let is_resolution = !matches!(packet.resolution.message, parse::Message::None);
    if !matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6) || is_resolution {
        return true;
    }
    let is_answer = (scratch.track.is_reply() || scratch.track.is_related)
        && leads_to_receiver(tables, packet, &scratch.way);
    if packet.source == Mac::ANSWERING && scratch.way.origin.is_host() && !is_answer {
        scratch.court.reason = DropReason::PolicyForward;
        scratch.court.is_told = false;
        return false;
    }
    let ingress = tables
        .egress_port(scratch.way.destination)
        .filter(EgressPort::is_workload)
        .map_or(PolicyList::NONE, |exit| exit.policy);
    let egress = scratch.way.origin.policy;
    let [first, ..] = scratch.way.forward;
    if [egress, first, ingress] == [PolicyList::NONE; 3] {
        return true;
    }
    if is_answer {
        return true;
    }
    let Scratch {
        packet, court, way, ..
    } = scratch;
    court.is_real = true;
    court.subject = Subject {
        source: packet.ip_source,
        destination: packet.ip_destination,
        protocol: packet.protocol,
        port: match packet.transport.kind {
            TransportKind::Ports => packet.transport.destination,
            TransportKind::Icmp => packet.transport.source << 8 | packet.transport.destination,
            TransportKind::Absent => 0,
        },
    };
    if egress != PolicyList::NONE {
        court.reason = DropReason::PolicyEgress;
        if !passes::<F, T>(tables, court, egress) {
            return false;
        }
    }
    court.reason = DropReason::PolicyForward;
    if !forwards::<F, T>(tables, court, way) {
        return false;
    }
    court.reason = DropReason::PolicyIngress;
    ingress == PolicyList::NONE || passes::<F, T>(tables, court, ingress)
}

/// Whether a packet goes to the station that has its address, as far as stations are declared.
#[inline(always)]
fn leads_to_receiver<T: Tables>(tables: &T, packet: &Packet, way: &Way) -> bool {
    let key = NeighborKey {
        vni: way.vni,
        ip: packet.ip_destination,
    };
    let station = tables.neighbor(&key).map_or(way.destination, |it| it.port);
    // The compiler would compare a port that was not found, too, which the verifier refuses.
    way.hops != 0 || black_box(station) == way.destination
}

/// Whether a packet that may not pass goes on to its receiver's host, which knows whether it is an answer, or an
/// error about what was sent.
#[inline(never)]
pub(crate) fn is_for_receiver<F: Frame, T: Tables>(tables: &T, scratch: &mut Scratch) -> bool {
    let Scratch {
        packet,
        way,
        track,
        court,
        ..
    } = scratch;
    if !way.origin.is_outside() || court.reason != DropReason::PolicyForward {
        return false;
    }
    let key = MemberKey {
        port: way.destination,
        vni: way.vni,
    };
    let is_host = tables
        .member(&key)
        .is_some_and(|member| IngressPort::leads_to_host(member.flags as u8));
    // Without a tunnel the frame's addresses would be lost.
    let is_brought = is_host
        && tables
            .egress_port(way.destination)
            .is_some_and(|exit| exit.kind != EgressPort::DIRECT);
    is_brought
        && match track.found {
            Found::Untracked => is_error(packet),
            Found::Nothing => may_be_answer::<F, T>(tables, packet, way, court),
            Found::Embryo | Found::Connection => false,
        }
}

/// Whether the routers on the way let its receiver begin a conversation to which the packet would be an answer.
#[inline(always)]
fn may_be_answer<F: Frame, T: Tables>(
    tables: &T,
    packet: &Packet,
    way: &Way,
    court: &mut Court,
) -> bool {
    court.subject = Subject {
        source: packet.ip_destination,
        destination: packet.ip_source,
        protocol: packet.protocol,
        port: match packet.transport.kind {
            TransportKind::Ports => packet.transport.source,
            TransportKind::Icmp => u16::from(icmp::echo_request(packet)) << 8,
            TransportKind::Absent => 0,
        },
    };
    court.is_real = false;
    forwards::<F, T>(tables, court, way)
}

/// Whether the routers on the way let the subject pass.
#[inline(never)]
fn forwards<F: Frame, T: Tables>(tables: &T, court: &mut Court, way: &Way) -> bool {
    for list in way.forward {
        if list == PolicyList::NONE {
            break;
        }
        if !passes::<F, T>(tables, court, list) {
            return false;
        }
    }
    true
}

/// Whether a list lets the subject pass.
#[inline(never)]
fn passes<F: Frame, T: Tables>(tables: &T, court: &mut Court, list: PolicyList) -> bool {
    let Court {
        workspace, subject, ..
    } = court;
    let ruling = policy::judge::<F, T>(tables, workspace, list, subject);
    if court.is_real {
        tables.ruled(ruling);
        court.is_told = ruling.action == Action::Reject;
    }
    ruling.action == Action::Allow
}

/// A packet may not pass, and neither may its connection. The packet becomes what its sender is told, in the
/// name of whom it is for.
///
/// # Errors
/// The reason why it is dropped, if nobody is told.
#[inline(never)]
pub(crate) fn refuse<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    scratch: &mut Scratch,
) -> Result<(), DropReason> {
    flow::refuse(tables, &mut scratch.track);
    // In the name of whom the sender knows.
    nat::restore(&mut scratch.packet, &scratch.track);
    let (packet, reason) = (&scratch.packet, scratch.court.reason);
    // What another host routed here would have to be routed back; a bridge cannot do that.
    let may_tell = scratch.court.is_told
        && !scratch.way.origin.is_peer()
        && !packet.destination.is_group()
        && icmp::may_complain(packet)
        && icmp::spend(tables, RouterId::NONE, packet.ip_source);
    if !may_tell {
        return Err(reason);
    }
    tell(frame, packet, reason)
}

/// Turns a TCP segment into a reset, and any other packet into an ICMP error.
#[inline(never)]
fn tell<F: Frame>(frame: &mut F, packet: &Packet, reason: DropReason) -> Result<(), DropReason> {
    let source = packet.ip_destination;
    let written = if packet.protocol == parse::transport::TCP {
        let Some(reset) = tcp::reset(frame, packet) else {
            return Err(reason);
        };
        edit::tcp::write_reset(frame, packet, source, &reset)
    } else {
        edit::icmp::write_error(frame, packet, source, Message::Prohibited, 0)
    };
    written.map_err(|_refused| DropReason::KernelRefused)
}
