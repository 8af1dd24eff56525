//! Sockets inside a workload's namespace, at an address of its loopback interface: a socket stays in the
//! namespace where it was made, so that who serves it need not be there.
//!
//! A namespace lives as long as a socket in it: they must be closed when the workload is gone. And a port
//! that is taken at one address cannot be had for all of them by the workload's own programs: what stays
//! open is open at ports that they do not want.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use rtnetlink::packet_route::address::{
    AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use rtnetlink::packet_route::{self, address::AddressAttribute};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::interface::{is_errno, system_error};
use super::netns::Netns;

/// The loopback interface of every namespace.
const LOOPBACK: u32 = 1;

/// Gives a namespace's loopback interface an address that never leaves it, or lets the one that it has stay
/// longer. The kernel takes it away after `lifetime`, in whole seconds, so that it does not outlive who
/// answers there.
///
/// # Errors
///
/// The kernel refuses.
pub async fn settle(netns: &Netns, address: Ipv4Addr, lifetime: Duration) -> Result<()> {
    let handle = netns.connect()?;
    let mut request = handle.address().add(LOOPBACK, address.into(), 32).replace();
    let seconds = u32::try_from(lifetime.as_secs())?;
    let mut times = CacheInfo::default();
    (times.ifa_preferred, times.ifa_valid) = (seconds, seconds);
    let message = request.message_mut();
    message.header.scope = AddressScope::Host;
    message.attributes.push(AddressAttribute::CacheInfo(times));
    request
        .execute()
        .await
        .map_err(system_error)
        .with_context(|| format!("add {address} to lo in {netns}"))
}

/// Takes the address away again.
///
/// # Errors
///
/// The kernel refuses; that it is gone already is no error.
pub async fn leave(netns: &Netns, address: Ipv4Addr) -> Result<()> {
    let handle = netns.connect()?;
    let mut message = AddressMessage::default();
    message.header.family = packet_route::AddressFamily::Inet;
    message.header.prefix_len = 32;
    message.header.index = LOOPBACK;
    message.header.scope = AddressScope::Host;
    message.header.flags = AddressHeaderFlags::empty();
    let address = IpAddr::from(address);
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    match handle.address().del(message).execute().await {
        Err(error) if !is_errno(&error, Errno::ADDRNOTAVAIL) => {
            Err(system_error(error)).with_context(|| format!("remove {address} from lo in {netns}"))
        }
        _ => Ok(()),
    }
}

/// Listens for TCP in a namespace. The socket does not block.
///
/// # Errors
///
/// Somebody else has the port, or there is no such address.
pub fn listen(netns: &Netns, at: SocketAddr) -> Result<TcpListener> {
    let open = || {
        let listener = TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        std::io::Result::Ok(listener)
    };
    netns
        .run(open)?
        .with_context(|| format!("listen at TCP port {at} in {netns}"))
}

/// Receives UDP in a namespace. The socket does not block, and others that share their ports can have the
/// same port at other addresses (`SO_REUSEADDR`).
///
/// # Errors
///
/// As for [`listen`].
pub fn receive(netns: &Netns, at: SocketAddr) -> Result<UdpSocket> {
    let open = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &at)?;
        rustix::io::Result::Ok(UdpSocket::from(socket))
    };
    netns
        .run(open)?
        .with_context(|| format!("listen at UDP port {at} in {netns}"))
}
