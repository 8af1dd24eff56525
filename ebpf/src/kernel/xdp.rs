//! A frame in a buffer of the driver, as XDP programs see it.

use core::ffi::c_void;
use core::hint::black_box;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::programs::XdpContext;
use datapath::{Bytes, Short};
use maps_schema::{IfIndex, Plain};

use super::event::Arrival;
use super::skb::read;

/// A frame in a buffer of the driver.
pub(crate) struct Buffer {
    xdp: *mut xdp_md,
}

impl Buffer {
    #[inline(always)]
    pub(crate) fn new(ctx: &XdpContext) -> Self {
        Self { xdp: ctx.ctx }
    }
}

impl Bytes for Buffer {
    /// All buffers together (since Linux 5.18).
    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the kernel's context is valid while the program runs.
        unsafe { bpf_xdp_get_buff_len(self.xdp) as u32 }
    }

    /// Reads the first buffer in place, and what lies beyond it through the helper.
    #[inline(always)]
    fn fixed<const OFFSET: usize, T: Plain>(&self) -> Result<T, Short> {
        // SAFETY: the kernel's context is valid while the program runs.
        let (data, end) = unsafe { ((*self.xdp).data as usize, (*self.xdp).data_end as usize) };
        if data + OFFSET + size_of::<T>() <= end {
            // SAFETY: the bytes were just compared with the end of the first buffer, as the verifier
            // checks.
            return Ok(unsafe { read(data + OFFSET) });
        }
        self.load(OFFSET as u32)
    }

    #[inline(always)]
    fn load<T: Plain>(&self, offset: u32) -> Result<T, Short> {
        let mut value = MaybeUninit::<T>::zeroed();
        // SAFETY: the helper (since Linux 5.18) writes the size of the value to the value, or fails.
        let result = unsafe {
            bpf_xdp_load_bytes(
                self.xdp,
                offset,
                value.as_mut_ptr().cast::<c_void>(),
                size_of::<T>() as u32,
            )
        };
        if result != 0 {
            return Err(Short);
        }
        // SAFETY: all bytes are initialized, and any bytes are a valid plain value.
        Ok(unsafe { value.assume_init() })
    }
}

impl Arrival for Buffer {
    #[inline(always)]
    fn interface(&self) -> IfIndex {
        // SAFETY: the kernel's context is valid while the program runs.
        IfIndex(unsafe { (*self.xdp).ingress_ifindex })
    }

    #[inline(always)]
    fn load_head<const N: usize>(&self, head: &mut [u8; N], len: u32) {
        // As for a socket buffer: the verifier of Linux 6.1 does not remember that a number is not 0.
        let last = black_box(len.wrapping_sub(1));
        if last >= N as u32 {
            return;
        }
        // SAFETY: the helper writes at most N bytes to a buffer of N bytes; when it fails it writes
        // nothing, and the buffer stays as it was.
        unsafe { bpf_xdp_load_bytes(self.xdp, 0, head.as_mut_ptr().cast::<c_void>(), last + 1) };
    }
}
