//! The virtual bridge: which port of the network a frame goes to (IEEE 802.1Q-2022, 8.6).

use maps_schema::map::{FdbKey, IngressPort, Network};
use maps_schema::{DropReason, Mac, RouterId};

use crate::learning;
use crate::tables::Tables;
use crate::verdict::Verdict;

/// Decides by the destination address.
#[inline(always)]
pub fn decide<T: Tables>(tables: &T, port: &IngressPort, destination: Mac) -> Verdict {
    if destination.is_group() {
        if destination.is_bridge_reserved() {
            return Verdict::Drop(DropReason::ReservedGroup);
        }
        return flood(tables, port, |_network| true);
    }
    let key = FdbKey::new(port.vni, destination);
    let known = match tables.fdb(&key) {
        Some(entry) if entry.router != RouterId::NONE => return Verdict::Route(entry.port),
        Some(entry) => Some(entry.port),
        None => tables
            .network(port.vni)
            .filter(|network| network.flags & Network::LEARNS != 0)
            .and_then(|network| learning::recall(tables, &key, network.ageing_ns)),
    };
    match known {
        Some(destination) if destination == port.port => Verdict::Drop(DropReason::SamePort),
        Some(destination) => Verdict::Deliver(destination),
        None => flood(tables, port, |network| {
            network.flags & Network::FLOOD_UNKNOWN != 0
        }),
    }
}

#[inline(always)]
fn flood<T: Tables>(
    tables: &T,
    port: &IngressPort,
    wanted: impl FnOnce(&Network) -> bool,
) -> Verdict {
    match tables.network(port.vni) {
        None => Verdict::Drop(DropReason::UnknownNetwork),
        Some(network) if wanted(&network) => Verdict::Flood(network),
        Some(_) => Verdict::Drop(DropReason::UnknownUnicast),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryTables;
    use crate::scene::{
        CACHE, DB, STRANGER, TWIN, WEB, assert_delivered, assert_dropped, assert_flooded, ethernet,
        set_flags, tables, tag,
    };

    const TO_STRANGER: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 77, 0, 99);

    #[test]
    fn a_known_address_gets_the_frame_alone() {
        assert_delivered(&tables(), &WEB, &WEB.udp_to(&DB), &DB);
        assert_delivered(&tables(), &DB, &DB.udp_to(&CACHE), &CACHE);
        let tagged = tag(&WEB.udp_to(&DB), 0x8100, 5);
        assert_delivered(&tables(), &WEB, &tagged, &DB);
    }

    #[test]
    fn the_same_address_in_another_network_is_another_station() {
        // `WEB` is not in the network of the twin of `DB`.
        let frame = TWIN.udp_to(&WEB);
        assert_dropped(&tables(), &TWIN, &frame, DropReason::UnknownUnicast);
    }

    #[test]
    fn an_unknown_address_gets_nothing_unless_the_network_floods() {
        let mut tables = tables();
        let frame = WEB.udp_to_mac(STRANGER, TO_STRANGER);
        assert_dropped(&tables, &WEB, &frame, DropReason::UnknownUnicast);
        set_flags(&mut tables, &WEB, 0, Network::FLOOD_UNKNOWN);
        assert_flooded(&tables, &WEB, &frame, &[DB, CACHE]);
    }

    #[test]
    fn a_frame_to_its_own_port_is_filtered() {
        let frame = ethernet(WEB.mac, WEB.mac, 0x88cc, &[]);
        assert_dropped(&tables(), &WEB, &frame, DropReason::SamePort);
    }

    #[test]
    fn groups_that_bridges_keep_to_themselves_go_nowhere() {
        for last in 0..=0xff {
            let group = Mac::new([0x01, 0x80, 0xc2, 0, 0, last]);
            let frame = ethernet(group, WEB.mac, 0x88cc, &[]);
            if last < 0x10 {
                assert_dropped(&tables(), &WEB, &frame, DropReason::ReservedGroup);
            } else {
                assert_flooded(&tables(), &WEB, &frame, &[DB, CACHE]);
            }
        }
    }

    #[test]
    fn a_network_that_is_gone_is_named() {
        let mut tables = tables();
        tables.networks.remove(&WEB.vni);
        let unknown = DropReason::UnknownNetwork;
        assert_dropped(&tables, &WEB, &WEB.asks_arp(TO_STRANGER), unknown);
        let frame = WEB.udp_to_mac(STRANGER, TO_STRANGER);
        assert_dropped(&tables, &WEB, &frame, unknown);
        assert_delivered(&tables, &WEB, &WEB.udp_to(&DB), &DB);
    }

    #[test]
    fn learned_addresses_count_only_where_a_port_learns() {
        let mut tables = tables();
        let entry = maps_schema::map::LearnedEntry {
            seen_ns: 0,
            port: DB.port,
            reserved: 0,
        };
        let key = FdbKey::new(WEB.vni, STRANGER);
        tables.learned.get_mut().insert(key, entry);
        let frame = WEB.udp_to_mac(STRANGER, TO_STRANGER);
        assert_dropped(&tables, &WEB, &frame, DropReason::UnknownUnicast);
        set_flags(&mut tables, &WEB, 0, Network::LEARNS);
        assert_delivered(&tables, &WEB, &frame, &DB);
    }

    #[test]
    fn what_was_declared_outweighs_what_was_learned() {
        let mut tables: MemoryTables = tables();
        set_flags(&mut tables, &WEB, 0, Network::LEARNS);
        let entry = maps_schema::map::LearnedEntry {
            seen_ns: 0,
            port: CACHE.port,
            reserved: 0,
        };
        let key = FdbKey::new(WEB.vni, DB.mac);
        tables.learned.get_mut().insert(key, entry);
        assert_delivered(&tables, &WEB, &WEB.udp_to(&DB), &DB);
    }
}
