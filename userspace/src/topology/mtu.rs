//! The rules for the largest packet of a network and of a port.

use std::fmt::Display;

use super::Network;
use super::merge::Merged;
use crate::document::{self, Defaults, Located};
use crate::problem::Problem;

/// How large packets may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mtu {
    /// As large as what carries them to other hosts allows, which every host knows by itself.
    Auto,
    /// This many bytes.
    Bytes(u32),
}

impl Mtu {
    /// The number of bytes, if `carried` bytes is what [`Mtu::Auto`] stands for.
    #[must_use]
    pub const fn bytes(self, carried: u32) -> u32 {
        match self {
            Self::Auto => carried,
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The number of bytes of a port on a network with this MTU: never more than that.
    #[must_use]
    pub fn within(self, network: Self, carried: u32) -> u32 {
        self.bytes(carried).min(network.bytes(carried))
    }
}

/// What a network carries where nothing is said: Ethernet's own (RFC 894).
pub(super) const DEFAULT: u32 = 1500;
/// The least that IPv4 needs (RFC 791, section 3.2).
pub(super) const LEAST: u32 = 68;
/// The least that IPv6 needs (RFC 8200, section 5); the kernel switches IPv6 off below.
pub(super) const LEAST_IPV6: u32 = 1280;
/// The most that a veth device takes (`ETH_MAX_MTU`).
const MOST: u32 = 65_535;

/// What holds for networks where nothing is said.
pub(super) fn unsaid(merged: &Merged<'_>) -> Mtu {
    if merged.hosts.len() > 1 || !merged.vteps.is_empty() {
        Mtu::Auto
    } else {
        Mtu::Bytes(DEFAULT)
    }
}

/// The MTU as a number, if a veth device takes it.
fn in_range(given: u64) -> Option<u32> {
    let value = u32::try_from(given).ok()?;
    (LEAST..=MOST).contains(&value).then_some(value)
}

/// What the defaults of a file say, if it is in order; what is wrong with it has been reported.
pub(super) fn of_defaults(defaults: &Defaults) -> Option<Mtu> {
    match defaults.mtu.as_ref()?.value {
        document::Mtu::Auto => Some(Mtu::Auto),
        document::Mtu::Bytes(bytes) => in_range(bytes).map(Mtu::Bytes),
    }
}

/// Checks an MTU that may be left to be found out. `object` is whose it is.
pub(super) fn check_shared(
    given: Option<&Located<document::Mtu>>,
    object: &str,
    problems: &mut Vec<Problem>,
) -> Option<Mtu> {
    let given = given?;
    match given.value {
        document::Mtu::Auto => Some(Mtu::Auto),
        document::Mtu::Bytes(value) => {
            let origin = given.origin.clone();
            check(Some(&Located { value, origin }), object, problems).map(Mtu::Bytes)
        }
    }
}

/// Checks a given MTU against what every network needs. `object` is whose it is.
pub(super) fn check(
    given: Option<&Located<u64>>,
    object: &str,
    problems: &mut Vec<Problem>,
) -> Option<u32> {
    let given = given?;
    let value = in_range(given.value);
    if value.is_some() {
        return value;
    }
    problems.push(
        Problem::new(format!("the mtu of {object} is {}", given.value))
            .at(&given.origin, "out of range")
            .help(format!("the mtu is between {LEAST} and {MOST} bytes")),
    );
    None
}

/// Whether IPv6 works with this MTU, as far as it is known here.
pub(super) fn carries_ipv6(mtu: Mtu) -> bool {
    mtu.bytes(LEAST_IPV6) >= LEAST_IPV6
}

/// The problem of a network with an IPv6 subnet that does not carry it.
pub(super) fn too_small_for_ipv6(object: &str, mtu: Mtu) -> Problem {
    let mtu = mtu.bytes(LEAST_IPV6);
    Problem::new(format!("the mtu of {object} is {mtu}, too small for IPv6")).help(format!(
        "IPv6 needs {LEAST_IPV6} bytes at least (RFC 8200, section 5)"
    ))
}

/// The port's MTU: the network's, or a smaller one that still carries what the network does.
pub(super) fn of_port(
    name: &dyn Display,
    given: Option<&Located<u64>>,
    (network_name, declared): (&str, &document::Network),
    network: &Network,
    problems: &mut Vec<Problem>,
) -> Mtu {
    let object = format!("port {name}");
    let (Some(value), Some(own)) = (check(given, &object, problems), given) else {
        return network.mtu;
    };
    let limit = declared
        .mtu
        .as_ref()
        .map_or(&declared.origin, |given| &given.origin);
    let carried = network.mtu.bytes(value);
    if value > carried {
        problems.push(
            Problem::new(format!(
                "the mtu of port {name} is {value}, more than the {carried} of network {network_name}"
            ))
            .at(&own.origin, "larger than the network's")
            .at(limit, format!("the network carries {carried} bytes"))
            .help("lower the port's mtu or raise the network's"),
        );
    } else if let Some(ipv6) = declared
        .subnets
        .iter()
        .find(|subnet| subnet.addr().is_ipv6())
        && !carries_ipv6(Mtu::Bytes(value))
    {
        problems.push(
            too_small_for_ipv6(&object, Mtu::Bytes(value))
                .at(&own.origin, "too small")
                .at(&ipv6.origin, "the network's IPv6 subnet"),
        );
    }
    Mtu::Bytes(value)
}
