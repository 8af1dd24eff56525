//! The only writer of a frame's bytes. What to write was decided before, as values; nothing is
//! written to a frame that is dropped and tells nobody.

pub mod forward;
pub mod icmp;
mod ip;
pub mod mss;
pub mod nat;
pub mod outer;
pub mod resolution;
mod sum;
pub mod tcp;

use maps_schema::Mac;

use crate::checksum;
use crate::frame::{Checksum, Covered, Frame, Refused};
use crate::parse::ethernet;

/// Where the packet begins in the frame.
const L3: u32 = ethernet::HEADER_LEN as u32;
/// Time to live, or hop limit, of the packets that routers make (RFC 1700).
const TTL: u8 = 64;

/// Replaces the word `old`, which is what is at `offset`, by `new`, both as they lie in memory, and updates
/// the checksum of the message that it is in.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(always)]
fn replace<F: Frame>(
    frame: &mut F,
    checksum: Checksum,
    offset: u32,
    old: u16,
    new: u16,
) -> Result<(), Refused> {
    let (old_word, new_word) = checksum::aligned(checksum.at, offset, old, new);
    let difference = checksum::difference(&[u32::from(old_word)], &[u32::from(new_word)]);
    frame.adjust(checksum, Covered::Message, difference)?;
    frame.exchange(offset, &new)
}

/// Writes the two MAC addresses of the Ethernet header.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(always)]
pub fn write_macs<F: Frame>(frame: &mut F, destination: Mac, source: Mac) -> Result<(), Refused> {
    let ([d0, d1, d2], [s0, s1, s2]) = (destination.words(), source.words());
    frame.store(0, &[d0, d1, d2, s0, s1, s2])
}
