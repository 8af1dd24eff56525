//! The kernel edge: the two traits over socket buffers, drivers' buffers and maps, and all `unsafe` of the datapath.

pub(crate) mod event;
mod maps;
mod skb;
mod tunnel;
mod xdp;

pub(crate) use maps::{Maps, scratch};
pub(crate) use skb::Skb;
pub(crate) use xdp::Buffer;

use maps_schema::SCHEMA_VERSION;

/// The kernel offers its GPL-only helpers to programs that declare a compatible licence.
#[used]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Which version of the maps' contract this object was built from.
#[used]
#[unsafe(link_section = "bowline_schema")]
#[unsafe(no_mangle)]
static BOWLINE_SCHEMA: [u8; 4] = SCHEMA_VERSION.to_le_bytes();

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // No panic can be reached: the build fails if the object has the symbol that LLVM makes of one.
    loop {}
}
