//! The IP headers of packets that routers make.

use maps_schema::Ip;

use super::{L3, TTL};
use crate::checksum;
use crate::frame::{Frame, Refused};
use crate::parse::ipv4;

/// What such a header says.
pub(super) struct Header {
    pub(super) source: Ip,
    pub(super) destination: Ip,
    /// The protocol of what follows it.
    pub(super) protocol: u8,
    /// The length of that in bytes.
    pub(super) len: u32,
}

impl Header {
    /// Writes it as one of IPv4, with this type of service.
    ///
    /// # Errors
    /// [`Refused`] if the kernel cannot make the frame's bytes writable.
    #[inline(always)]
    pub(super) fn write_v4<F: Frame>(&self, frame: &mut F, tos: u8) -> Result<(), Refused> {
        let total_len = (ipv4::MIN_HEADER_LEN as u32 + self.len) as u16;
        let [l0, l1] = total_len.to_be_bytes();
        let [_, _, _, source] = self.source.words();
        let [_, _, _, destination] = self.destination.words();
        let w0 = u32::from_ne_bytes([0x45, tos, l0, l1]);
        // Not to be fragmented, so that it needs no identification (RFC 6864 section 4.1).
        let w1 = u32::from_ne_bytes([0, 0, 0x40, 0]);
        let w2 = u16::from_ne_bytes([TTL, self.protocol]);
        let unsummed = u32::from_ne_bytes([TTL, self.protocol, 0, 0]);
        let checksum = checksum::finish(checksum::sum32(&[w0, w1, unsummed, source, destination]));
        frame.store(L3, &[w0, w1])?;
        frame.store(L3 + 8, &[w2, checksum])?;
        frame.store(L3 + 12, &[source, destination])
    }

    /// Writes it as one of IPv6.
    ///
    /// # Errors
    /// [`Refused`] if the kernel cannot make the frame's bytes writable.
    #[inline(always)]
    pub(super) fn write_v6<F: Frame>(&self, frame: &mut F) -> Result<(), Refused> {
        let [l0, l1] = (self.len as u16).to_be_bytes();
        let w1 = u32::from_ne_bytes([l0, l1, self.protocol, TTL]);
        frame.store(L3, &[0x60_u32.to_le(), w1])?;
        frame.store(L3 + 8, &self.source)?;
        frame.store(L3 + 24, &self.destination)
    }

    /// The sum of the pseudo-header that the checksum of what follows covers (RFC 9293 section 3.1,
    /// RFC 8200 section 8.1).
    #[inline(always)]
    pub(super) fn pseudo_sum(&self, is_v4: bool) -> u64 {
        let rest = checksum::sum32(&[self.len.to_be(), u32::from(self.protocol).to_be()]);
        let ([.., source], [.., destination]) = (self.source.words(), self.destination.words());
        rest + if is_v4 {
            checksum::sum32(&[source, destination])
        } else {
            checksum::sum32(&self.source.words()) + checksum::sum32(&self.destination.words())
        }
    }
}
