//! Sockets that only the host itself can reach, at its own addresses.
//!
//! A socket at an address takes what is for it from wherever it comes in: Linux has the addresses of all
//! interfaces at each of them (RFC 1122 section 3.3.4.2, the "weak model"). What a host sends to itself
//! counts as received by the interface that has the address (`rt_iif`, and `ip6_rcv_core`), so that a socket
//! which is bound to this interface hears the host, and of others only those who come in there.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};

use super::underlay::Interfaces;

/// The interface of addresses that lead to the host itself.
const LOOPBACK: &str = "lo";
/// How many who were not let in yet may wait, as in the standard library.
const BACKLOG: u32 = 128;

/// Listens for TCP at an address of the host.
///
/// # Errors
///
/// Somebody else has the port, or no interface has the address.
pub fn listen(interfaces: &Interfaces, at: SocketAddr) -> io::Result<TcpListener> {
    let interface = interface_with(interfaces, at.ip())?;
    let socket = match at {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// Receives UDP at an address of the host.
///
/// # Errors
///
/// As for [`listen`].
pub fn receive(interfaces: &Interfaces, at: SocketAddr) -> io::Result<UdpSocket> {
    let interface = interface_with(interfaces, at.ip())?;
    let family = match at {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    let socket = UdpSocket::from_std(socket.into())?;
    socket.bind_device(Some(interface.as_bytes()))?;
    bind(&socket, &at)?;
    Ok(socket)
}

fn interface_with(interfaces: &Interfaces, address: IpAddr) -> io::Result<&str> {
    if address.is_loopback() {
        return Ok(LOOPBACK);
    }
    let found = interfaces.with(address).map(|it| it.name.as_str());
    found.ok_or_else(|| io::Error::other("no interface of this host has the address"))
}

/// Lets this process have as many file descriptors as it may (`RLIMIT_NOFILE`), and tells how many that are.
#[must_use]
pub fn raise_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        // What is there has to do.
        Err(_) => current,
    };
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}
