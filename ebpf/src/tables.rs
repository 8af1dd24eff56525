//! What the datapath looks up, behind a trait: the maps in the kernel, the plan in user space.

use maps_schema::map::{
    EgressPort, FdbEntry, FdbKey, FloodKey, FloodMember, IngressPort, LearnedEntry, Neighbor,
    NeighborKey, Network, PortCounters,
};
use maps_schema::{DropReason, IfIndex, PortId, Vni};

/// Something to be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// A frame of this many bytes entered the virtual network.
    Ingress(u32),
    /// A frame of this many bytes was handed to the port's workload.
    Egress(u32),
    /// A frame that entered here was dropped.
    Drop(DropReason),
}

impl Count {
    /// Adds what is to be counted.
    #[inline(always)]
    pub fn add_to(self, counters: &mut PortCounters) {
        match self {
            Self::Ingress(len) => {
                counters.ingress_packets += 1;
                counters.ingress_bytes += u64::from(len);
            }
            Self::Egress(len) => {
                counters.egress_packets += 1;
                counters.egress_bytes += u64::from(len);
            }
            Self::Drop(reason) => {
                if let Some(drops) = counters.drops.get_mut(reason as usize) {
                    *drops += 1;
                }
            }
        }
    }
}

/// The tables of one host. Rows are returned by value: a row that is replaced while the frame is
/// being looked at is seen before or after the change.
pub trait Tables {
    /// Which port is behind an interface.
    fn ingress_port(&self, interface: IfIndex) -> Option<IngressPort>;
    /// Where a port leads.
    fn egress_port(&self, port: PortId) -> Option<EgressPort>;
    /// A network.
    fn network(&self, vni: Vni) -> Option<Network>;
    /// Where a declared MAC address is.
    fn fdb(&self, key: &FdbKey) -> Option<FdbEntry>;
    /// Who has a declared IP address.
    fn neighbor(&self, key: &NeighborKey) -> Option<Neighbor>;
    /// A member of a flood list.
    fn flood_member(&self, key: &FloodKey) -> Option<FloodMember>;
    /// Where a learned MAC address was last seen.
    fn learned(&self, key: &FdbKey) -> Option<LearnedEntry>;
    /// Notes where a MAC address was seen.
    fn learn(&self, key: &FdbKey, entry: &LearnedEntry);
    /// The time that learned addresses age by, in nanoseconds; a few milliseconds coarse.
    fn now_ns(&self) -> u64;
    /// Counts at a port; [`PortId::NONE`] counts what belongs to no port.
    fn count(&self, port: PortId, count: Count);
}
