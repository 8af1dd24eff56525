//! Events about dropped frames, off unless the loader switches them on.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use datapath::Frame;
use maps_schema::record::{DropEvent, EVENT_HEAD_LEN};
use maps_schema::{DropReason, PortId};

use super::maps::EVENTS;
use super::skb::Skb;

/// Not 0 if dropped frames are reported. It is constant once the object is loaded, so the verifier
/// removes what it switches off.
#[unsafe(no_mangle)]
static DROP_EVENTS: Global<u32> = Global::new(0);

/// Reports a dropped frame. When nobody reads the ring buffer it fills up, and later events are lost;
/// the counters are exact all the same.
#[inline(always)]
pub(crate) fn report(skb: &Skb, port: PortId, reason: DropReason) {
    if DROP_EVENTS.load() == 0 {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<DropEvent>(0) else {
        return;
    };
    let len = skb.len();
    let head_len = if len < EVENT_HEAD_LEN as u32 {
        len
    } else {
        EVENT_HEAD_LEN as u32
    };
    let event = entry.write(DropEvent {
        // SAFETY: the helper takes nothing.
        time_ns: unsafe { bpf_ktime_get_ns() },
        ifindex: skb.interface(),
        port,
        len,
        head_len: head_len as u16,
        reason: reason as u8,
        reserved: 0,
        head: [0; EVENT_HEAD_LEN],
    });
    skb.load_head(&mut event.head, head_len);
    entry.submit(0);
}
