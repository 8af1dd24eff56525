//! Which addresses of a shared subnet a host may give: its blocks.
//!
//! Hosts that have the same file give addresses of the same network without asking one another. So the
//! subnet is cut into blocks, and each block is one host's, which follows from the names of the hosts
//! alone. A host that comes or goes moves as few blocks as can be (rendezvous hashing), and none has
//! more than one block above another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::fnv::fnv1a_64;

/// A subnet is cut into this many blocks for each host, or a little more.
const BLOCKS_PER_HOST: usize = 4;
/// And into this many at most, unless there are more hosts.
const BLOCKS_MAX: usize = 256;

/// Addresses from the first to the last, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Range {
    /// The first address, as a number.
    first: u128,
    /// The last address, as a number.
    last: u128,
    is_ipv4: bool,
}

impl Range {
    /// The addresses of a subnet that stations can have: not the network's and the broadcast address of
    /// IPv4 (RFC 922), nor the anycast address of routers of IPv6 (RFC 4291 section 2.6.1), where there
    /// is room for more than two.
    #[must_use]
    pub fn of(subnet: IpNet) -> Self {
        let whole = Self::whole(subnet);
        let is_large = whole.last - whole.first > 1;
        Self {
            first: whole.first + u128::from(is_large),
            last: whole.last - u128::from(is_large && whole.is_ipv4),
            ..whole
        }
    }

    /// All addresses of a subnet.
    #[must_use]
    pub fn whole(subnet: IpNet) -> Self {
        Self {
            first: number(subnet.network()),
            last: number(subnet.broadcast()),
            is_ipv4: subnet.addr().is_ipv4(),
        }
    }

