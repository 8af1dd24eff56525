//! Frames as case files describe them, and their bytes.
//!
//! A description names a frame's layers side by side; what it leaves out has the value that an
//! ordinary sender would choose. Stations are named as the topology names them, wherever an address
//! is expected. The bytes are made here from the RFCs, without any of the datapath's code.
//!
//! ```yaml
//! ipv4: { to: db, ttl: 3 }
//! udp: [40000, 53]
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail, ensure};
use maps_schema::Mac;
use serde::Deserialize;

use crate::cast::Cast;
use crate::checksum;
use crate::number::{Number, Numbers};

/// A frame, by its layers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Destination MAC address: a station, an address, `broadcast` or `zero`. It follows from the
    /// layer above unless given.
    to: Option<String>,
    /// Source MAC address; the sender's own unless given.
    from: Option<String>,
    /// VLAN tags, the outermost first.
    #[serde(default)]
    tags: Vec<Tag>,
    arp: Option<Arp>,
    ipv4: Option<Ipv4>,
    ipv6: Option<Ipv6>,
    /// The EtherType, for other protocols, or to contradict the layer above.
    ethertype: Option<u16>,
    /// Source and destination port.
    udp: Option<(Number, Number)>,
    /// Source and destination port.
    tcp: Option<(Number, Number)>,
    /// What a TCP segment says; a SYN without options unless given.
    #[serde(default)]
    segment: Segment,
    /// Type and code of an ICMP or ICMPv6 message.
    icmp: Option<(u8, u8)>,
    /// What an echo is told from others by; 1 unless given.
    identifier: Option<Number>,
    /// The packet that an ICMP error is about, without what its frame has before it.
    quote: Option<Box<Self>>,
    /// What an ICMP error says besides, as the MTU.
    #[serde(default)]
    detail: u32,
    /// The transport header's checksum; the right one unless given.
    checksum: Option<u16>,
    nd: Option<Discovery>,
    /// What the innermost layer carries, in hex.
    data: Option<String>,
    /// All bytes of the frame, in hex, in place of any layer.
    hex: Option<String>,
    /// The frame's length in bytes: it is cut off, or padded with zeros.
    len: Option<usize>,
}

/// A VLAN tag (IEEE 802.1Q-2022, 9.6).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tag {
    vlan: u16,
    #[serde(default)]
    priority: u16,
    /// A service tag rather than a customer's.
    #[serde(default)]
    service: bool,
}

/// An ARP packet (RFC 826), a request unless said otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arp {
    /// The target's IP address.
    target: String,
    target_mac: Option<String>,
    /// The sender's IP address.
    sender: Option<String>,
    sender_mac: Option<String>,
    operation: Option<u16>,
}

/// An IPv4 header (RFC 791).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ipv4 {
    to: String,
    from: Option<String>,
    ttl: Option<u8>,
    /// Type of service.
    #[serde(default)]
    class: u8,
    protocol: Option<u8>,
    /// How many bytes of options.
    #[serde(default)]
    options: usize,
    fragment: Option<Fragment>,
    /// What the fragments of one packet have in common; 1 unless given.
    identification: Option<u16>,
    /// Whether it may not be fragmented.
    #[serde(default)]
    dont_fragment: bool,
    /// What the length field says.
    length: Option<u16>,
}

/// An IPv6 header (RFC 8200).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ipv6 {
    to: String,
    from: Option<String>,
    hop_limit: Option<u8>,
    /// Traffic class.
    #[serde(default)]
    class: u8,
    next_header: Option<u8>,
    #[serde(default)]
    extensions: Vec<Extension>,
    /// What the length field says.
    length: Option<u16>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fragment {
    /// In bytes.
    #[serde(default)]
    offset: u16,
    #[serde(default)]
    more: bool,
}

/// An extension header, of 8 bytes (the one for authentication has 12).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Extension {
    HopByHop,
    DestinationOptions,
    Routing,
    Authentication,
    Fragment(Fragment),
}

