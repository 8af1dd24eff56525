//! The only writer of a frame's bytes. What to write was decided before, as values; nothing is
//! written to a frame that is dropped.

use maps_schema::{Ip, Mac};

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

/// Where an ARP packet begins in the frame.
const ARP: u32 = ethernet::HEADER_LEN as u32;
/// Offset of the addresses in an ARP packet.
const ARP_ADDRESSES: u32 = ARP + arp::ADDRESSES;
/// Where an IPv6 packet begins in the frame.
const IPV6: u32 = ethernet::HEADER_LEN as u32;
/// Flags "solicited" and "override" of a neighbor advertisement.
const SOLICITED_OVERRIDE: u8 = 0b0110_0000;
/// Length in bytes of a neighbor advertisement with one option.
const ADVERTISEMENT_LEN: u8 = 32;

/// Turns the frame into the answer.
///
/// # Errors
/// [`Refused`] if the kernel cannot make the frame's bytes writable.
#[inline(always)]
pub fn apply<F: Frame>(frame: &mut F, reply: &Reply) -> Result<(), Refused> {
    write_macs(frame, reply.asker_mac, reply.mac)?;
    match reply.protocol {
        Protocol::Arp => write_arp_reply(frame, reply),
        Protocol::NeighborDiscovery => write_advertisement(frame, reply),
    }
}

/// Writes the two MAC addresses of the Ethernet header.
#[inline(always)]
fn write_macs<F: Frame>(frame: &mut F, destination: Mac, source: Mac) -> Result<(), Refused> {
    frame.store(0, &destination)?;
    frame.store(6, &source)
}

#[inline(always)]
fn write_arp_reply<F: Frame>(frame: &mut F, reply: &Reply) -> Result<(), Refused> {
    let [_, _, _, ip] = reply.ip.words();
    let [_, _, _, asker_ip] = reply.asker_ip.words();
    frame.store(ARP + arp::OPERATION, &arp::REPLY.to_be_bytes())?;
    frame.store(ARP_ADDRESSES, &reply.mac)?;
    frame.store(ARP_ADDRESSES + 6, &ip)?;
    frame.store(ARP_ADDRESSES + 10, &reply.asker_mac)?;
    frame.store(ARP_ADDRESSES + 16, &asker_ip)
}

#[inline(always)]
fn write_advertisement<F: Frame>(frame: &mut F, reply: &Reply) -> Result<(), Refused> {
    let [m0, m1, m2] = reply.mac.words();
    let option = [
        u16::from_ne_bytes([discovery::TARGET_LINK_LAYER, 1]),
        m0,
        m1,
        m2,
    ];
    let [kind, zero, flags, reserved] = [
        u16::from_ne_bytes([discovery::NEIGHBOR_ADVERTISEMENT, 0]),
        0,
        u16::from_ne_bytes([SOLICITED_OVERRIDE, 0]),
        0,
    ];
    // The pseudo-header (RFC 8200 section 8.1) and the message with a checksum of zero.
    let pseudo_header = [ADVERTISEMENT_LEN, transport::ICMPV6].map(|byte| u16::from(byte).to_be());
    let checksum = checksum::finish(
        checksum::sum32(&reply.ip.words())
            + checksum::sum32(&reply.asker_ip.words())
            + checksum::sum16(&pseudo_header)
            + checksum::sum16(&[kind, zero, flags, reserved])
            + checksum::sum32(&reply.ip.words())
            + checksum::sum16(&option),
    );

    let header = [
        0x60,
        0,
        0,
        0,
        0,
        ADVERTISEMENT_LEN,
        transport::ICMPV6,
        u8::MAX,
    ];
    frame.store(IPV6, &header)?;
    frame.store(IPV6 + 8, &reply.ip)?;
    frame.store(IPV6 + 24, &reply.asker_ip)?;
    let message = IPV6 + ipv6::HEADER_LEN as u32;
    frame.store(message, &[kind, checksum, flags, reserved])?;
    frame.store(message + 8, &reply.ip)?;
    frame.store(message + 24, &option)
}
