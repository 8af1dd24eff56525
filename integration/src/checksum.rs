//! The Internet checksum (RFC 1071), in its plainest form, to check the datapath's by.

use std::net::IpAddr;

/// The checksum of some bytes; an odd one is padded with a zero.
#[must_use]
pub fn of(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The bytes that a transport protocol's checksum covers besides the message (RFC 9293 section 3.1,
/// RFC 8200 section 8.1).
///
/// # Panics
/// The message is longer than 65535 bytes.
#[must_use]
pub fn pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, len: usize) -> Vec<u8> {
    let len = u16::try_from(len).expect("a message of at most 65535 bytes");
    let mut bytes = Vec::new();
    for address in [from, to] {
        match address {
            IpAddr::V4(v4) => bytes.extend(v4.octets()),
            IpAddr::V6(v6) => bytes.extend(v6.octets()),
        }
    }
    bytes.extend(u16::from(protocol).to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes
}
