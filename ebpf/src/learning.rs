//! MAC learning, for ports with more than one station behind them (IEEE 802.1Q-2022, 8.7).

use maps_schema::map::{FdbKey, IngressPort, LearnedEntry};
use maps_schema::{Mac, PortId};

use crate::tables::Tables;

/// How much older than now an entry may be before it is refreshed, in nanoseconds. Writing a row
/// costs about as much as forwarding five frames, so it is not done for each of them.
const REFRESH_NS: u64 = 1_000_000_000;

/// Notes that `source` is behind `port`, if that is news.
#[inline(always)]
pub fn learn<T: Tables>(tables: &T, port: &IngressPort, source: Mac) {
    if port.flags & IngressPort::LEARNING == 0 || source == port.mac {
        return;
    }
    let key = FdbKey::new(port.vni, source);
    let seen_ns = tables.now_ns();
    let known = tables.learned(&key).is_some_and(|entry| {
        entry.port == port.port && seen_ns.saturating_sub(entry.seen_ns) < REFRESH_NS
    });
    if !known {
        tables.learn(
            &key,
            &LearnedEntry {
                seen_ns,
                port: port.port,
                reserved: 0,
            },
        );
    }
}

/// Where `key` was last seen, if that is less than `ageing_ns` ago.
#[inline(always)]
pub fn recall<T: Tables>(tables: &T, key: &FdbKey, ageing_ns: u64) -> Option<PortId> {
    let entry = tables.learned(key)?;
    let age = tables.now_ns().saturating_sub(entry.seen_ns);
    (age < ageing_ns).then_some(entry.port)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use maps_schema::DropReason;
    use maps_schema::map::Network;

    use super::*;
    use crate::memory::MemoryTables;
    use crate::scene::{
        AGEING_NS, CACHE, DB, STRANGER, Station, WEB, assert_delivered, assert_dropped, ethernet,
        send, set_flags, tables,
    };

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);

    /// Tables in which `WEB` and `DB` have many stations behind them.
    fn learning() -> MemoryTables {
        let mut tables = tables();
        for station in [WEB, DB] {
            set_flags(
                &mut tables,
                &station,
                IngressPort::LEARNING,
                Network::LEARNS,
            );
        }
        tables.now_ns.set(1_000);
        tables
    }

    /// A station that nobody declared says something behind a port.
    fn speaks(tables: &MemoryTables, behind: &Station) {
        send(tables, behind, &ethernet(CACHE.mac, STRANGER, 0x88cc, &[]));
    }

    fn entry(tables: &MemoryTables) -> Option<LearnedEntry> {
        tables.learned(&FdbKey::new(WEB.vni, STRANGER))
    }

    #[test]
    fn a_station_is_found_where_it_spoke_until_it_ages() {
        let tables = learning();
        let frame = CACHE.udp_to_mac(STRANGER, ADDRESS);
        let unknown = DropReason::UnknownUnicast;
        assert_dropped(&tables, &CACHE, &frame, unknown);
        speaks(&tables, &WEB);
        assert_delivered(&tables, &CACHE, &frame, &WEB);
        tables.now_ns.set(1_000 + AGEING_NS - 1);
        assert_delivered(&tables, &CACHE, &frame, &WEB);
        tables.now_ns.set(1_000 + AGEING_NS);
        assert_dropped(&tables, &CACHE, &frame, unknown);
        speaks(&tables, &WEB);
        assert_delivered(&tables, &CACHE, &frame, &WEB);
    }

    #[test]
    fn a_station_that_moves_is_found_at_its_new_port_at_once() {
        let tables = learning();
        let frame = CACHE.udp_to_mac(STRANGER, ADDRESS);
        speaks(&tables, &WEB);
        speaks(&tables, &DB);
        assert_delivered(&tables, &CACHE, &frame, &DB);
        speaks(&tables, &WEB);
        assert_delivered(&tables, &CACHE, &frame, &WEB);
    }

    #[test]
    fn stations_behind_one_port_speak_among_themselves() {
        let tables = learning();
        speaks(&tables, &WEB);
        let frame = WEB.udp_to_mac(STRANGER, ADDRESS);
        assert_dropped(&tables, &WEB, &frame, DropReason::SamePort);
    }

    #[test]
    fn an_entry_is_refreshed_once_a_second() {
        let tables = learning();
        let seen_at = |now_ns| {
            tables.now_ns.set(now_ns);
            speaks(&tables, &WEB);
            entry(&tables).unwrap().seen_ns
        };
        assert_eq!(seen_at(1_000), 1_000);
        assert_eq!(seen_at(1_000 + REFRESH_NS - 1), 1_000);
        assert_eq!(seen_at(1_000 + REFRESH_NS), 1_000 + REFRESH_NS);
        // The clocks of processors differ by a tick; an entry from the future is a fresh one.
        assert_eq!(seen_at(500), 1_000 + REFRESH_NS);
    }

    #[test]
    fn only_ports_that_learn_learn_and_never_what_is_refused() {
        let mut tables = learning();
        speaks(&tables, &CACHE);
        assert_eq!(entry(&tables), None, "the frame was spoofed");
        set_flags(&mut tables, &CACHE, IngressPort::MAY_SPOOF, Network::LEARNS);
        speaks(&tables, &CACHE);
        assert_eq!(entry(&tables), None, "the port does not learn");
        send(&tables, &WEB, &WEB.udp_to(&DB));
        assert!(
            tables.learned.borrow().is_empty(),
            "its own address is known"
        );
    }

    #[test]
    fn a_station_behind_a_port_that_is_gone_cannot_be_reached() {
        let mut tables = learning();
        speaks(&tables, &WEB);
        tables.ports.remove(&WEB.port);
        let frame = CACHE.udp_to_mac(STRANGER, ADDRESS);
        assert_dropped(&tables, &CACHE, &frame, DropReason::PortUnplugged);
    }
}
