//! Services by the names that people know them by.

use std::fmt;

use super::{PortRange, Service};

/// TCP, UDP and SCTP: the protocols whose ports rules can name.
const WITH_PORTS: [u8; 3] = [6, 17, 132];
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Protocols by name (IANA, "Protocol Numbers"). The first name of a number is the one that is shown.
const PROTOCOLS: &[(&str, u8)] = &[
    ("tcp", 6),
    ("udp", 17),
    ("sctp", 132),
    ("icmp", ICMP),
    ("icmpv6", ICMPV6),
    ("icmp6", ICMPV6),
    ("ipv6-icmp", ICMPV6),
    ("igmp", 2),
    ("ipip", 4),
    ("dccp", 33),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("udplite", 136),
];

/// The messages of ICMP by name, with the code where the name stands for one (IANA, "ICMP Parameters").
const ICMP_MESSAGES: &[(&str, u8, Option<u8>)] = &[
    ("echo-reply", 0, None),
    ("destination-unreachable", 3, None),
    ("network-unreachable", 3, Some(0)),
    ("host-unreachable", 3, Some(1)),
    ("protocol-unreachable", 3, Some(2)),
    ("port-unreachable", 3, Some(3)),
    ("fragmentation-needed", 3, Some(4)),
    ("redirect", 5, None),
    ("echo-request", 8, None),
    ("time-exceeded", 11, None),
    ("parameter-problem", 12, None),
    ("timestamp-request", 13, None),
    ("timestamp-reply", 14, None),
];

/// The messages of ICMPv6 by name (IANA, "ICMPv6 Parameters").
const ICMPV6_MESSAGES: &[(&str, u8, Option<u8>)] = &[
    ("destination-unreachable", 1, None),
    ("port-unreachable", 1, Some(4)),
    ("packet-too-big", 2, None),
    ("time-exceeded", 3, None),
    ("parameter-problem", 4, None),
    ("echo-request", 128, None),
    ("echo-reply", 129, None),
];

impl Service {
    /// All of a protocol.
    #[must_use]
    pub const fn protocol(protocol: u8) -> Self {
        Self {
            protocol,
            ports: PortRange::ALL,
        }
    }

    /// The protocol of this name or number.
    #[must_use]
    pub fn named_protocol(name: &str) -> Option<u8> {
        let named = PROTOCOLS.iter().find(|(known, _)| *known == name);
        named.map(|(_, number)| *number).or_else(|| number(name))
    }

    /// The names of all protocols that have one.
    pub fn protocol_names() -> impl Iterator<Item = &'static str> {
        PROTOCOLS.iter().map(|(name, _)| *name)
    }

    /// Whether rules can name ports of the protocol.
    #[must_use]
    pub fn has_ports(protocol: u8) -> bool {
        WITH_PORTS.contains(&protocol)
    }

    /// Whether the protocol is ICMP or ICMPv6, which have types and codes instead of ports.
    #[must_use]
    pub const fn has_types(protocol: u8) -> bool {
        matches!(protocol, ICMP | ICMPV6)
    }

    /// Whether the service belongs to IPv4 alone or to IPv6 alone; `None` for both.
    pub(in crate::topology) const fn family(&self) -> Option<super::Family> {
        match self.protocol {
            ICMP => Some(super::Family::V4),
            ICMPV6 => Some(super::Family::V6),
            _ => None,
        }
    }

    /// The messages of ICMP or ICMPv6 that have this name or number for their type.
    #[must_use]
    pub fn message(protocol: u8, name: &str) -> Option<Self> {
        let mut known = messages(protocol).iter();
        let (kind, code) = match known.find(|(known, ..)| *known == name) {
            Some((_, kind, code)) => (*kind, *code),
            None => (number(name)?, None),
        };
        Some(Self {
            protocol,
            ports: type_and_code(kind, code),
        })
    }

    /// The message of ICMP or ICMPv6 of this type, a name or a number, and this code.
    #[must_use]
    pub fn message_with_code(protocol: u8, name: &str, code: &str) -> Option<Self> {
        let of_type = Self::message(protocol, name)?.ports;
        let [kind, _] = of_type.first().to_be_bytes();
        // A name that stands for a code leaves no other to choose.
        if of_type != type_and_code(kind, None) {
            return None;
        }
        Some(Self {
            protocol,
            ports: type_and_code(kind, Some(number(code)?)),
        })
    }

    /// The names of the protocol's messages.
    pub fn message_names(protocol: u8) -> impl Iterator<Item = &'static str> {
        messages(protocol).iter().map(|(name, ..)| *name)
    }
}

const fn messages(protocol: u8) -> &'static [(&'static str, u8, Option<u8>)] {
    match protocol {
        ICMP => ICMP_MESSAGES,
        ICMPV6 => ICMPV6_MESSAGES,
        _ => &[],
    }
}

const fn type_and_code(kind: u8, code: Option<u8>) -> PortRange {
    let (first, last) = match code {
        Some(code) => (code, code),
        None => (0, u8::MAX),
    };
    PortRange {
        first: u16::from_be_bytes([kind, first]),
        last: u16::from_be_bytes([kind, last]),
    }
}

/// A number without sign, as `parse` takes one with it.
fn number(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// As a file has it: `tcp/80`, `udp/53-60`, `icmp/3/4`, `gre`, `200`.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = PROTOCOLS.iter().find(|(_, known)| *known == self.protocol);
        match named {
            Some((name, _)) => f.write_str(name)?,
            None => write!(f, "{}", self.protocol)?,
        }
        if self.ports == PortRange::ALL {
            return Ok(());
        }
        if !Self::has_types(self.protocol) {
            return write!(f, "/{}", self.ports);
        }
        let [kind, code] = self.ports.first.to_be_bytes();
        write!(f, "/{kind}")?;
        if self.ports.first == self.ports.last {
            write!(f, "/{code}")?;
        }
        Ok(())
    }
}

/// As a file has it: `80` or `53-60`.
impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.first != self.last {
            write!(f, "-{}", self.last)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_is_read() {
        for protocol in 0..=u8::MAX {
            let shown = Service::protocol(protocol).to_string();
            assert_eq!(Service::named_protocol(&shown), Some(protocol), "{shown}");
        }
        for protocol in [ICMP, ICMPV6] {
            for (name, kind, code) in messages(protocol) {
                let service = Service::message(protocol, name).unwrap();
                let shown = service.to_string();
                let parts: Vec<&str> = shown.split('/').collect();
                let read = match parts.as_slice() {
                    [_, kind] => Service::message(protocol, kind),
                    [_, kind, code] => Service::message_with_code(protocol, kind, code),
                    _ => None,
                };
                assert_eq!(read, Some(service), "{name} {kind} {code:?}");
            }
        }
    }

    #[test]
    fn a_type_stands_for_all_its_codes() {
        let echo = Service::message(ICMP, "echo-request").unwrap().ports;
        assert_eq!((echo.first(), echo.last()), (0x0800, 0x08ff));
        let needed = Service::message(ICMP, "fragmentation-needed").unwrap();
        assert_eq!(needed, Service::message_with_code(ICMP, "3", "4").unwrap());
        assert_eq!(needed.ports.range(), 0x0304..=0x0304);
        assert_eq!(
            Service::message_with_code(ICMP, "port-unreachable", "1"),
            None
        );
        assert_eq!(Service::message(ICMP, "256"), None);
        assert_eq!(Service::message(ICMP, "+8"), None);
    }
}
