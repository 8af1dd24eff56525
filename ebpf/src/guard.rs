//! Anti-spoofing: what a port may not send.
//!
//! A workload speaks for the addresses that it was given and for no others; otherwise it could take
//! over its neighbors' traffic. A port that learns may also speak for addresses that nobody was
//! given. The checks are switched off as a whole by [`IngressPort::MAY_SPOOF`].

use maps_schema::map::{FdbKey, IngressPort, NeighborKey};
use maps_schema::{DropReason, Ip, Mac};

use crate::parse::{Claim, Kind, Message, Packet};
use crate::tables::Tables;

/// Checks a frame's addresses against its port.
///
/// # Errors
/// The reason why the frame must be dropped.
#[inline(always)]
pub fn check<T: Tables>(tables: &T, port: &IngressPort, packet: &Packet) -> Result<(), DropReason> {
    if packet.source.is_group() || packet.source == Mac::ZERO {
        return Err(DropReason::InvalidSourceMac);
    }
    if port.flags & IngressPort::MAY_SPOOF != 0 {
        return Ok(());
    }
    if !may_use_mac(tables, port, packet.source) {
        return Err(DropReason::SpoofedMac);
    }
    // An unspecified source impersonates nobody; it has its place before an address is known
    // (RFC 1122 section 3.2.1.3, RFC 5227 section 2.1.1, RFC 4862 section 5.4.2).
    let (unspecified, otherwise) = match packet.kind {
        Kind::Opaque => return Ok(()),
        Kind::Arp => (Ip::UNSPECIFIED_V4, DropReason::SpoofedArp),
        Kind::Ipv4 => (Ip::UNSPECIFIED_V4, DropReason::SpoofedIp),
        Kind::Ipv6 => (Ip::UNSPECIFIED_V6, DropReason::SpoofedIp),
    };
    if packet.ip_source != unspecified && !may_use_ip(tables, port, packet.ip_source) {
        return Err(otherwise);
    }
    check_resolution(tables, port, packet)
}

#[inline(always)]
fn may_use_mac<T: Tables>(tables: &T, port: &IngressPort, mac: Mac) -> bool {
    mac == port.mac
        || port.flags & IngressPort::LEARNING != 0
            && tables
                .fdb(&FdbKey::new(port.vni, mac))
                .is_none_or(|entry| entry.port == port.port)
}

#[inline(always)]
fn may_use_ip<T: Tables>(tables: &T, port: &IngressPort, ip: Ip) -> bool {
    match tables.neighbor(&NeighborKey { vni: port.vni, ip }) {
        Some(neighbor) => neighbor.port == port.port,
        None => port.flags & IngressPort::LEARNING != 0,
    }
}

/// ARP and neighbor discovery make their receivers note pairs of addresses, so both of a pair must
/// be the sender's.
#[inline(always)]
fn check_resolution<T: Tables>(
    tables: &T,
    port: &IngressPort,
    packet: &Packet,
) -> Result<(), DropReason> {
    let owned = match packet.resolution.message {
        Message::FromRouter => return Err(DropReason::RogueRouter),
        Message::NeighborAdvertisement => may_use_ip(tables, port, packet.resolution.target),
        _ => true,
    };
    if owned && !matches!(packet.resolution.claim, Claim::Foreign) {
        Ok(())
    } else if matches!(packet.kind, Kind::Arp) {
        Err(DropReason::SpoofedArp)
    } else {
        Err(DropReason::SpoofedNeighbor)
    }
}