/// What a TCP header says besides ports (RFC 9293 section 3.1).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Segment {
    /// Control bits, as tcpdump writes them: `S`, `F`, `R`, `P`, and `.` for an acknowledgment.
    flags: String,
    #[serde(default)]
    sequence: u32,
    #[serde(default)]
    acknowledgment: u32,
    /// The header's length in words of four bytes; 5 is one without options.
    #[serde(default = "Segment::plain")]
    offset: u8,
}

impl Segment {
    const fn plain() -> u8 {
        5
    }

    /// The header behind the ports, without its checksum and with an open window.
    fn header(&self) -> Result<Vec<u8>> {
        let numbers = [self.sequence, self.acknowledgment].map(u32::to_be_bytes);
        let rest = [
            self.offset << 4,
            flags(&self.flags)?,
            0xff,
            0xff,
            0,
            0,
            0,
            0,
        ];
        Ok([numbers.as_flattened(), &rest].concat())
    }
}

impl Default for Segment {
    fn default() -> Self {
        Self {
            flags: "S".to_owned(),
            sequence: 1,
            acknowledgment: 0,
            offset: Self::plain(),
        }
    }
}

/// Control bits of TCP, by letters.
///
/// # Errors
/// A letter is none of them.
pub(crate) fn flags(letters: &str) -> Result<u8> {
    let bit = |letter: char| {
        let place = "FSRP.".find(letter);
        place.with_context(|| format!("`{letter}` is no control bit"))
    };
    letters.chars().map(|letter| Ok(1 << bit(letter)?)).sum()
}

/// A message of neighbor discovery (RFC 4861 section 4).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Discovery {
    message: Message,
    /// The target, where the message has one.
    target: Option<String>,
    #[serde(default)]
    solicited: bool,
    #[serde(default, rename = "override")]
    overrides: bool,
    #[serde(default)]
    options: Vec<Opt>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    RouterSolicitation,
    RouterAdvertisement,
    NeighborSolicitation,
    NeighborAdvertisement,
    Redirect,
}

/// An option of such a message.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Opt {
    /// The sender's MAC address.
    Source(String),
    /// The target's MAC address.
    Target(String),
    /// Any bytes, in hex.
    Hex(String),
}

impl Description {
    /// The bytes on the wire, from the destination address to the last byte of the payload.
    ///
    /// # Errors
    /// A name that nobody has, a number that is not known yet, or layers that do not go together.
    pub fn bytes(&self, cast: &Cast, numbers: &Numbers) -> Result<Vec<u8>> {
        let mut frame = match &self.hex {
            Some(hex) => bytes_of_hex(hex)?,
            None => self.layers(cast, numbers)?,
        };
        if let Some(len) = self.len {
            frame.resize(len, 0);
        }
        Ok(frame)
    }

