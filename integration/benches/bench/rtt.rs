//! Round trips: one small UDP packet goes to the other side and comes back, again and again.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use integration::lab::Namespace;

use crate::figure::percentile;
use crate::report::Report;
use crate::site::{in_turns, server};

/// How long each round takes.
const TIME: Duration = Duration::from_secs(1);

pub(crate) fn measure(report: &mut Report) {
    let results = in_turns(report.rounds(), |_, client, server| {
        round_trips(client, server)
    });
    for (name, percent) in [
        ("round trip, median", 50),
        ("round trip, 99th percentile", 99),
    ] {
        let values = results.each_ref().map(|rounds| {
            rounds
                .iter()
                .map(|sorted| percentile(sorted, percent))
                .collect()
        });
        report.compare(name, "us", values);
    }
}

/// The sorted times of all round trips, in microseconds.
pub(crate) fn round_trips(client: &Namespace, at: &Namespace) -> Vec<f64> {
    let address = server(7000);
    let echo = at
        .run(|| UdpSocket::bind(address))
        .expect("an echo's socket");
    let socket = client
        .run(|| UdpSocket::bind("0.0.0.0:0"))
        .expect("a socket");
    socket.connect(address).expect("the server's address");
    let timeout = Some(Duration::from_millis(100));
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
