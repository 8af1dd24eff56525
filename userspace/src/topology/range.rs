//! Addresses that no station can have, whatever the network.

use std::net::{IpAddr, Ipv4Addr};

/// What [`special`] calls the addresses that hosts make by themselves.
pub(super) const LINK_LOCAL: &str = "link-local";

/// Which kind of special address this is, as an adjective, or `None` for one that a station can have.
pub(super) fn special(ip: IpAddr) -> Option<&'static str> {
    if ip.is_unspecified() {
        Some("unspecified")
    } else if ip.is_loopback() {
        Some("loopback")
    } else if ip.is_multicast() {
        Some("multicast")
    } else if is_link_local(ip) {
        Some(LINK_LOCAL)
    } else if ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("broadcast")
    } else if unmapped(ip).is_some() {
        Some("IPv4-mapped")
    } else {
        None
    }
}

/// Link-local addresses (RFC 3927, RFC 4291 section 2.5.6): hosts make their own.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// The IPv4 address in `::ffff:a.b.c.d`, which is how the datapath's tables store it.
pub(super) fn unmapped(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => v6.to_ipv4_mapped(),
    }
}
