//! A program that does nothing, to subtract what measuring itself costs. It is two instructions long
//! and belongs to no object, so it is given to the kernel here.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use aya::programs::SchedClassifier;

/// Commands and constants of `linux/bpf.h`.
const BPF_PROG_LOAD: i64 = 5;
const BPF_OBJ_PIN: i64 = 6;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
/// `r0 = TC_ACT_SHOT; exit`.
const INSTRUCTIONS: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    kind: u32,
    n_instructions: u32,
    instructions: u64,
    license: u64,
}

/// The beginning of `union bpf_attr` for `BPF_OBJ_PIN`.
#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Loads the program by way of a pin at `path`, which is gone afterwards.
pub(crate) fn load(path: &Path) -> io::Result<SchedClassifier> {
    let load = Load {
        kind: BPF_PROG_TYPE_SCHED_CLS,
        n_instructions: INSTRUCTIONS.len() as u32,
        instructions: INSTRUCTIONS.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
    };
    let fd = i32::try_from(bpf(BPF_PROG_LOAD, &load)?).map_err(io::Error::other)?;
    // SAFETY: the descriptor is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let name = CString::new(path.as_os_str().as_encoded_bytes())?;
    let pin = Pin {
        path: name.as_ptr() as u64,
        fd: fd.as_raw_fd() as u32,
        flags: 0,
    };
    bpf(BPF_OBJ_PIN, &pin)?;
    let program = SchedClassifier::from_pin(path).map_err(io::Error::other);
    std::fs::remove_file(path)?;
    program
}

fn bpf<T>(command: i64, attributes: &T) -> io::Result<i64> {
    // SAFETY: the attributes are as long as is said, and what they point to outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            (&raw const *attributes).cast::<libc::c_void>(),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
