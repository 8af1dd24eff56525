//! A veth pair between the host and a workload's namespace, as data: the plan says how it should be,
//! the kernel edge says how it is, and the two are compared field by field.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use maps_schema::Mac;

/// One veth pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Name of the host's end; carries the instance's prefix.
    pub name: String,
    /// Alias of the host's end: who owns it and which port it is.
    pub alias: String,
    /// Both ends' MTU: the largest IP packet in bytes.
    pub mtu: u32,
    /// Whether both ends are administratively up.
    pub up: bool,
    /// The workload's end.
    pub inside: Inside,
}

impl Link {
    /// Whether this link cannot be changed into the other one, but must be deleted and made again:
    /// an interface that is up is neither renamed nor given another MAC address behind the back of
    /// the workload that uses it.
    #[must_use]
    pub fn needs_recreation(&self, to: &Self) -> bool {
        self.name != to.name
            || self.inside.interface != to.inside.interface
            || self.inside.mac != to.inside.mac
    }
}

/// A veth pair whose workload's end is left on the host, for Docker to move it into a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handover {
    /// Name of the end that stays.
    pub name: String,
    /// Name of the end that Docker moves, as long as it is on the host.
    pub inside: String,
    /// Alias of the end that stays.
    pub alias: String,
    /// The MAC address of the other end.
    pub mac: Mac,
    /// Both ends' MTU: the largest IP packet in bytes.
    pub mtu: u32,
}

/// Where the end of a link is that Docker moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whereabouts {
    /// Where it was made, or has been put back to.
    OnHost,
    /// In another network namespace.
    Away,
}

/// The workload's end of a veth pair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inside {
    /// The interface's name in the workload's namespace.
    pub interface: String,
    /// Its MAC address.
    pub mac: Mac,
    /// Its addresses with the length of their subnet's prefix. The addresses that the kernel makes
    /// by itself (IPv6 link-local) are not among them.
    pub addresses: BTreeSet<IpNet>,
    /// The routes that bowline put there, besides those that follow from the addresses.
    pub routes: BTreeSet<Route>,
}

/// A route in a workload's namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Route {
    /// Which destinations; the default route is `0.0.0.0/0` or `::/0`.
    pub to: IpNet,
    /// The next hop, of the same family.
    pub via: IpAddr,
}

/// The IPv6 link-local address that follows from a MAC address (RFC 4291, appendix A). The kernel
/// gives it to the workload's end, and the datapath accepts it as a source.
#[must_use]
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.octets();
    Ipv6Addr::from([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_and_mac_addresses_need_a_new_link() {
        let link = Link {
            name: "bl-00000001".to_owned(),
            alias: "bowline:default:web/eth0".to_owned(),
            mtu: 1500,
            up: true,
            inside: Inside {
                interface: "eth0".to_owned(),
                mac: Mac::new([2, 0, 0, 0, 0, 1]),
                addresses: BTreeSet::new(),
                routes: BTreeSet::new(),
            },
        };
        let changed = |change: fn(&mut Link)| {
            let mut to = link.clone();
            change(&mut to);
            link.needs_recreation(&to)
        };
        assert!(changed(|link| link.name.push('2')));
        assert!(changed(|link| link.inside.interface.push('2')));
        assert!(changed(
            |link| link.inside.mac = Mac::new([2, 0, 0, 0, 0, 2])
        ));
        assert!(!changed(|link| link.mtu = 1400));
        assert!(!changed(|link| link.up = false));
        assert!(!changed(|link| link.alias.clear()));
        assert!(!changed(|link| {
            link.inside.addresses.insert("10.1.0.1/24".parse().unwrap());
        }));
    }

    #[test]
    fn link_local_addresses_flip_the_universal_bit() {
        assert_eq!(
            link_local(Mac::new([0x02, 0x42, 0x0a, 0x01, 0x00, 0x0a])),
            "fe80::42:aff:fe01:a".parse::<Ipv6Addr>().unwrap()
        );
    }
}
