//! A frame in a socket buffer, as TC programs see it.

use core::arch::asm;
use core::ffi::c_void;
use core::hint::black_box;
use core::mem::MaybeUninit;
use core::ops::ControlFlow;

use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS};
use aya_ebpf::bindings::{
    BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM,
    bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
};
use aya_ebpf::helpers::generated::{
    bpf_clone_redirect, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_loop, bpf_redirect_peer,
    bpf_skb_adjust_room, bpf_skb_change_tail, bpf_skb_change_type, bpf_skb_load_bytes,
    bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use datapath::frame::{Checksum, Covered, Note, Outer};
use datapath::{Bytes, Frame, Refused, Short, Step};
use maps_schema::{FloodList, IfIndex, Plain};

use super::event::Arrival;
use super::tunnel;

/// "To us" and "to someone else" (`linux/if_packet.h`), as the kernel told by the MAC address of the
/// interface that the frame came in on.
const PACKET_HOST: u32 = 0;
const PACKET_OTHERHOST: u32 = 3;

/// A frame in a socket buffer.
pub(crate) struct Skb {
    skb: *mut __sk_buff,
}

impl Skb {
    #[inline(always)]
    pub(crate) fn new(ctx: &TcContext) -> Self {
        let skb = Self { skb: ctx.skb.skb };
        skb.note_taken_out(0);
        skb
    }

    /// The length of the outer headers that were taken off, in bytes; 0 if there were none. The kernel
    /// still describes that tunnel.
    #[inline(always)]
    pub(super) fn taken_out(&self) -> u32 {
        // SAFETY: the kernel's context is valid while the program runs.
        unsafe { (*self.skb).cb[0] }
    }

    /// Notes that in the buffer's memory for programs: the verifier, which follows every value that it
    /// knows on its own, knows nothing of what is there.
    #[inline(always)]
    pub(super) fn note_taken_out(&self, len: u32) {
        // SAFETY: the kernel's context is valid while the program runs, and programs may write there.
        unsafe { (*self.skb).cb[0] = len };
    }

    /// The kernel's context.
    #[inline(always)]
    pub(super) fn context(&self) -> *mut __sk_buff {
        self.skb
    }

    /// What the kernel takes the frame for: an EtherType in network byte order.
    #[inline(always)]
    pub(super) fn protocol(&self) -> u32 {
        // SAFETY: the kernel's context is valid while the program runs.
        unsafe { (*self.skb).protocol }
    }

    /// The EtherType of the outermost VLAN tag, in network byte order.
    #[inline(always)]
    pub(super) fn outer_tag_kind(&self) -> u16 {
        // SAFETY: the kernel's context is valid while the program runs.
        unsafe { (*self.skb).vlan_proto as u16 }
    }

    /// Takes the note of a resubmitted frame away.
    #[inline(always)]
    pub(super) fn clear_note(&self) {
        self.set_mark(0, 0);
    }

    /// That there is a note is told by the traffic control index, which nobody else sets: a host's own
    /// programs and rules mark packets, too, and the mark comes along where a veth pair leads into the
    /// same namespace.
    #[inline(always)]
    fn set_note(&self, note: Note) {
        self.set_mark(note.list.0, note.idx + 1);
    }

    #[inline(always)]
    fn set_mark(&self, mark: u32, index: u32) {
        // SAFETY: the kernel's context is valid while the program runs, and these fields of it may be
        // written.
        unsafe {
            (*self.skb).mark = mark;
            (*self.skb).tc_index = index;
        }
    }

    /// Asks the kernel to hand the frame to the other end of this veth pair, straight into its
    /// namespace (since Linux 5.10). It acts when the program returns `TC_ACT_REDIRECT`.
    ///
    /// The host's end that the frame came in on has another MAC address than the destination, so the
    /// kernel took the frame for someone else's, and the destination's stack would drop it. Linux 6.16
    /// and its stable releases since (commit c43272299488) take that back by themselves.
    #[inline(always)]
    pub(crate) fn redirect_peer(&self, ifindex: u32) -> i64 {
        // SAFETY: the kernel's context is valid while the program runs; the helpers take it and plain
        // integers.
        unsafe {
            if (*self.skb).pkt_type == PACKET_OTHERHOST {
                bpf_skb_change_type(self.skb, PACKET_HOST);
            }
            bpf_redirect_peer(ifindex, 0)
        }
    }
}

impl Arrival for Skb {
    #[inline(always)]
    fn interface(&self) -> IfIndex {
        // SAFETY: the kernel's context is valid while the program runs.
        IfIndex(unsafe { (*self.skb).ifindex })
    }

    #[inline(always)]
    fn load_head<const N: usize>(&self, head: &mut [u8; N], len: u32) {
        // The helper wants at least one byte. That a number is not zero is nothing that the verifier
        // of Linux 6.1 remembers, so one is added to a number of which the highest value is known.
        let last = black_box(len.wrapping_sub(1));
        if last >= N as u32 {
            return;
        }
        // SAFETY: the helper writes at most N bytes to a buffer of N bytes. When it fails it writes
        // zeros, which are as good as any.
        unsafe {
            bpf_skb_load_bytes(
                self.skb.cast::<c_void>(),
                0,
                head.as_mut_ptr().cast::<c_void>(),
                last + 1,
            )
        };
    }
}

impl Bytes for Skb {
    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the kernel's context is valid while the program runs.
        unsafe { (*self.skb).len }
    }

    /// Reads the linear part of the buffer in place, and what lies beyond it through the helper.
    #[inline(always)]
    fn fixed<const OFFSET: usize, T: Plain>(&self) -> Result<T, Short> {
        // SAFETY: the kernel's context is valid while the program runs.
        let (data, end) = unsafe { ((*self.skb).data as usize, (*self.skb).data_end as usize) };
        if data + OFFSET + size_of::<T>() <= end {
            // SAFETY: the bytes were just compared with the end of the packet's linear part, as the
            // verifier checks.
            return Ok(unsafe { read(data + OFFSET) });
        }
        self.load(OFFSET as u32)
    }

    #[inline(always)]
    fn load<T: Plain>(&self, offset: u32) -> Result<T, Short> {
        let mut value = MaybeUninit::<T>::zeroed();
        // SAFETY: the helper writes the size of the value to the value, or fails.
        let result = unsafe {
            bpf_skb_load_bytes(
                self.skb.cast::<c_void>(),
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

impl Frame for Skb {
    #[inline(always)]
    fn outer_tag(&self) -> Option<u16> {
        // SAFETY: the kernel's context is valid while the program runs.
        let (present, tci) = unsafe { ((*self.skb).vlan_present, (*self.skb).vlan_tci) };
        (present != 0).then_some(tci as u16)
    }

    /// Always through the helper: a direct write at a variable offset is refused by the verifier,
    /// because LLVM drops the second of two bounds checks that it takes for equal.
    #[inline(always)]
    fn store<T: Plain>(&mut self, offset: u32, value: &T) -> Result<(), Refused> {
        // SAFETY: the helper reads the size of the value from the value.
        let result = unsafe {
            bpf_skb_store_bytes(
                self.skb,
                offset,
                (&raw const *value).cast::<c_void>(),
                size_of::<T>() as u32,
                // A sum that the device made covers what is behind the Ethernet header.
                if offset >= 14 {
                    u64::from(BPF_F_RECOMPUTE_CSUM)
                } else {
                    0
                },
            )
        };
        if result == 0 { Ok(()) } else { Err(Refused) }
    }

    /// Without a width in the flags, the helpers take the last number for a difference.
    #[inline(always)]
    fn adjust(
        &mut self,
        Checksum { at, is_optional }: Checksum,
        covered: Covered,
        difference: u32,
    ) -> Result<(), Refused> {
        let zero_is_none = if is_optional { BPF_F_MARK_MANGLED_0 } else { 0 };
        let difference = u64::from(difference);
        // SAFETY: the context is valid; the helpers take plain integers.
        let result = unsafe {
            match covered {
                Covered::Header => bpf_l3_csum_replace(self.skb, at, 0, difference, 0),
                Covered::Message => {
                    bpf_l4_csum_replace(self.skb, at, 0, difference, u64::from(zero_is_none))
                }
                Covered::Pseudo => {
                    let flags = u64::from(zero_is_none | BPF_F_PSEUDO_HDR);
                    bpf_l4_csum_replace(self.skb, at, 0, difference, flags)
                }
            }
        };
        if result == 0 { Ok(()) } else { Err(Refused) }
    }

    #[inline(always)]
    fn exchange<T: Plain>(&mut self, offset: u32, value: &T) -> Result<(), Refused> {
        // SAFETY: the helper reads the size of the value from the value.
        let result = unsafe {
            bpf_skb_store_bytes(
                self.skb,
                offset,
                (&raw const *value).cast::<c_void>(),
                size_of::<T>() as u32,
                0,
            )
        };
        if result == 0 { Ok(()) } else { Err(Refused) }
    }

    #[inline(always)]
    fn repeat<S: Step>(count: u32, step: &mut S) {
        // SAFETY: the callback has the signature that the helper documents, and the context that it
        // is given back is the exclusive reference to the step (since Linux 5.17).
        unsafe {
            bpf_loop(
                count,
                callback::<S> as *mut c_void,
                (&raw mut *step).cast::<c_void>(),
                0,
            )
        };
    }

    #[inline(always)]
    fn segment_len(&self) -> u32 {
        // SAFETY: the kernel's context is valid while the program runs (`gso_size` since Linux 5.8).
        unsafe { (*self.skb).gso_size }
    }

    #[inline(always)]
    fn resize(&mut self, len: u32) -> Result<(), Refused> {
        // SAFETY: the context is valid; the other arguments are plain integers.
        let result = unsafe { bpf_skb_change_tail(self.skb, len, 0) };
        if result == 0 { Ok(()) } else { Err(Refused) }
    }

    #[inline(always)]
    fn insert(&mut self, len: u32) -> Result<(), Refused> {
        // SAFETY: the context is valid; the other arguments are plain integers.
        let result = unsafe { bpf_skb_adjust_room(self.skb, len as i32, BPF_ADJ_ROOM_MAC, 0) };
        if result == 0 { Ok(()) } else { Err(Refused) }
    }

    #[inline(always)]
    fn push(&mut self, outer: Outer) -> Result<(), Refused> {
        tunnel::push(self, outer)
    }

    #[inline(always)]
    fn push_opaque(&mut self, outer: Outer) -> Result<(), Refused> {
        tunnel::push_opaque(self, outer)
    }

    #[inline(always)]
    fn pop(&mut self, len: u32) -> Result<(), Refused> {
        tunnel::pop(self, len)
    }

    /// The mark and the traffic control index of a frame stay with it on its way back in, and nobody
    /// else sets them: what comes from another network namespace has none.
    #[inline(always)]
    fn resubmit(&mut self, IfIndex(ifindex): IfIndex, note: Note) -> Result<(), Refused> {
        self.set_note(note);
        // SAFETY: the context is valid; the other arguments are plain integers.
        let result = unsafe { bpf_clone_redirect(self.skb, ifindex, u64::from(BPF_F_INGRESS)) };
        self.clear_note();
        if result == 0 { Ok(()) } else { Err(Refused) }
    }

    #[inline(always)]
    fn forget_note(&mut self) {
        self.clear_note();
    }

    #[inline(always)]
    fn note(&self) -> Note {
        // SAFETY: the kernel's context is valid while the program runs.
        let (mark, index) = unsafe { ((*self.skb).mark, (*self.skb).tc_index) };
        if index == 0 {
            return Note::NONE;
        }
        Note {
            list: FloodList(mark),
            idx: index - 1,
        }
    }

    #[inline(always)]
    fn copy_to(&mut self, IfIndex(ifindex): IfIndex) -> Result<(), Refused> {
        // SAFETY: the context is valid; the other arguments are plain integers.
        let result = unsafe { bpf_clone_redirect(self.skb, ifindex, 0) };
        if result == 0 { Ok(()) } else { Err(Refused) }
    }
}

/// One turn of a loop; the helper stops at any result but 0.
extern "C" fn callback<S: Step>(idx: u64, step: *mut S) -> u64 {
    // SAFETY: the helper hands back the pointer that `repeat` gave it.
    match unsafe { &mut *step }.step(idx as u32) {
        ControlFlow::Continue(()) => 0,
        ControlFlow::Break(()) => 1,
    }
}

/// Reads a value from the packet in units of its alignment.
///
/// The kernel lets programs read packets at any address, but LLVM does not know that and would read
/// what may be unaligned byte by byte, at four times the cost of the whole parser. The loads are
/// therefore spelled out.
///
/// # Safety
/// The verifier knows that the bytes from `start` on, as many as the value has, are in the packet.
#[inline(always)]
pub(super) unsafe fn read<T: Plain>(start: usize) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let unit = align_of::<T>();
    let mut offset = 0;
    while offset < size_of::<T>() {
        // SAFETY: the offset stays below the size of both, and in the value it is a multiple of the
        // alignment; every byte of it is written.
        unsafe {
            let source = start + offset;
            let target = value.as_mut_ptr().cast::<u8>().add(offset);
            match unit {
                4 => target.cast::<u32>().write(read_u32(source)),
                2 => target.cast::<u16>().write(read_u16(source)),
                _ => target.write(*(source as *const u8)),
            }
        }
        offset += unit;
    }
    // SAFETY: all bytes were written, and any bytes are a valid plain value.
    unsafe { value.assume_init() }
}

/// # Safety
/// As for [`read`].
#[inline(always)]
unsafe fn read_u32(source: usize) -> u32 {
    let word: u64;
    // SAFETY: one load of four bytes, which the verifier allows.
    unsafe {
        asm!(
            "{word} = *(u32 *)({source} + 0)",
            word = lateout(reg) word,
            source = in(reg) source,
            options(pure, readonly, nostack),
        );
    }
    word as u32
}

/// # Safety
/// As for [`read`].
#[inline(always)]
unsafe fn read_u16(source: usize) -> u16 {
    let word: u64;
    // SAFETY: one load of two bytes, which the verifier allows.
    unsafe {
        asm!(
            "{word} = *(u16 *)({source} + 0)",
            word = lateout(reg) word,
            source = in(reg) source,
            options(pure, readonly, nostack),
        );
    }
    word as u16
}
