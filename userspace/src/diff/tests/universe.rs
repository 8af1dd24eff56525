//! Small files that have much in common.

use std::collections::BTreeSet;
use std::fmt::Write;

use maps_schema::Mac;
use maps_schema::map::IngressPort;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// How many workloads a file may have.
const WORKLOADS: usize = 6;
/// How many addresses there are for them to fight over.
pub(super) const ADDRESSES: u8 = 8;

/// One workload with one port, in a universe so small that two files have much in common.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Workload {
    absent: bool,
    network: u8,
    /// One out of [`ADDRESSES`].
    address: Option<u8>,
    /// One out of [`ADDRESSES`]; derived from the name otherwise.
    mac: Option<u8>,
    learning: bool,
    may_spoof: bool,
    /// Which of two interfaces it has: another one after its link was made again.
    interface: bool,
}

/// What is said of a network.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Network {
    vni: bool,
    flood_unknown: bool,
    ageing: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Universe {
    networks: Vec<Network>,
    workloads: Vec<Option<Workload>>,
}

fn workload() -> impl Strategy<Value = Workload> {
    let address = || proptest::option::of(0..ADDRESSES);
    let rarely = || proptest::bool::weighted(0.15);
    let switches = (rarely(), rarely(), rarely(), rarely());
    (0..2_u8, address(), address(), switches).prop_map(
        |(network, address, mac, (absent, learning, may_spoof, interface))| Workload {
            absent,
            network,
            address,
            mac,
            learning,
            may_spoof,
            interface,
        },
    )
}

fn network() -> impl Strategy<Value = Network> {
    (proptest::bool::weighted(0.1), any::<bool>(), any::<bool>()).prop_map(
        |(vni, flood_unknown, ageing)| Network {
            vni,
            flood_unknown,
            ageing,
        },
    )
}

pub(super) fn universe() -> impl Strategy<Value = Universe> {
    let workload = proptest::option::weighted(0.8, workload());
    (vec(network(), 2), vec(workload, WORKLOADS)).prop_map(|(networks, workloads)| Universe {
        networks,
        workloads,
    })
}

/// Another universe with some parts of the first.
pub(super) fn changed(from: Universe) -> impl Strategy<Value = Universe> {
    let kept = vec(proptest::bool::weighted(0.6), 2 + WORKLOADS);
    (universe(), kept).prop_map(move |(mut to, kept)| {
        let (networks, workloads) = kept.split_at(2);
        for ((to, from), &kept) in to.networks.iter_mut().zip(&from.networks).zip(networks) {
            if kept {
                *to = *from;
            }
        }
        for ((to, from), &kept) in to.workloads.iter_mut().zip(&from.workloads).zip(workloads) {
            if kept {
                *to = *from;
            }
        }
        to
    })
}

pub(super) fn pair() -> impl Strategy<Value = (Universe, Universe)> {
    universe().prop_flat_map(|from| (Just(from.clone()), changed(from)))
}

pub(super) fn ip(address: u8) -> [u8; 4] {
    [10, 0, 0, 1 + address]
}

pub(super) fn mac(address: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, address])
}

impl Universe {
    /// The file; of two workloads that want the same address the second does without.
    fn file(&self) -> String {
        let mut text = "networks:\n".to_owned();
        for (i, network) in self.networks.iter().enumerate() {
            let unknown = if network.flood_unknown {
                "flood"
            } else {
                "drop"
            };
            let (vni, ageing) = (
                10 * (i + 1) + usize::from(network.vni),
                5 + u8::from(network.ageing),
            );
            writeln!(
                text,
                "  n{i}: {{ subnets: 10.0.0.0/24, vni: {vni}, unknown_unicast: {unknown}, ageing: {ageing} }}"
            )
            .unwrap();
        }
        text.push_str("workloads:\n");
        let mut taken = BTreeSet::new();
        for (i, workload) in self.workloads.iter().enumerate() {
            let Some(it) = workload else { continue };
            let mut port = format!("network: n{}", it.network);
            if let Some(address) = it.address.filter(|&a| taken.insert(("ip", it.network, a))) {
                let [a, b, c, d] = ip(address);
                write!(port, ", addresses: {a}.{b}.{c}.{d}").unwrap();
            }
            if let Some(address) = it.mac.filter(|&a| taken.insert(("mac", it.network, a))) {
                write!(port, ", mac: {}", mac(address)).unwrap();
            }
            let spoofing = if it.may_spoof { "allow" } else { "deny" };
            writeln!(
                text,
                "  w{i}: {{ ports: [{{ {port}, learning: {}, spoofing: {spoofing} }}] }}",
                it.learning
            )
            .unwrap();
        }
        text
    }

    fn plan(&self) -> Plan {
        let named: Vec<(String, &Workload)> = self
            .workloads
            .iter()
            .enumerate()
            .filter_map(|(i, workload)| Some((format!("w{i}"), workload.as_ref()?)))
            .collect();
        let absent: Vec<&str> = named
            .iter()
            .filter(|(_, workload)| workload.absent)
            .map(|(name, _)| name.as_str())
            .collect();
        plan_without(&self.file(), &absent)
    }

    /// The rows, and who is behind which interface.
    pub(super) fn rows(&self) -> (Tables, BTreeMap<IfIndex, IngressPort>) {
        let plan = self.plan();
        let mut interfaces = BTreeMap::new();
        let mut ports = BTreeMap::new();
        for (end, planned) in &plan.links {
            let number: usize = planned
                .name
                .workload
                .strip_prefix('w')
                .unwrap()
                .parse()
                .unwrap();
            let again = self.workloads[number].is_some_and(|it| it.interface);
            let ifindex = IfIndex(u32::try_from(100 + 2 * number).unwrap() + u32::from(again));
            interfaces.insert(end.clone(), ifindex);
            ports.insert(ifindex, planned.ingress);
        }
        (plan.rows(&interfaces), ports)
    }
}
