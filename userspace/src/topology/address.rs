//! The rules for the addresses of ports.

use std::net::IpAddr;

use ipnet::IpNet;

use super::family::Family;
use super::station::{Owner, Plug};
use super::{Network, range};
use crate::document::{self, Address, Located};
use crate::problem::Problem;

/// Checks one port's addresses against its network, and returns the good ones with the subnet's
/// prefix length. `declared` is the network as it is in the file.
pub(super) fn resolve(
    port: &Plug<'_>,
    given: &[Located<Address>],
    network: &Network,
    declared: (&str, &document::Network),
    problems: &mut Vec<Problem>,
) -> Vec<Located<IpNet>> {
    each(given, problems, |address| {
        check(port, address, network, declared)
    })
}

/// The same for a port that leads to another router: it has no network whose subnets would say how
/// long the prefix is.
pub(super) fn resolve_on_link(
    port: &Plug<'_>,
    given: &[Located<Address>],
    problems: &mut Vec<Problem>,
) -> Vec<Located<IpNet>> {
    each(given, problems, |address| check_on_link(port, address))
}

fn each(
    given: &[Located<Address>],
    problems: &mut Vec<Problem>,
    check: impl Fn(&Located<Address>) -> Result<Option<IpNet>, Box<Problem>>,
) -> Vec<Located<IpNet>> {
    let mut addresses = Vec::with_capacity(given.len());
    for address in given {
        match check(address) {
            Ok(Some(value)) => addresses.push(Located {
                value,
                origin: address.origin.clone(),
            }),
            Ok(None) => {}
            Err(problem) => problems.push(*problem),
        }
    }
    addresses
}

/// The address with its subnet's prefix length. `Ok(None)` means that it cannot be judged.
fn check(
    port: &Plug<'_>,
    given: &Located<Address>,
    network: &Network,
    (name, declared): (&str, &document::Network),
) -> Result<Option<IpNet>, Box<Problem>> {
    let ip = given.ip;
    not_special(port, given, || advice(ip, network))?;
    let Some(subnet) = network.subnets.iter().find(|subnet| subnet.contains(&ip)) else {
        if declared.incomplete {
            return Ok(None);
        }
        let message =
            format!("address {ip} of port {port} is outside the subnets of network {name}");
        let mut problem = Problem::new(message).at(&given.origin, "in none of the subnets");
        problem = problem.at(&declared.origin, "the network is declared here");
        return Err(Box::new(problem.help(advice(ip, network))));
    };
    not_reserved(port, given, *subnet)?;
    match given.prefix_len {
        Some(len) if len != subnet.prefix_len() => {
            let message = format!(
                "address {ip}/{len} of port {port} has another prefix length than its subnet {subnet}"
            );
            let problem = Problem::new(message).at(&given.origin, "not the subnet's length");
            let help = format!("write {ip}, or {ip}/{}", subnet.prefix_len());
            Err(Box::new(problem.help(help)))
        }
        _ => Ok(IpNet::new(ip, subnet.prefix_len()).ok()),
    }
}

fn check_on_link(port: &Plug<'_>, given: &Located<Address>) -> Result<Option<IpNet>, Box<Problem>> {
    let ip = given.ip;
    not_special(port, given, || {
        "use a private address, such as 10.255.0.1/30 or fd00:255::1/64".to_owned()
    })?;
    let Some(len) = given.prefix_len else {
        // The shortest prefix that leaves room for both ends (RFC 3021, RFC 6164).
        let len = if ip.is_ipv4() { 31 } else { 127 };
        let problem = Problem::new(format!("address {ip} of port {port} has no prefix length"))
            .at(&given.origin, "a link has no other subnet than this")
            .help(format!("write it with the length, such as {ip}/{len}"));
        return Err(Box::new(problem));
    };
    let Ok(address) = IpNet::new(ip, len) else {
        return Ok(None);
    };
    not_reserved(port, given, address.trunc())?;
    Ok(Some(address))
}

