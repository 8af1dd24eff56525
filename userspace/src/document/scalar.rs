//! Scalars with a form of their own: subnets, addresses, next hops, MAC addresses, durations and
//! names.
//!
//! Only the form is judged here. Whether a subnet has host bits or an address is in the network is
//! the topology's business.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use maps_schema::Mac;

use super::read::{Located, Reader};
use super::yaml::{Kind, Node, Value};
use crate::topology::{Tunnel, Xdp};

/// An address of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The prefix length, where one is given.
    pub prefix_len: Option<u8>,
}

/// Which destinations a route is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// Everywhere, in the family of the next hop.
    Default,
    /// This prefix.
    Prefix(IpNet),
}

/// A station on the way: whether the name is that of a port, a router or a word with a meaning of
/// its own depends on where it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hop {
    /// The station's address.
    Address(IpAddr),
    /// A name.
    Name(String),
}

/// What a port's default routes lead to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gateway {
    /// Nothing: the port gets no default route.
    Off,
    /// These routers, by address or by name.
    Chosen(Vec<Located<Hop>>),
}

/// How large packets may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mtu {
    /// As large as what carries them allows.
    Auto,
    /// This many bytes.
    Bytes(u64),
}

/// The other end of a direct link between two routers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The router's name.
    pub router: String,
    /// The name of its port, where it is given.
    pub port: Option<String>,
}

/// The pattern of a source's name.
pub(super) const SOURCE_NAME: &str = "^[a-z0-9][a-z0-9-]{0,62}$";
/// What the name of such a source begins with that is another host's. No file may have one.
pub(crate) const OF_HOST: &str = "docker@";
/// The pattern of any object's name: what Docker allows for a container's, because a
/// workload without a place means the container of its own name.
pub(super) const OBJECT_NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$";

/// Whether a source may be called this; see [`SOURCE_NAME`]. What Docker has on another host is a
/// source, too, which has the host in its name.
pub(super) fn is_source_name(name: &str) -> bool {
    if let Some(host) = name.strip_prefix(OF_HOST) {
        return is_object_name(host);
    }
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    is_name(name, letter, |byte| letter(byte) || byte == b'-')
}

/// Whether an object may be called this; see [`OBJECT_NAME`].
pub(crate) fn is_object_name(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    is_name(name, |byte| byte.is_ascii_alphanumeric(), rest)
}

fn is_name(name: &str, first: impl Fn(u8) -> bool, rest: impl Fn(u8) -> bool) -> bool {
    let bytes = name.as_bytes();
    let begins = bytes.first().is_some_and(|&byte| first(byte));
    begins && bytes.len() <= 63 && bytes.iter().all(|&byte| rest(byte))
}

/// The text of a scalar, or `None` for every other node.
fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(_, text) => Some(text),
        _ => None,
    }
}

