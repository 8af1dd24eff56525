//! The programs of the datapath, as data: what they are called and where they run.

/// A program of the datapath's object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Program {
    /// At the ingress of the host's end of every link: frames from workloads.
    PortIngress,
    /// At the ingress of the uplink: frames from the underlay.
    UplinkIngress,
}

impl Program {
    /// Every program.
    pub const ALL: &[Self] = &[Self::PortIngress, Self::UplinkIngress];

    /// Its name, in the object and in the kernel, which keeps 15 bytes of it.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::PortIngress => "port_ingress",
            Self::UplinkIngress => "uplink_ingress",
        }
    }

    /// The program of this name.
    #[must_use]
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|program| program.symbol() == symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_enough_for_the_kernel_and_names_its_program() {
        for &program in Program::ALL {
            assert!(program.symbol().len() < 16);
            assert_eq!(Program::from_symbol(program.symbol()), Some(program));
        }
        assert_eq!(Program::from_symbol("port"), None);
    }
}
