//! The rules for the largest packet of a network and of a port.

use std::fmt::Display;

use super::Network;
use crate::document::{self, Located};
use crate::problem::Problem;

/// What a network carries where nothing is said: Ethernet's own (RFC 894).
pub(super) const DEFAULT: u32 = 1500;
/// The least that IPv4 needs (RFC 791, section 3.2).
const LEAST: u32 = 68;
/// The least that IPv6 needs (RFC 8200, section 5); the kernel switches IPv6 off below.
const LEAST_IPV6: u32 = 1280;
/// The most that a veth device takes (`ETH_MAX_MTU`).
const MOST: u32 = 65_535;

/// The MTU as a number, if a veth device takes it.
pub(super) fn in_range(given: &Located<u64>) -> Option<u32> {
    let value = u32::try_from(given.value).ok()?;
    (LEAST..=MOST).contains(&value).then_some(value)
}

/// Checks a given MTU against what every network needs. `object` is whose it is.
pub(super) fn check(
    given: Option<&Located<u64>>,
    object: &str,
    problems: &mut Vec<Problem>,
) -> Option<u32> {
    let given = given?;
    let value = in_range(given);
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

/// Whether IPv6 works with this MTU.
pub(super) fn carries_ipv6(mtu: u32) -> bool {
    mtu >= LEAST_IPV6
}

/// The problem of a network with an IPv6 subnet that does not carry it.
pub(super) fn too_small_for_ipv6(object: &str, mtu: u32) -> Problem {
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
) -> u32 {
    let object = format!("port {name}");
    let (Some(value), Some(own)) = (check(given, &object, problems), given) else {
        return network.mtu;
    };
    let limit = declared
        .mtu
        .as_ref()
        .map_or(&declared.origin, |given| &given.origin);
    if value > network.mtu {
        problems.push(
            Problem::new(format!(
                "the mtu of port {name} is {value}, more than the {} of network {network_name}",
                network.mtu
            ))
            .at(&own.origin, "larger than the network's")
            .at(limit, format!("the network carries {} bytes", network.mtu))
            .help("lower the port's mtu or raise the network's"),
        );
    } else if let Some(ipv6) = declared
        .subnets
        .iter()
        .find(|subnet| subnet.addr().is_ipv6())
        && !carries_ipv6(value)
    {
        problems.push(
            too_small_for_ipv6(&object, value)
                .at(&own.origin, "too small")
                .at(&ipv6.origin, "the network's IPv6 subnet"),
        );
    }
    value
}
