//! Fragments: only the first one of a packet says which flow the packet belongs to (RFC 791 section 3.2,
//! RFC 8200 section 4.5).
//!
//! The datapath puts nothing together. It notes what the first fragment says, and takes the later ones for
//! what they are: parts of a packet of that flow. One that comes before the first is of no flow.

use maps_schema::map::{FragmentKey, Start};

use super::track::{Track, enter};
use crate::departure::Origin;
use crate::frame::Frame;
use crate::parse::ethernet::HEADER_LEN;
use crate::parse::{Kind, Packet, Transport, TransportKind, transport};
use crate::tables::Tables;

/// How long after the first fragment of a packet others may come, in nanoseconds: as long as Linux waits
/// for them (`ipfrag_time`).
const WAIT_NS: u64 = 30_000_000_000;
/// Where the identification is in an IPv4 packet, in bytes from the beginning of the frame.
const IDENTIFICATION: u32 = HEADER_LEN as u32 + 4;
/// Where it is in the header of an IPv6 fragment.
const IDENTIFICATION_V6: u32 = 4;

/// Notes what the first fragment of a packet says. The flow's key is known.
#[inline(never)]
pub(super) fn note<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    origin: &Origin,
    packet: &Packet,
    track: &Track,
) {
    let start = Start {
        seen_ns: tables.now_ns(),
        source_port: track.key.source_port,
        destination_port: track.key.destination_port,
        source: packet.transport.source,
        destination: packet.transport.destination,
    };
    tables.note_start(&key(frame, origin, packet), &start);
}

/// A later fragment is of its first one's flow: it gets its ports. `false` if nothing is known of that.
#[inline(never)]
pub(super) fn follow<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    origin: &Origin,
    packet: &mut Packet,
    track: &mut Track,
) -> bool {
    let Some(start) = tables.start(&key(frame, origin, packet)) else {
        return false;
    };
    if tables.now_ns().saturating_sub(start.seen_ns) > WAIT_NS {
        return false;
    }
    track.key.source_port = start.source_port;
    track.key.destination_port = start.destination_port;
    packet.transport = Transport {
        kind: match packet.protocol {
            transport::ICMP | transport::ICMPV6 => TransportKind::Icmp,
            _ => TransportKind::Ports,
        },
        source: start.source,
        destination: start.destination,
    };
    true
}

/// What the fragments of a packet have in common.
#[inline(always)]
fn key<F: Frame>(frame: &F, origin: &Origin, packet: &Packet) -> FragmentKey {
    let mut key = FragmentKey {
        source: packet.ip_source,
        destination: packet.ip_destination,
        identification: if matches!(packet.kind, Kind::Ipv4) {
            u32::from(frame.load::<u16>(IDENTIFICATION).unwrap_or(0))
        } else {
            // The header before the payload: another one between them is one that nobody sends.
            let at = packet.protocol_at + IDENTIFICATION_V6;
            frame.load::<u32>(at).unwrap_or(0)
        },
        protocol: packet.protocol,
        ..FragmentKey::NONE
    };
    (key.port, key.vni) = enter(origin);
    key
}
