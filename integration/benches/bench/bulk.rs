//! Bulk data over one TCP connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use integration::lab::patience;

use crate::lane::{Lane, PORTS, TIME};

/// Bytes per system call.
const CHUNK: usize = 128 << 10;

/// Gigabits per second that arrive.
pub(crate) fn throughput(lane: &Lane<'_>) -> f64 {
    let [_, _, port, _] = PORTS;
    let address = lane.target(port);
    let listener = lane.listener(port);
    thread::scope(|scope| {
        let sink = scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream
                .set_read_timeout(Some(patience()))
                .expect("a timeout");
            let mut chunk = vec![0; CHUNK];
            let mut count = 0;
            loop {
                match stream.read(&mut chunk).expect("receive over TCP") {
                    0 => return count,
                    len => count += len,
                }
            }
        });
        let connect = || TcpStream::connect_timeout(&address, patience());
        let mut stream = lane
            .client
            .run(connect)
            .expect("a connection to the server");
        let chunk = vec![0; CHUNK];
        let begin = Instant::now();
        while begin.elapsed() < TIME {
            stream.write_all(&chunk).expect("send over TCP");
        }
        drop(stream);
        let count = sink.join().expect("the sink counts");
        // What was in flight when the last of it was sent has arrived, too.
        count as f64 * 8.0 / begin.elapsed().as_nanos() as f64
    })
}