/// A subnet: an address and a prefix length.
pub(super) fn subnet(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<IpNet>> {
    let text = scalar(node);
    if let Some(subnet) = text.and_then(|text| text.parse().ok()) {
        return Some(reader.located(node, subnet));
    }
    let expected = "a subnet such as 10.1.0.0/24 or fd00:1::/64";
    match text.and_then(|text| text.parse::<IpAddr>().ok()) {
        Some(_) => reader.wrong_with_help(node, what, expected, "add the length of the prefix"),
        None => reader.wrong(node, what, expected),
    }
}

/// An address, with or without a prefix length.
pub(super) fn address(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Address>> {
    match scalar(node).and_then(parse_address) {
        Some(address) => Some(reader.located(node, address)),
        None => reader.wrong(node, what, "an address such as 10.1.0.10 or fd00:1::10"),
    }
}

pub(super) fn parse_address(text: &str) -> Option<Address> {
    if let Ok(ip) = text.parse() {
        let prefix_len = None;
        return Some(Address { ip, prefix_len });
    }
    let net: IpNet = text.parse().ok()?;
    Some(Address {
        ip: net.addr(),
        prefix_len: Some(net.prefix_len()),
    })
}

/// The address of a next hop.
pub(super) fn next_hop(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<IpAddr>> {
    match scalar(node).and_then(|text| text.parse().ok()) {
        Some(ip) => Some(reader.located(node, ip)),
        None => reader.wrong(node, what, "an address such as 10.1.0.1 or fd00:1::1"),
    }
}

/// A next hop of a router's route.
pub(super) fn via(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Hop>> {
    let expected = "an address, the name of a port, `uplink`, `blackhole` or `reject`";
    match scalar(node).and_then(hop) {
        Some(hop) => Some(reader.located(node, hop)),
        None => reader.wrong(node, what, expected),
    }
}

fn hop(text: &str) -> Option<Hop> {
    if let Ok(ip) = text.parse() {
        return Some(Hop::Address(ip));
    }
    is_object_name(text).then(|| Hop::Name(text.to_owned()))
}

/// The gateway of a port.
pub(super) fn gateway(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Gateway>> {
    let expected = "`false`, or the name or address of a router, or a list of these";
    let chosen = match &node.value {
        Value::Scalar(Kind::Bool, word) if word.eq_ignore_ascii_case("false") => {
            return Some(reader.located(node, Gateway::Off));
        }
        Value::Scalar(Kind::Bool, _) => {
            let help = "leave it out for the network's only router, or name the router";
            return reader.wrong_with_help(node, what, expected, help);
        }
        Value::List(items) if items.is_empty() => {
            let help = "write `false` for no default route";
            return reader.wrong_with_help(node, what, expected, help);
        }
        _ => reader.one_or_many(node, what, |reader, node, what| {
            match scalar(node).and_then(hop) {
                Some(hop) => Some(reader.located(node, hop)),
                None => reader.wrong(node, what, "the name or address of a router"),
            }
        }),
    };
    Some(reader.located(node, Gateway::Chosen(chosen)))
}

/// The other end of a direct link.
pub(super) fn peer(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Peer>> {
    match scalar(node).and_then(parse_peer) {
        Some(peer) => Some(reader.located(node, peer)),
        None => reader.wrong(node, what, "the name of a router, or ROUTER/PORT"),
    }
}

fn parse_peer(text: &str) -> Option<Peer> {
    let (router, port) = match text.split_once('/') {
        Some((router, port)) => (router, Some(port)),
        None => (text, None),
    };
    let legal = is_object_name(router) && port.is_none_or(is_object_name);
    legal.then(|| Peer {
        router: router.to_owned(),
        port: port.map(str::to_owned),
    })
}

/// The largest IP packet of several objects: a number of bytes, or `auto`.
pub(super) fn mtu(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Mtu>> {
    let expected = "a number of bytes or `auto`";
    match &node.value {
        Value::Scalar(Kind::Number, text) => match text.parse() {
            Ok(bytes) => Some(reader.located(node, Mtu::Bytes(bytes))),
            Err(_) => reader.wrong(node, what, expected),
        },
        Value::Scalar(_, text) if text == "auto" => Some(reader.located(node, Mtu::Auto)),
        Value::Scalar(_, text) if text.parse::<u64>().is_ok() => {
            reader.wrong_with_help(node, what, expected, "write it without quotes")
        }
        _ => reader.wrong(node, what, expected),
    }
}

/// How frames travel between hosts.
pub(super) fn tunnel(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Tunnel>> {
    let all = Tunnel::ALL.map(|tunnel| (tunnel.word(), tunnel));
    reader.word(node, what, &all)
}

/// How an uplink uses XDP.
pub(super) fn xdp(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Xdp>> {
    let all = Xdp::ALL.map(|xdp| (xdp.word(), xdp));
    reader.word(node, what, &all)
}

/// An underlay address.
pub(super) fn underlay(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<IpAddr>> {
    let expected = "an address such as 192.0.2.11 or 2001:db8::11";
    let text = scalar(node).unwrap_or("");
    if let Ok(ip) = text.parse() {
        return Some(reader.located(node, ip));
    }
    match text.parse::<IpNet>() {
        Ok(net) => {
            let help = format!("write {}, without the prefix length", net.addr());
            reader.wrong_with_help(node, what, expected, help)
        }
        Err(_) => reader.wrong(node, what, expected),
    }
}

/// The destination of a route.
pub(super) fn destination(
    reader: &mut Reader,
    node: &Node,
    what: &str,
) -> Option<Located<Destination>> {
    let text = scalar(node).unwrap_or("");
    if text == "default" {
        return Some(reader.located(node, Destination::Default));
    }
    if let Ok(prefix) = text.parse() {
        return Some(reader.located(node, Destination::Prefix(prefix)));
    }
    let expected = "`default` or a prefix such as 10.9.0.0/16";
    match text.parse::<IpAddr>() {
        Ok(ip) => {
            let help = format!("for this address alone, write {}", IpNet::from(ip));
            reader.wrong_with_help(node, what, expected, help)
        }
        Err(_) => reader.wrong(node, what, expected),
    }
}

/// A MAC address.
pub(super) fn mac(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Mac>> {
    match scalar(node).and_then(parse_mac) {
        Some(mac) => Some(reader.located(node, mac)),
        None => reader.wrong(node, what, "a MAC address such as 02:00:00:00:00:10"),
    }
}

/// A MAC address as people write it: six pairs of hexadecimal digits, with colons or hyphens between.
pub(crate) fn parse_mac(text: &str) -> Option<Mac> {
    let mut bytes = [0; 6];
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut parts = text.split(separator);
    for byte in &mut bytes {
        let part = parts.next()?;
        // `from_str_radix` takes a sign, which no MAC address has.
        let digits = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| digits)?;
    }
    parts.next().is_none().then_some(Mac::new(bytes))
}

/// A duration: seconds, or a number with a unit.
pub(super) fn duration(reader: &mut Reader, node: &Node, what: &str) -> Option<Located<Duration>> {
    match &node.value {
        Value::Scalar(Kind::Text | Kind::Number, text) => match parse_duration(text) {
            Some(duration) => Some(reader.located(node, duration)),
            None => reader.wrong(node, what, DURATION),
        },
        _ => reader.wrong(node, what, DURATION),
    }
}

const DURATION: &str = "a number of seconds or a duration such as 300s, 5m, 1h or 2d";

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match text.get(digits.len()..)? {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    // `parse` takes a sign, which no duration has.
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    Some(Duration::from_secs(number.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs() {
        let mac = Some(Mac::new([2, 0, 0xab, 0, 0, 0x10]));
        assert_eq!(parse_mac("02:00:ab:00:00:10"), mac);
        assert_eq!(parse_mac("02-00-AB-00-00-10"), mac);
        for bad in [
            "",
            "2:0:ab:0:0:10",
            "02:00:ab:00:00",
            "02:00:ab:00:00:10:00",
            "+2:00:ab:00:00:10",
        ] {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations() {
        let seconds = |number| Some(Duration::from_secs(number));
        assert_eq!(parse_duration("300"), seconds(300));
        assert_eq!(parse_duration("300s"), seconds(300));
        assert_eq!(parse_duration("5m"), seconds(300));
        assert_eq!(parse_duration("2h"), seconds(7200));
        assert_eq!(parse_duration("5d"), seconds(432_000));
        for bad in [
            "",
            "s",
            "-1",
            "+1",
            "1.5",
            "1w",
            "5 m",
            "99999999999999999999",
            "99999999999999999h",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn peers() {
        let peer = |router: &str, port: Option<&str>| {
            let (router, port) = (router.to_owned(), port.map(str::to_owned));
            Some(Peer { router, port })
        };
        assert_eq!(parse_peer("edge"), peer("edge", None));
        assert_eq!(parse_peer("edge/up.1"), peer("edge", Some("up.1")));
        for bad in ["", "/", "edge/", "/up", "edge/up/1", "a b"] {
            assert_eq!(parse_peer(bad), None, "{bad}");
        }
    }

    #[test]
    fn names() {
        assert!(is_source_name("two-containers"));
        assert!(is_source_name("0"));
        assert!(!is_source_name("-a"));
        assert!(is_source_name("docker@Host_1.example"));
        assert!(!is_source_name("docker@"));
        assert!(!is_source_name("shop@beta"));
        assert!(!is_source_name("Shop"));
        assert!(!is_source_name(&"a".repeat(64)));
        assert!(is_object_name("web_1.Front-2"));
        assert!(!is_object_name("a/b"));
        assert!(!is_object_name(""));
        assert!(!is_object_name("é"));
    }
}
