//! The bytes of a frame, behind a trait.
//!
//! Values are copied in and out and never borrowed: a reference into the packet does not survive the
//! kernel's helpers that move its data, and the verifier cannot follow slices into it. Headers are
//! read as arrays of words, because a BPF program reads an array of bytes byte by byte.

use core::ops::ControlFlow;

use maps_schema::{FloodList, IfIndex, Plain};

/// The frame ends before the bytes that were asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Short;

/// The kernel refused to change or to copy the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;

/// An outer header, as far as segmentation offload must know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer {
    /// Its length with the outer Ethernet header, in bytes.
    pub len: u32,
    /// Whether it is IPv6, and not IPv4.
    pub is_v6: bool,
    /// Whether the tunnel is in UDP, and not in GRE.
    pub is_udp: bool,
}

/// A checksum in a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checksum {
    /// Where it is, in bytes from the beginning of the frame.
    pub at: u32,
    /// Whether 0 stands for none, as in UDP (RFC 768), where the sum that would be 0 is written in its
    /// other form.
    pub is_optional: bool,
}

/// What a checksum covers that changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Covered {
    /// The header of an IPv4 packet that it is in itself.
    Header,
    /// The message that it is in. It stays as it is if it is left to the device, because it does not cover
    /// the message yet.
    Message,
    /// The pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1), which it covers always.
    Pseudo,
}

/// What a program tells the one that meets a resubmitted frame: whom the copy is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note {
    /// A list, and in it the member that the copy is for.
    pub list: FloodList,
    /// As above; 16 bits go with a frame.
    pub idx: u32,
}

impl Note {
    /// The frame came in by itself.
    pub const NONE: Self = Self {
        list: FloodList::NONE,
        idx: 0,
    };
    /// The frame has its outer header already.
    pub const WRAPPED: Self = Self {
        list: FloodList::WRAPPED,
        idx: 0,
    };
}

/// The body of a loop, with the values that it works on.
pub trait Step {
    /// Takes one turn; `idx` counts them from 0.
    fn step(&mut self, idx: u32) -> ControlFlow<()>;
}

/// The bytes of one Ethernet frame. Offsets count from the beginning of the Ethernet header.
pub trait Bytes {
    /// Length in bytes. A frame that segmentation offload left whole may be longer than any MTU.
    fn len(&self) -> u32;

    /// Whether there is no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at an offset that the compiler knows: the way to the headers that nearly every
    /// frame has, which the kernel can read in place.
    ///
    /// # Errors
    /// [`Short`] if the frame ends before its end.
    fn fixed<const OFFSET: usize, T: Plain>(&self) -> Result<T, Short>;

    /// The value at an offset that depends on the frame. The verifier of the kernel would have to
    /// follow every value that such an offset can take; here a helper checks it instead, which costs
    /// some nanoseconds.
    ///
    /// # Errors
    /// [`Short`] if the frame ends before its end.
    fn load<T: Plain>(&self, offset: u32) -> Result<T, Short>;
}

/// One Ethernet frame that can be changed, copied and sent on.
pub trait Frame: Bytes {
    /// The tag control information of the outermost VLAN tag (IEEE 802.1Q-2022, 9.6), in host byte
    /// order. It is not among the frame's bytes: Linux takes it out before TC programs run, and puts
    /// it back when the frame leaves.
    fn outer_tag(&self) -> Option<u16>;

    /// Overwrites the bytes at `offset` with those of the value.
    ///
    /// # Errors
    /// [`Refused`] if the frame ends before its end or the kernel cannot make the bytes writable.
    fn store<T: Plain>(&mut self, offset: u32, value: &T) -> Result<(), Refused>;

    /// Updates a checksum that covers something that changes by a difference, which is a sum of words as
    /// they lie in memory, folded to 32 bits (RFC 1624).
    ///
    /// # Errors
    /// As of [`store`](Self::store).
    fn adjust(
        &mut self,
        checksum: Checksum,
        covered: Covered,
        difference: u32,
    ) -> Result<(), Refused>;

