//! Packets of ARP and neighbor discovery: answers made of questions, and questions made of packets
//! whose next hop is not known.

use maps_schema::map::RouterPort;
use maps_schema::{Ip, Mac};

use super::{L3, write_macs};
use crate::checksum;
use crate::frame::{Frame, Refused};
use crate::parse::{arp, discovery, ethernet, ipv6, transport};

/// A frame turned into the answer to it: "`ip` is at `mac`", said to who asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The protocol that the question was asked in.
    pub protocol: Protocol,
    /// The address that was asked for.
    pub ip: Ip,
    /// Who has it.
    pub mac: Mac,
    /// The address of who asked.
    pub asker_ip: Ip,
    /// Who asked.
    pub asker_mac: Mac,
}

/// The two protocols of address resolution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// An ARP reply (RFC 826).
    Arp,
    /// A neighbor advertisement (RFC 4861 section 4.4).
    NeighborDiscovery,
}

/// Offset of the operation of an ARP packet in the frame.
const OPERATION: u32 = L3 + arp::OPERATION;
/// Offset of the addresses of an ARP packet in the frame.
const ADDRESSES: u32 = L3 + arp::ADDRESSES;
/// Length in bytes of a frame with an ARP packet.
const ARP_FRAME_LEN: u32 = ADDRESSES + 20;
/// Length in bytes of a frame with a neighbor discovery message with one option.
const DISCOVERY_FRAME_LEN: u32 = L3 + ipv6::HEADER_LEN as u32 + MESSAGE_LEN as u32;
/// All nodes, in the scope of the link (RFC 4291 section 2.7.1).
pub const ALL_NODES: Ip = Ip::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// The MAC address of that group (RFC 2464 section 7).
pub const ALL_NODES_MAC: Mac = Mac::new([0x33, 0x33, 0, 0, 0, 1]);
/// Flags "solicited" and "override" of a neighbor advertisement.
const SOLICITED_OVERRIDE: u8 = 0b0110_0000;
/// Flag "override" alone: nobody may take it as the answer to a question of theirs.
const OVERRIDE: u8 = 0b0010_0000;
/// Length in bytes of a neighbor discovery message with one option.
const MESSAGE_LEN: u8 = 32;

/// Turns the frame into the answer.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(always)]
pub fn write_reply<F: Frame>(frame: &mut F, reply: &Reply) -> Result<(), Refused> {
    write_macs(frame, reply.asker_mac, reply.mac)?;
    match reply.protocol {
        Protocol::Arp => write_arp_reply(frame, reply),
        Protocol::NeighborDiscovery => write_advertisement(frame, reply),
    }
}

#[inline(always)]
fn write_arp_reply<F: Frame>(frame: &mut F, reply: &Reply) -> Result<(), Refused> {
    frame.store(OPERATION, &arp::REPLY.to_be())?;
    write_arp_addresses(
        frame,
        (reply.mac, reply.ip),
        (reply.asker_mac, reply.asker_ip),
    )
}

#[inline(always)]
fn write_arp_addresses<F: Frame>(
    frame: &mut F,
    sender: (Mac, Ip),
    target: (Mac, Ip),
) -> Result<(), Refused> {
    let [_, _, _, sender_ip] = sender.1.words();
    let [_, _, _, target_ip] = target.1.words();
    frame.store(ADDRESSES, &sender.0)?;
    frame.store(ADDRESSES + 6, &sender_ip)?;
    frame.store(ADDRESSES + 10, &target.0)?;
    frame.store(ADDRESSES + 16, &target_ip)
}

#[inline(always)]
fn write_advertisement<F: Frame>(frame: &mut F, reply: &Reply) -> Result<(), Refused> {
    if frame.len() != DISCOVERY_FRAME_LEN {
        frame.resize(DISCOVERY_FRAME_LEN)?;
    }
    let flags = if reply.asker_ip == ALL_NODES {
        OVERRIDE
    } else {
        SOLICITED_OVERRIDE
    };
    let message = Discovery {
        kind: discovery::NEIGHBOR_ADVERTISEMENT,
        flags,
        source: reply.ip,
        destination: reply.asker_ip,
        target: reply.ip,
        option: discovery::TARGET_LINK_LAYER,
        mac: reply.mac,
    };
    message.write(frame)
}

/// Turns a packet into the question for its next hop `ip`, asked by a router's port.
///
/// # Errors
/// [`Refused`] if the kernel has no memory for it.
#[inline(always)]
pub fn write_question<F: Frame>(frame: &mut F, ip: Ip, asker: &RouterPort) -> Result<(), Refused> {
    if ip.is_v4() {
        frame.resize(ARP_FRAME_LEN)?;
        write_macs(frame, Mac::BROADCAST, asker.mac)?;
        let fixed = [ethernet::ARP, 1, ethernet::IPV4, 0x0604, arp::REQUEST].map(u16::to_be);
        frame.store(L3 - 2, &fixed)?;
        return write_arp_addresses(frame, (asker.mac, asker.ipv4), (Mac::ZERO, ip));
    }
    frame.resize(DISCOVERY_FRAME_LEN)?;
    let [.., a, b, c] = ip.octets();
    write_macs(frame, Mac::new([0x33, 0x33, 0xff, a, b, c]), asker.mac)?;
    frame.store(L3 - 2, &ethernet::IPV6.to_be())?;
    let message = Discovery {
        kind: discovery::NEIGHBOR_SOLICITATION,
        flags: 0,
        source: asker.ipv6,
        // The solicited-node address (RFC 4291 section 2.7.1).
        destination: Ip::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]),
        target: ip,
        option: discovery::SOURCE_LINK_LAYER,
        mac: asker.mac,
    };
    message.write(frame)
}

/// A neighbor discovery message with one option, in its packet.
struct Discovery {
    kind: u8,
    flags: u8,
    source: Ip,
    destination: Ip,
    target: Ip,
    option: u8,
    mac: Mac,
}

impl Discovery {
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F) -> Result<(), Refused> {
        let [m0, m1, m2] = self.mac.words();
        let option = [u16::from_ne_bytes([self.option, 1]), m0, m1, m2];
        let kind = u16::from_ne_bytes([self.kind, 0]);
        let flags = u16::from_ne_bytes([self.flags, 0]);
        // The pseudo-header (RFC 8200 section 8.1) and the message with a checksum of zero.
        let pseudo_header = [MESSAGE_LEN, transport::ICMPV6].map(|byte| u16::from(byte).to_be());
        let checksum = checksum::finish(
            checksum::sum32(&self.source.words())
                + checksum::sum32(&self.destination.words())
                + checksum::sum16(&pseudo_header)
                + checksum::sum16(&[kind, flags])
                + checksum::sum32(&self.target.words())
                + checksum::sum16(&option),
        );
        let header = [0x60, 0, 0, 0, 0, MESSAGE_LEN, transport::ICMPV6, u8::MAX];
        frame.store(L3, &header)?;
        frame.store(L3 + 8, &self.source)?;
        frame.store(L3 + 24, &self.destination)?;
        let message = L3 + ipv6::HEADER_LEN as u32;
        frame.store(message, &[kind, checksum, flags, 0])?;
        frame.store(message + 8, &self.target)?;
        frame.store(message + 24, &option)
    }
}