/// Refuses what no port can have, whatever its network.
fn not_special(
    port: &Plug<'_>,
    given: &Located<Address>,
    advice: impl FnOnce() -> String,
) -> Result<(), Box<Problem>> {
    let ip = given.ip;
    let Some(kind) = range::special(ip) else {
        return Ok(());
    };
    let help = match range::unmapped(ip) {
        Some(v4) => format!("write {v4}"),
        // IPv6 needs one on every interface (RFC 4291, section 2.1); IPv4 does not.
        None if kind == range::LINK_LOCAL && ip.is_ipv6() => match port.owner {
            Owner::Workload(_) | Owner::Vtep => "leave it out: the kernel makes its own".to_owned(),
            Owner::Router(_) => "leave it out: it follows from the port's mac".to_owned(),
        },
        None => advice(),
    };
    let message = format!("port {port} cannot have the {kind} address {ip}");
    Err(Box::new(unfit(port, given, message).help(help)))
}

/// Refuses what has a meaning of its own in the subnet.
fn not_reserved(
    port: &Plug<'_>,
    given: &Located<Address>,
    subnet: IpNet,
) -> Result<(), Box<Problem>> {
    let Some(role) = reserved(given.ip, subnet) else {
        return Ok(());
    };
    let message = format!(
        "address {} of port {port} is the {role} of subnet {subnet}",
        given.ip
    );
    let problem = unfit(port, given, message);
    Err(Box::new(problem.help(one_from(subnet))))
}

fn unfit(port: &Plug<'_>, given: &Located<Address>, message: String) -> Problem {
    let label = match port.owner {
        Owner::Workload(_) | Owner::Vtep => "not an address for a workload",
        Owner::Router(_) => "not an address for a router",
    };
    Problem::new(message).at(&given.origin, label)
}

/// What an address of a subnet is for, if it is not a station's (RFC 922, section 7; RFC 4291,
/// section 2.6.1). Links of two stations use all of their addresses (RFC 3021, RFC 6164).
pub(super) fn reserved(ip: IpAddr, subnet: IpNet) -> Option<&'static str> {
    match subnet {
        IpNet::V4(v4) if v4.prefix_len() < 31 => {
            if ip == IpAddr::V4(v4.network()) {
                Some("network address")
            } else if ip == IpAddr::V4(v4.broadcast()) {
                Some("broadcast address")
            } else {
                None
            }
        }
        IpNet::V6(v6) if v6.prefix_len() < 127 && ip == IpAddr::V6(v6.network()) => {
            Some("subnet-router anycast address")
        }
        _ => None,
    }
}

/// Which address would be right.
fn advice(ip: IpAddr, network: &Network) -> String {
    let same_family = |subnet: &&IpNet| subnet.addr().is_ipv4() == ip.is_ipv4();
    let subnets: Vec<String> = network.subnets.iter().map(ToString::to_string).collect();
    match network.subnets.iter().find(same_family) {
        Some(subnet) if subnets.len() == 1 => one_from(*subnet),
        _ if subnets.is_empty() => "the network has no subnet: give it one".to_owned(),
        Some(_) => format!("the network's subnets are {}", shortened(&subnets)),
        None => {
            let family = Family::of(ip);
            let subnets = shortened(&subnets);
            format!("the network has no {family} subnet; its subnets are {subnets}")
        }
    }
}

fn shortened(subnets: &[String]) -> String {
    const MOST: usize = 4;
    match subnets.get(..MOST) {
        Some(first) if subnets.len() > MOST => format!("{} and others", first.join(", ")),
        _ => subnets.join(", "),
    }
}

fn one_from(subnet: IpNet) -> String {
    let first_free = subnet.hosts().find(|ip| reserved(*ip, subnet).is_none());
    match first_free {
        Some(ip) => format!("choose an address from {subnet}, such as {ip}"),
        None => format!("choose an address from {subnet}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_addresses() {
        let cases = [
            ("10.0.0.0", "10.0.0.0/24", Some("network address")),
            ("10.0.0.255", "10.0.0.0/24", Some("broadcast address")),
            ("10.0.0.1", "10.0.0.0/24", None),
            ("10.0.0.0", "10.0.0.0/31", None),
            ("10.0.0.1", "10.0.0.0/31", None),
            ("10.0.0.1", "10.0.0.1/32", None),
            ("fd00::", "fd00::/64", Some("subnet-router anycast address")),
            ("fd00::ffff:ffff:ffff:ffff", "fd00::/64", None),
            ("fd00::", "fd00::/127", None),
            ("fd00::", "fd00::/128", None),
        ];
        for (ip, subnet, expected) in cases {
            let found = reserved(ip.parse().unwrap(), subnet.parse().unwrap());
            assert_eq!(found, expected, "{ip} in {subnet}");
        }
    }
}
