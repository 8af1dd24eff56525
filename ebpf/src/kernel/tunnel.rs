//! Outer headers in a socket buffer: room for them, and what the kernel must know of it.

use aya_ebpf::bindings::bpf_adj_room_mode::BPF_ADJ_ROOM_MAC;
use aya_ebpf::bindings::{
    BPF_ADJ_ROOM_ENCAP_L2_MASK, BPF_ADJ_ROOM_ENCAP_L2_SHIFT, BPF_F_ADJ_ROOM_DECAP_L3_IPV4,
    BPF_F_ADJ_ROOM_DECAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4,
    BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_GRE, BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
    BPF_F_ADJ_ROOM_FIXED_GSO, bpf_redir_neigh,
};
use aya_ebpf::helpers::generated::{
    bpf_redirect, bpf_redirect_neigh, bpf_skb_adjust_room, bpf_skb_change_head, bpf_skb_vlan_pop,
    bpf_skb_vlan_push,
};
use datapath::frame::Outer;
use datapath::parse::ethernet::{CUSTOMER_TAG, HEADER_LEN, IPV6, SERVICE_TAG, TAG_LEN};
use datapath::{Bytes, Frame, Refused};
use maps_schema::Ip;

use super::skb::Skb;

/// Address families of `bpf_redir_neigh` (`AF_INET` and `AF_INET6` of `linux/socket.h`).
const INET: u32 = 2;
const INET6: u32 = 10;

/// The shortest frame that the kernel takes out of a tunnel, in bytes: an Ethernet header and the longer of
/// the IP headers.
const SHORTEST: u32 = HEADER_LEN as u32 + 40;

/// [`Frame::push`]: the kernel makes the room behind the Ethernet header, which is moved to where the
/// inner one must be.
#[inline(always)]
pub(super) fn push(skb: &mut Skb, outer: Outer) -> Result<(), Refused> {
    drop_priority(skb)?;
    let header = skb.fixed::<0, [u16; 7]>().map_err(|_short| Refused)?;
    if encapsulate(skb, outer, outer.len, HEADER_LEN as u32).is_err() {
        encapsulate_again(skb, outer.len)?;
    }
    skb.store(outer.len, &header)
}

/// Makes room for the outer headers of a frame that has been in a tunnel before. The kernel describes one
/// for a socket buffer, by where the inner headers are, and refuses to describe another (`-EALREADY` of
/// `bpf_skb_net_grow` in net/core/filter.c). A frame that will not be cut needs no description; for one that
/// will be, that of the tunnel that it has left is true of one with headers of the same length.
#[inline(never)]
fn encapsulate_again(skb: &Skb, len: u32) -> Result<(), Refused> {
    if skb.segment_len() != 0 && skb.taken_out() != len {
        return Err(Refused);
    }
    adjust_room(skb, len as i32, u64::from(BPF_F_ADJ_ROOM_FIXED_GSO))
}

/// Makes `room` behind the Ethernet header of an IP packet, in which an outer header and an inner Ethernet
/// header of `inner_len` bytes will be.
#[inline(always)]
fn encapsulate(skb: &Skb, outer: Outer, room: u32, inner_len: u32) -> Result<(), Refused> {
    let l3 = if outer.is_v6 {
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV6
    } else {
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
    };
    let l4 = if outer.is_udp {
        BPF_F_ADJ_ROOM_ENCAP_L4_UDP
    } else {
        BPF_F_ADJ_ROOM_ENCAP_L4_GRE
    };
    let l2 = u64::from(inner_len & BPF_ADJ_ROOM_ENCAP_L2_MASK) << BPF_ADJ_ROOM_ENCAP_L2_SHIFT;
    // Workloads know the MTU behind the tunnel, so segments keep their size; without this flag those
    // of TCP would become smaller, and UDP would be refused.
    let flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L2_ETH | l3 | l4;
    adjust_room(skb, room as i32, u64::from(flags) | l2)
}

