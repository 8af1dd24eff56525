//! Addresses as they are on the wire: in memory their bytes are in network order, always.
//!
//! They are kept in words and not in bytes because BPF has no unaligned access: an array of bytes
//! would be copied, compared and hashed byte by byte, on the path of every frame.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::plain::plain;

/// A 48-bit MAC address (IEEE 802-2014, 8.2) in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Mac([u16; 3]);

impl Mac {
    /// All stations.
    pub const BROADCAST: Self = Self([u16::MAX; 3]);
    /// The address that no station has.
    pub const ZERO: Self = Self([0; 3]);
    /// Between hosts, in the place of the last router's: the packet may only be an answer. A router on its
    /// way lets nobody begin a conversation so, and where it came in nobody knows whether it begins one.
    pub const ANSWERING: Self = Self::new([0x02, b'a', 0, 0, 0, 0]);

    /// The address with these octets.
    #[must_use]
    #[inline(always)]
    pub const fn new([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self([
            u16::from_ne_bytes([a, b]),
            u16::from_ne_bytes([c, d]),
            u16::from_ne_bytes([e, f]),
        ])
    }

    /// The address that lies in memory, or on the wire, as these words.
    #[must_use]
    #[inline(always)]
    pub const fn from_words(words: [u16; 3]) -> Self {
        Self(words)
    }

    /// The address as words, as they lie in memory.
    #[must_use]
    #[inline(always)]
    pub const fn words(self) -> [u16; 3] {
        self.0
    }

    /// The octets, the first one on the wire first.
    #[must_use]
    #[inline(always)]
    pub const fn octets(self) -> [u8; 6] {
        let [ab, cd, ef] = self.0;
        let ([a, b], [c, d], [e, f]) = (ab.to_ne_bytes(), cd.to_ne_bytes(), ef.to_ne_bytes());
        [a, b, c, d, e, f]
    }

    /// Whether this names a group of stations (multicast or broadcast): the I/G bit is set.
    #[must_use]
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        let [first, ..] = self.octets();
        first & 1 != 0
    }

    /// Whether this is one of 01-80-C2-00-00-00 to -0F, which a bridge never forwards
    /// (IEEE 802.1Q-2022, table 8-1: spanning tree, pause frames, link aggregation, LLDP).
    #[must_use]
    #[inline(always)]
    pub const fn is_bridge_reserved(self) -> bool {
        matches!(self.octets(), [0x01, 0x80, 0xc2, 0, 0, last] if last < 0x10)
    }
}

impl PartialOrd for Mac {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Mac {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.octets().cmp(&other.octets())
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.octets();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IPv4 or IPv6 address, in 16 bytes: IPv4 addresses are mapped (`::ffff:a.b.c.d`, RFC 4291
/// section 2.5.5.2), so that one table serves both families.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Ip([u32; 4]);

impl Ip {
    /// The unspecified IPv4 address, `0.0.0.0`.
    pub const UNSPECIFIED_V4: Self = Self::v4_from_word(0);
    /// The unspecified IPv6 address, `::`.
    pub const UNSPECIFIED_V6: Self = Self([0; 4]);

    /// The address that lies in memory, or on the wire, as these words.
    #[must_use]
    #[inline(always)]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self(words)
    }

    /// The address with these octets in its 16-byte form.
    #[must_use]
    #[inline(always)]
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self([
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
            u32::from_ne_bytes([i, j, k, l]),
            u32::from_ne_bytes([m, n, o, p]),
        ])
    }

    /// Whether this is an IPv4 address.
    #[must_use]
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        let [a, b, c, _] = self.0;
        a == 0 && b == 0 && c == 0xffff_u32.to_be()
    }

    /// The mapped form of the IPv4 address that lies in memory, or on the wire, as this word.
    #[must_use]
    #[inline(always)]
    pub const fn v4_from_word(word: u32) -> Self {
        Self([0, 0, 0xffff_u32.to_be(), word])
    }

    /// The address as words, as they lie in memory. The last one is the IPv4 address if it is one.
    #[must_use]
    #[inline(always)]
    pub const fn words(self) -> [u32; 4] {
        self.0
    }

