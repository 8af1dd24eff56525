//! What is sent to a peer to see whether it is alive: bytes behind the IP and UDP headers, which the
//! kernel writes. [`datapath::echo`] says what becomes of it there.

use std::net::IpAddr;

use datapath::echo::{ETHERTYPE, MAGIC, REQUEST};
use datapath::parse::outer::{GRE_KEY, TRANSPARENT_ETHERNET, TUNNEL_LEN, UDP_LEN, VXLAN_VNI};

use crate::topology::Tunnel;

/// The words of an echo, in bytes.
const WORDS_LEN: u32 = size_of::<datapath::echo::Echo>() as u32;

/// A question to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo {
    /// Its number, which the answer has too.
    pub sequence: u32,
    /// When it is sent, in nanoseconds of `CLOCK_MONOTONIC`.
    pub sent_ns: u64,
}

/// The tunnel that echoes travel in: to peers that no tunnel leads to it is VXLAN.
#[must_use]
pub const fn carrier(tunnel: Tunnel) -> Tunnel {
    match tunnel {
        Tunnel::Direct | Tunnel::Vxlan => Tunnel::Vxlan,
        Tunnel::Geneve => Tunnel::Geneve,
        Tunnel::Gre => Tunnel::Gre,
    }
}

/// The length of the smallest echo as an IP packet of the underlay, in bytes.
#[must_use]
pub const fn smallest(tunnel: Tunnel, underlay: IpAddr) -> u32 {
    carrier(tunnel).overhead(underlay) + WORDS_LEN
}

/// The echo in its tunnel, padded with zeroes so that it becomes an IP packet of `len` bytes with the
/// headers that the kernel puts before it; one that is [`smallest`] if `len` is less.
#[must_use]
pub fn write(echo: Echo, tunnel: Tunnel, underlay: IpAddr, len: u32) -> Vec<u8> {
    let carrier = carrier(tunnel);
    let header: [u16; 4] = match carrier {
        Tunnel::Vxlan | Tunnel::Direct => [u16::from(VXLAN_VNI) << 8, 0, 0, 0],
        Tunnel::Geneve => [0, TRANSPARENT_ETHERNET, 0, 0],
        Tunnel::Gre => [GRE_KEY, TRANSPARENT_ETHERNET, 0, 0],
    };
    // Nobody looks at the MAC addresses.
    let ethernet: [u16; 7] = [0, 0, 0, 0, 0, 0, ETHERTYPE];
    let [upper, lower] = [(echo.sent_ns >> 32) as u32, echo.sent_ns as u32];
    let words: datapath::echo::Echo = [MAGIC, REQUEST, echo.sequence, upper, lower];
    let mut bytes: Vec<u8> = header
        .iter()
        .chain(&ethernet)
        .flat_map(|word| word.to_be_bytes())
        .chain(words.iter().flat_map(|word| word.to_be_bytes()))
        .collect();
    let whole = len.max(smallest(tunnel, underlay)) - outside(carrier, underlay);
    bytes.resize(whole as usize, 0);
    bytes
}

/// The headers that the kernel writes, in bytes.
const fn outside(carrier: Tunnel, underlay: IpAddr) -> u32 {
    let ip = if underlay.is_ipv4() { 20 } else { 40 };
    match carrier {
        Tunnel::Gre => ip,
        Tunnel::Vxlan | Tunnel::Geneve | Tunnel::Direct => ip + UDP_LEN,
    }
}

const _: () = assert!(
    TUNNEL_LEN == 8,
    "a tunnel's header is four words of two bytes"
);

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: Echo = Echo {
        sequence: 7,
        sent_ns: 0x0102_0304_0506_0708,
    };

    fn underlays() -> [(IpAddr, usize); 2] {
        [
            ("192.0.2.1".parse().unwrap(), 20),
            ("2001:db8::1".parse().unwrap(), 40),
        ]
    }

    #[test]
    fn the_bytes_are_those_of_the_tunnel() {
        for (tunnel, header) in [
            (Tunnel::Vxlan, [0x08, 0, 0, 0, 0, 0, 0, 0]),
            (Tunnel::Direct, [0x08, 0, 0, 0, 0, 0, 0, 0]),
            (Tunnel::Geneve, [0, 0, 0x65, 0x58, 0, 0, 0, 0]),
            (Tunnel::Gre, [0x20, 0, 0x65, 0x58, 0, 0, 0, 0]),
        ] {
            let bytes = write(ECHO, tunnel, underlays()[0].0, 0);
            assert_eq!(bytes[..8], header, "{tunnel}");
            assert_eq!(bytes[20..22], [0x88, 0xb5]);
            let words = [
                b"blec" as &[u8],
                &[0, 0, 0, 1],
                &[0, 0, 0, 7],
                &[1, 2, 3, 4],
                &[5, 6, 7, 8],
            ];
            assert_eq!(bytes[22..], words.concat());
        }
    }

    #[test]
    fn the_packet_becomes_as_long_as_it_should() {
        for (underlay, ip) in underlays() {
            for tunnel in Tunnel::ALL {
                let udp = if tunnel == Tunnel::Gre { 0 } else { 8 };
                for len in [1280, 1281, 9000] {
                    let bytes = write(ECHO, tunnel, underlay, len);
                    assert_eq!(ip + udp + bytes.len(), len as usize, "{tunnel}");
                }
                let least = write(ECHO, tunnel, underlay, 0).len();
                assert_eq!(least, 8 + 14 + 20);
                assert_eq!(ip + udp + least, smallest(tunnel, underlay) as usize);
            }
        }
    }
}
