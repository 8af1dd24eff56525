//! Raw frames: sent and received at an interface, byte by byte.
//!
//! Neither the standard library nor rustix knows `AF_PACKET`, so its few calls are made here.

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Namespace, patience};

/// `ETH_P_ALL`: frames of every protocol.
const ALL_PROTOCOLS: u16 = 3;
/// More than the longest frame that segmentation offload leaves whole.
const BUFFER_LEN: usize = 80_000;

/// A socket at an interface, through which whole frames are sent and received.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// A socket at an interface of a namespace. It receives what the interface receives, whoever it
    /// is for, and not what is sent through it.
    ///
    /// # Panics
    /// There is no such interface.
    #[must_use]
    pub fn new(space: &Namespace, interface: &str) -> Self {
        let opened = space.run(|| Self::open(interface));
        opened.unwrap_or_else(|error| panic!("a packet socket at {interface}: {error}"))
    }

    fn open(interface: &str) -> io::Result<Self> {
        let name = CString::new(interface)?;
        // SAFETY: the name is a C string.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        let index = i32::try_from(index).ok().filter(|index| *index > 0);
        let index = index.ok_or_else(io::Error::last_os_error)?;
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // A socket without a protocol receives nothing before it is bound to its interface.
        // SAFETY: the call takes plain integers.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let socket = Self { fd };
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16 << 20)?;
        // SAFETY: all zeros is a valid address.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ALL_PROTOCOLS.to_be();
        address.sll_ifindex = index;
        // SAFETY: the address is valid and its length is given.
        check(unsafe {
            libc::bind(
                socket.fd.as_raw_fd(),
                (&raw const address).cast(),
                mem::size_of_val(&address) as u32,
            )
        })?;
        Ok(socket)
    }

    fn set(&self, level: i32, option: i32, value: i32) -> io::Result<()> {
        // SAFETY: the value is an integer, and its length is given.
        check(unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                mem::size_of_val(&value) as u32,
            )
        })
        .map(drop)
    }

    /// Sends a frame: from the interface into whatever is at its other end. It waits while those before it
    /// leave no room.
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn send(&self, frame: &[u8]) {
        let sent = loop {
            // SAFETY: the frame's bytes are readable for its length.
            let sent =
                unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
            let error = io::Error::last_os_error();
            match usize::try_from(sent) {
                Ok(sent) => break sent,
                Err(_) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_room(),
                Err(_) => panic!("send a frame: {error}"),
            }
        };
        assert_eq!(sent, frame.len(), "all of the frame is sent");
    }

    fn wait_for_room(&self) {
        let mut room = libc::pollfd {
            fd: self.fd.as_raw_fd(),
            events: libc::POLLOUT,
            revents: 0,
        };
        let millis = i32::try_from(patience().as_millis()).unwrap_or(i32::MAX);
        // SAFETY: there is one such record.
        let ready = unsafe { libc::poll(&raw mut room, 1, millis) };
        assert_eq!(ready, 1, "there is room for another frame");
    }

    /// Sends a TCP frame that is to be cut into segments, later and by whoever must: none has more than
    /// `segment_len` bytes of payload. Its TCP header begins at `transport`, and has the sum of the
    /// pseudo-header in place of its checksum.
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn send_whole(&self, frame: &[u8], transport: u16, segment_len: u16) {
        /// `VIRTIO_NET_HDR_F_NEEDS_CSUM` of `linux/virtio_net.h`.
        const NEEDS_CHECKSUM: u8 = 1;
        /// `VIRTIO_NET_HDR_GSO_TCPV4`.
        const TCP_V4: u8 = 1;
        /// `PACKET_VNET_HDR` of `linux/if_packet.h`.
        const VNET_HEADER: i32 = 15;
        let header = [
            &[NEEDS_CHECKSUM, TCP_V4][..],
            &(transport + 20).to_ne_bytes(),
            &segment_len.to_ne_bytes(),
            &transport.to_ne_bytes(),
            &16_u16.to_ne_bytes(),
        ];
        let is_set = |value| {
            let set = self.set(libc::SOL_PACKET, VNET_HEADER, value);
            set.unwrap_or_else(|error| panic!("a header before frames: {error}"));
        };
        is_set(1);
        self.send(&[&header.concat(), frame].concat());
        is_set(0);
    }

    /// The next frame that has arrived, if one has. A VLAN tag that the kernel put aside is back in
    /// its place.
    ///
    /// # Panics
    /// The interface is gone.
    #[must_use]
    pub fn receive(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0_u8; BUFFER_LEN];
        let mut control = [0_u64; 16];
        let mut part = libc::iovec {
            iov_base: frame.as_mut_ptr().cast(),
            iov_len: frame.len(),
        };
        // SAFETY: all zeros is a valid message.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = mem::size_of_val(&control);
        // SAFETY: the message points to buffers that outlive the call, with their lengths.
        let received = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, 0) };
        let Ok(len) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            let is_empty = error.kind() == io::ErrorKind::WouldBlock;
            assert!(is_empty, "receive a frame: {error}");
            return None;
        };
        frame.truncate(len);
        if let Some((protocol, tci)) = tag(&message)
            && len >= 12
        {
            let tag = [protocol.to_be_bytes(), tci.to_be_bytes()].concat();
            frame.splice(12..12, tag);
        }
        Some(frame)
    }

    /// All frames that have arrived.
    #[must_use]
    pub fn drain(&self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.receive()).collect()
    }
}

