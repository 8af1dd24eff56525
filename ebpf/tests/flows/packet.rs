//! Frames with IP packets, sensible or not.

use maps_schema::{Ip, Mac};

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// What a frame with an IP packet has in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) destination: Mac,
    pub(crate) source: Mac,
    /// The control information of a VLAN tag.
    pub(crate) tag: Option<u16>,
    pub(crate) ip_source: Ip,
    pub(crate) ip_destination: Ip,
    /// Whether IPv4 addresses are those of an IPv6 packet, in mapped form.
    pub(crate) is_mapped: bool,
    pub(crate) ttl: u8,
    /// IPv4: the flags and the offset of a fragment.
    pub(crate) fragment: u16,
    pub(crate) protocol: u8,
    /// The ports; of an ICMP message the first is the type, the second the identifier.
    pub(crate) ports: [u16; 2],
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: u8,
    /// How many bytes follow the transport header.
    pub(crate) len: usize,
}

impl Packet {
    /// The frame's bytes.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let mut wire = [self.destination.octets(), self.source.octets()].concat();
        if let Some(tci) = self.tag {
            wire.extend([0x81, 0]);
            wire.extend(tci.to_be_bytes());
        }
        let payload = self.payload();
        if self.ip_source.is_v4() && !self.is_mapped {
            wire.extend([8, 0]);
            wire.extend(self.ipv4_header(payload.len()));
        } else {
            wire.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            wire.extend((payload.len() as u16).to_be_bytes());
            wire.extend([self.protocol, self.ttl]);
            wire.extend(self.ip_source.octets());
            wire.extend(self.ip_destination.octets());
        }
        wire.extend(payload);
        wire
    }

    fn ipv4_header(&self, payload_len: usize) -> Vec<u8> {
        let [l0, l1] = (20 + payload_len as u16).to_be_bytes();
        let [f0, f1] = self.fragment.to_be_bytes();
        let mut header = vec![0x45, 0, l0, l1, 0, 1, f0, f1, self.ttl, self.protocol, 0, 0];
        header.extend(&self.ip_source.octets()[12..]);
        header.extend(&self.ip_destination.octets()[12..]);
        let words = header.chunks(2);
        let sum: u32 = words
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn payload(&self) -> Vec<u8> {
        let [first, second] = self.ports;
        let mut payload = Vec::with_capacity(20 + self.len);
        match self.protocol {
            ICMP | ICMPV6 => {
                payload.extend([first as u8, 0, 0, 0]);
                payload.extend(second.to_be_bytes());
                payload.extend([0, 1]);
            }
            TCP => {
                payload.extend([first.to_be_bytes(), second.to_be_bytes()].concat());
                payload.extend(self.sequence.to_be_bytes());
                payload.extend(self.acknowledgment.to_be_bytes());
                payload.extend([0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
            }
            UDP => {
                payload.extend([first.to_be_bytes(), second.to_be_bytes()].concat());
                payload.extend((8 + self.len as u16).to_be_bytes());
                payload.extend([0, 0]);
            }
            _ => {}
        }
        payload.resize(payload.len() + self.len, 7);
        payload
    }
}
