//! Which flow a packet belongs to.

use maps_schema::map::{Flow, FlowKey, Source, Translation};
use maps_schema::{PortId, Vni};

use super::{Store, fragment};
use crate::departure::{self, Origin};
use crate::frame::Frame;
use crate::icmp;
use crate::parse::{Fragment, Kind, Packet, TransportKind, transport};
use crate::tables::Tables;
use crate::tcp::{self, Segment};

/// What the datapath finds out about a packet's flow, in the working memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Track {
    /// The flow's key.
    pub(crate) key: FlowKey,
    /// The key of its other direction, once it is known.
    pub(super) other: FlowKey,
    /// The key of a flow that has the row of the other direction.
    pub(super) rival: FlowKey,
    /// The way that was recalled, or a row that is to be written.
    pub(super) draft: Flow,
    /// The row of the other direction.
    pub(super) mirror: Flow,
    /// Whether there is one, or it was made up from this one.
    pub(super) is_paired: bool,
    /// The epoch, or 0 if no way may be recalled or noted.
    pub(super) epoch: u64,
    /// The time.
    pub(super) now_ns: u64,
    /// Where the flow's row is.
    pub(crate) found: Found,
    /// What [`Flow::flags`] says of the flow, if there is a row, and what is translated of its packets.
    pub(crate) flags: u8,
    /// What its packets leave with, as the flags say.
    pub(crate) translation: Translation,
    /// The addresses and ports that the packet came with, and those that it leaves with, while they are
    /// written.
    pub(crate) old: Translation,
    /// As above.
    pub(crate) new: Translation,
    /// From outside: the router's uplink that leads to who the packet is for.
    pub(crate) uplink: PortId,
    /// From outside: whether that is the port of another host, which gives the packet's destination away.
    pub(crate) is_elsewhere: bool,
    /// By which port the flow's packets left before, or came that they answer to.
    pub(crate) exit: PortId,
    /// Which addresses a new flow's source may be given; none if it stays what it is.
    pub(crate) pool: Source,
    /// Whether the packet is an error about one of a flow that goes the other way. The key is that of
    /// the error's direction then.
    pub(crate) is_related: bool,
    /// The frame's length, in bytes.
    pub(super) len: u32,
    /// The size of the largest packet that the frame will be cut into, in bytes.
    pub(super) size: u32,
    /// What TCP says, or zeroes.
    pub(super) segment: Segment,
    /// Whether its sender has heard what the other side said, as far as that can be told.
    pub(super) is_heard: bool,
    /// Whether the flow was silent, but is not over.
    pub(super) is_awake: bool,
}

/// Where a flow's row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// The packet belongs to no flow.
    Untracked,
    /// Nowhere yet.
    Nothing,
    /// In [`Store::Embryos`].
    Embryo,
    /// In [`Store::Connections`].
    Connection,
}

impl Found {
    /// Where the row is, or is to be.
    #[inline(always)]
    pub(super) const fn store(self) -> Store {
        match self {
            Self::Connection => Store::Connections,
            Self::Untracked | Self::Nothing | Self::Embryo => Store::Embryos,
        }
    }
}

impl Track {
    /// Nothing was found out yet.
    pub(crate) const NONE: Self = Self {
        key: FlowKey::NONE,
        other: FlowKey::NONE,
        rival: FlowKey::NONE,
        draft: Flow::NONE,
        mirror: Flow::NONE,
        is_paired: false,
        epoch: 0,
        now_ns: 0,
        found: Found::Untracked,
        flags: 0,
        translation: Translation::NONE,
        old: Translation::NONE,
        new: Translation::NONE,
        uplink: PortId::NONE,
        is_elsewhere: false,
        exit: PortId::NONE,
        pool: Source::NONE,
        is_related: false,
        len: 0,
        size: 0,
        segment: Segment::NONE,
        is_heard: false,
        is_awake: false,
    };

