//! The rules for the names of interfaces.

use std::collections::BTreeMap;

use super::PortName;
use crate::document::{Port, Workload};
use crate::problem::Problem;
use crate::source::Origin;

/// Names the ports of one workload. A port whose name an earlier one has is left out.
pub(super) fn name_ports<'a>(
    name: &str,
    workload: &'a Workload,
    problems: &mut Vec<Problem>,
) -> Vec<(PortName, &'a Port)> {
    let mut taken: BTreeMap<String, (usize, Origin)> = BTreeMap::new();
    let mut ports = Vec::with_capacity(workload.ports.len());
    for port in &workload.ports {
        let interface = match &port.interface {
            Some(given) => given.value.clone(),
            None if workload.is_host() => port.network.value.clone(),
            None => format!("eth{}", port.position),
        };
        let origin = port
            .interface
            .as_ref()
            .map_or(&port.origin, |given| &given.origin);
        if let Some(reason) = illegal(&interface) {
            problems.push(
                Problem::new(format!(
                    "workload {name}: {interface:?} cannot be the name of an interface"
                ))
                .at(origin, reason)
                .help("choose a name such as eth0, of 15 bytes at most"),
            );
        }
        if let Some((first, there)) = taken.get(&interface) {
            problems.push(
                Problem::new(format!(
                    "workload {name} has two ports with the interface {interface}"
                ))
                .at(origin, named_by(port, port.position))
                .at(there, format!("port {first} has it already"))
                .help("give each port an `interface` of its own"),
            );
            continue;
        }
        taken.insert(interface.clone(), (port.position, origin.clone()));
        let workload = name.to_owned();
        ports.push((
            PortName {
                workload,
                interface,
            },
            port,
        ));
    }
    ports
}

fn named_by(port: &Port, position: usize) -> String {
    if port.interface.is_some() {
        format!("port {position} is given it")
    } else {
        format!("port {position} has it by its position")
    }
}

/// Why the kernel would refuse the name (`dev_valid_name`, `sysctl_dev_name_is_allowed`), or why it
/// would not be the name that the interface gets.
pub(super) fn illegal(name: &str) -> Option<&'static str> {
    let legal_byte = |byte: u8| byte.is_ascii_graphic() && !b"/:".contains(&byte);
    match name {
        "" => Some("it is empty"),
        "." | ".." => Some("it is a folder's name"),
        "lo" => Some("every namespace has an interface of this name"),
        "all" | "default" => Some("the kernel keeps this name for its settings"),
        _ if name.len() > 15 => Some("it is longer than 15 bytes"),
        _ if name.contains('%') => Some("the kernel would put a number in place of the `%`"),
        _ if !name.bytes().all(legal_byte) => Some("it has a character that is not allowed"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_kernel_takes() {
        for name in ["eth0", "a", "exactly15bytes_", "v.100", "net-1", "web@2"] {
            assert_eq!(illegal(name), None, "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "lo",
            "all",
            "default",
            "exactly_16_bytes",
            "eth%d",
            "a/b",
            "a:b",
            "a b",
            "é",
        ] {
            assert!(illegal(name).is_some(), "{name}");
        }
    }
}
