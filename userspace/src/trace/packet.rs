//! The frames that a workload's kernel would send, as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use datapath::parse::discovery::{NEIGHBOR_SOLICITATION, SOURCE_LINK_LAYER};
use etherparse::err::packet::BuildVecWriteError;
use etherparse::{ArpEthIpv4Packet, ArpOperation, PacketBuilder};
use maps_schema::Mac;

use super::Protocol;

/// What Linux puts into the packets of an ordinary socket.
pub(super) const TTL: u8 = 64;
/// The first port that Linux takes for a connection's own end.
const OWN_PORT: u16 = 32_768;
/// A window as Linux offers it first.
const WINDOW: u16 = 64_240;
/// Neighbor discovery is accepted with no other hop limit (RFC 4861 section 7.1.1).
const DISCOVERY_TTL: u8 = 255;

/// One end of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Station {
    pub(super) mac: Mac,
    pub(super) ip: IpAddr,
}

/// The question "who has this address?": ARP or neighbor discovery, as the family demands.
pub(super) fn question(asker: Station, target: IpAddr) -> Result<Vec<u8>, BuildVecWriteError> {
    match (asker.ip, target) {
        (IpAddr::V4(ip), IpAddr::V4(target)) => arp_request(asker.mac, ip, target),
        (ip, target) => neighbor_solicitation(asker.mac, v6(ip), v6(target)),
    }
}

/// RFC 826.
fn arp_request(mac: Mac, ip: Ipv4Addr, target: Ipv4Addr) -> Result<Vec<u8>, BuildVecWriteError> {
    let request = ArpEthIpv4Packet {
        operation: ArpOperation::REQUEST,
        sender_mac: mac.octets(),
        sender_ipv4: ip.octets(),
        target_mac: Mac::ZERO.octets(),
        target_ipv4: target.octets(),
    };
    let mut wire = Vec::new();
    PacketBuilder::ethernet2(mac.octets(), Mac::BROADCAST.octets())
        .arp(request.into())
        .write_to_vec(&mut wire)?;
    Ok(wire)
}

/// RFC 4861 section 4.3, to the solicited-node address of the target (RFC 4291 section 2.7.1).
fn neighbor_solicitation(
    mac: Mac,
    ip: Ipv6Addr,
    target: Ipv6Addr,
) -> Result<Vec<u8>, BuildVecWriteError> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let option = [&[SOURCE_LINK_LAYER, 1], &mac.octets()[..]].concat();
    let mut wire = Vec::new();
    PacketBuilder::ethernet2(mac.octets(), group_mac(IpAddr::V6(group)).octets())
        .ipv6(ip.octets(), group.octets(), DISCOVERY_TTL)
        .icmpv6_raw(NEIGHBOR_SOLICITATION, 0, [0; 4])
        .write_to_vec(&mut wire, &[&target.octets()[..], &option].concat())?;
    Ok(wire)
}

/// A packet in its frame: the first of a TCP connection, an empty UDP datagram, or an echo request.
pub(super) fn packet(
    source: Station,
    destination: Station,
    protocol: Protocol,
    port: u16,
) -> Result<Vec<u8>, BuildVecWriteError> {
    let ethernet = PacketBuilder::ethernet2(source.mac.octets(), destination.mac.octets());
    let is_v4 = source.ip.is_ipv4();
    let ip = match (source.ip, destination.ip) {
        (IpAddr::V4(source), IpAddr::V4(to)) => ethernet.ipv4(source.octets(), to.octets(), TTL),
        (source, to) => ethernet.ipv6(v6(source).octets(), v6(to).octets(), TTL),
    };
    let mut wire = Vec::new();
    match protocol {
        Protocol::Tcp => {
            let tcp = ip.tcp(OWN_PORT, port, 0, WINDOW).syn();
            tcp.write_to_vec(&mut wire, &[])?;
        }
        Protocol::Udp => ip.udp(OWN_PORT, port).write_to_vec(&mut wire, &[])?,
        Protocol::Icmp if is_v4 => {
            let echo = ip.icmpv4_echo_request(1, 1);
            echo.write_to_vec(&mut wire, &[])?;
        }
        Protocol::Icmp => {
            let echo = ip.icmpv6_echo_request(1, 1);
            echo.write_to_vec(&mut wire, &[])?;
        }
    }
    Ok(wire)
}

/// The MAC address of a multicast group (RFC 1112 section 6.4, RFC 2464 section 7).
pub(super) fn group_mac(group: IpAddr) -> Mac {
    match group {
        IpAddr::V4(v4) => {
            let [_, a, b, c] = v4.octets();
            Mac::new([0x01, 0x00, 0x5e, a & 0x7f, b, c])
        }
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            Mac::new([0x33, 0x33, a, b, c, d])
        }
    }
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
