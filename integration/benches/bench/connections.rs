//! New connections: TCP connections that are opened, answered with a byte, and reset, one after the
//! other.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, connect, ipproto, socket, sockopt};

use crate::lane::{Lane, PORTS, TIME};

/// Thousands of connections per second.
pub(crate) fn connections(lane: &Lane<'_>) -> f64 {
    let [_, _, _, port] = PORTS;
    let listener = lane.listener(port);
    let patience = Some(Duration::from_millis(20));
    sockopt::set_socket_timeout(&listener, sockopt::Timeout::Recv, patience).expect("a timeout");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // What was accepted ends when the client resets it.
                // Nobody called for a while, or who called has gone already.
                let _ = listener
                    .accept()
                    .and_then(|(mut stream, _)| stream.write_all(&[0]));
            }
        });
        let (count, time) = lane.client.run(|| {
            let begin = Instant::now();
            let mut count = 0;
            while begin.elapsed() < TIME {
                count += u64::from(attempt(lane, port));
            }
            (count, begin.elapsed())
        });
        is_over.store(true, Ordering::Relaxed);
        count as f64 / time.as_secs_f64() / 1e3
    })
}

/// Whether a connection comes about. The answer is waited for, so that no more of them are there than the
/// server accepts. It is ended by a reset, so that neither side has to remember its
/// ports for a while.
fn attempt(lane: &Lane<'_>, port: u16) -> bool {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP));
    let socket = socket.expect("a socket");
    sockopt::set_socket_linger(socket.as_fd(), Some(Duration::ZERO)).expect("no lingering");
    connect(&socket, &lane.target(port)).is_ok()
        && TcpStream::from(socket).read_exact(&mut [0]).is_ok()
}
