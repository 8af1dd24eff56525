//! Echoes between hosts: whether a peer is alive, how far it is and how large a packet gets there.
//!
//! An echo is a frame for VNI 0, which no network has. The peer's datapath sends it back with nothing
//! changed but one word, in the manner of BFD's echo function (RFC 5880 section 5), so that the peer
//! needs no process that runs; the datapath of the host that asked notes the answer.

use maps_schema::PortId;

use crate::edit;
use crate::frame::{Frame, Refused};
use crate::parse::ethernet::HEADER_LEN;
use crate::parse::outer::Outer;
use crate::tables::Tables;

/// EtherType of echoes: for local experiments (IEEE 802-2014, table 9-2).
pub const ETHERTYPE: u16 = 0x88b5;
/// The first word of an echo, in network byte order as all of them.
pub const MAGIC: u32 = 0x626c_6563;
/// The second word of one that is on its way there.
pub const REQUEST: u32 = 1;
/// The second word of one that is on its way back.
pub const ANSWER: u32 = 2;
/// An echo: magic number, kind, sequence number, and the time at which it was sent (in nanoseconds of
/// `CLOCK_MONOTONIC`, the upper word first), all in network byte order. Anything may follow, up to
/// the size that is tried.
pub type Echo = [u32; 5];

/// What becomes of an echo.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It goes back to where it came from.
    Return,
    /// It came back, and that was noted.
    Noted,
    /// It is none.
    Malformed,
}

/// Sends an echo back, or notes that one came back.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(always)]
pub fn handle<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    outer: &Outer,
    peer: PortId,
) -> Result<Outcome, Refused> {
    let start = outer.len + HEADER_LEN as u32;
    // One after the other: of values that are looked at together the verifier must know each.
    let ethertype = frame.load::<u16>(start - 2).unwrap_or(0);
    if u16::from_be(ethertype) != ETHERTYPE {
        return Ok(Outcome::Malformed);
    }
    let [magic, kind, sequence, upper, lower] = frame.load::<Echo>(start).unwrap_or([0; 5]);
    if u32::from_be(magic) != MAGIC {
        return Ok(Outcome::Malformed);
    }
    match u32::from_be(kind) {
        REQUEST => {
            // They differ in the lower half only.
            let (old, new) = ((REQUEST as u16).to_be(), (ANSWER as u16).to_be());
            edit::outer::write_echo_answer(frame, outer, start + 6, old, new)?;
            Ok(Outcome::Return)
        }
        ANSWER => {
            let sent_ns = u64::from(u32::from_be(upper)) << 32 | u64::from(u32::from_be(lower));
            let len = frame.len() - HEADER_LEN as u32;
            let (now_ns, precise_ns) = (tables.now_ns(), tables.precise_ns());
            tables.update_peer_state(peer, |state| {
                state.heard_ns = now_ns;
                state.answered_ns = now_ns;
                state.rtt_ns = precise_ns.saturating_sub(sent_ns);
                state.answers = state.answers.wrapping_add(1);
                state.sequence = u32::from_be(sequence);
                if len > state.answered_len {
                    state.answered_len = len;
                }
            });
            Ok(Outcome::Noted)
        }
        _ => Ok(Outcome::Malformed),
    }
}
