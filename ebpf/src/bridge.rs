//! The virtual bridge: which port of the network a frame goes to (IEEE 802.1Q-2022, 8.6).

use maps_schema::map::{FdbKey, IngressPort, Network};
use maps_schema::{DropReason, Mac};

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
