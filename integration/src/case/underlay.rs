//! What is around a frame on the underlay, made here from the RFCs and without any of the datapath's code.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use bowline::topology::{PortName, Topology, Tunnel};
use ipnet::IpNet;
use maps_schema::PortId;
use serde::Deserialize;

use super::{HERE, Receiver};
use crate::checksum;
use crate::frame::bytes_of_hex;

/// The source port of what peers send in UDP.
const SOURCE_PORT: u16 = 54_321;
/// The first source port of what is sent to them: the dynamic ones (RFC 6335 section 6).
const FIRST_PORT: u16 = 0xc000;
/// Length of an Ethernet header, in bytes.
const ETHERNET_LEN: usize = 14;

/// Who sends to this host and is sent to: another host, or an ordinary VTEP.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The port that leads there.
    pub id: PortId,
    /// Its address in the underlay.
    pub address: IpAddr,
    /// How frames travel there.
    pub tunnel: Tunnel,
}

impl Peer {
    /// The peer of this name.
    #[must_use]
    pub fn named(topology: &Topology, name: &str) -> Option<Self> {
        let host = topology.hosts.get(name).map(|host| Self {
            id: host.id,
            address: host.address,
            tunnel: topology.tunnel(HERE, name),
        });
        let vtep = topology.vteps.get(name).map(|vtep| Self {
            id: vtep.id,
            address: vtep.address,
            tunnel: vtep.tunnel,
        });
        host.or(vtep)
    }

    /// All names of peers.
    pub fn names(topology: &Topology) -> impl Iterator<Item = &String> {
        let hosts = topology.hosts.keys().filter(|name| *name != HERE);
        hosts.chain(topology.vteps.keys())
    }
}

/// The address of the case's own host.
///
/// # Errors
/// The topology has no such host.
pub(super) fn own_address(topology: &Topology) -> Result<IpAddr> {
    let own = topology.hosts.get(HERE);
    Ok(own
        .with_context(|| format!("no host is called `{HERE}`"))?
        .address)
}

/// The host of a workload, if it is another one than the case's.
pub(super) fn host_of<'a>(topology: &'a Topology, port: &PortName) -> Option<&'a str> {
    let host = topology.workloads.get(&port.workload)?.host.as_deref();
    host.filter(|host| *host != HERE)
}

/// How a frame is on the underlay, where that is not as its host would send it.
#[derive(Deserialize, Clone, Default, Debug)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Through {
    /// The host or the VTEP that sends it; that of the workload unless given.
    pub(super) peer: Option<String>,
    from: Option<IpAddr>,
    to: Option<IpAddr>,
    tunnel: Option<Kind>,
    vni: Option<u32>,
    /// Type of service, or traffic class.
    class: u8,
    /// How many more tunnels it may enter (RFC 2473 section 4.1.1), over IPv6.
    limit: Option<u8>,
    /// Options of Geneve, in hex.
    options: String,
    /// Bytes of the whole packet that are other ones: where they are, and in hex what they are.
    change: Vec<(usize, String)>,
    /// How many bytes of it are left.
    cut: Option<usize>,
}

#[derive(Deserialize, Clone, Copy, Debug)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Vxlan,
    Geneve,
    Gre,
    None,
}

impl Through {
    /// The packet that brings a frame of a network.
    pub(super) fn packet(
        &self,
        topology: &Topology,
        peer: &Peer,
        vni: u32,
        frame: &[u8],
    ) -> Result<Vec<u8>> {
        let tunnel = self.tunnel.map_or(peer.tunnel, |kind| match kind {
            Kind::Vxlan => Tunnel::Vxlan,
            Kind::Geneve => Tunnel::Geneve,
            Kind::Gre => Tunnel::Gre,
            Kind::None => Tunnel::Direct,
        });
        let own = own_address(topology)?;
        let outer = Outer {
            tunnel,
            source: self.from.unwrap_or(peer.address),
            destination: self.to.unwrap_or(own),
            vni: self.vni.unwrap_or(vni),
            class: self.class,
            limit: self.limit,
            options: bytes_of_hex(&self.options)?,
        };
        let mut packet = outer.wrap(frame, SOURCE_PORT);
        for (at, hex) in &self.change {
            let bytes = bytes_of_hex(hex)?;
            let place = packet.get_mut(*at..*at + bytes.len());
            place
                .context("a change outside of the packet")?
                .copy_from_slice(&bytes);
        }
        if let Some(len) = self.cut {
            ensure!(
                len < packet.len(),
                "the packet has only {} bytes",
                packet.len()
            );
            packet.truncate(len);
        }
        Ok(packet)
    }
}

/// What is put before a frame that travels on the underlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outer {
    tunnel: Tunnel,
    source: IpAddr,
    destination: IpAddr,
    vni: u32,
    class: u8,
    limit: Option<u8>,
    options: Vec<u8>,
}

impl Outer {
    /// What is put before a frame of a network that goes to a peer.
    ///
    /// # Panics
    /// The topology has no host of the case's own.
    #[must_use]
    pub(super) fn to(topology: &Topology, peer: &Peer, vni: u32, frame: &[u8]) -> Self {
        Self {
            tunnel: peer.tunnel,
            source: own_address(topology).expect("a host of its own"),
            destination: peer.address,
            vni,
            class: class(frame),
            limit: None,
            options: Vec::new(),
        }
    }

    /// Where the UDP source port is in a packet, if it has one.
    fn port_at(&self) -> Option<usize> {
        let ip_len = if self.source.is_ipv4() { 20 } else { 40 };
        match self.tunnel {
            Tunnel::Vxlan | Tunnel::Geneve => Some(ETHERNET_LEN + ip_len),
            Tunnel::Gre | Tunnel::Direct => None,
        }
    }

