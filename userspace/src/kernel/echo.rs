//! The sockets that echoes to peers leave through. Nothing is received by them: the answers end in the
//! datapath.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
    set_socket_recv_buffer_size,
};
use rustix::net::{
    AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, bind, ipproto, sendto, socket_with,
};

/// What becomes of a packet that is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is on its way.
    Away,
    /// It is larger than the uplink carries.
    TooLarge,
    /// It cannot leave now: there is no route, or no room.
    Lost,
}

/// A socket at an underlay address, of the network namespace of the thread that opened it. Its packets
/// are not fragmented, and what the kernel believes of the way to somewhere does not hold them up
/// (`IP_PMTUDISC_PROBE`).
#[derive(Debug)]
pub struct EchoSocket {
    socket: OwnedFd,
    /// The port that it sends to; 0 if there are none.
    port: u16,
}

impl EchoSocket {
    /// A socket that sends to a UDP port.
    ///
    /// # Errors
    ///
    /// This host does not have the address.
    pub fn udp(local: IpAddr, port: u16) -> Result<Self> {
        Self::open(local, SocketType::DGRAM, ipproto::UDP, port)
            .with_context(|| format!("open a UDP socket at {local}"))
    }

    /// A socket that sends GRE.
    ///
    /// # Errors
    ///
    /// This host does not have the address, or `CAP_NET_RAW` is missing.
    pub fn gre(local: IpAddr) -> Result<Self> {
        Self::open(local, SocketType::RAW, ipproto::GRE, 0)
            .with_context(|| format!("open a GRE socket at {local}"))
    }

    fn open(local: IpAddr, kind: SocketType, protocol: Protocol, port: u16) -> io::Result<Self> {
        let family = if local.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, kind, flags, Some(protocol))?;
        // A raw socket is given copies of what comes, which nobody reads.
        set_socket_recv_buffer_size(&socket, 0)?;
        if local.is_ipv4() {
            set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
        } else {
            set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::PROBE)?;
        }
        bind(&socket, &SocketAddr::new(local, 0))?;
        Ok(Self { socket, port })
    }

    /// Sends a packet, of which `payload` is what comes behind the headers of IP and UDP.
    #[must_use]
    pub fn send(&self, to: IpAddr, payload: &[u8]) -> Sent {
        let to = SocketAddr::new(to, self.port);
        match sendto(&self.socket, payload, SendFlags::empty(), &to) {
            Ok(_all) => Sent::Away,
            Err(Errno::MSGSIZE) => Sent::TooLarge,
            Err(_now) => Sent::Lost,
        }
    }
}
