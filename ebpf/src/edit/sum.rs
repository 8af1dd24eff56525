//! Sums over the bytes of a frame, for checksums that cannot be updated.

use core::ops::ControlFlow;

use crate::checksum;
use crate::frame::{Frame, Refused, Step};

/// Frames are summed in pieces of this many bytes.
pub(super) const PIECE: u32 = 16;

/// The sum of the words of some pieces of the frame.
#[inline(always)]
pub(super) fn sum<F: Frame>(frame: &F, start: u32, pieces: u32) -> u64 {
    let mut sum = Sum {
        frame,
        start,
        sum: 0,
    };
    F::repeat(pieces, &mut sum);
    sum.sum
}

struct Sum<'a, F> {
    frame: &'a F,
    start: u32,
    sum: u64,
}

impl<F: Frame> Step for Sum<'_, F> {
    #[inline(always)]
    fn step(&mut self, idx: u32) -> ControlFlow<()> {
        match self.frame.load::<[u32; 4]>(self.start + idx * PIECE) {
            Ok(words) => {
                self.sum += checksum::sum32(&words);
                ControlFlow::Continue(())
            }
            Err(_short) => ControlFlow::Break(()),
        }
    }
}

/// The sum of the words of the whole frame, which is one packet.
///
/// # Errors
/// [`Refused`] if the kernel has no memory for it.
#[inline(always)]
pub(super) fn sum_all<F: Frame>(frame: &mut F) -> Result<u64, Refused> {
    let len = frame.len();
    // Padded with zeros, it is summed in whole pieces.
    let pieces = len.div_ceil(PIECE);
    frame.resize(pieces * PIECE)?;
    let sum = sum(frame, 0, pieces);
    frame.resize(len)?;
    Ok(sum)
}
