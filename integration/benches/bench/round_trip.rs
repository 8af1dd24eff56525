//! Round trips: one small UDP packet goes to the other side and comes back, again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::lane::{Lane, PORTS, TIME};

/// The sorted times of all round trips, in microseconds.
pub(crate) fn round_trips(lane: &Lane<'_>) -> Vec<f64> {
    let [port, ..] = PORTS;
    let echo = lane.sink(port);
    let socket = lane.source(port);
    let timeout = Some(Duration::from_millis(20));
    for socket in [&echo, &socket] {
        socket.set_read_timeout(timeout).expect("a timeout");
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 64];
            while !is_over.load(Ordering::Relaxed) {
                if let Ok((len, from)) = echo.recv_from(&mut buffer) {
                    // A packet that cannot be sent is one that the client misses.
                    let _ = echo.send_to(&buffer[..len], from);
                }
            }
        });
        let mut times = Vec::new();
        let mut buffer = [0; 64];
        let begin = Instant::now();
        while begin.elapsed() < TIME {
            let sent = Instant::now();
            socket.send(&buffer[..22]).expect("send");
            if socket.recv(&mut buffer).is_ok() {
                times.push(sent.elapsed().as_secs_f64() * 1e6);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        times.sort_by(f64::total_cmp);
        times
    })
}
