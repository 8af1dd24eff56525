//! UDP flows whose packets are numbered, so that not one of them is missing unnoticed.

use std::collections::BTreeSet;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{eventually, uninterrupted};

/// How long the sender waits after one packet of each flow.
const PAUSE: Duration = Duration::from_millis(10);
/// A receiver to which nothing comes for this long after the last packet was sent has got them all:
/// they pass through the kernel within moments, however busy the machine is.
const SILENCE: Duration = Duration::from_secs(2);
/// Enough for what arrives while a receiver has no processor for several seconds, in bytes.
const BUFFER_LEN: usize = 16 << 20;
/// The numbers of a flow and of a packet.
const PACKET_LEN: usize = 16;

/// Flows that go on while something else happens.
#[derive(Debug)]
pub struct Numbered {
    stop: Arc<AtomicBool>,
    /// How many packets each socket has sent.
    sent: Arc<AtomicU64>,
    sender: Option<JoinHandle<io::Result<()>>>,
    receivers: Vec<JoinHandle<io::Result<Vec<[u64; 2]>>>>,
    flows: usize,
}

/// What became of one flow.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// How many packets were sent.
    sent: u64,
    /// The packets that were received, and by whom.
    received: Vec<(u64, usize)>,
}

impl Numbered {
    /// Begins to send from each socket to what it is connected to.
    ///
    /// # Panics
    /// The sockets cannot be used so.
    #[must_use]
    pub fn start(senders: Vec<UdpSocket>, receivers: Vec<UdpSocket>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flows = senders.len();
        let receivers = receivers.into_iter().map(|socket| {
            rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER_LEN)
                .expect("a large buffer");
            socket.set_read_timeout(Some(SILENCE)).expect("a timeout");
            let until = Arc::clone(&stop);
            thread::spawn(move || receive(&socket, &until))
        });
        let receivers = receivers.collect();
        let sent = Arc::new(AtomicU64::new(0));
        let (until, count) = (Arc::clone(&stop), Arc::clone(&sent));
        Self {
            stop,
            sent,
            sender: Some(thread::spawn(move || send(&senders, &count, &until))),
            receivers,
            flows,
        }
    }

    /// Waits until each flow has sent so many packets more.
    ///
    /// # Panics
    /// They are not sent in time.
    #[track_caller]
    pub fn go_on(&self, packets: u64) {
        let until = self.sent.load(Ordering::Relaxed) + packets;
        eventually("more packets are sent", || {
            self.sent.load(Ordering::Relaxed) >= until
        });
    }

    /// Ends it when all that was sent has had the time to arrive; returns the flows in the order of
    /// their sockets.
    ///
    /// # Panics
    /// A socket told of an error, or something else than these packets was received.
    #[must_use]
    pub fn finish(mut self) -> Vec<Flow> {
        self.stop.store(true, Ordering::Release);
        let sender = self.sender.take().expect("it goes on").join();
        sender.expect("no panic").expect("send a packet");
        let sent = self.sent.load(Ordering::Relaxed);
        let mut flows = vec![Flow::default(); self.flows];
        for flow in &mut flows {
            flow.sent = sent;
        }
        for (receiver, worker) in self.receivers.drain(..).enumerate() {
            let received = worker.join().expect("no panic").expect("receive a packet");
            for [flow, number] in received {
                let flow = usize::try_from(flow).ok().and_then(|it| flows.get_mut(it));
                let flow = flow.expect("a packet of these flows");
                flow.received.push((number, receiver));
            }
        }
        flows
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        // The threads end by themselves.
        self.stop.store(true, Ordering::Release);
    }
}

impl Flow {
    /// Every packet has arrived, and none of them twice.
    ///
    /// # Panics
    /// It is not so.
    #[track_caller]
    pub fn assert_complete(&self) {
        let numbers = self.numbers();
        let missing: Vec<u64> = (0..self.sent)
            .filter(|number| !numbers.contains(number))
            .collect();
        assert!(missing.is_empty(), "of {}: lost {missing:?}", self.sent);
        assert_eq!(self.received.len(), numbers.len(), "some came twice");
    }

    /// How many packets did not arrive.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sent - self.numbers().len() as u64
    }

    /// How many times more than once packets arrived.
    #[must_use]
    pub fn repeated(&self) -> usize {
        self.received.len() - self.numbers().len()
    }

    fn numbers(&self) -> BTreeSet<u64> {
        self.received.iter().map(|(number, _)| *number).collect()
    }

    /// How many packets were sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Which of the receivers got any of its packets.
    #[must_use]
    pub fn receivers(&self) -> BTreeSet<usize> {
        self.received
            .iter()
            .map(|(_, receiver)| *receiver)
            .collect()
    }
}

fn send(sockets: &[UdpSocket], count: &AtomicU64, stop: &AtomicBool) -> io::Result<()> {
    let mut number = 0_u64;
    while !stop.load(Ordering::Acquire) {
        for (flow, socket) in (0_u64..).zip(sockets) {
            let packet = [flow.to_ne_bytes(), number.to_ne_bytes()].concat();
            socket.send(&packet)?;
        }
        number += 1;
        count.store(number, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Returns the flow and the number of each packet.
fn receive(socket: &UdpSocket, stop: &AtomicBool) -> io::Result<Vec<[u64; 2]>> {
    let mut received = Vec::new();
    let mut packet = [0; PACKET_LEN + 1];
    loop {
        // Read before the last look, so that nothing is left behind.
        let is_last = stop.load(Ordering::Acquire);
        match uninterrupted(|| socket.recv(&mut packet)) {
            Ok(PACKET_LEN) => {
                let [flow, number] = [0, 8].map(|at| {
                    let octets = packet[at..at + 8].try_into().expect("eight bytes");
                    u64::from_ne_bytes(octets)
                });
                received.push([flow, number]);
            }
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if is_last {
                    return Ok(received);
                }
            }
            Err(error) => return Err(error),
        }
    }
}
