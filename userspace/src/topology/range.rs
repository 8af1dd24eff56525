//! Addresses that no station can have, whatever the network.

use std::net::{IpAddr, Ipv4Addr};

/// What kind of special address this is, or `None` for one that a station can have.
pub(super) fn special(ip: IpAddr) -> Option<&'static str> {
    if ip.is_unspecified() {
        Some("unspecified")
    } else if ip.is_loopback() {
        Some("loopback")
    } else if ip.is_multicast() {
        Some("multicast")
    } else if is_link_local(ip) {
        Some("link-local")
    } else if ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("broadcast")
    } else if is_mapped(ip) {
        Some("an IPv4 address in IPv6 form")
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

/// `::ffff:a.b.c.d`: in the datapath's tables this is how the IPv4 address itself is stored.
fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}