/// [`Frame::push_opaque`].
#[inline(always)]
pub(super) fn push_opaque(skb: &mut Skb, outer: Outer) -> Result<(), Refused> {
    if skb.segment_len() != 0 {
        return push_segments(skb, outer);
    }
    let len = outer.len;
    if skb.outer_tag().is_none() {
        return change_head(skb, len);
    }
    // When the kernel takes a tag away, the next one comes out of the frame and takes its place.
    let macs = skb.fixed::<0, [u16; 6]>().map_err(|_short| Refused)?;
    let first = pop_tag(skb)?;
    if skb.outer_tag().is_none() {
        change_head(skb, len + TAG_LEN)?;
        skb.store(len, &macs)?;
        return skb.store(len + 12, &first);
    }
    let second = pop_tag(skb)?;
    if skb.outer_tag().is_some() {
        return Err(Refused);
    }
    change_head(skb, len + 2 * TAG_LEN)?;
    skb.store(len, &macs)?;
    skb.store(len + 12, &[first, second])
}

/// Without its tag the kernel takes the frame for the IP packet that it is, and finds the tag in an inner
/// Ethernet header that is so much longer, when it cuts the packet (`__skb_udp_tunnel_segment` in
/// net/ipv4/udp_offload.c, `skb_network_protocol` in net/core/gso.c).
#[inline(never)]
fn push_segments(skb: &mut Skb, outer: Outer) -> Result<(), Refused> {
    if skb.outer_tag().is_none() {
        return Err(Refused);
    }
    let [a, b, c, d, e, f, ethertype] = skb.fixed::<0, [u16; 7]>().map_err(|_short| Refused)?;
    let [kind, tci] = pop_tag(skb)?;
    // The next one has taken its place.
    if skb.outer_tag().is_some() {
        return Err(Refused);
    }
    encapsulate(skb, outer, outer.len + TAG_LEN, HEADER_LEN as u32 + TAG_LEN)?;
    skb.store(outer.len, &[a, b, c, d, e, f, kind, tci, ethertype])?;
    skb.store(0, &[0_u32; 3])
}

/// Takes the outermost VLAN tag away: its EtherType and its control information, as on the wire.
#[inline(always)]
fn pop_tag(skb: &Skb) -> Result<[u16; 2], Refused> {
    let tag = [skb.outer_tag_kind(), skb.outer_tag().unwrap_or(0).to_be()];
    // SAFETY: the context is valid.
    let result = unsafe { bpf_skb_vlan_pop(skb.context()) };
    if result == 0 { Ok(tag) } else { Err(Refused) }
}

/// Puts a VLAN tag beside the frame, given as [`pop_tag`] returns it.
#[inline(always)]
fn push_tag(skb: &Skb, kind: u16, tci: u16) -> Result<(), Refused> {
    // SAFETY: the context is valid; the other arguments are plain integers.
    let result = unsafe { bpf_skb_vlan_push(skb.context(), kind, u16::from_be(tci)) };
    if result == 0 { Ok(()) } else { Err(Refused) }
}

#[inline(always)]
fn change_head(skb: &Skb, len: u32) -> Result<(), Refused> {
    // SAFETY: the context is valid; the other arguments are plain integers.
    let result = unsafe { bpf_skb_change_head(skb.context(), len, 0) };
    if result == 0 { Ok(()) } else { Err(Refused) }
}

/// [`Frame::pop`]: the kernel takes away what is behind the Ethernet header, into whose place the inner
/// one is written.
///
/// It leaves no less than an IP header, whatever is inside, and before Linux 6.3 one of the outer family
/// (`bpf_skb_adjust_room` in net/core/filter.c), which is more than ARP has over IPv6: a shorter frame is
/// padded meanwhile.
#[inline(never)]
pub(super) fn pop(skb: &mut Skb, len: u32) -> Result<(), Refused> {
    skb.note_taken_out(len);
    drop_priority(skb)?;
    let header = skb.load::<[u16; 7]>(len).map_err(|_short| Refused)?;
    let [a, b, c, d, e, f, kind] = header;
    let is_tag = matches!(u16::from_be(kind), CUSTOMER_TAG | SERVICE_TAG);
    if is_tag && let Ok([tci, ethertype]) = skb.load::<[u16; 2]>(len + HEADER_LEN as u32) {
        take_out(skb, len + TAG_LEN, &[a, b, c, d, e, f, ethertype])?;
        return push_tag(skb, kind, tci);
    }
    take_out(skb, len, &header)
}