    fn layers(&self, cast: &Cast, numbers: &Numbers) -> Result<Vec<u8>> {
        let from = match &self.from {
            Some(from) => cast.mac(from)?,
            None => cast.own_mac(),
        };
        let (group, ethertype, packet) = self.packet(from, cast, numbers)?;
        let to = match &self.to {
            Some(to) => cast.mac(to)?,
            None => group.context("`to` is missing: no station has the destination's address")?,
        };
        let ethertype = self.ethertype.unwrap_or(ethertype);
        ensure!(ethertype != 0, "`ethertype` is missing");
        let mut frame = [to.octets(), from.octets()].concat();
        for tag in &self.tags {
            let kind: u16 = if tag.service { 0x88a8 } else { 0x8100 };
            frame.extend(kind.to_be_bytes());
            frame.extend((tag.priority << 13 | tag.vlan).to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(packet);
        Ok(frame)
    }

    /// The MAC address that a packet goes to, its EtherType and its bytes.
    fn packet(
        &self,
        from: Mac,
        cast: &Cast,
        numbers: &Numbers,
    ) -> Result<(Option<Mac>, u16, Vec<u8>)> {
        let mut data = bytes_of_hex(self.data.as_deref().unwrap_or_default())?;
        if let Some(quote) = &self.quote {
            let (_, _, mut packet) = quote.packet(from, cast, numbers)?;
            packet.truncate(quote.len.unwrap_or(packet.len()));
            data = packet;
        }
        Ok(match (&self.arp, &self.ipv4, &self.ipv6) {
            (Some(arp), None, None) => (arp.destination(cast)?, 0x0806, arp.packet(from, cast)?),
            (None, Some(ip), None) => {
                let to = cast.mac_of(IpAddr::V4(cast.v4(&ip.to)?));
                (to, 0x0800, self.ipv4(ip, cast, numbers, &data)?)
            }
            (None, None, Some(ip)) => {
                let to = cast.mac_of(IpAddr::V6(cast.v6(&ip.to)?));
                (to, 0x86dd, self.ipv6(ip, cast, numbers, &data)?)
            }
            (None, None, None) => (None, 0, data),
            _ => bail!("a frame has one network layer"),
        })
    }

    /// The number that the datapath is still to choose, and where it is in the frame, if there is one.
    ///
    /// # Errors
    /// There are several.
    pub fn open<'a>(&'a self, numbers: &Numbers) -> Result<Option<(&'a str, usize)>> {
        let start = 14
            + match (&self.ipv4, &self.ipv6) {
                (Some(ip), _) => 20 + ip.options,
                (_, Some(ip)) => 40 + 8 * ip.extensions.len(),
                (None, None) => 0,
            };
        let ports = self.udp.iter().chain(&self.tcp);
        let ports = ports.flat_map(|(from, to)| [(from, start), (to, start + 2)]);
        let all = ports.chain(self.identifier.iter().map(|it| (it, start + 4)));
        let open: Vec<_> = all
            .filter_map(|(number, at)| Some((numbers.open(number)?, at)))
            .collect();
        ensure!(open.len() <= 1, "one number is chosen at a time");
        Ok(open.first().copied())
    }

    fn ipv4(&self, ip: &Ipv4, cast: &Cast, numbers: &Numbers, data: &[u8]) -> Result<Vec<u8>> {
        let from = cast.v4(ip.from.as_deref().unwrap_or(cast.own_name()))?;
        let to = cast.v4(&ip.to)?;
        let (protocol, payload) = self.transport((from.into(), to.into()), cast, numbers, data)?;
        let header_len = 20 + ip.options;
        let fragment = ip.fragment.map_or(0, |fragment| {
            (u16::from(fragment.more) << 13) | (fragment.offset / 8)
        });
        let fragment = fragment | u16::from(ip.dont_fragment) << 14;
        let total = u16::try_from(header_len + payload.len())?;
        let mut packet = vec![0x40 | u8::try_from(header_len / 4)?, ip.class];
        packet.extend(ip.length.unwrap_or(total).to_be_bytes());
        packet.extend(ip.identification.unwrap_or(1).to_be_bytes());
        packet.extend(fragment.to_be_bytes());
        packet.extend([ip.ttl.unwrap_or(64), ip.protocol.unwrap_or(protocol), 0, 0]);
        packet.extend(from.octets());
        packet.extend(to.octets());
        packet.extend(vec![1; ip.options]);
        let sum = checksum::of(&packet).to_be_bytes();
        packet.splice(10..12, sum);
        packet.extend(payload);
        Ok(packet)
    }

    fn ipv6(&self, ip: &Ipv6, cast: &Cast, numbers: &Numbers, data: &[u8]) -> Result<Vec<u8>> {
        let from = cast.v6(ip.from.as_deref().unwrap_or(cast.own_name()))?;
        let to = cast.v6(&ip.to)?;
        let (protocol, payload) = self.transport((from.into(), to.into()), cast, numbers, data)?;
        let mut next = ip.next_header.unwrap_or(protocol);
        let mut rest = payload;
        for extension in ip.extensions.iter().rev() {
            let (kind, header) = extension.header(next);
            rest.splice(0..0, header);
            next = kind;
        }
        let length = ip.length.unwrap_or(u16::try_from(rest.len())?);
        let mut packet = vec![0x60 | ip.class >> 4, ip.class << 4, 0, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([next, ip.hop_limit.unwrap_or(255)]);
        packet.extend(from.octets());
        packet.extend(to.octets());
        packet.extend(rest);
        Ok(packet)
    }

    /// The protocol number and the bytes of what an IP packet carries, checksum included.
    fn transport(
        &self,
        (from, to): (IpAddr, IpAddr),
        cast: &Cast,
        numbers: &Numbers,
        data: &[u8],
    ) -> Result<(u8, Vec<u8>)> {
        let ports = |(from, to): &(Number, Number)| -> Result<Vec<u8>> {
            let pair = [numbers.of(from)?, numbers.of(to)?];
            Ok(pair.map(u16::to_be_bytes).concat())
        };
        let (protocol, checksum_at, mut message) = match (&self.udp, &self.tcp, self.icmp, &self.nd)
        {
            (Some(pair), None, None, None) => {
                let len = u16::try_from(8 + data.len())?.to_be_bytes();
                (
                    17,
                    6,
                    [&ports(pair)?, &len as &[u8], &[0, 0], data].concat(),
                )
            }
            (None, Some(pair), None, None) => {
                let rest = self.segment.header()?;
                (6, 16, [&ports(pair)?, &rest as &[u8], data].concat())
            }
            (None, None, Some((kind, code)), None) => {
                let protocol = if from.is_ipv4() { 1 } else { 58 };
                let rest = self.rest(numbers)?;
                (protocol, 2, [&[kind, code, 0, 0], &rest, data].concat())
            }
            (None, None, None, Some(nd)) => (58, 2, nd.message(cast)?),
            (None, None, None, None) => return Ok((59, data.to_vec())),
            _ => bail!("a packet has one transport layer"),
        };
        let pseudo = if protocol == 1 {
            Vec::new()
        } else {
            checksum::pseudo_header(from, to, protocol, message.len())
        };
        let sum = checksum::of(&[pseudo, message.clone()].concat());
        let sum = self.checksum.unwrap_or(sum);
        message.splice(checksum_at..checksum_at + 2, sum.to_be_bytes());
        Ok((protocol, message))
    }

    /// The second word of an ICMP message: of echoes identifier and sequence number.
    fn rest(&self, numbers: &Numbers) -> Result<[u8; 4]> {
        if self.quote.is_some() {
            return Ok(self.detail.to_be_bytes());
        }
        let identifier = self.identifier.as_ref();
        let identifier = identifier.map_or(Ok(1), |it| numbers.of(it))?;
        let [high, low] = identifier.to_be_bytes();
        Ok([high, low, 0, 1])
    }
}

impl Arp {
    const REQUEST: u16 = 1;

    fn operation(&self) -> u16 {
        self.operation.unwrap_or(Self::REQUEST)
    }

    /// Requests go to everybody, other packets to their target.
    fn destination(&self, cast: &Cast) -> Result<Option<Mac>> {
        if self.operation() == Self::REQUEST {
            return Ok(Some(Mac::BROADCAST));
        }
        Ok(cast.mac_of(IpAddr::V4(cast.v4(&self.target)?)))
    }

    fn packet(&self, from: Mac, cast: &Cast) -> Result<Vec<u8>> {
        let sender = cast.v4(self.sender.as_deref().unwrap_or(cast.own_name()))?;
        let target = cast.v4(&self.target)?;
        let sender_mac = match &self.sender_mac {
            Some(mac) => cast.mac(mac)?,
            None => from,
        };
        let target_mac = match &self.target_mac {
            Some(mac) => cast.mac(mac)?,
            None if self.operation() == Self::REQUEST => Mac::ZERO,
            None => cast.mac_of(IpAddr::V4(target)).unwrap_or(Mac::ZERO),
        };
        let mut packet = vec![0, 1, 8, 0, 6, 4];
        packet.extend(self.operation().to_be_bytes());
        for (mac, ip) in [(sender_mac, sender), (target_mac, target)] {
            packet.extend(mac.octets());
            packet.extend(ip.octets());
        }
        Ok(packet)
    }
}

impl Extension {
    /// The header's own number and its bytes.
    fn header(self, next: u8) -> (u8, Vec<u8>) {
        // Six bytes of padding options, or of what a routing header of an unknown type ignores.
        let padded = vec![next, 0, 1, 4, 0, 0, 0, 0];
        match self {
            Self::HopByHop => (0, padded),
            Self::Routing => (43, padded),
            Self::DestinationOptions => (60, padded),
            Self::Authentication => (51, vec![next, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]),
            Self::Fragment(Fragment { offset, more }) => {
                let [high, low] = (offset & !7 | u16::from(more)).to_be_bytes();
                (44, vec![next, 0, high, low, 0, 0, 0, 7])
            }
        }
    }
}

impl Discovery {
    /// The message with a checksum of zero.
    fn message(&self, cast: &Cast) -> Result<Vec<u8>> {
        let kind = match self.message {
            Message::RouterSolicitation => 133,
            Message::RouterAdvertisement => 134,
            Message::NeighborSolicitation => 135,
            Message::NeighborAdvertisement => 136,
            Message::Redirect => 137,
        };
        let flags = u8::from(self.solicited) << 6 | u8::from(self.overrides) << 5;
        let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
        if self.message == Message::RouterAdvertisement {
            message.extend([0; 8]);
        }
        if let Some(target) = &self.target {
            message.extend(cast.v6(target)?.octets());
        }
        for option in &self.options {
            match option {
                Opt::Source(mac) => {
                    message.extend([&[1, 1], &cast.mac(mac)?.octets() as &[u8]].concat())
                }
                Opt::Target(mac) => {
                    message.extend([&[2, 1], &cast.mac(mac)?.octets() as &[u8]].concat())
                }
                Opt::Hex(hex) => message.extend(bytes_of_hex(hex)?),
            }
        }
        Ok(message)
    }
}

/// The MAC address of a group of IP stations, which follows from the group's own (RFC 1112 section
/// 6.4, RFC 2464 section 7); nothing if the address is no group's.
#[must_use]
pub fn group_mac(address: IpAddr) -> Option<Mac> {
    match address {
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some(Mac::BROADCAST),
        IpAddr::V4(v4) if v4.is_multicast() => {
            let [_, b, c, d] = v4.octets();
            Some(Mac::new([0x01, 0x00, 0x5e, b & 0x7f, c, d]))
        }
        IpAddr::V6(v6) if v6.is_multicast() => {
            let [.., a, b, c, d] = v6.octets();
            Some(Mac::new([0x33, 0x33, a, b, c, d]))
        }
        _ => None,
    }
}

/// The group of everybody whose address ends like this one (RFC 4291 section 2.7.1).
#[must_use]
pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let [high, low] = [u16::from_be_bytes([0xff, a]), u16::from_be_bytes([b, c])];
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// The link-local address that follows from a MAC address (RFC 4291 appendix A).
#[must_use]
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.octets();
    let pairs = [[a ^ 2, b], [c, 0xff], [0xfe, d], [e, f]].map(u16::from_be_bytes);
    let [w, x, y, z] = pairs;
    Ipv6Addr::new(0xfe80, 0, 0, 0, w, x, y, z)
}

/// Bytes in hex; spaces and colons may group them.
///
/// # Errors
/// Something else is in the text, or half a byte is missing.
pub fn bytes_of_hex(hex: &str) -> Result<Vec<u8>> {
    let digits: Vec<u8> = hex
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()
        .with_context(|| format!("`{hex}` is not hex"))?;
    ensure!(digits.len().is_multiple_of(2), "`{hex}` ends within a byte");
    Ok(digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect())
}