    /// What both have in common.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        let first = self.first.max(other.first);
        let last = self.last.min(other.last);
        (first <= last && self.is_ipv4 == other.is_ipv4).then_some(Self {
            first,
            last,
            ..self
        })
    }

    /// Whether an address is one of these.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4 && (self.first..=self.last).contains(&number(address))
    }

    /// The addresses in order.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        (self.first..=self.last).map(move |number| self.address(number))
    }

    /// How many addresses these are.
    #[must_use]
    pub const fn count(self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    fn address(self, number: u128) -> IpAddr {
        if self.is_ipv4 {
            // The lower 32 bits are all that there is.
            Ipv4Addr::from(number as u32).into()
        } else {
            Ipv6Addr::from(number).into()
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The blocks of a subnet that one of the hosts may give addresses from, in order; neighboring blocks
/// are one range.
#[must_use]
pub fn blocks(subnet: IpNet, hosts: &BTreeSet<String>, own: &str) -> Vec<Range> {
    let whole = Range::whole(subnet);
    let host_bits = u32::from(subnet.max_prefix_len() - subnet.prefix_len());
    let wanted = (hosts.len() * BLOCKS_PER_HOST).clamp(1, BLOCKS_MAX.max(hosts.len()));
    let bits = wanted.next_power_of_two().trailing_zeros().min(host_bits);
    let size = host_bits - bits;
    let owners = owners(1 << bits, hosts);
    let mut ranges: Vec<Range> = Vec::new();
    for (i, owner) in owners.iter().enumerate() {
        if *owner != own {
            continue;
        }
        let first = whole.first + ((i as u128) << size);
        let last = first + ((1_u128 << size) - 1);
        match ranges.last_mut() {
            Some(before) if before.last + 1 == first => before.last = last,
            _ => ranges.push(Range {
                first,
                last,
                ..whole
            }),
        }
    }
    let stations = Range::of(subnet);
    ranges
        .into_iter()
        .filter_map(|it| it.and(stations))
        .collect()
}

/// Whose each block is: of the hosts that have not their share yet the one with the highest hash.
fn owners(count: usize, hosts: &BTreeSet<String>) -> Vec<&str> {
    let mut shares: BTreeMap<&str, usize> = hosts.iter().map(|host| (host.as_str(), 0)).collect();
    let mut owners = Vec::with_capacity(count);
    for block in 0..count {
        let least = shares.values().copied().min().unwrap_or(0);
        // As long as there is enough for all, everybody takes from the same share.
        let share = (count / hosts.len().max(1)).max(least + 1);
        let room = shares.iter_mut().filter(|(_, taken)| **taken < share);
        let best = room.max_by_key(|(host, _)| {
            let parts = [host.as_bytes(), &block.to_be_bytes()];
            mixed(fnv1a_64(parts))
        });
        if let Some((host, taken)) = best {
            *taken += 1;
            owners.push(*host);
        }
    }
    owners
}

/// Spreads the difference of a last byte over all bits, which the hash by itself does not
/// (the finalizer of MurmurHash3).
const fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(count: usize) -> BTreeSet<String> {
        (0..count).map(|i| format!("host-{i}")).collect()
    }

    fn shares(subnet: IpNet, hosts: &BTreeSet<String>) -> Vec<Vec<Range>> {
        hosts.iter().map(|own| blocks(subnet, hosts, own)).collect()
    }

    proptest! {
        #[test]
        fn no_two_hosts_share_an_address_and_none_is_nobodys(
            (bits, v6) in (0_u8..=9, any::<bool>()),
            address in any::<u128>(),
            count in 1_usize..14,
        ) {
            let subnet = if v6 {
                IpNet::new(Ipv6Addr::from(address).into(), 128 - bits)
            } else {
                IpNet::new(Ipv4Addr::from(address as u32).into(), 32 - bits)
            };
            let subnet = subnet.unwrap().trunc();
            let hosts = hosts(count);
            let shares = shares(subnet, &hosts);
            let all = Range::of(subnet);
            for address in all.addresses() {
                let owners = shares.iter().filter(|share| share.iter().any(|it| it.contains(address)));
                prop_assert_eq!(owners.count(), 1, "{} of {}", address, subnet);
            }
            let given: u128 = shares.iter().flatten().map(|range| range.count()).sum();
            prop_assert_eq!(given, all.count());
        }

        #[test]
        fn every_host_gets_its_share(count in 1_usize..14, bits in 9_u8..16) {
            let subnet = IpNet::new(Ipv4Addr::new(10, 0, 0, 0).into(), 32 - bits).unwrap();
            let sizes = shares(subnet, &hosts(count)).into_iter();
            let sizes: Vec<u128> = sizes.map(|share| share.iter().map(|it| it.count()).sum()).collect();
            let block = (1_u128 << bits) / (count * BLOCKS_PER_HOST).next_power_of_two().min(256) as u128;
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= block + 2, "{sizes:?}");
        }
    }

    #[test]
    fn a_host_that_comes_takes_little_from_the_others() {
        let subnet: IpNet = "10.0.0.0/16".parse().unwrap();
        let (few, more) = (hosts(15), hosts(16));
        let moved = few.iter().map(|own| {
            let (before, after) = (blocks(subnet, &few, own), blocks(subnet, &more, own));
            let all = before.iter().flat_map(|range| range.addresses());
            all.filter(|address| !after.iter().any(|it| it.contains(*address)))
                .count()
        });
        // A fair share is 4096; what moves between the others is not much more.
        let moved: usize = moved.sum();
        assert!(moved < 4096 * 5, "{moved}");
    }

    #[test]
    fn addresses_that_no_station_can_have_are_left_out() {
        let ranges = |text: &str| {
            let range = Range::of(text.parse().unwrap());
            let all: Vec<IpAddr> = range.addresses().collect();
            (all[0].to_string(), all[all.len() - 1].to_string())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(ranges("10.1.0.0/24"), pair("10.1.0.1", "10.1.0.254"));
        assert_eq!(ranges("10.1.0.0/31"), pair("10.1.0.0", "10.1.0.1"));
        assert_eq!(ranges("10.1.0.7/32"), pair("10.1.0.7", "10.1.0.7"));
        assert_eq!(ranges("fd00::/126"), pair("fd00::1", "fd00::3"));
    }
}