    /// The packet that this one, which was sent, must be: the UDP source port is for the sender to choose
    /// (RFC 7348 section 5).
    ///
    /// # Panics
    /// The port is none of those to choose from.
    #[must_use]
    pub(super) fn expected(&self, frame: &[u8], sent: &[u8]) -> Vec<u8> {
        let Some(at) = self.port_at() else {
            return self.wrap(frame, 0);
        };
        let port = match sent.get(at..at + 2) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        assert!(port >= FIRST_PORT, "source port {port} of {sent:02x?}");
        self.wrap(frame, port)
    }

    /// The packet, with Ethernet addresses of zero.
    fn wrap(&self, frame: &[u8], port: u16) -> Vec<u8> {
        let vni = self.vni.to_be_bytes();
        let in_udp = |to: u16, header: &[u8]| {
            let payload = [header, frame].concat();
            (17, self.udp(port, to, &payload))
        };
        let words = self.options.len() / 4;
        let (protocol, payload) = match self.tunnel {
            Tunnel::Vxlan => {
                let header = [8, 0, 0, 0, vni[1], vni[2], vni[3], 0];
                in_udp(4789, &header)
            }
            Tunnel::Geneve => {
                let header = [words as u8, 0, 0x65, 0x58, vni[1], vni[2], vni[3], 0];
                in_udp(6081, &[&header, &self.options[..]].concat())
            }
            Tunnel::Gre => (47, [&[0x20, 0, 0x65, 0x58], &vni as &[u8], frame].concat()),
            Tunnel::Direct => {
                let mut frame = frame.to_vec();
                without_macs(&mut frame);
                return frame;
            }
        };
        let macs = [0; 12];
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let [high, low] = (20 + payload.len() as u16).to_be_bytes();
                // Not to be fragmented, and therefore without identification (RFC 6864 section 4.1).
                let fixed = [
                    0x45, self.class, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0,
                ];
                let mut header =
                    [&fixed, &source.octets() as &[u8], &destination.octets()].concat();
                let sum = checksum::of(&header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                [&macs[..], &[8, 0], &header, &payload].concat()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (protocol, payload) = match self.limit {
                    Some(limit) => {
                        let header = [protocol, 0, 4, 1, limit, 1, 1, 0];
                        (60, [&header, &payload[..]].concat())
                    }
                    None => (protocol, payload),
                };
                let [high, low] = (payload.len() as u16).to_be_bytes();
                let (upper, lower) = (0x60 | self.class >> 4, self.class << 4);
                let fixed = [upper, lower, 0, 0, high, low, protocol, 64];
                let addresses = [source.octets(), destination.octets()].concat();
                [&macs[..], &[0x86, 0xdd], &fixed, &addresses, &payload].concat()
            }
            _ => panic!("an underlay of two families"),
        }
    }

    /// UDP: over IPv4 without a checksum (RFC 7348 section 5, RFC 8926 section 3.3), over IPv6 with one.
    fn udp(&self, from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        let len = (8 + payload.len() as u16).to_be_bytes();
        let (from, to) = (from.to_be_bytes(), to.to_be_bytes());
        let mut datagram = [&from, &to, &len, &[0, 0], payload].concat();
        if self.source.is_ipv6() {
            let pseudo = checksum::pseudo_header(self.source, self.destination, 17, datagram.len());
            let sum = match checksum::of(&[&pseudo, &datagram[..]].concat()) {
                0 => u16::MAX,
                sum => sum,
            };
            datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        datagram
    }
}

/// The type of service, or traffic class, of a frame's packet; zero if it has none.
fn class(frame: &[u8]) -> u8 {
    match frame[12..16] {
        [8, 0, _, class] => class,
        [0x86, 0xdd, first, second] => first << 4 | second >> 4,
        _ => 0,
    }
}

/// Takes the Ethernet addresses away, which on the underlay are the kernel's matter.
pub fn without_macs(packet: &mut [u8]) {
    packet[..12].fill(0);
}

/// What the case's host has routes to besides its underlay: for documentation (RFC 5737, RFC 3849).
pub const WORLD: [&str; 2] = ["198.51.100.0/24", "2001:db8:51::/48"];

/// Whom a packet on the underlay goes to, by its destination's address.
///
/// # Errors
/// It is no peer's, and not outside.
pub fn receiver_of(topology: &Topology, packet: &[u8]) -> Result<Receiver> {
    let address = match packet[12..14] {
        [8, 0] => IpAddr::from(<[u8; 4]>::try_from(&packet[30..34])?),
        [0x86, 0xdd] => IpAddr::from(<[u8; 16]>::try_from(&packet[38..54])?),
        _ => bail!("{packet:02x?} is no packet of the underlay"),
    };
    if WORLD.iter().any(|prefix| is_within(prefix, address)) {
        let mut routers = topology.routers.iter();
        let router = routers.find(|(_, router)| router.uplink.is_some());
        let (name, _) = router.with_context(|| format!("no router leads to {address}"))?;
        return Ok(Receiver::Outside(name.clone()));
    }
    let is_there =
        |name: &&String| Peer::named(topology, name).is_some_and(|peer| peer.address == address);
    // Without a tunnel the packet is for the workload itself.
    let port = topology.ports.iter().find(|(_, port)| {
        let mut addresses = port.addresses.iter();
        addresses.any(|own| own.addr() == address)
    });
    let host = port.and_then(|(name, _)| host_of(topology, name));
    let found = Peer::names(topology).find(is_there).map(String::as_str);
    let found = found.or(host).map(|name| Receiver::Peer(name.to_owned()));
    found.with_context(|| format!("{address} is no peer's"))
}

fn is_within(prefix: &str, address: IpAddr) -> bool {
    let prefix: IpNet = prefix.parse().expect("a prefix");
    prefix.contains(&address)
}
