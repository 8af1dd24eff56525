//! What routers tell a sender: the errors that its kernel queues for a socket.
//!
//! The standard library does not know the error queue, so its few calls are made here.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use super::{Namespace, patience};

/// An ICMP or ICMPv6 error, as the sender's kernel tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Complaint {
    /// Its type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// Who sent it.
    pub from: IpAddr,
    /// The MTU that it names, if it names one.
    pub mtu: u32,
}

/// A UDP packet that is sent again and again.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Where to.
    pub to: SocketAddr,
    /// Its time to live or hop limit.
    pub ttl: u8,
    /// How many bytes it carries.
    pub len: usize,
}

impl Probe {
    /// A short packet that gets far enough.
    #[must_use]
    pub const fn new(to: IpAddr) -> Self {
        Self {
            to: SocketAddr::new(to, 9),
            ttl: 64,
            len: 8,
        }
    }

    /// Sends it every few milliseconds until somebody complains.
    ///
    /// # Panics
    /// Nobody does in time.
    #[track_caller]
    #[must_use]
    pub fn complaint(&self, space: &Namespace) -> Complaint {
        let deadline = Instant::now() + patience();
        let complaint = self.send_while(space, |_| Instant::now() < deadline);
        complaint.unwrap_or_else(|| panic!("nobody complains about {self:?}"))
    }

    /// Sends it so many times, every few milliseconds, unless somebody complains before.
    ///
    /// # Panics
    /// There can be no such socket.
    #[must_use]
    pub fn complaint_about(&self, packets: u32, space: &Namespace) -> Option<Complaint> {
        self.send_while(space, |sent| sent < packets)
    }

    /// Sends it while it is worth it, by how many were sent.
    fn send_while(
        &self,
        space: &Namespace,
        is_worth_it: impl Fn(u32) -> bool,
    ) -> Option<Complaint> {
        let any: IpAddr = match self.to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = space
            .run(|| UdpSocket::bind((any, 0)))
            .expect("a UDP socket");
        socket.set_nonblocking(true).expect("a socket's mode");
        self.prepare(&socket).expect("options of a UDP socket");
        let data = vec![0; self.len];
        let mut sent = 0;
        while is_worth_it(sent) {
            // An error that was queued since is also told here, once.
            let _ = socket.send_to(&data, self.to);
            sent += 1;
            thread::sleep(Duration::from_millis(20));
            if let Some(complaint) = next(&socket) {
                return Some(complaint);
            }
        }
        None
    }

    /// Errors are wanted, packets are not to be fragmented, and what the kernel knows of paths is to
    /// be ignored.
    fn prepare(&self, socket: &UdpSocket) -> io::Result<()> {
        let options = match self.to {
            SocketAddr::V4(_) => [
                (libc::IPPROTO_IP, libc::IP_RECVERR, 1),
                (libc::IPPROTO_IP, libc::IP_TTL, self.ttl.into()),
                (
                    libc::IPPROTO_IP,
                    libc::IP_MTU_DISCOVER,
                    libc::IP_PMTUDISC_PROBE,
                ),
            ],
            SocketAddr::V6(_) => [
                (libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1),
                (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, self.ttl.into()),
                (
                    libc::IPPROTO_IPV6,
                    libc::IPV6_MTU_DISCOVER,
                    libc::IPV6_PMTUDISC_PROBE,
                ),
            ],
        };
        for (level, option, value) in options {
            set(socket, level, option, value)?;
        }
        Ok(())
    }
}

fn set(socket: &UdpSocket, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the value is an integer, and its length is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            mem::size_of_val(&value) as u32,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The next error in the socket's queue that came over the network.
fn next(socket: &UdpSocket) -> Option<Complaint> {
    loop {
        let mut control = [0_u64; 32];
        // SAFETY: all zeros is a valid message.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = mem::size_of_val(&control);
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: the message points to a buffer that outlives the call, with its length.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        if received < 0 {
            return None;
        }
        if let Some(complaint) = complaint(&message) {
            return Some(complaint);
        }
    }
}

fn complaint(message: &libc::msghdr) -> Option<Complaint> {
    // SAFETY: the kernel filled the message's control buffer in, and its macros walk it; the address
    // of who complains follows the error.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(found) = header.as_ref() {
            let data = libc::CMSG_DATA(header).cast::<libc::sock_extended_err>();
            let offender = data.add(1);
            let from: Option<IpAddr> = match (found.cmsg_level, found.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_RECVERR) => {
                    let address = offender.cast::<libc::sockaddr_in>().read_unaligned();
                    Some(Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()).into())
                }
                (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                    let address = offender.cast::<libc::sockaddr_in6>().read_unaligned();
                    Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
                }
                _ => None,
            };
            if let Some(from) = from {
                let error = data.read_unaligned();
                let is_told = matches!(
                    error.ee_origin,
                    libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6
                );
                return is_told.then_some(Complaint {
                    kind: error.ee_type,
                    code: error.ee_code,
                    from,
                    mtu: error.ee_info,
                });
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}
