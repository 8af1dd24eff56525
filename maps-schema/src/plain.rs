//! The marker for types that may be read from, and written to, raw memory.

/// A value that may be copied in and out of maps and frames byte by byte.
///
/// # Safety
///
/// Every sequence of initialized bytes of the type's size is a valid value of it, and the type has
/// no padding: it consists of integers and of arrays of `Plain` types only.
pub unsafe trait Plain: Copy + 'static {}

// SAFETY: integers accept every bit pattern and have no padding.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: an array of plain values has neither padding nor invalid bit patterns.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Declares types of this crate plain, for the datapath and, with the feature `user`, for aya too;
/// the size in bytes is the sum of the fields' sizes, which proves that there is no padding.
macro_rules! plain {
    ($($(#[$meta:meta])* $type:ty = $size:expr;)+) => {$(
        const _: () = assert!(core::mem::size_of::<$type>() == $size);
        // SAFETY: the fields are integers and arrays of them, and the assertion above shows that
        // their sizes add up to the size of the type, so there is no padding.
        unsafe impl $crate::plain::Plain for $type {}
        #[cfg(feature = "user")]
        // SAFETY: `Plain` promises what `Pod` asks for.
        unsafe impl aya::Pod for $type {}
    )+};
}
pub(crate) use plain;

/// The bytes of a plain value, in memory order.
#[must_use]
pub fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a plain value has no padding, so all its bytes are initialized.
    unsafe { core::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) }
}

/// The plain value that `bytes` hold in memory order, or `None` if their number is not its size.
#[must_use]
pub fn from_bytes<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: the length was checked, and every bit pattern is a valid plain value.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}
