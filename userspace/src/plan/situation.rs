//! What a plan must know of the host that it is for. The host finds it out; the plan decides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use maps_schema::{IfIndex, Mac};

use super::view::ETHERNET;
use crate::topology::Topology;

/// The range of ports that Linux begins with (`ip-sysctl`, `ip_local_port_range`).
const LOCAL_PORTS: (u16, u16) = (32768, 60999);

/// What a plan must know of the host that it is for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Situation {
    /// The host's name in the topology; `None` if it has none there (a topology without hosts).
    pub host: Option<String>,
    /// Its interface to the underlay, or, in a topology without hosts, the one that its default route
    /// leads through, if a router has an uplink.
    pub uplink: Option<Uplink>,
    /// Workloads of this host that are not running. Their ports are left out: nobody is told that
    /// their addresses can be reached.
    pub absent: BTreeSet<String>,
    /// Hosts that were found dead: equal next hops behind them are left out, as long as others are
    /// left.
    pub dead: BTreeSet<String>,
    /// For peers without a tunnel: the next hop on the way to their address.
    pub next_hops: BTreeMap<IpAddr, IpAddr>,
    /// Hosts to which smaller packets get than they should: the largest IP packet of the underlay that
    /// does, in bytes.
    pub path_mtu: BTreeMap<String, u32>,
}

impl Situation {
    /// What another host can be taken for as long as only its file is known: all of its workloads run.
    /// Its interface to the underlay has its name from the file, or is called `uplink`.
    #[must_use]
    pub fn from_afar(topology: &Topology, host: &str) -> Self {
        let declared = topology.hosts.get(host);
        let interface = declared.and_then(|host| host.uplink.clone());
        Self {
            host: Some(host.to_owned()),
            uplink: Some(Uplink {
                interface: interface.unwrap_or_else(|| "uplink".to_owned()),
                ifindex: IfIndex(1),
                mtu: declared.and_then(|host| host.mtu).unwrap_or(ETHERNET),
                driver: None,
                mac: Mac::ZERO,
                addresses: Vec::new(),
                local_ports: LOCAL_PORTS,
            }),
            ..Self::default()
        }
    }

    /// What the own underlay carries, in bytes: as it is declared, or as the uplink is.
    #[must_use]
    pub fn own_mtu(&self, topology: &Topology) -> Option<u32> {
        let own = self.host.as_deref().and_then(|own| topology.hosts.get(own));
        let declared = own.and_then(|host| host.mtu);
        declared.or_else(|| self.uplink.as_ref().map(|uplink| uplink.mtu))
    }

    /// The largest IP packet that the underlay should carry from here to another host, in bytes: what
    /// fits both ends, as far as that is known.
    #[must_use]
    pub fn promised_mtu(&self, topology: &Topology, host: &str) -> Option<u32> {
        let own = self.own_mtu(topology)?;
        let other = topology.hosts.get(host)?.mtu;
        Some(other.map_or(own, |other| other.min(own)))
    }
}

/// A host's interface to the underlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: IfIndex,
    /// The largest IP packet that it carries, in bytes.
    pub mtu: u32,
    /// What its driver is called, if it says so.
    pub driver: Option<String>,
    /// Its MAC address.
    pub mac: Mac,
    /// The addresses that it has, but for those that are good on its link only.
    pub addresses: Vec<IpAddr>,
    /// The first and the last of the ports that the host's own programs are given where they ask for
    /// none (`net.ipv4.ip_local_port_range`).
    pub local_ports: (u16, u16),
}
