//! What drives an interface (`ETHTOOL_GDRVINFO` of `linux/ethtool.h`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SocketType, socket};

const ETHTOOL_GDRVINFO: u32 = 3;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// Tells what drives the interfaces of the network namespace in which it was made.
#[derive(Debug)]
pub(super) struct Drivers {
    socket: OwnedFd,
}

impl Drivers {
    pub(super) fn new() -> Result<Self> {
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None);
        Ok(Self {
            socket: socket.context("make a socket to ask for drivers")?,
        })
    }

    /// The name of an interface's driver. Not every one has one.
    pub(super) fn of(&self, interface: &str) -> Option<String> {
        let mut info = DriverInfo {
            command: ETHTOOL_GDRVINFO,
            driver: [0; 32],
            rest: [0; 160],
        };
        self.ask(interface, &mut info).ok()?;
        let end = info.driver.iter().position(|&byte| byte == 0)?;
        let name = String::from_utf8(info.driver.get(..end)?.to_vec()).ok()?;
        (!name.is_empty()).then_some(name)
    }

    fn ask(&self, interface: &str, info: &mut DriverInfo) -> io::Result<()> {
        let mut name = [0; libc::IFNAMSIZ];
        // The last byte stays 0.
        for (to, from) in name[..libc::IFNAMSIZ - 1].iter_mut().zip(interface.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        let mut request = libc::ifreq {
            ifr_name: name,
            ifr_ifru: libc::__c_anonymous_ifr_ifru {
                ifru_data: (&raw mut *info).cast(),
            },
        };
        let fd = self.socket.as_fd().as_raw_fd();
        // SAFETY: the request names an interface, and points to memory of the size that the command
        // writes, which is exclusively borrowed and outlives the call.
        let result = unsafe { libc::ioctl(fd, libc::SIOCETHTOOL, &raw mut request) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}
