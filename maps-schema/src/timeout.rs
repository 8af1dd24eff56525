//! How long connections are remembered that are silent.

use crate::plain::plain;

/// What it depends on how long a connection may be silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Phase {
    /// It was not answered, or only answered.
    Opening,
    /// TCP: both sides go on.
    Established,
    /// TCP: one side has nothing more to say, the other one may go on.
    HalfClosed,
    /// TCP: neither side has.
    Closed,
    /// TCP: it was reset.
    Reset,
    /// UDP, once both sides have spoken and gone on.
    Datagrams,
    /// Echoes of ICMP, likewise.
    Echoes,
    /// Other protocols, likewise.
    Others,
}

impl Phase {
    /// How many there are.
    pub const COUNT: usize = 8;
}

/// How long connections may be silent, in seconds: the value of the read-only global [`TIMEOUTS`], which the
/// programs are loaded with. There is a field for every [`Phase`], in the same order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Timeouts {
    /// [`Phase::Opening`].
    pub opening: u32,
    /// [`Phase::Established`].
    pub established: u32,
    /// [`Phase::HalfClosed`].
    pub half_closed: u32,
    /// [`Phase::Closed`].
    pub closed: u32,
    /// [`Phase::Reset`].
    pub reset: u32,
    /// [`Phase::Datagrams`].
    pub datagrams: u32,
    /// [`Phase::Echoes`].
    pub echoes: u32,
    /// [`Phase::Others`].
    pub others: u32,
}

plain! {
    Timeouts = 4 * Phase::COUNT;
}

/// Symbol of the read-only global (an array of `u32`) of [`Timeouts`].
pub const TIMEOUTS: &str = "TIMEOUTS";

impl Timeouts {
    /// What holds where nothing else is said. An established connection of TCP lasts five days, as Linux has
    /// it; RFC 5382 section 5 asks for two hours and four minutes. A closed one lasts twice the maximum
    /// segment lifetime (RFC 9293 section 3.4.2), which in practice is a minute. RFC 4787 section 4.3 asks
    /// for two minutes of UDP at least, RFC 5508 section 3.2 for a minute of echoes.
    pub const USUAL: Self = Self {
        opening: 60,
        established: 5 * 24 * 3600,
        half_closed: 3600,
        closed: 120,
        reset: 10,
        datagrams: 180,
        echoes: 60,
        others: 600,
    };
    /// The shortest that can be asked for, in seconds: before that no connection is asked whether it is
    /// over.
    pub const MIN: u32 = 10;
    /// The longest, in seconds: a year.
    pub const MAX: u32 = 365 * 24 * 3600;

    /// That of a phase, in nanoseconds.
    #[must_use]
    pub const fn of_ns(&self, phase: Phase) -> u64 {
        let seconds = match phase {
            Phase::Opening => self.opening,
            Phase::Established => self.established,
            Phase::HalfClosed => self.half_closed,
            Phase::Closed => self.closed,
            Phase::Reset => self.reset,
            Phase::Datagrams => self.datagrams,
            Phase::Echoes => self.echoes,
            Phase::Others => self.others,
        };
        seconds as u64 * 1_000_000_000
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::USUAL
    }
}
