//! Which flow a packet belongs to.

use maps_schema::PortId;
use maps_schema::map::{Flow, FlowKey, IngressPort};

use crate::departure;
use crate::frame::Frame;
use crate::parse::{Fragment, Kind, Packet, TransportKind, transport};
use crate::tcp::{self, Segment};

/// What the datapath finds out about a packet's flow, in the working memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Track {
    /// The flow's key.
    pub(super) key: FlowKey,
    /// The key of its other direction, once it is known.
    pub(super) other: FlowKey,
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
    pub(super) found: Found,
    /// What [`Flow::flags`] says of the flow, if there is a row.
    pub(super) flags: u8,
    /// The frame's length, in bytes.
    pub(super) len: u32,
    /// The size of the largest packet that the frame will be cut into, in bytes.
    pub(super) size: u32,
    /// What TCP says, or zeroes.
    pub(super) segment: Segment,
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
    /// In [`Store::Embryos`](super::Store::Embryos).
    Embryo,
    /// In [`Store::Connections`](super::Store::Connections).
    Connection,
}

impl Track {
    /// Nothing was found out yet.
    pub(crate) const NONE: Self = Self {
        key: FlowKey::NONE,
        other: FlowKey::NONE,
        draft: Flow::NONE,
        mirror: Flow::NONE,
        is_paired: false,
        epoch: 0,
        now_ns: 0,
        found: Found::Untracked,
        flags: 0,
        len: 0,
        size: 0,
        segment: Segment::NONE,
        is_awake: false,
    };

    /// Notes in the flow's row what the packet says.
    #[inline(always)]
    pub(super) fn note(&self, flow: &mut Flow) {
        if self.key.protocol == transport::TCP {
            // What was sent before is sent again where it was lost.
            if is_behind(flow.next, self.segment.end) {
                flow.next = self.segment.end;
            }
            if self.segment.flags & tcp::ACK != 0 {
                flow.acked = self.segment.acknowledgment;
            }
        }
    }

    /// Whether the packet answers a connection that is known.
    #[inline(always)]
    pub(crate) const fn is_reply(&self) -> bool {
        matches!(self.found, Found::Embryo | Found::Connection) && self.flags & Flow::REPLY != 0
    }

    /// Whether the packet may be a turn in its connection's life.
    #[inline(always)]
    pub(super) const fn is_turn(&self) -> bool {
        self.segment.flags & (tcp::SYN | tcp::FIN | tcp::RST) != 0
    }
}

/// Whether a sequence number is before another one, modulo 2^32 (RFC 9293 section 3.4).
#[inline(always)]
pub(super) const fn is_behind(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Finds out which flow a packet belongs to; `false` if to none. Fragments belong to none, nor do
/// neighbor discovery, messages of ICMP that are no echoes, and IPv6 packets with mapped IPv4 addresses.
#[inline(never)]
pub(super) fn identify<F: Frame>(
    frame: &F,
    port: &IngressPort,
    packet: &Packet,
    track: &mut Track,
) -> bool {
    let is_ip = matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6);
    // An IPv6 packet with mapped addresses would be taken for the IPv4 packet that has them.
    let is_mapped = matches!(packet.kind, Kind::Ipv6)
        && (packet.ip_source.is_v4() || packet.ip_destination.is_v4());
    let is_whole = matches!(packet.fragment, Fragment::Whole);
    if !is_ip || is_mapped || packet.destination.is_group() || !is_whole {
        return false;
    }
    let key = &mut track.key;
    (key.source_port, key.destination_port) = match packet.transport.kind {
        TransportKind::Ports => (packet.transport.source, packet.transport.destination),
        TransportKind::Icmp => match echo_identifier(frame, packet) {
            Some(identifier) => (identifier, identifier),
            None => return false,
        },
        // Too short for its header, which is for its receiver to judge.
        TransportKind::Absent if is_read(packet.protocol) => return false,
        TransportKind::Absent => (0, 0),
    };
    // What is routed on another host may come by way of any.
    key.port = if port.is_host() {
        PortId::NONE
    } else {
        port.port
    };
    key.vni = port.vni;
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
    true
}

const fn is_read(protocol: u8) -> bool {
    matches!(
        protocol,
        transport::TCP | transport::UDP | transport::ICMP | transport::ICMPV6
    )
}

/// What echo requests and their replies are told apart by (RFC 792, RFC 4443 section 4.1); nothing for
/// other messages.
#[inline(always)]
fn echo_identifier<F: Frame>(frame: &F, packet: &Packet) -> Option<u16> {
    let is_echo = match packet.protocol {
        transport::ICMP => matches!(packet.transport.source, 0 | 8),
        _ => matches!(packet.transport.source, 128 | 129),
    };
    if !is_echo {
        return None;
    }
    let identifier = frame.load::<u16>(packet.payload.start + 4).ok()?;
    Some(u16::from_be(identifier))
}