    /// The packet belongs to no flow, unless it is found to.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.begin(Found::Untracked);
    }

    /// Nothing is known of the packet's flow.
    #[inline(always)]
    pub(super) fn begin(&mut self, found: Found) {
        self.found = found;
        self.flags = 0;
        self.uplink = PortId::NONE;
        self.exit = PortId::NONE;
        self.is_elsewhere = false;
        self.pool = Source::NONE;
        self.is_related = false;
    }

    /// Makes up the row of the other direction.
    #[inline(never)]
    pub(super) fn reflect(&mut self) {
        // One by one, because the stack has no room for copies.
        let Self {
            key,
            other,
            draft,
            mirror,
            ..
        } = self;
        *other = draft.other(key);
        *mirror = draft.mirrored(key);
    }

    /// Copies what a flow's row says besides its way.
    #[inline(always)]
    pub(super) fn take(&mut self, flow: &Flow) {
        self.flags = flow.flags;
        self.exit = flow.destination;
        if flow.flags & TRANSLATED != 0 {
            self.translation = flow.translation;
        }
        if is_outside(&self.key) {
            self.uplink = flow.origin;
        }
    }

    /// The addresses and ports that the packet came with.
    #[inline(always)]
    pub(crate) const fn endpoints(&self) -> Translation {
        self.key.endpoints()
    }

    /// Those that it leaves with.
    #[inline(always)]
    pub(crate) const fn outcome(&self) -> Translation {
        self.translation.apply(&self.endpoints(), self.flags)
    }

    /// Whether the flow has a row.
    #[inline(always)]
    pub(crate) const fn is_known(&self) -> bool {
        matches!(self.found, Found::Embryo | Found::Connection)
    }

    /// Notes in the flow's row, in which it is counted already, what the packet says.
    #[inline(always)]
    pub(super) fn note(&mut self, flow: &mut Flow) {
        self.is_heard = false;
        let Segment {
            flags,
            end,
            acknowledgment,
            ..
        } = self.segment;
        // No segment has no flags: it cannot be read.
        if self.key.protocol != transport::TCP || flags == 0 {
            return;
        }
        let is_established = flow.state == Flow::ESTABLISHED;
        // In a row that is new, of a connection that is not, nothing is noted yet.
        let is_new = flow.packets == 1;
        // Who cannot see the connection knows neither what was acknowledged nor what is next (RFC 5961
        // section 5).
        let distance = acknowledgment.wrapping_sub(flow.acked).wrapping_add(FLIGHT);
        self.is_heard =
            is_new || !is_established || flags & tcp::ACK != 0 && distance <= 2 * FLIGHT;
        if !self.is_heard {
            return;
        }
        let is_open = is_established || flags & tcp::SYN == 0;
        // What was sent before is sent again where it was lost. A reset's number is still to be judged.
        let is_first = is_new || !is_open;
        let is_next = is_behind(flow.next, end) && end.wrapping_sub(flow.next) <= FLIGHT;
        if is_first || flags & tcp::RST == 0 && is_next {
            flow.next = end;
        }
        if flags & tcp::ACK != 0 {
            flow.acked = acknowledgment;
        }
    }

    /// Whether the packet, or what it is an error about, goes against the direction in which its connection
    /// began.
    #[inline(always)]
    pub(crate) const fn is_answer(&self) -> bool {
        self.flags & Flow::REPLY != 0 || self.is_related
    }

    /// Whether the packet answers a connection that is known and may go on. A segment that begins one answers
    /// none that is established; it is a turn, so that the state was looked at.
    #[inline(always)]
    pub(crate) const fn is_reply(&self) -> bool {
        self.is_known()
            && self.flags & (Flow::REPLY | Flow::REFUSED) == Flow::REPLY
            && (self.segment.flags & (tcp::SYN | tcp::ACK) != tcp::SYN
                || self.draft.state != Flow::ESTABLISHED)
    }

    /// Whether the packet is of the side that may not go on with its connection.
    #[inline(always)]
    pub(super) const fn is_refused(&self) -> bool {
        self.flags & (Flow::REPLY | Flow::REFUSED) == Flow::REFUSED
    }

    /// Whether the packet may be a turn in its connection's life.
    #[inline(always)]
    pub(super) const fn is_turn(&self) -> bool {
        self.segment.flags & (tcp::SYN | tcp::FIN | tcp::RST) != 0
    }
}

/// How much one side may have sent that the other one has not acknowledged, in bytes: more than the buffers
/// that Linux gives connections by itself.
pub(super) const FLIGHT: u32 = 1 << 24;

/// Whether a row is the other direction of the flow with the key `own`; `key` is that of the row.
#[inline(never)]
pub(super) fn is_other(row: &Flow, key: &FlowKey, own: &FlowKey) -> bool {
    row.other(key) == *own
}

