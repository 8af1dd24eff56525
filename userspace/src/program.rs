//! The programs of the datapath, as data: what they are called and where they run.

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
