//! Reading `uplink` and `nat` of routers, and `publish` of ports.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::model::{NAT_KEYS, Nat, Publish, Translation, UPLINK_KEYS, Uplink};
use super::read::{Fields, Located, Reader, at};
use super::scalar;
use super::service::ports;
use super::yaml::{Kind, Node, Value};
use crate::problem::Problem;
use crate::topology::{Pool, PortRange, Service};

/// The protocols that ports can be published of; the first one is that of ports that do not say theirs, as
/// Docker has it.
const TCP: u8 = 6;
/// As above.
const UDP: u8 = 17;

/// A router's way to the outside; `false` is none.
pub(super) fn uplink(reader: &mut Reader, node: &Node, what: &str) -> Option<Option<Uplink>> {
    let origin = reader.origin(node);
    let hosts = match &node.value {
        Value::Map(_) => {
            let fields = reader.fields(node, what, UPLINK_KEYS)?;
            fields.optional(reader, "hosts", |reader, node, what| {
                if matches!(&node.value, Value::List(items) if items.is_empty()) {
                    return reader.wrong(node, what, "one host at least");
                }
                Some(reader.one_or_many(node, what, Reader::text))
            })
        }
        Value::Scalar(Kind::Bool, _) => {
            let on = reader.switch(node, what)?;
            if !on.value {
                return Some(None);
            }
            None
        }
        _ => {
            let expected = "`true`, or a map with the key `hosts`";
            return reader.wrong(node, what, expected);
        }
    };
    Some(Some(Uplink { origin, hosts }))
}

/// How a router changes addresses.
pub(super) fn translations(reader: &mut Reader, node: &Node, what: &str) -> Option<Vec<Nat>> {
    // A list whose items are all commented out is an empty list.
    if matches!(node.value, Value::Null) {
        return Some(Vec::new());
    }
    let items = reader.list(node, what, "translations")?.iter().enumerate();
    let read = items.filter_map(|(i, node)| nat(reader, node, &at(what, i)));
    Some(read.collect())
}

const HELP: &str = "write `masquerade: true`, `snat: 10.1.0.0/24, to: 192.0.2.100`, or `floating: \
                    192.0.2.50, to: 10.1.0.10`";

fn nat(reader: &mut Reader, node: &Node, what: &str) -> Option<Nat> {
    let fields = reader.fields(node, what, NAT_KEYS)?;
    let given = |key: &str| fields.has(key);
    let kinds = ["masquerade", "snat", "floating"];
    let kinds: Vec<&str> = kinds.into_iter().filter(|key| given(key)).collect();
    let translation = match kinds.as_slice() {
        ["masquerade"] if given("to") => {
            let help = "leave out `to`, or write `snat` instead of `masquerade`";
            reader.problems.push(
                Problem::new(format!("{what} has `to` beside `masquerade`"))
                    .at(&reader.origin(node), "the address is that of the host")
                    .help(help),
            );
            None
        }
        ["masquerade"] => fields.optional(reader, "masquerade", masquerade),
        ["snat"] => snat(reader, &fields),
        ["floating"] => floating(reader, &fields),
        [] if NAT_KEYS.iter().any(|key| fields.is_meant(key)) => None,
        several => {
            let message = if several.is_empty() {
                format!("{what} translates nothing")
            } else {
                format!("{what} has both `{}`", several.join("` and `"))
            };
            let problem = Problem::new(message).at(&reader.origin(node), "it must be one of three");
            reader.problems.push(problem.help(HELP));
            None
        }
    };
    Some(Nat {
        origin: reader.origin(node),
        translation: translation?,
    })
}

fn masquerade(reader: &mut Reader, node: &Node, what: &str) -> Option<Translation> {
    match &node.value {
        Value::Scalar(Kind::Bool, word) if word.eq_ignore_ascii_case("true") => {
            Some(Translation::MasqueradeAll)
        }
        Value::Scalar(Kind::Bool, _) => {
            let help = "leave it out";
            reader.wrong_with_help(node, what, "`true`, or prefixes", help)
        }
        _ => sources(reader, node, what).map(Translation::Masquerade),
    }
}

fn sources(reader: &mut Reader, node: &Node, what: &str) -> Option<Vec<Located<IpNet>>> {
    let before = reader.problems.len();
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        return reader.wrong(node, what, "one prefix at least");
    }
    let sources = reader.one_or_many(node, what, scalar::subnet);
    (reader.problems.len() == before).then_some(sources)
}

fn snat(reader: &mut Reader, fields: &Fields<'_>) -> Option<Translation> {
    let sources = fields.required(reader, "snat", HELP, sources);
    let help = "say which addresses they get: `to: 192.0.2.100-192.0.2.103`";
    let pool = fields.required(reader, "to", help, pool);
    Some(Translation::Source(sources?, pool?))
}

fn floating(reader: &mut Reader, fields: &Fields<'_>) -> Option<Translation> {
    let outside = fields.required(reader, "floating", HELP, scalar::next_hop);
    let help = "say whose address it stands for: `to: 10.1.0.10`";
    let inside = fields.required(reader, "to", help, scalar::next_hop);
    Some(Translation::Floating {
        outside: outside?,
        inside: inside?,
    })
}

