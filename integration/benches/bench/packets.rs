//! Packets per second: one sender sends 64-byte frames as fast as it can, and the other side counts
//! what arrives.

use std::fs;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use integration::lab::eventually;
use rustix::time::ClockId;

use crate::lane::{Lane, PORTS, TIME};

/// With the headers of Ethernet, IPv4 and UDP and the frame's checksum this makes 64 bytes.
pub(crate) const PAYLOAD: usize = 18;
/// Packets per system call, so that it is not the system calls that are measured.
const BATCH: usize = 64;

/// What came of sending as fast as possible.
pub(crate) struct Rate {
    /// Thousands of packets per second.
    pub(crate) sent: f64,
    /// As above.
    pub(crate) received: f64,
    /// Nanoseconds of processor time that a packet took on its way to the receiver's socket: of the
    /// sender, in whose time the kernel does all of that, and of the threads that the kernel leaves
    /// some of it to.
    pub(crate) cost: f64,
}

/// How fast packets go from one to the other.
pub(crate) fn rate(lane: &Lane<'_>) -> Rate {
    let [_, port, ..] = PORTS;
    let sink = lane.sink(port);
    let timeout = Some(Duration::from_millis(20));
    sink.set_read_timeout(timeout).expect("a timeout");
    let socket = lane.source(port);
    answer(&socket, &sink);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let counter = scope.spawn(|| {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                count += batch(sink.as_fd(), Direction::Receive);
            }
            count
        });
        let begin = Instant::now();
        let used = processor_time(ClockId::ThreadCPUTime);
        let mut sent = 0;
        while begin.elapsed() < TIME {
            sent += batch(socket.as_fd(), Direction::Send);
        }
        let used = processor_time(ClockId::ThreadCPUTime).saturating_sub(used);
        let seconds = begin.elapsed().as_secs_f64() * 1e3;
        is_over.store(true, Ordering::Relaxed);
        let received = counter.join().expect("the sink counts");
        Rate {
            sent: sent as f64 / seconds,
            received: received as f64 / seconds,
            cost: used.as_nanos() as f64 / sent as f64,
        }
    })
}

/// Both sides say something, so that whoever follows connections takes this one for established.
pub(crate) fn answer(client: &UdpSocket, server: &UdpSocket) {
    let mut byte = [0];
    client.set_nonblocking(true).expect("a socket's mode");
    eventually("the client is answered", || {
        client.send(&[0]).is_ok()
            && server
                .recv_from(&mut byte)
                .and_then(|(_, client)| server.send_to(&byte, client))
                .is_ok()
            && client.recv(&mut byte).is_ok()
    });
    client.set_nonblocking(false).expect("a socket's mode");
}

/// Processor time of this thread, or of the process, and of the kernel's threads for packets.
pub(crate) fn processor_time(clock: ClockId) -> Duration {
    let mine = rustix::time::clock_gettime(clock);
    let mine = Duration::new(mine.tv_sec.unsigned_abs(), mine.tv_nsec as u32);
    mine + helpers()
        .iter()
        .map(|path| run_time(path))
        .sum::<Duration>()
}

/// The kernel's threads that take over when a processor has many packets at a time.
fn helpers() -> &'static [PathBuf] {
    static HELPERS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let paths = processes.map(|entry| entry.path());
        let is_helper = |path: &PathBuf| {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            name.starts_with("ksoftirqd/")
        };
        paths.filter(is_helper).collect()
    });
    &HELPERS
}

/// How long a process has been on a processor.
fn run_time(process: &Path) -> Duration {
    let text = fs::read_to_string(process.join("schedstat")).unwrap_or_default();
    let time = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(time.unwrap_or(0))
}

enum Direction {
    Send,
    Receive,
}

/// Sends a batch of packets, or receives one as far as there are any; returns how many.
fn batch(socket: BorrowedFd<'_>, direction: Direction) -> u64 {
    let mut payloads = [[0_u8; PAYLOAD]; BATCH];
    let mut parts = payloads.each_mut().map(|payload| libc::iovec {
        iov_base: payload.as_mut_ptr().cast(),
        iov_len: PAYLOAD,
    });
    let mut messages = parts.each_mut().map(|part| {
        // SAFETY: all zeros is a valid message.
        let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
        message.msg_hdr.msg_iov = part;
        message.msg_hdr.msg_iovlen = 1;
        message
    });
    let (fd, len) = (socket.as_raw_fd(), BATCH as u32);
    let list = messages.as_mut_ptr();
    let flags = libc::MSG_WAITFORONE;
    // SAFETY: the messages and what they point to outlive the call, and their number is given.
    let count = unsafe {
        match direction {
            Direction::Send => libc::sendmmsg(fd, list, len, 0),
            Direction::Receive => libc::recvmmsg(fd, list, len, flags, std::ptr::null_mut()),
        }
    };
    // Nothing arrived in time, or there was no room: another call follows.
    u64::try_from(count).unwrap_or(0)
}
