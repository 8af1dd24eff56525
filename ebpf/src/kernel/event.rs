//! Events about dropped frames, off unless the loader switches them on.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use datapath::Bytes;
use maps_schema::record::{DropEvent, EVENT_HEAD_LEN};
use maps_schema::{DropReason, IfIndex, PortId};

use super::maps::EVENTS;

/// Not 0 if dropped frames are reported. It is constant once the object is loaded, so the verifier
/// removes what it switches off.
#[unsafe(no_mangle)]
static DROP_EVENTS: Global<u32> = Global::new(0);

/// A frame as it came in, of which an event shows the beginning.
pub(crate) trait Arrival: Bytes {
    /// The interface that it came in on.
    fn interface(&self) -> IfIndex;

    /// Copies the first `len` bytes of the frame to the beginning of `head`; nothing if the frame or
    /// the buffer is shorter.
    fn load_head<const N: usize>(&self, head: &mut [u8; N], len: u32);
}

/// Reports a dropped frame. When nobody reads the ring buffer it fills up, and later events are lost;
/// the counters are exact all the same.
#[inline(always)]
pub(crate) fn report<A: Arrival>(frame: &A, port: PortId, reason: DropReason) {
    if DROP_EVENTS.load() == 0 {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<DropEvent>(0) else {
        return;
    };
    let len = frame.len();
    let head_len = if len < EVENT_HEAD_LEN as u32 {
        len
    } else {
        EVENT_HEAD_LEN as u32
    };
    let event = entry.write(DropEvent {
        // SAFETY: the helper takes nothing.
        time_ns: unsafe { bpf_ktime_get_ns() },
        ifindex: frame.interface(),
        port,
        len,
        head_len: head_len as u16,
        reason: reason as u8,
        reserved: 0,
        head: [0; EVENT_HEAD_LEN],
    });
    frame.load_head(&mut event.head, head_len);
    entry.submit(0);
}