fn pool(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Pool>> {
    let expected = "an address, a prefix, or a range such as 192.0.2.100-192.0.2.103";
    let Value::Scalar(_, text) = &node.value else {
        return reader.wrong(node, what, expected);
    };
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(reader.located(node, Pool::from(ip)));
    }
    if let Ok(net) = text.parse::<IpNet>() {
        if net.trunc() != net {
            let help = format!("write {} for the prefix, or {}", net.trunc(), net.addr());
            return reader.wrong_with_help(node, what, expected, help);
        }
        // Every address of a prefix is one of a pool's: none of them is a network's own here.
        let pool = Pool::new(net.network(), net.broadcast())?;
        return sized(reader, node, what, pool);
    }
    let ends = text.split_once('-');
    let ends = ends.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let Some((first, last)) = ends else {
        return reader.wrong(node, what, expected);
    };
    match Pool::new(first, last) {
        Some(pool) => sized(reader, node, what, pool),
        None => {
            let help = "the lower address comes first, and both are of one family";
            reader.wrong_with_help(node, what, expected, help)
        }
    }
}

fn sized(reader: &mut Reader, node: &Node, what: &str, pool: Pool) -> Option<Located<Pool>> {
    if pool.addresses() <= Pool::ADDRESSES_MAX {
        return Some(reader.located(node, pool));
    }
    let expected = format!("no more than {} addresses", Pool::ADDRESSES_MAX);
    let help = "each of them has 64,512 ports for every destination: a few will do";
    reader.wrong_with_help(node, what, &expected, help)
}

/// Published ports, in Docker's words.
pub(super) fn publications(reader: &mut Reader, node: &Node, what: &str) -> Vec<Located<Publish>> {
    reader.one_or_many(node, what, |reader, node, what| {
        let expected = "published ports such as 8080:80, 127.0.0.1:5300-5310:5300-5310/udp or \
                        [::]:443:443/tcp";
        let Value::Scalar(_, text) = &node.value else {
            return reader.wrong(node, what, expected);
        };
        match parse(text) {
            Ok(publish) => Some(reader.located(node, publish)),
            Err(Some(help)) => reader.wrong_with_help(node, what, expected, help),
            Err(None) => reader.wrong(node, what, expected),
        }
    })
}

/// Reads `[HOST_IP:][HOST_PORT[-END]:]PORT[-END][/PROTOCOL]`, or says how to write it.
fn parse(text: &str) -> Result<Publish, Option<String>> {
    let (rest, protocol) = match text.rsplit_once('/') {
        None => (text, TCP),
        Some((rest, name)) => {
            let protocol = Service::named_protocol(&name.to_lowercase());
            // The checksum of SCTP covers the whole packet, which cannot be read here.
            let protocol = protocol.filter(|protocol| [TCP, UDP].contains(protocol));
            let help = "the protocol is tcp or udp";
            (rest, protocol.ok_or_else(|| Some(help.to_owned()))?)
        }
    };
    let (address, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (address, rest) = bracketed.split_once("]:").ok_or(None)?;
            (Some(address), rest)
        }
        None if rest.matches(':').count() > 2 => {
            let help = "an IPv6 address is written in brackets: `[::1]:8080:80`";
            return Err(Some(help.to_owned()));
        }
        None => match rest.split_once(':') {
            Some((address, ports)) if ports.contains(':') || address.parse::<IpAddr>().is_ok() => {
                (Some(address), ports)
            }
            _ => (None, rest),
        },
    };
    let address: Option<IpAddr> = match address {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            Some("before the host's ports stands an address of the host, not a name".to_owned())
        })?),
    };
    let (host, inner) = match rest.split_once(':') {
        None => (None, rest),
        Some(("", inner)) => (None, inner),
        Some((host, inner)) => (Some(host), inner),
    };
    let inner = ports(inner).map_err(Some)?;
    let host_ports = host.map_or(Ok(inner), ports).map_err(Some)?;
    if host_ports.count() != inner.count() {
        let last = u32::from(inner.first()) + host_ports.count() - 1;
        let of = |range: PortRange| counted_ports(range.count());
        return Err(Some(match u16::try_from(last) {
            Ok(last) if inner.count() == 1 => format!(
                "{} cannot stand for one: write `{host_ports}:{}-{last}`",
                of(host_ports),
                inner.first()
            ),
            _ => format!("{} cannot stand for {}", of(host_ports), of(inner)),
        }));
    }
    Ok(Publish {
        address,
        host_ports,
        ports: inner,
        protocol,
    })
}

fn counted_ports(count: u32) -> String {
    crate::counted::counted(count, "port")
}

/// As Docker writes it.
impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(v6)) => write!(f, "[{v6}]:")?,
            Some(IpAddr::V4(v4)) => write!(f, "{v4}:")?,
            None => {}
        }
        write!(f, "{}:{}/", self.host_ports, self.ports)?;
        Service::protocol(self.protocol).fmt(f)
    }
}
