//! Bulk data over TCP, whose content is checked.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::{Namespace, patience, uninterrupted};

/// What went over a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// How many bytes.
    pub len: u64,
    /// A hash of them.
    pub hash: u64,
}

impl Transfer {
    const EMPTY: Self = Self {
        len: 0,
        hash: 0xcbf2_9ce4_8422_2325,
    };

    /// FNV-1a over words: bytes at a time would be the bottleneck.
    fn add(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        for word in bytes.chunks(8) {
            let mut octets = [0; 8];
            octets[..word.len()].copy_from_slice(word);
            self.hash = (self.hash ^ u64::from_ne_bytes(octets)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

/// How much is read or written at once; a multiple of the hash's word.
const CHUNK: usize = 64 * 1024;

/// Sends `len` bytes, rounded up to whole chunks, from a namespace to an address; returns what was
/// sent.
///
/// # Panics
/// The connection breaks.
pub fn send_all(from: &Namespace, to: SocketAddr, len: u64) -> Transfer {
    let mut stream = from
        .run(|| TcpStream::connect_timeout(&to, patience()))
        .unwrap_or_else(|error| panic!("connect to {to}: {error}"));
    stream
        .set_write_timeout(Some(patience()))
        .expect("a timeout");
    let mut sent = Transfer::EMPTY;
    let mut chunk = vec![0_u8; CHUNK];
    let mut state = 1_u64;
    while sent.len < len {
        for word in chunk.chunks_mut(8) {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            word.copy_from_slice(&state.to_ne_bytes());
        }
        stream.write_all(&chunk).expect("send over TCP");
        sent.add(&chunk);
    }
    sent
}

/// Accepts one connection and receives until it ends; returns what was received. The listener comes
/// from [`TcpListener::bind`] inside a namespace.
///
/// # Panics
/// The connection breaks.
#[must_use]
pub fn receive_all(listener: &TcpListener) -> Transfer {
    let (mut stream, _) = listener.accept().expect("accept a connection");
    stream
        .set_read_timeout(Some(patience()))
        .expect("a timeout");
    let mut received = Transfer::EMPTY;
    let mut chunk = vec![0_u8; CHUNK];
    loop {
        // Whole chunks only, so that the hash goes by the same words.
        let len = fill(&mut stream, &mut chunk).expect("receive over TCP");
        received.add(&chunk[..len]);
        if len < chunk.len() {
            return received;
        }
    }
}

fn fill(stream: &mut TcpStream, chunk: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < chunk.len() {
        match uninterrupted(|| stream.read(&mut chunk[len..]))? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}
