//! What was found to be wrong where Docker, what is recorded and the kernel are compared.

use std::fmt;

use super::Refusal;

/// What was found to be wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Finding {
    /// A network is recorded that Docker has not.
    NetworkGone(String),
    /// An endpoint is recorded whose link is gone, or that Docker has not.
    EndpointGone(String),
    /// A subnet was given out for a network that Docker has not.
    PoolUnused(String),
    /// A link belongs to nobody.
    LinkOfNobody(String),
    /// Docker has an endpoint for a container that is in it no more, and would not start it again.
    EndpointLeft {
        /// The network.
        network: String,
        /// The container.
        container: String,
    },
    /// Docker has a network that is not recorded.
    NetworkUnknown(String),
    /// A container is plugged in by a link that is not recorded.
    EndpointUnknown {
        /// The network.
        network: String,
        /// The container.
        container: String,
    },
    /// Docker takes a container for plugged in, which has no link.
    Unplugged {
        /// The network.
        network: String,
        /// The container.
        container: String,
    },
    /// A container's port is published at another port of the host than before.
    PortMoved {
        /// The container.
        container: String,
        /// Its port.
        port: String,
        /// The port of the host.
        host_port: u16,
    },
    /// A recorded network is that of another driver of Docker's.
    OtherDriver {
        /// The network.
        network: String,
        /// Docker's name of the driver.
        driver: String,
    },
    /// What a container publishes cannot be recorded again.
    PortsLost {
        /// The network.
        network: String,
        /// The container.
        container: String,
        /// Why.
        why: Refusal,
    },
    /// Something cannot be made again.
    Refused {
        /// What.
        what: String,
        /// Why.
        why: Refusal,
    },
}

impl Finding {
    /// Whether it is put right without the user.
    #[must_use]
    pub const fn is_mended(&self) -> bool {
        !matches!(
            self,
            Self::Unplugged { .. }
                | Self::OtherDriver { .. }
                | Self::PortsLost { .. }
                | Self::Refused { .. }
        )
    }

    /// Whether something is recorded again.
    pub(super) const fn is_recalled(&self) -> bool {
        matches!(self, Self::NetworkUnknown(_) | Self::EndpointUnknown { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NetworkGone(what) => write!(f, "Docker has no {what} any more: forget it"),
            Self::EndpointGone(what) => write!(f, "{what} is plugged in no more: forget it"),
            Self::PoolUnused(what) => write!(f, "no network of Docker's has {what}: free it"),
            Self::LinkOfNobody(name) => write!(f, "the link {name} is nobody's: remove it"),
            Self::EndpointLeft { network, container } => write!(
                f,
                "container {container} has left network {network}, and Docker was not told: \
                 disconnect it there"
            ),
            Self::NetworkUnknown(name) => {
                write!(
                    f,
                    "Docker's network {name} is not recorded: record it again"
                )
            }
            Self::EndpointUnknown { network, container } => write!(
                f,
                "container {container} on network {network} is not recorded: record it again"
            ),
            Self::Unplugged { network, container } => write!(
                f,
                "container {container} has lost its interface on network {network}: plug it in again by \
                 `docker network disconnect -f {network} {container}` and `docker network connect \
                 {network} {container}`"
            ),
            Self::PortMoved {
                container,
                port,
                host_port,
            } => write!(
                f,
                "nobody knows any more which port of the host leads to {port} of container {container}: \
                 {host_port} does now"
            ),
            Self::OtherDriver { network, driver } => write!(
                f,
                "{network} is recorded here, and Docker's driver for it is `{driver}`: start the agent as \
                 that driver (`--docker /run/docker/plugins/{driver}.sock`)"
            ),
            Self::PortsLost {
                network,
                container,
                why,
            } => write!(
                f,
                "container {container} on network {network} publishes nothing any more, because {why}: when \
                 that is mended, `docker restart {container}`"
            ),
            Self::Refused { what, why } => write!(f, "{what} cannot be recorded again: {why}"),
        }
    }
}