    /// The octets of the 16-byte form, the first one on the wire first.
    #[must_use]
    #[inline(always)]
    pub const fn octets(self) -> [u8; 16] {
        let [w, x, y, z] = self.0;
        let ([a, b, c, d], [e, f, g, h]) = (w.to_ne_bytes(), x.to_ne_bytes());
        let ([i, j, k, l], [m, n, o, p]) = (y.to_ne_bytes(), z.to_ne_bytes());
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// Whether no router forwards packets from or to this address: unspecified or "this network",
    /// loopback, link-local, multicast, reserved or broadcast (RFC 1812 section 5.3.7, RFC 6890,
    /// RFC 4291 section 2.5). The other blocks of RFC 6890 that are not to be forwarded, those for
    /// documentation and benchmarks among them, are not to leave a site; within one they are in use.
    #[must_use]
    #[inline(always)]
    pub const fn is_unroutable(self) -> bool {
        let [a, b, c, d] = self.0;
        if self.is_v4() {
            let [first, second, ..] = d.to_ne_bytes();
            return matches!(first, 0 | 127 | 224..) || first == 169 && second == 254;
        }
        let [first, second, ..] = a.to_ne_bytes();
        // `::` and `::1`, and the deprecated IPv4-compatible addresses with them.
        let is_low = a == 0 && b == 0 && c == 0;
        is_low || first == 0xff || first == 0xfe && second & 0xc0 == 0x80
    }

    /// The address as the standard library has it.
    #[must_use]
    pub fn to_std(self) -> IpAddr {
        let v6 = Ipv6Addr::from(self.octets());
        v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
    }
}

impl PartialOrd for Ip {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ip {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.octets().cmp(&other.octets())
    }
}

impl From<IpAddr> for Ip {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::from(v4),
            IpAddr::V6(v6) => Self::from(v6),
        }
    }
}

impl From<Ipv4Addr> for Ip {
    fn from(address: Ipv4Addr) -> Self {
        Self::v4_from_word(u32::from_ne_bytes(address.octets()))
    }
}

impl From<Ipv6Addr> for Ip {
    fn from(address: Ipv6Addr) -> Self {
        Self::from_octets(address.octets())
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
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Vni(u32);

impl Vni {
    /// No network.
    pub const NONE: Self = Self(0);
    /// The largest identifier of a network: the last one of 24 bits is [`Vni::OUTSIDE`].
    pub const MAX: u32 = 0x00ff_fffe;
    /// No network: what gateways bring one another from the outside is in tunnels with this identifier.
    pub const OUTSIDE: Self = Self((Self::MAX + 1).to_be());

    /// The identifier of a network with this number, or `None` if it is 0 or larger than [`Vni::MAX`].
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 || number > Self::MAX {
            None
        } else {
            Some(Self(number.to_be()))
        }
    }

    /// The identifier that a tunnel's header has, whether it is a network's or not. Only the last 24 bits
    /// of it count.
    #[must_use]
    #[inline(always)]
    pub const fn from_wire(number: u32) -> Self {
        Self((number & 0x00ff_ffff).to_be())
    }

    /// The number, in host order.
    #[must_use]
    pub const fn number(self) -> u32 {
        u32::from_be(self.0)
    }
}

impl PartialOrd for Vni {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Vni {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.number().cmp(&other.number())
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
        assert!(Mac::new([0x01, 0, 0x5e, 0, 0, 1]).is_group());
        assert!(!Mac::new([0x02, 0xff, 0xff, 0xff, 0xff, 0xff]).is_group());
        assert!(Mac::new([0x01, 0x80, 0xc2, 0, 0, 0x0f]).is_bridge_reserved());
        assert!(!Mac::new([0x01, 0x80, 0xc2, 0, 0, 0x10]).is_bridge_reserved());
        assert_eq!(
            Mac::new([2, 0, 0xab, 0, 0, 1]).to_string(),
            "02:00:ab:00:00:01"
        );
    }

    #[test]
    fn ip_round_trips_in_both_families() {
        for text in ["10.1.0.10", "fd00::1", "0.0.0.0", "::"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(Ip::from(address).to_std(), address);
            let mapped = match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            assert_eq!(crate::plain::bytes_of(&Ip::from(address)), mapped.octets());
        }
    }

    #[test]
    fn vni_is_24_bits_in_network_order() {
        assert_eq!(Vni::new(0), None);
        assert_eq!(Vni::new(Vni::OUTSIDE.number()), None);
        assert_eq!(Vni::new(1 << 24), None);
        let vni = Vni::new(0x0a_0b_0c).unwrap();
        assert_eq!(crate::plain::bytes_of(&vni), [0, 0x0a, 0x0b, 0x0c]);
        assert_eq!(vni.number(), 0x0a_0b_0c);
    }
}
