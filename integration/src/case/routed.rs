//! What routers make of a frame, made here from the RFCs and without any of the datapath's code.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use maps_schema::Mac;
use serde::Deserialize;

use crate::cast::Cast;
use crate::checksum;
use crate::frame::{flags, solicited_node};

/// Length of the Ethernet header, with one tag or without.
fn ethernet_len(wire: &[u8]) -> usize {
    if wire[12..14] == [0x81, 0] { 18 } else { 14 }
}

/// The frame leaves the last router.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Forward {
    /// The port that it goes to.
    pub(super) to: String,
    /// The last router's port.
    pub(super) by: String,
    /// How many routers it has passed.
    #[serde(default = "one")]
    hops: u8,
    /// The station that it is for, where that is not the port's own.
    station: Option<String>,
    /// Where in the TCP header the maximum segment size is, in bytes, and what it becomes.
    mss: Option<(usize, u16)>,
}

const fn one() -> u8 {
    1
}

impl Forward {
    pub(super) fn bytes(&self, cast: &Cast, wire: &[u8], port: Mac) -> Result<Vec<u8>> {
        let to = match &self.station {
            Some(station) => cast.mac(station)?,
            None => port,
        };
        let mut wire = wire.to_vec();
        wire[..6].copy_from_slice(&to.octets());
        wire[6..12].copy_from_slice(&cast.mac(&self.by)?.octets());
        let start = ethernet_len(&wire);
        let packet = &mut wire[start..];
        if let Some((at, size)) = self.mss {
            clamp(packet, at, size)?;
        }
        if packet[0] >> 4 == 6 {
            packet[7] -= self.hops;
            return Ok(wire);
        }
        packet[8] -= self.hops;
        let len = usize::from(packet[0] & 0xf) * 4;
        let header = &mut packet[..len];
        header[10..12].fill(0);
        let sum = checksum::of(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        Ok(wire)
    }
}

/// Writes a maximum segment size into a TCP segment, and the segment's checksum. What pads its frame is
/// none of it.
fn clamp(packet: &mut [u8], at: usize, size: u16) -> Result<()> {
    let is_v4 = packet[0] >> 4 == 4;
    let (start, len, addresses) = if is_v4 {
        (
            usize::from(packet[0] & 0xf) * 4,
            trim(packet, 0, [2, 3]).len(),
            12..20,
        )
    } else {
        (tcp_start(packet), trim(packet, 40, [4, 5]).len(), 8..40)
    };
    let addresses = packet[addresses].to_vec();
    let segment = &mut packet[start..len];
    segment[at..at + 2].copy_from_slice(&size.to_be_bytes());
    segment[16..18].fill(0);
    let len = u32::try_from(segment.len())?.to_be_bytes();
    // RFC 9293 section 3.1: in IPv4 the length has 16 bits, which makes no difference.
    let pseudo = [&addresses[..], &len, &[0, 0, 0, 6]].concat();
    let sum = checksum::of(&[&pseudo, &*segment].concat());
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// The frame with another type of service or traffic class.
pub(super) fn marked(wire: &[u8], class: u8) -> Result<Vec<u8>> {
    let mut wire = wire.to_vec();
    let start = ethernet_len(&wire);
    let packet = &mut wire[start..];
    if packet[0] >> 4 == 6 {
        packet[0] = 0x60 | class >> 4;
        packet[1] = packet[1] & 0xf | class << 4;
        return Ok(wire);
    }
    packet[1] = class;
    let len = usize::from(packet[0] & 0xf) * 4;
    let header = packet.get_mut(..len).context("a whole header")?;
    header[10..12].fill(0);
    let sum = checksum::of(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    Ok(wire)
}

/// An ICMP or ICMPv6 error goes back (RFC 792, RFC 4443).
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Error {
    /// Why the frame was dropped.
    pub(super) drop: String,
    /// The router's port that says so.
    by: String,
    /// Type and code.
    icmp: (u8, u8),
    /// The MTU that it names.
    #[serde(default)]
    mtu: u32,
    /// Where in the packet it points to, in bytes.
    #[serde(default)]
    pointer: u32,
}

impl Error {
    pub(super) fn bytes(&self, cast: &Cast, wire: &[u8]) -> Result<Vec<u8>> {
        let (ethernet, packet) = wire.split_at(ethernet_len(wire));
        let mut answer = [&ethernet[6..12], &ethernet[..6], &ethernet[12..]].concat();
        let (kind, code) = self.icmp;
        let message = |quoted: &[u8]| {
            let start = [kind, code, 0, 0];
            let detail = (self.mtu | self.pointer).to_be_bytes();
            [&start, &detail as &[u8], quoted].concat()
        };
        match ethernet[ethernet.len() - 2..] {
            [8, 0] => {
                let packet = trim(packet, 0, [2, 3]);
                let from = cast.v4(&self.by)?.octets();
                let mut message = message(&packet[..packet.len().min(576 - 28)]);
                let sum = checksum::of(&message);
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                let [high, low] = u16::try_from(20 + message.len())?.to_be_bytes();
                let fixed = [0x45, 0xc0, high, low, 0, 0, 0x40, 0, 64, 1, 0, 0];
                let mut header = [&fixed, &from as &[u8], &packet[12..16]].concat();
                let sum = checksum::of(&header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                answer.extend([header, message].concat());
            }
            [0x86, 0xdd] => {
                let packet = trim(packet, 40, [4, 5]);
                let from = cast.v6(&self.by)?;
                let to: [u8; 16] = packet[8..24].try_into()?;
                let message = message(&packet[..packet.len().min(1280 - 48)]);
                answer.extend(icmpv6(64, from.into(), IpAddr::from(to), message)?);
            }
            _ => bail!("no router complains about such a frame"),
        }
        Ok(answer)
    }
}

/// The packet without what pads its frame. Its length is in the bytes `at`, and counts what follows
/// `header`.
fn trim(packet: &[u8], header: usize, at: [usize; 2]) -> &[u8] {
    let [high, low] = at.map(|at| packet[at]);
    let len = header + usize::from(u16::from_be_bytes([high, low]));
    &packet[..len.min(packet.len())]
}

/// A TCP reset goes back (RFC 9293 section 3.10.7.1).
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Reset {
    /// Why the segment was dropped.
    pub(super) drop: String,
    /// The router's port whose address the segment was for.
    by: String,
    /// Control bits, by letters.
    flags: String,
    #[serde(default)]
    sequence: u32,
    #[serde(default)]
    acknowledgment: u32,
}

impl Reset {
    pub(super) fn bytes(&self, cast: &Cast, wire: &[u8]) -> Result<Vec<u8>> {
        let (ethernet, packet) = wire.split_at(ethernet_len(wire));
        let is_v4 = packet[0] >> 4 == 4;
        let (header_len, start) = if is_v4 {
            (20, usize::from(packet[0] & 0xf) * 4)
        } else {
            (40, tcp_start(packet))
        };
        let segment = &packet[start..start + 20];
        let numbers = [self.sequence, self.acknowledgment].map(u32::to_be_bytes);
        let control = [0x50, flags(&self.flags)?, 0, 0, 0, 0, 0, 0];
        let ports = [&segment[2..4], &segment[..2]].concat();
        let mut answer = [&ports, numbers.as_flattened(), &control].concat();
        let (from, to): (IpAddr, IpAddr) = if is_v4 {
            let to: [u8; 4] = packet[12..16].try_into()?;
            (cast.v4(&self.by)?.into(), to.into())
        } else {
            let to: [u8; 16] = packet[8..24].try_into()?;
            (cast.v6(&self.by)?.into(), to.into())
        };
        let pseudo = checksum::pseudo_header(from, to, 6, answer.len());
        let sum = checksum::of(&[pseudo.clone(), answer.clone()].concat());
        answer[16..18].copy_from_slice(&sum.to_be_bytes());
        let header = if is_v4 {
            let addresses = &pseudo[..8];
            let fixed = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
            let mut header = [&fixed, addresses].concat();
            let sum = checksum::of(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            header
        } else {
            [&[0x60, 0, 0, 0, 0, 20, 6, 64], &pseudo[..32]].concat()
        };
        let macs = [&ethernet[6..12], &ethernet[..6], &ethernet[12..]].concat();
        // What options took is left behind the packet.
        let rest = &packet[header_len + 20..start + 20];
        Ok([&macs, &header, &answer, rest].concat())
    }
}

/// Where TCP begins in an IPv6 packet, behind extension headers of which none is one for
/// authentication.
fn tcp_start(packet: &[u8]) -> usize {
    let (mut next, mut start) = (packet[6], 40);
    while next != 6 {
        next = packet[start];
        start += 8 * (1 + usize::from(packet[start + 1]));
    }
    start
}

/// The router asks for a neighbor (RFC 826, RFC 4861).
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// The router's port that asks.
    pub(super) by: String,
    /// The address that is asked for.
    #[serde(rename = "for")]
    target: IpAddr,
    /// The ports that are asked.
    pub(super) of: Vec<String>,
}

impl Ask {
    pub(super) fn bytes(&self, cast: &Cast) -> Result<Vec<u8>> {
        let mac = cast.mac(&self.by)?.octets();
        ensure!(!self.of.is_empty(), "nobody is asked");
        match self.target {
            IpAddr::V4(target) => {
                let from = cast.v4(&self.by)?.octets();
                let fixed = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
                let ethernet = [&[0xff; 6], &mac as &[u8], &fixed].concat();
                let pair = [&mac as &[u8], &from, &[0; 6], &target.octets()].concat();
                Ok([ethernet, pair].concat())
            }
            IpAddr::V6(target) => {
                let group = solicited_node(target);
                let to = crate::frame::group_mac(group.into()).context("a group")?;
                let from = cast.v6(&self.by)?;
                let fixed = [135, 0, 0, 0, 0, 0, 0, 0];
                let option = [&[1, 1], &mac as &[u8]].concat();
                let message = [&fixed, &target.octets() as &[u8], &option].concat();
                let packet = icmpv6(255, from.into(), group.into(), message)?;
                let ethernet = [&to.octets() as &[u8], &mac, &[0x86, 0xdd]].concat();
                Ok([ethernet, packet].concat())
            }
        }
    }
}

/// An IPv6 packet with an ICMPv6 message, whose checksum is put in.
fn icmpv6(hop_limit: u8, from: IpAddr, to: IpAddr, mut message: Vec<u8>) -> Result<Vec<u8>> {
    let pseudo = checksum::pseudo_header(from, to, 58, message.len());
    let sum = checksum::of(&[pseudo.clone(), message.clone()].concat());
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let [high, low] = u16::try_from(message.len())?.to_be_bytes();
    let header = [0x60, 0, 0, 0, high, low, 58, hop_limit];
    // The pseudo-header begins with the two addresses.
    Ok([&header, &pseudo[..32], &message].concat())
}
