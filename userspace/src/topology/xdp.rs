//! How a host's uplink uses XDP.

/// How a host's uplink uses XDP, which drops what cannot be from a peer before the kernel makes a
/// socket buffer of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, schemars::JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Xdp {
    /// By the driver where that costs nothing else and the driver can; else not at all.
    #[default]
    Auto,
    /// By the driver.
    Native,
    /// By the kernel, with every driver.
    Generic,
    /// Not at all.
    Off,
}

impl Xdp {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Native, Self::Generic, Self::Off];

    /// As it is written in a file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Off => "off",
        }
    }
}
