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