/// Takes the outer headers off, all of `len` bytes, and writes the header of the inner frame.
#[inline(always)]
fn take_out(skb: &mut Skb, len: u32, header: &[u16; 7]) -> Result<(), Refused> {
    let &[.., ethertype] = header;
    // What is neither is not looked for beyond the shortest header.
    let inner = if u16::from_be(ethertype) == IPV6 {
        BPF_F_ADJ_ROOM_DECAP_L3_IPV6
    } else {
        BPF_F_ADJ_ROOM_DECAP_L3_IPV4
    };
    let flags = u64::from(BPF_F_ADJ_ROOM_FIXED_GSO);
    // Before Linux 6.3 the kernel cannot be told what is inside.
    if adjust_room(skb, -(len as i32), flags | u64::from(inner)).is_ok()
        || adjust_room(skb, -(len as i32), flags).is_ok()
    {
        return skb.store(0, header);
    }
    let whole_len = skb.len();
    if whole_len >= len + SHORTEST {
        return Err(Refused);
    }
    skb.resize(len + SHORTEST)?;
    adjust_room(skb, -(len as i32), flags)?;
    skb.store(0, header)?;
    skb.resize(whole_len - len)
}

/// A tag without a VLAN says how urgent the frame is, on its own link: it does not go along into a
/// tunnel or out of one.
#[inline(always)]
fn drop_priority(skb: &Skb) -> Result<(), Refused> {
    match skb.outer_tag() {
        Some(_priority) => pop_tag(skb).map(drop),
        None => Ok(()),
    }
}

#[inline(always)]
fn adjust_room(skb: &Skb, len_diff: i32, flags: u64) -> Result<(), Refused> {
    // SAFETY: the context is valid; the other arguments are plain integers.
    let result = unsafe { bpf_skb_adjust_room(skb.context(), len_diff, BPF_ADJ_ROOM_MAC, flags) };
    if result == 0 { Ok(()) } else { Err(Refused) }
}

impl Skb {
    /// Asks the kernel to send the packet to the underlay, as it would send one of its own: it looks
    /// for the route, unless `next_hop` says where to, and for the neighbor, whom it asks for if need
    /// be while the packet waits (since Linux 5.10). It acts when the program returns
    /// `TC_ACT_REDIRECT`.
    #[inline(always)]
    pub(crate) fn redirect_neigh(&self, uplink: u32, next_hop: Ip) -> i64 {
        self.clear_note();
        if next_hop == Ip::UNSPECIFIED_V6 {
            // SAFETY: the helper takes no parameters when there are none.
            return unsafe { bpf_redirect_neigh(uplink, core::ptr::null_mut(), 0, 0) };
        }
        // SAFETY: zeros are a valid value of it.
        let mut params: bpf_redir_neigh = unsafe { core::mem::zeroed() };
        let [_, _, _, v4] = next_hop.words();
        if next_hop.is_v4() {
            params.nh_family = INET;
            params.__bindgen_anon_1.ipv4_nh = v4;
        } else {
            params.nh_family = INET6;
            params.__bindgen_anon_1.ipv6_nh = next_hop.words();
        }
        // SAFETY: the helper reads the parameters, of which this is the size.
        unsafe {
            bpf_redirect_neigh(
                uplink,
                &raw mut params,
                size_of::<bpf_redir_neigh>() as i32,
                0,
            )
        }
    }

    /// Asks the kernel to send the frame out of an interface as it is.
    #[inline(always)]
    pub(crate) fn redirect(&self, ifindex: u32) -> i64 {
        // SAFETY: the helper takes plain integers.
        unsafe { bpf_redirect(ifindex, 0) }
    }

    /// Whether the kernel takes the frame for what it is. After a tunnel it may not: then it must look
    /// anew, as it does for a frame that comes in through an interface.
    #[inline(always)]
    pub(crate) fn is_understood(&self) -> bool {
        let ethertype = self.fixed::<12, u16>().unwrap_or(0);
        u32::from(ethertype) == self.protocol()
    }
}