    /// Overwrites the bytes at `offset` with those of the value, for which a checksum was adjusted: the
    /// sum of the whole packet stays what it was.
    ///
    /// # Errors
    /// As of [`store`](Self::store).
    fn exchange<T: Plain>(&mut self, offset: u32, value: &T) -> Result<(), Refused>;

    /// Takes `step` up to `count` times, until it says to stop.
    ///
    /// The verifier follows an ordinary loop turn by turn, and everything behind it once for every
    /// way out of it. The kernel's own loop is verified once, whatever `count` is.
    ///
    /// Before Linux 6.7 (commit ab5cfac139ab) that is literally so: the verifier follows one turn from
    /// the values that the step begins with, and removes what cannot be reached in that one. A branch
    /// that a later turn takes must therefore not depend on a field that begins as a constant.
    fn repeat<S: Step>(count: u32, step: &mut S);

    /// How many bytes of payload each of the packets has that this frame will be cut into, or 0 if it
    /// is one packet: segmentation offload left it whole.
    fn segment_len(&self) -> u32;

    /// Cuts the frame off, or lengthens it with zeros, to `len` bytes. It is one packet then.
    ///
    /// # Errors
    /// [`Refused`] if the kernel has no memory for it.
    fn resize(&mut self, len: u32) -> Result<(), Refused>;

    /// Makes room for `len` bytes behind the Ethernet header; what they hold is not defined.
    ///
    /// # Errors
    /// [`Refused`] if the frame is neither IPv4 nor IPv6, or the kernel has no memory for it.
    fn insert(&mut self, len: u32) -> Result<(), Refused>;

    /// Makes room for an outer header before the frame, which is an IP packet; what the room holds is
    /// not defined, but for the MAC addresses: they are the frame's own. Segmentation offload is told,
    /// so that it cuts the frame behind that header. A tag that carries only a priority, as no other does
    /// before an IP packet, is gone: it would become the outer frame's.
    ///
    /// # Errors
    /// [`Refused`] if the kernel has no memory for it, or the frame was in a tunnel before.
    fn push(&mut self, outer: Outer) -> Result<(), Refused>;

    /// Makes room for an outer header before a frame of whatever kind; what the room holds is not defined,
    /// but for the MAC addresses: they are zero. A VLAN tag becomes one of the frame's bytes. Where the
    /// kernel thinks the headers are is not right any more, so that the frame can only be resubmitted.
    ///
    /// # Errors
    /// [`Refused`] if the kernel has no memory for it, or segmentation offload left the frame whole and it
    /// is no IP packet behind one tag.
    fn push_opaque(&mut self, outer: Outer) -> Result<(), Refused>;

    /// Takes the first `len` bytes off an IP packet in a tunnel: what is behind them is an Ethernet
    /// frame, whose outermost VLAN tag is put aside.
    ///
    /// # Errors
    /// [`Refused`] if the kernel cannot do it.
    fn pop(&mut self, len: u32) -> Result<(), Refused>;

    /// Lets a copy of the frame, as it is now, come in once more on an interface of this host, with a
    /// note for the program that meets it there.
    ///
    /// # Errors
    /// [`Refused`] if the kernel has no memory for it.
    fn resubmit(&mut self, interface: IfIndex, note: Note) -> Result<(), Refused>;

    /// The note that the frame was resubmitted with.
    fn note(&self) -> Note;

    /// Takes the note off: wherever the frame goes, it would go on to mean something.
    fn forget_note(&mut self);

    /// Sends a copy of the frame, as it is now, out of an interface of this host.
    ///
    /// # Errors
    /// [`Refused`] if the kernel has no memory for it or the interface is gone.
    fn copy_to(&mut self, interface: IfIndex) -> Result<(), Refused>;
}
