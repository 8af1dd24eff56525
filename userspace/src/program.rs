//! The programs of the datapath, as data: what they are called and where they run.

use maps_schema::Timeouts;
use maps_schema::map::{EMBRYO_ROWS, FLOW_ROWS};

/// A TC program of the datapath's object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Program {
    /// At the ingress of the host's end of every link: frames from workloads.
    PortIngress,
    /// At the ingress of the uplink: frames from the underlay.
    UplinkIngress,
}

impl Program {
    /// Every TC program.
    pub const ALL: &[Self] = &[Self::PortIngress, Self::UplinkIngress];

    /// Its name, in the object and in the kernel, which keeps 15 bytes of it.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::PortIngress => "port_ingress",
            Self::UplinkIngress => "uplink_ingress",
        }
    }
}

/// The name of the XDP program, which meets frames from the underlay before they are socket buffers.
pub const UPLINK_XDP: &str = "uplink_xdp";

/// The names of all programs.
pub fn symbols() -> impl Iterator<Item = &'static str> {
    let classifiers = Program::ALL.iter().map(|program| program.symbol());
    classifiers.chain([UPLINK_XDP])
}

/// What the programs are loaded with. With other settings they are other programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Whether dropped frames are reported as events.
    pub drop_events: bool,
    /// How long connections may be silent.
    pub timeouts: Timeouts,
    /// How many connections are remembered.
    pub room: Room,
}

/// How many connections a host remembers. Each has a row for either direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Those that both sides take part in.
    pub established: u32,
    /// Those that may come to nothing.
    pub opening: u32,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            established: FLOW_ROWS / 2,
            opening: EMBRYO_ROWS / 2,
        }
    }
}

/// Who calls an XDP program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XdpMode {
    /// The driver, before it makes a socket buffer.
    Native,
    /// The kernel, with a socket buffer that it has made: with every driver.
    Generic,
}

impl XdpMode {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_enough_for_the_kernel() {
        assert!(symbols().all(|symbol| symbol.len() < 16));
    }
}
