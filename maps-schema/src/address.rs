//! Addresses as they are on the wire: byte arrays in network order.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::plain::plain;

/// A 48-bit MAC address (IEEE 802-2014, 8.2) in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// The address that no station has.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether this names a group of stations (multicast or broadcast): the I/G bit is set.
    #[must_use]
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }

    /// Whether this is one of 01-80-C2-00-00-00 to -0F, which a bridge never forwards
    /// (IEEE 802.1Q-2022, table 8-1: spanning tree, pause frames, link aggregation, LLDP).
    #[must_use]
    #[inline(always)]
    pub const fn is_bridge_reserved(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xc2, 0, 0, last] if last < 0x10)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IPv4 or IPv6 address, as 16 bytes: IPv4 addresses are mapped (`::ffff:a.b.c.d`, RFC 4291
/// section 2.5.5.2), so that one table serves both families.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Ip(pub [u8; 16]);

impl Ip {
    /// The mapped form of an IPv4 address.
    #[must_use]
    #[inline(always)]
    pub const fn v4([a, b, c, d]: [u8; 4]) -> Self {
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    /// The address as the standard library has it.
    #[must_use]
    pub fn to_std(self) -> IpAddr {
        let v6 = Ipv6Addr::from(self.0);
        v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
    }
}

impl From<IpAddr> for Ip {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::from(v4),
            IpAddr::V6(v6) => Self(v6.octets()),
        }
    }
}

impl From<Ipv4Addr> for Ip {
    fn from(address: Ipv4Addr) -> Self {
        Self::v4(address.octets())
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_std(), f)
    }
}

impl fmt::Debug for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A VXLAN network identifier (RFC 7348 section 5) and, at the same time, the id of a network in
/// every map: 24 bits in network order behind one zero byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Vni([u8; 4]);

impl Vni {
    /// The largest identifier: 24 bits.
    pub const MAX: u32 = 0x00ff_ffff;

    /// The identifier with this number, or `None` if it is 0 or needs more than 24 bits.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 || number > Self::MAX {
            None
        } else {
            Some(Self(number.to_be_bytes()))
        }
    }

    /// The number, in host order.
    #[must_use]
    pub const fn number(self) -> u32 {
        u32::from_be_bytes(self.0)
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl fmt::Debug for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

plain! {
    Mac = 6;
    Ip = 16;
    Vni = 4;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_kinds() {
        assert!(Mac::BROADCAST.is_group());
        assert!(Mac([0x01, 0, 0x5e, 0, 0, 1]).is_group());
        assert!(!Mac([0x02, 0xff, 0xff, 0xff, 0xff, 0xff]).is_group());
        assert!(Mac([0x01, 0x80, 0xc2, 0, 0, 0x0f]).is_bridge_reserved());
        assert!(!Mac([0x01, 0x80, 0xc2, 0, 0, 0x10]).is_bridge_reserved());
        assert_eq!(Mac([2, 0, 0xab, 0, 0, 1]).to_string(), "02:00:ab:00:00:01");
    }

    #[test]
    fn ip_round_trips_in_both_families() {
        for text in ["10.1.0.10", "fd00::1", "0.0.0.0", "::"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(Ip::from(address).to_std(), address);
        }
    }

    #[test]
    fn vni_is_24_bits_in_network_order() {
        assert_eq!(Vni::new(0), None);
        assert_eq!(Vni::new(1 << 24), None);
        let vni = Vni::new(0x0a_0b_0c).unwrap();
        assert_eq!(crate::plain::bytes_of(&vni), [0, 0x0a, 0x0b, 0x0c]);
        assert_eq!(vni.number(), 0x0a_0b_0c);
    }
}