/// Whether a sequence number is before another one, modulo 2^32 (RFC 9293 section 3.4).
#[inline(always)]
pub(super) const fn is_behind(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Finds out which flow a packet belongs to; `false` if to none. Neighbor discovery belongs to none, nor do
/// messages of ICMP that are no echoes, IPv6 packets with mapped IPv4 addresses, and fragments of which
/// nobody knows how the packet begins.
#[inline(never)]
pub(super) fn identify<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    origin: &Origin,
    packet: &mut Packet,
    track: &mut Track,
) -> bool {
    let is_ip = matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6);
    // With mapped addresses it would be taken for the IPv4 packet that has them.
    if !is_ip || packet.is_mapped() || packet.destination.is_group() {
        return false;
    }
    let is_later = matches!(packet.fragment, Fragment::Later) && is_read(packet.protocol);
    if is_later && !fragment::follow(frame, tables, origin, packet, track) {
        return false;
    }
    let key = &mut track.key;
    (key.source_port, key.destination_port) = match packet.transport.kind {
        _ if is_later => (key.source_port, key.destination_port),
        TransportKind::Ports => (packet.transport.source, packet.transport.destination),
        TransportKind::Icmp => match echo_identifier(frame, packet) {
            Some(identifier) => echo_ports(packet.transport.source, identifier),
            None => return false,
        },
        // Too short for its header, which is for its receiver to judge.
        TransportKind::Absent if is_read(packet.protocol) => return false,
        TransportKind::Absent => (0, 0),
    };
    (key.port, key.vni) = enter(origin);
    (key.source, key.destination) = (packet.ip_source, packet.ip_destination);
    key.protocol = packet.protocol;
    key.reserved = [0; 3];
    track.segment = Segment::NONE;
    if packet.protocol == transport::TCP {
        track.segment = tcp::read(frame, packet).unwrap_or(Segment::NONE);
    }
    track.len = frame.len();
    track.size = departure::size(frame, packet);
    track.is_awake = false;
    if matches!(packet.fragment, Fragment::First) && is_read(packet.protocol) {
        fragment::note(frame, tables, origin, packet, track);
    }
    true
}

/// What is translated, if anything is.
pub(crate) const TRANSLATED: u8 = Flow::SOURCE | Flow::DESTINATION;

/// Whether a key is that of a flow from the outside.
#[inline(always)]
pub(super) const fn is_outside(key: &FlowKey) -> bool {
    key.vni.number() == 0
}

/// Where a flow enters, as keys have it.
#[inline(always)]
pub(super) const fn enter(origin: &Origin) -> (PortId, Vni) {
    // What is routed on another host may come by way of any.
    let port = if origin.is_host() || origin.is_outside() {
        PortId::NONE
    } else {
        origin.port
    };
    (port, origin.vni)
}

const fn is_read(protocol: u8) -> bool {
    matches!(
        protocol,
        transport::TCP | transport::UDP | transport::ICMP | transport::ICMPV6
    )
}

/// What stands for the ports of an echo: the identifier is the asker's, so that who asks and is asked at
/// the same time has two connections. `kind` is the ICMP type.
#[inline(always)]
pub(super) const fn echo_ports(kind: u16, identifier: u16) -> (u16, u16) {
    const REQUEST: u16 = icmp::ECHO_REQUEST as u16;
    const REQUEST_V6: u16 = icmp::ECHO_REQUEST_V6 as u16;
    match kind {
        REQUEST | REQUEST_V6 => (identifier, 0),
        _ => (0, identifier),
    }
}

/// What echo requests and their replies are told apart by (RFC 792, RFC 4443 section 4.1); nothing for
/// other messages.
#[inline(always)]
fn echo_identifier<F: Frame>(frame: &F, packet: &Packet) -> Option<u16> {
    let (request, reply) = match packet.protocol {
        transport::ICMP => (icmp::ECHO_REQUEST, icmp::ECHO_REPLY),
        _ => (icmp::ECHO_REQUEST_V6, icmp::ECHO_REPLY_V6),
    };
    let kind = packet.transport.source;
    if kind != u16::from(request) && kind != u16::from(reply) {
        return None;
    }
    let identifier = frame.load::<u16>(packet.payload.start + 4).ok()?;
    Some(u16::from_be(identifier))
}