/// The VLAN tag that came beside a frame.
fn tag(message: &libc::msghdr) -> Option<(u16, u16)> {
    // SAFETY: the kernel filled the message's control buffer in, and its macros walk it.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(found) = header.as_ref() {
            if found.cmsg_level == libc::SOL_PACKET && found.cmsg_type == libc::PACKET_AUXDATA {
                let data = libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>();
                let data = data.read_unaligned();
                let is_tagged = data.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
                return is_tagged.then_some((data.tp_vlan_tpid, data.tp_vlan_tci));
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Frames that arrive at an interface while something else goes on.
#[derive(Debug)]
pub struct Capture {
    frames: Arc<Mutex<VecDeque<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Capture {
    /// How often the socket is looked at; its buffer holds all that comes in the meantime.
    const PERIOD: Duration = Duration::from_millis(1);

    /// Begins to capture. What arrives from now on is not missed.
    ///
    /// # Panics
    /// There is no such interface.
    #[must_use]
    pub fn start(space: &Namespace, interface: &str) -> Self {
        let socket = PacketSocket::new(space, interface);
        let frames = Arc::new(Mutex::new(VecDeque::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (into, until) = (Arc::clone(&frames), Arc::clone(&stop));
        let worker = thread::spawn(move || {
            loop {
                // Read before the last look, so that nothing is left behind.
                let is_last = until.load(Ordering::Acquire);
                let mut found = socket.drain();
                into.lock().expect("no panic").extend(found.drain(..));
                if is_last {
                    return;
                }
                thread::sleep(Self::PERIOD);
            }
        });
        Self {
            frames,
            stop,
            worker: Some(worker),
        }
    }

    /// What was captured so far that `wanted` likes.
    ///
    /// # Panics
    /// The capturing thread panicked.
    #[must_use]
    pub fn matching(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let frames = self.frames.lock().expect("no panic");
        frames
            .iter()
            .filter(|frame| wanted(frame))
            .cloned()
            .collect()
    }

    /// Ends the capture; everything that arrived is in the result.
    ///
    /// # Panics
    /// The capturing thread panicked.
    #[must_use]
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        self.end();
        self.frames.lock().expect("no panic").drain(..).collect()
    }

    /// How long nothing arrives when all is there.
    const SILENCE: Duration = Duration::from_millis(250);

    /// Waits until nothing has arrived for a while: whatever is still on its way through the kernel
    /// arrives within a moment, which on a busy machine is as long as a processor is kept from it.
    pub fn settle(&self) {
        let mut count = usize::MAX;
        let mut since = Instant::now();
        while since.elapsed() < Self::SILENCE {
            let now = self.frames.lock().expect("no panic").len();
            if now != count {
                (count, since) = (now, Instant::now());
            }
            thread::sleep(Self::PERIOD);
        }
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(worker) = self.worker.take() {
            let ended = worker.join();
            assert!(ended.is_ok() || thread::panicking(), "the capture panicked");
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}
