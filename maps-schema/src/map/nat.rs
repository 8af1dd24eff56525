//! Network address translation: by which addresses and ports the outside knows workloads.

use crate::address::Ip;
use crate::id::{PortId, RouterId};
use crate::plain::plain;

/// Key of what an address, or a port of one, stands for outside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct PublicKey {
    /// The address.
    pub ip: Ip,
    /// The port of TCP or UDP, in host byte order; 0 if the address stands for a workload as a whole.
    pub port: u16,
    /// The protocol, as IANA numbers them; 0 likewise.
    pub protocol: u8,
    /// Always 0.
    pub reserved: u8,
}

impl PublicKey {
    /// The key of a port of an address.
    #[must_use]
    #[inline(always)]
    pub const fn port(ip: Ip, protocol: u8, port: u16) -> Self {
        Self {
            ip,
            port,
            protocol,
            reserved: 0,
        }
    }

    /// The key of an address that stands for a workload as a whole.
    #[must_use]
    #[inline(always)]
    pub const fn whole(ip: Ip) -> Self {
        Self::port(ip, 0, 0)
    }
}

/// What an address, or a port of one, stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Public {
    /// The uplink of the router that leads there; with [`Public::ELSEWHERE`], the port of the host.
    pub uplink: PortId,
    /// The workload's address; the same one if nothing is translated.
    pub ip: Ip,
    /// The workload's port, in host byte order; 0 if ports stay what they are.
    pub port: u16,
    /// [`Public::ELSEWHERE`].
    pub flags: u16,
}

impl Public {
    /// Flag: another host gives the address away, and knows whom its packets are for.
    pub const ELSEWHERE: u16 = 1;
}

/// Key of whether what leaves a router for the outside may leave by another host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(C)]
pub struct GatewayKey {
    /// The router.
    pub router: RouterId,
    /// The port that leads to the host.
    pub port: PortId,
}

/// Another host at which a router has an uplink, and which is not dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Gateway {
    /// Always 0.
    pub reserved: u32,
}

/// Which address a workload is given outside; the key of its row is that of a route to the workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Source {
    /// The first of the addresses.
    pub first: Ip,
    /// How many there are. Those of IPv6 differ in their last 32 bits. Without any, nothing leaves.
    pub addresses: u32,
    /// The first of the ports that may be given, in host byte order. Ports stay what they are if it is 0.
    pub first_port: u16,
    /// The last of them.
    pub last_port: u16,
}

impl Source {
    /// No address.
    pub const NONE: Self = Self {
        first: Ip::UNSPECIFIED_V6,
        addresses: 0,
        first_port: 0,
        last_port: 0,
    };
}

plain! {
    PublicKey = 16 + 2 + 1 + 1;
    Public = 4 + 16 + 2 + 2;
    GatewayKey = 4 + 4;
    Gateway = 4;
    Source = 16 + 4 + 2 + 2;
}
