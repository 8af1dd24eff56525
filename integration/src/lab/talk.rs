//! TCP connections on which both sides go on talking, and check every byte that they hear.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Namespace, eventually_some, patience, uninterrupted};

/// How many words of eight bytes a side says before it listens: more than fit into one packet.
const WORDS: usize = 256;
/// How long the caller waits before it speaks again.
const PAUSE: Duration = Duration::from_millis(20);
/// A connection that stands still for so many times [`patience`] is broken. TCP doubles the time after
/// which it tries again with every try, so that a connection whose way was cut may stand still for as
/// long again when the way is there again.
const SILENCE: u32 = 3;

/// An established connection. Each side counts: no two words of what it says are the same, so that
/// nothing can be missing, come twice or in another order unnoticed.
#[derive(Debug)]
pub struct Talk {
    answered_by: usize,
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    caller: Option<JoinHandle<io::Result<()>>>,
    listener: Option<JoinHandle<io::Result<u64>>>,
}

impl Talk {
    /// Calls an address, which one of the listeners answers, and begins to talk.
    ///
    /// # Panics
    /// Nobody answers.
    #[must_use]
    pub fn start(from: &Namespace, to: SocketAddr, listeners: &[TcpListener]) -> Self {
        let caller = from
            .run(|| TcpStream::connect_timeout(&to, patience()))
            .unwrap_or_else(|error| panic!("connect to {to}: {error}"));
        let own = caller.local_addr().expect("an address of its own");
        let (answered_by, answer) = eventually_some("the call is answered", || {
            listeners
                .iter()
                .enumerate()
                .find_map(|(number, listener)| Some((number, accept(listener, own)?)))
        });
        let rounds = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (count, until) = (Arc::clone(&rounds), Arc::clone(&stop));
        Self {
            answered_by,
            rounds,
            stop,
            caller: Some(thread::spawn(move || call(caller, &count, &until))),
            listener: Some(thread::spawn(move || listen(answer))),
        }
    }

    /// Which of the listeners answered.
    #[must_use]
    pub fn answered_by(&self) -> usize {
        self.answered_by
    }

    /// How often both sides have said something and heard the other.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Waits until it has gone on for so many rounds more.
    ///
    /// # Panics
    /// It ends or stands still before that.
    #[track_caller]
    pub fn go_on(&mut self, rounds: u64) {
        let until = self.rounds() + rounds;
        // A connection that stands still ends by itself, and says why; nothing else takes this long.
        let deadline = Instant::now() + (SILENCE + 1) * patience();
        while self.rounds() < until {
            if let Some(end) = self.end() {
                panic!("after {} rounds: {end}", self.rounds());
            }
            assert!(
                Instant::now() < deadline,
                "{} rounds, and not {until}",
                self.rounds()
            );
            thread::sleep(PAUSE);
        }
    }

    /// Why one side or both have ended, if they have.
    fn end(&mut self) -> Option<String> {
        let caller = self.caller.take_if(|side| side.is_finished());
        let caller = caller.map(|side| format!("the caller: {:?}", side.join()));
        let listener = self.listener.take_if(|side| side.is_finished());
        let listener = listener.map(|side| format!("the listener: {:?}", side.join()));
        let ends: Vec<_> = caller.into_iter().chain(listener).collect();
        (!ends.is_empty()).then(|| ends.join(", "))
    }

    /// Ends it.
    ///
    /// # Panics
    /// It was broken, or something other was heard than was said.
    pub fn finish(mut self) {
        self.stop.store(true, Ordering::Release);
        let caller = self.caller.take().expect("it goes on").join();
        caller.expect("no panic").expect("the caller's side");
        let listener = self.listener.take().expect("it goes on").join();
        let heard = listener.expect("no panic").expect("the listener's side");
        assert_eq!(heard, self.rounds(), "rounds at both sides");
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // The threads end by themselves.
        self.stop.store(true, Ordering::Release);
    }
}

/// The call from an address, if this listener is the one that has it.
fn accept(listener: &TcpListener, from: SocketAddr) -> Option<TcpStream> {
    listener.set_nonblocking(true).expect("a socket's mode");
    let (stream, peer) = listener.accept().ok()?;
    // The address may be another one outside.
    assert_eq!(peer.port(), from.port(), "somebody else calls");
    stream.set_nonblocking(false).expect("a socket's mode");
    Some(stream)
}

fn call(mut stream: TcpStream, rounds: &AtomicU64, stop: &AtomicBool) -> io::Result<()> {
    prepare(&stream)?;
    let (mut said, mut heard) = (Words::new(1), Words::new(2));
    while !stop.load(Ordering::Acquire) {
        said.say(&mut stream)?;
        if !heard.hear(&mut stream)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        rounds.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
    stream.shutdown(Shutdown::Write)?;
    // The other side has nothing more to say.
    match heard.hear(&mut stream)? {
        false => Ok(()),
        true => Err(io::Error::other("an answer to nothing")),
    }
}

fn listen(mut stream: TcpStream) -> io::Result<u64> {
    prepare(&stream)?;
    let (mut said, mut heard) = (Words::new(2), Words::new(1));
    let mut rounds = 0;
    while heard.hear(&mut stream)? {
        said.say(&mut stream)?;
        rounds += 1;
    }
    Ok(rounds)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    let silence = SILENCE * patience();
    stream.set_read_timeout(Some(silence))?;
    stream.set_write_timeout(Some(silence))
}

/// What one side says.
struct Words {
    next: u64,
    chunk: Vec<u8>,
}

impl Words {
    fn new(side: u64) -> Self {
        Self {
            next: side << 56,
            chunk: vec![0; WORDS * 8],
        }
    }

    fn say(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        for (word, number) in self.chunk.chunks_mut(8).zip(self.next..) {
            word.copy_from_slice(&number.to_ne_bytes());
        }
        self.next += WORDS as u64;
        stream.write_all(&self.chunk)
    }

    /// Hears the other side out; `false` if it has ended the talk.
    fn hear(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        let len = uninterrupted(|| stream.read(&mut self.chunk))?;
        if len == 0 {
            return Ok(false);
        }
        stream.read_exact(&mut self.chunk[len..])?;
        for (word, number) in self.chunk.chunks(8).zip(self.next..) {
            if *word != number.to_ne_bytes() {
                let text = format!("{word:02x?} in place of number {number}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        self.next += WORDS as u64;
        Ok(true)
    }
}
