//! Services of rules: `tcp/80`, `udp/53-60`, `icmp/echo-request`, `47`.

use super::policy::beside_any;
use super::read::{Located, Reader};
use super::yaml::{Node, Value};
use crate::similar::closest;
use crate::topology::{PortRange, Service, Services};

const EXPECTED: &str = "a service such as tcp/80, udp/53-60, icmp/echo-request or gre, or `any`";

/// The word that stands for all services.
const ANYTHING: &str = "any";

/// What a rule is about: one service, a list of them, or `any`.
pub(super) fn services(reader: &mut Reader, node: &Node, what: &str) -> Option<Services> {
    let before = reader.problems.len();
    let any = |node: &Node| matches!(&node.value, Value::Scalar(_, word) if word == ANYTHING);
    if any(node) {
        return Some(Services::Any);
    }
    if let Value::List(items) = &node.value {
        if items.is_empty() {
            let help = "write `any` for everything";
            return reader.wrong_with_help(node, what, "one service at least", help);
        }
        if let Some(found) = items.iter().find(|item| any(item)) {
            if items.len() == 1 {
                return Some(Services::Any);
            }
            return beside_any(reader, found, what);
        }
    }
    let read = reader.one_or_many(node, what, service);
    if reader.problems.len() > before {
        return None;
    }
    let mut services: Vec<Service> = Vec::with_capacity(read.len());
    for service in read {
        if !services.contains(&service.value) {
            services.push(service.value);
        }
    }
    Some(Services::Of(services))
}

fn service(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Service>> {
    let Value::Scalar(_, text) = &node.value else {
        return reader.wrong(node, what, EXPECTED);
    };
    match parse(text) {
        Ok(service) => Some(reader.located(node, service)),
        Err(Some(help)) => reader.wrong_with_help(node, what, EXPECTED, help),
        Err(None) => reader.wrong(node, what, EXPECTED),
    }
}

/// Reads a service, or says how to write it, if that can be said.
fn parse(text: &str) -> Result<Service, Option<String>> {
    let mut parts = text.splitn(3, '/');
    let name = parts.next().unwrap_or("");
    let (first, second) = (parts.next(), parts.next());
    let Some(protocol) = Service::named_protocol(name) else {
        return Err(other_order(name, first).or_else(|| {
            let lower = name.to_lowercase();
            let known = Service::protocol_names();
            closest(&lower, known).map(|close| {
                let rest = text.get(name.len()..).unwrap_or("");
                format!("did you mean `{close}{rest}`?")
            })
        }));
    };
    match (first, second) {
        (None, _) => Ok(Service::protocol(protocol)),
        (Some(kind), code) if Service::has_types(protocol) => message(protocol, (name, kind, code)),
        (Some(text), None) if Service::has_ports(protocol) => {
            let ports = ports(text).map_err(Some)?;
            Ok(Service { protocol, ports })
        }
        (Some(_), Some(_)) if Service::has_ports(protocol) => Err(None),
        _ => Err(other_order(name, first).or_else(|| {
            Some(format!(
                "write `{name}`: only tcp, udp and sctp have ports, and icmp and icmpv6 types"
            ))
        })),
    }
}

/// Docker writes the port first.
fn other_order(name: &str, first: Option<&str>) -> Option<String> {
    let protocol = first?.to_lowercase();
    let known = Service::protocol_names().any(|known| known == protocol);
    let is_port = ports(name).is_ok();
    (known && is_port).then(|| format!("the protocol comes first: `{protocol}/{name}`"))
}

fn message(
    protocol: u8,
    (name, kind, code): (&str, &str, Option<&str>),
) -> Result<Service, Option<String>> {
    let found = match code {
        None => Service::message(protocol, kind),
        Some(code) => Service::message_with_code(protocol, kind, code),
    };
    found.ok_or_else(|| {
        let known = Service::message_names(protocol);
        let meant = closest(kind, known).filter(|close| *close != kind && code.is_none());
        Some(match meant {
            Some(close) => format!("did you mean `{name}/{close}`?"),
            None => format!(
                "behind `{name}/` stands a type from 0 to 255, or a name such as `{}`; behind it \
                 may stand a code: `{name}/3/1`",
                Service::message_names(protocol).next().unwrap_or_default()
            ),
        })
    })
}

/// Reads a port or a range of them, or says how to write it.
pub(super) fn ports(text: &str) -> Result<PortRange, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        // `parse` takes a sign, which no port has.
        let plain = text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse::<u16>().ok().filter(|&port| plain && port != 0)
    };
    let (Some(first), Some(last)) = (number(first), number(last)) else {
        return Err("ports are numbers from 1 to 65535".to_owned());
    };
    PortRange::new(first, last)
        .ok_or_else(|| format!("the lower port comes first: `{last}-{first}`"))
}
