//! Anti-spoofing: what a port may not send.
//!
//! A workload speaks for the addresses that it was given and for no others; otherwise it could take
//! over its neighbors' traffic. A port that learns may also speak for addresses that nobody was
//! given, and the same holds for a port that leads to a peer; of the stations behind an ordinary VTEP
//! that does not learn, only the MAC addresses are given. The checks are switched off as a whole by
//! [`IngressPort::MAY_SPOOF`].

use maps_schema::map::{FdbKey, IngressPort, Neighbor, NeighborKey};
use maps_schema::{DropReason, Ip, Mac, PortId, RouterId};

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
    match station(tables, port, packet.source) {
        Station::Own => {}
        Station::Router => return check_routed(tables, port, packet),
        Station::Foreign => return Err(DropReason::SpoofedMac),
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

/// Who a MAC address belongs to, as seen from a port.
enum Station {
    /// The port speaks for it.
    Own,
    /// It is a virtual router's, and the port leads to another host, where that router is too.
    Router,
    /// Somebody else's.
    Foreign,
}

#[inline(always)]
fn station<T: Tables>(tables: &T, port: &IngressPort, mac: Mac) -> Station {
    if mac == port.mac {
        return Station::Own;
    }
    if port.flags & (IngressPort::LEARNING | IngressPort::PEER) == 0 {
        return Station::Foreign;
    }
    if mac == Mac::ANSWERING && port.is_host() {
        return Station::Router;
    }
    match tables.fdb(&FdbKey::new(port.vni, mac)) {
        Some(entry) if entry.port == port.port => Station::Own,
        Some(entry) if entry.router != RouterId::NONE && port.is_host() => Station::Router,
        None if port.flags & IngressPort::LEARNING != 0 => Station::Own,
        Some(_) | None => Station::Foreign,
    }
}

#[inline(always)]
fn may_use_ip<T: Tables>(tables: &T, port: &IngressPort, ip: Ip) -> bool {
    // Nobody's address is that of no port: with a value in every case the verifier has nothing undefined
    // to follow.
    let owner = tables
        .neighbor(&NeighborKey { vni: port.vni, ip })
        .map_or(PortId::NONE, |neighbor| neighbor.port);
    let free = IngressPort::LEARNING | IngressPort::SERVED;
    owner == port.port || owner == PortId::NONE && port.flags & free != 0
}

/// What a router of another host sends has the source addresses of whoever it forwards for, but not
/// those of the network's own stations elsewhere; and it asks and answers for itself only.
#[inline(always)]
fn check_routed<T: Tables>(
    tables: &T,
    port: &IngressPort,
    packet: &Packet,
) -> Result<(), DropReason> {
    if matches!(packet.resolution.message, Message::FromRouter) {
        return Err(DropReason::RogueRouter);
    }
    if matches!(packet.kind, Kind::Opaque) {
        return Ok(());
    }
    let is_resolution = !matches!(packet.resolution.message, Message::None);
    let ip = match packet.resolution.message {
        Message::NeighborAdvertisement => packet.resolution.target,
        _ => packet.ip_source,
    };
    let (owner, flags) = tables
        .neighbor(&NeighborKey { vni: port.vni, ip })
        .map_or((PortId::NONE, 0), |neighbor| {
            (neighbor.port, neighbor.flags)
        });
    let is_router = flags & Neighbor::ROUTER != 0;
    let is_elsewhere = owner != PortId::NONE && owner != port.port;
    if is_router || !is_resolution && !is_elsewhere {
        Ok(())
    } else {
        Err(DropReason::SpoofedIp)
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use maps_schema::map::Network;

    use super::*;
    use crate::memory::MemoryTables;
    use crate::scene::{
        CACHE, DB, STRANGER, UDP, WEB, arp, assert_delivered, assert_dropped, assert_flooded,
        ethernet, group_mac, icmpv6, ipv4, ipv6, nd, option, set_flags, solicited_node, tables,
        tag,
    };

    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);

    /// Tables in which the port of `WEB` has these flags.
    fn with_flags(flags: u8) -> MemoryTables {
        let mut tables = tables();
        set_flags(&mut tables, &WEB, flags, Network::FLOOD_UNKNOWN);
        tables
    }

    #[test]
    fn a_source_that_no_station_has_is_invalid_even_where_spoofing_is_allowed() {
        let sources = [Mac::ZERO, Mac::BROADCAST, Mac::new([3, 0, 0, 0, 0, 1])];
        for flags in [0, IngressPort::MAY_SPOOF, IngressPort::LEARNING, 3] {
            for source in sources {
                let frame = ethernet(DB.mac, source, 0x88cc, &[]);
                assert_dropped(
                    &with_flags(flags),
                    &WEB,
                    &frame,
                    DropReason::InvalidSourceMac,
                );
            }
        }
    }

    /// Of the stations behind an ordinary VTEP only the MAC addresses are given.
    #[test]
    fn stations_of_a_vtep_have_addresses_that_nobody_was_given() {
        let tables = tables();
        let flags = IngressPort::PEER | IngressPort::SERVED;
        let port = IngressPort {
            mac: Mac::ZERO,
            ..WEB.ingress(flags)
        };
        let judge = |mac: Mac, source: Ipv4Addr| {
            let frame = ethernet(DB.mac, mac, 0x0800, &ipv4(source, DB.v4, 17, &UDP));
            let packet = crate::memory::parse(&crate::memory::MemoryFrame::from_wire(&frame));
            check(&tables, &port, &packet.unwrap())
        };
        assert_eq!(judge(WEB.mac, NOBODY), Ok(()));
        assert_eq!(judge(WEB.mac, CACHE.v4), Err(DropReason::SpoofedIp));
        assert_eq!(judge(STRANGER, NOBODY), Err(DropReason::SpoofedMac));
        assert_eq!(judge(CACHE.mac, NOBODY), Err(DropReason::SpoofedMac));
    }

    #[test]
    fn another_mac_is_spoofed() {
        for source in [DB.mac, STRANGER] {
            let frame = ethernet(DB.mac, source, 0x88cc, &[]);
            assert_dropped(&tables(), &WEB, &frame, DropReason::SpoofedMac);
            let frame = tag(&frame, 0x8100, 5);
            assert_dropped(&tables(), &WEB, &frame, DropReason::SpoofedMac);
        }
    }

    #[test]
    fn another_ip_is_spoofed() {
        for source in [DB.v4, NOBODY, Ipv4Addr::BROADCAST] {
            let frame = ethernet(DB.mac, WEB.mac, 0x0800, &ipv4(source, DB.v4, 17, &UDP));
            assert_dropped(&tables(), &WEB, &frame, DropReason::SpoofedIp);
            // A tag that belongs to no VLAN hides nothing.
            let frame = tag(&frame, 0x8100, 0xe000);
            assert_dropped(&tables(), &WEB, &frame, DropReason::SpoofedIp);
        }
        for source in [DB.v6, ALL_NODES, Ipv6Addr::LOCALHOST] {
            let frame = ethernet(DB.mac, WEB.mac, 0x86dd, &ipv6(source, DB.v6, 17, &UDP));
            assert_dropped(&tables(), &WEB, &frame, DropReason::SpoofedIp);
        }
    }

    #[test]
    fn later_fragments_are_checked_too() {
        let mut packet = ipv4(DB.v4, DB.v4, 17, &UDP);
        packet[6..8].copy_from_slice(&[0, 9]);
        let frame = ethernet(DB.mac, WEB.mac, 0x0800, &packet);
        assert_dropped(&tables(), &WEB, &frame, DropReason::SpoofedIp);
    }

    #[test]
    fn an_unspecified_source_is_for_those_who_have_no_address_yet() {
        let unspecified = Ipv4Addr::UNSPECIFIED;
        let packet = ipv4(unspecified, Ipv4Addr::BROADCAST, 17, &UDP);
        let frame = ethernet(Mac::BROADCAST, WEB.mac, 0x0800, &packet);
        assert_flooded(&tables(), &WEB, &frame, &[DB, CACHE]);
        let packet = ipv6(Ipv6Addr::UNSPECIFIED, ALL_NODES, 17, &UDP);
        let frame = ethernet(group_mac(ALL_NODES), WEB.mac, 0x86dd, &packet);
        assert_flooded(&tables(), &WEB, &frame, &[DB, CACHE]);
    }

    #[test]
    fn arp_claims_are_checked_in_every_operation() {
        for operation in [1, 2, 3, 9] {
            for sender in [
                (STRANGER, WEB.v4),
                (WEB.mac, DB.v4),
                (WEB.mac, NOBODY),
                (DB.mac, DB.v4),
            ] {
                let packet = arp(operation, sender, (Mac::ZERO, CACHE.v4));
                for to in [Mac::BROADCAST, CACHE.mac] {
                    let frame = ethernet(to, WEB.mac, 0x0806, &packet);
                    assert_dropped(&tables(), &WEB, &frame, DropReason::SpoofedArp);
                }
            }
        }
        let reply = arp(2, (WEB.mac, WEB.v4), (DB.mac, DB.v4));
        let frame = ethernet(DB.mac, WEB.mac, 0x0806, &reply);
        assert_delivered(&tables(), &WEB, &frame, &DB);
    }

    #[test]
    fn neighbor_claims_are_checked() {
        let spoofed = DropReason::SpoofedNeighbor;
        for message in [
            nd(135, DB.v6, &[option(1, STRANGER)]),
            nd(
                135,
                DB.v6,
                &[vec![14, 0, 0, 0, 0, 0, 0, 0], option(1, WEB.mac)],
            ),
            nd(136, DB.v6, &[option(2, WEB.mac)]),
            nd(136, DB.v6, &[]),
            nd(136, WEB.v6, &[option(2, DB.mac)]),
            nd(
                136,
                WEB.v6,
                &[vec![5, 1, 0, 0, 0, 0, 0, 0], option(2, DB.mac)],
            ),
            [&[133_u8, 0, 0, 0, 0, 0, 0, 0] as &[u8], &option(1, DB.mac)].concat(),
        ] {
            let frame = WEB.sends_nd(ALL_NODES, &message);
            assert_dropped(&tables(), &WEB, &frame, spoofed);
        }
        for message in [
            nd(136, WEB.v6, &[option(2, WEB.mac)]),
            nd(136, WEB.v6, &[]),
            [&[133_u8, 0, 0, 0, 0, 0, 0, 0] as &[u8], &option(1, WEB.mac)].concat(),
        ] {
            let frame = WEB.sends_nd(ALL_NODES, &message);
            assert_flooded(&tables(), &WEB, &frame, &[DB, CACHE]);
        }
    }

    #[test]
    fn duplicate_address_detection_is_not_a_claim() {
        let group = solicited_node(DB.v6);
        let message = icmpv6(Ipv6Addr::UNSPECIFIED, group, &nd(135, DB.v6, &[]));
        let packet = ipv6(Ipv6Addr::UNSPECIFIED, group, 58, &message);
        let frame = ethernet(group_mac(group), WEB.mac, 0x86dd, &packet);
        assert_flooded(&tables(), &WEB, &frame, &[DB, CACHE]);
    }

    #[test]
    fn workloads_are_no_routers() {
        for kind in [134, 137] {
            let message = [kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            for to in [ALL_NODES, DB.v6] {
                let frame = WEB.sends_nd(to, &message);
                assert_dropped(&tables(), &WEB, &frame, DropReason::RogueRouter);
            }
            // Behind every extension header that there is (RFC 7113 section 2).
            for kind_of_header in [0, 43, 60, 135] {
                let hidden = [&[58_u8, 0, 1, 4, 0, 0, 0, 0] as &[u8], &message].concat();
                let packet = ipv6(WEB.v6, ALL_NODES, kind_of_header, &hidden);
                let frame = ethernet(group_mac(ALL_NODES), WEB.mac, 0x86dd, &packet);
                assert_dropped(&tables(), &WEB, &frame, DropReason::RogueRouter);
            }
        }
    }

    #[test]
    fn a_port_that_may_spoof_may_send_anything() {
        let tables = with_flags(IngressPort::MAY_SPOOF);
        let packet = ipv4(DB.v4, CACHE.v4, 17, &UDP);
        let frame = ethernet(CACHE.mac, STRANGER, 0x0800, &packet);
        assert_delivered(&tables, &WEB, &frame, &CACHE);
        let advertisement = [134, 0, 0, 0, 0, 0, 0, 0];
        let frame = WEB.sends_nd(ALL_NODES, &advertisement);
        assert_flooded(&tables, &WEB, &frame, &[DB, CACHE]);
        let reply = arp(2, (DB.mac, DB.v4), (CACHE.mac, CACHE.v4));
        let frame = ethernet(CACHE.mac, WEB.mac, 0x0806, &reply);
        assert_delivered(&tables, &WEB, &frame, &CACHE);
    }

    #[test]
    fn a_port_that_learns_may_use_addresses_that_nobody_was_given() {
        let tables = with_flags(IngressPort::LEARNING);
        let packet = ipv4(NOBODY, CACHE.v4, 17, &UDP);
        let frame = ethernet(CACHE.mac, STRANGER, 0x0800, &packet);
        assert_delivered(&tables, &WEB, &frame, &CACHE);
        let reply = arp(2, (STRANGER, NOBODY), (CACHE.mac, CACHE.v4));
        let frame = ethernet(CACHE.mac, STRANGER, 0x0806, &reply);
        assert_delivered(&tables, &WEB, &frame, &CACHE);
    }

    #[test]
    fn a_port_that_learns_may_not_use_what_others_were_given() {
        let tables = with_flags(IngressPort::LEARNING);
        let frame = ethernet(CACHE.mac, DB.mac, 0x88cc, &[]);
        assert_dropped(&tables, &WEB, &frame, DropReason::SpoofedMac);
        let frame = ethernet(
            CACHE.mac,
            STRANGER,
            0x0800,
            &ipv4(DB.v4, CACHE.v4, 17, &UDP),
        );
        assert_dropped(&tables, &WEB, &frame, DropReason::SpoofedIp);
        let reply = arp(2, (STRANGER, DB.v4), (CACHE.mac, CACHE.v4));
        let frame = ethernet(CACHE.mac, STRANGER, 0x0806, &reply);
        assert_dropped(&tables, &WEB, &frame, DropReason::SpoofedArp);
        let frame = WEB.sends_nd(ALL_NODES, &nd(136, DB.v6, &[option(2, WEB.mac)]));
        assert_dropped(&tables, &WEB, &frame, DropReason::SpoofedNeighbor);
        let frame = WEB.sends_nd(ALL_NODES, &[134, 0, 0, 0]);
        assert_dropped(&tables, &WEB, &frame, DropReason::RogueRouter);
    }
}
