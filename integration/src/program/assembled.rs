//! Programs of a few instructions that belong to no object. Aya loads objects only, so these are given to the
//! kernel here.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use aya::programs::{ProgramError, SchedClassifier, Xdp};
use aya_obj::programs::XdpAttachType;

/// Commands and constants of `linux/bpf.h`.
const BPF_PROG_LOAD: i64 = 5;
const BPF_OBJ_PIN: i64 = 6;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_PROG_TYPE_XDP: u32 = 6;
/// `r0 = TC_ACT_SHOT; exit`.
const DROP: [u64; 2] = [0x0000_0002_0000_00b7, EXIT];
const EXIT: u64 = 0x95;

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

/// A TC program that drops everything: what is measured less what this one takes is what a program does, and
/// not what running one costs.
///
/// # Errors
/// The kernel refuses, or there is no BPF file system.
pub fn drop_all() -> io::Result<SchedClassifier> {
    load(BPF_PROG_TYPE_SCHED_CLS, &DROP, |path| {
        SchedClassifier::from_pin(path)
    })
}

/// An XDP program that writes `frame` and sends it through the interface of this index. With `chance`, four
/// random bytes are put there in the frame. `frame` is as long as a multiple of four bytes.
///
/// # Errors
/// As [`drop_all`].
pub fn sender(frame: &[u8], ifindex: u32, chance: Option<u16>) -> io::Result<Xdp> {
    let instructions = sending(frame, ifindex, chance);
    load(BPF_PROG_TYPE_XDP, &instructions, |path| {
        Xdp::from_pin(path, XdpAttachType::Interface)
    })
}

/// What [`sender`] consists of.
fn sending(frame: &[u8], ifindex: u32, chance: Option<u16>) -> Vec<u64> {
    let (words, odd) = frame.as_chunks::<4>();
    assert!(odd.is_empty(), "a frame of whole words");
    let rest = words.len() + if chance.is_some() { 2 } else { 0 } + 4;
    let mut code = vec![
        // r6 = data, r3 = data_end, both of the context in r1.
        instruction(0x61, 6, 1, 0, 0),
        instruction(0x61, 3, 1, 4, 0),
        // Less than the frame: on to the end.
        instruction(0xbf, 4, 6, 0, 0),
        instruction(0x07, 4, 0, 0, frame.len() as u32),
        instruction(0x2d, 4, 3, rest as u16, 0),
    ];
    // The kernel uses a page again as the frame before was left: everything is written anew.
    for (number, word) in words.iter().enumerate() {
        let at = (4 * number) as u16;
        code.push(instruction(0x62, 6, 0, at, u32::from_ne_bytes(*word)));
    }
    if let Some(at) = chance {
        // bpf_get_prandom_u32()
        code.push(instruction(0x85, 0, 0, 0, 7));
        code.push(instruction(0x63, 6, 0, at, 0));
    }
    code.extend([
        // bpf_redirect(ifindex, 0)
        instruction(0xb7, 1, 0, 0, ifindex),
        instruction(0xb7, 2, 0, 0, 0),
        instruction(0x85, 0, 0, 0, 23),
        EXIT,
        // XDP_DROP
        instruction(0xb7, 0, 0, 0, 1),
        EXIT,
    ]);
    code
}

/// One instruction, as `struct bpf_insn` has it on a little-endian machine.
fn instruction(code: u8, to: u8, from: u8, offset: u16, value: u32) -> u64 {
    u64::from(code)
        | u64::from(from << 4 | to) << 8
        | u64::from(offset) << 16
        | u64::from(value) << 32
}

/// Loads a program by way of a pin, which is gone afterwards.
fn load<T>(
    kind: u32,
    instructions: &[u64],
    open: impl FnOnce(&Path) -> Result<T, ProgramError>,
) -> io::Result<T> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = format!("/sys/fs/bpf/bllab-{}-{count}", std::process::id());
    let load = Load {
        kind,
        n_instructions: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
    };
    let fd = i32::try_from(bpf(BPF_PROG_LOAD, &load)?).map_err(io::Error::other)?;
    // SAFETY: the descriptor is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let name = CString::new(path.as_bytes())?;
    let pin = Pin {
        path: name.as_ptr() as u64,
        fd: fd.as_raw_fd() as u32,
        flags: 0,
    };
    bpf(BPF_OBJ_PIN, &pin)?;
    let program = open(Path::new(&path)).map_err(io::Error::other);
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
