//! The few commands of `bpf(2)` that aya does not offer: which programs run at an interface's TCX
//! hook and through which links, and links by id. They let us find, adopt and remove an attachment
//! whose pin was lost (a BPF file system mounted over ours, for example).
//!
//! The layouts are those of `union bpf_attr` in `linux/bpf.h`; the kernel accepts a shorter union
//! and takes what is missing as 0.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use maps_schema::IfIndex;

const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_LINK_GET_FD_BY_ID: libc::c_int = 30;
const BPF_LINK_DETACH: libc::c_int = 34;
/// `enum bpf_attach_type`.
const BPF_TCX_INGRESS: u32 = 46;

/// A program at a hook, and the link that keeps it there (0: none, it was attached without one).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Attached {
    pub(super) program: u32,
    pub(super) link: u32,
}

#[repr(C)]
struct Query {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

#[repr(C)]
struct Id {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
struct Fd {
    fd: u32,
}

#[repr(C)]
struct GetInfo {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of `struct bpf_link_info`, as a link of an XDP program has it.
#[repr(C)]
#[derive(Default)]
struct XdpLinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    ifindex: u32,
    rest: u32,
}

#[repr(C)]
struct Pin {
    pathname: u64,
    fd: u32,
    file_flags: u32,
}

/// Issues one command.
///
/// # Safety
///
/// `T` is `repr(C)` without padding, has the layout of the command's part of `union bpf_attr`, and
/// every address in it is valid for what the command reads and writes there.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the attributes are exclusively borrowed and their size is given; the caller vouches
    // for what is in them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            (&raw mut *attributes).cast::<libc::c_void>(),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

/// The programs at the ingress TCX hook of an interface of the calling thread's network namespace,
/// in the order in which they run. Since Linux 6.6.
pub(super) fn tcx_ingress(ifindex: IfIndex) -> io::Result<Vec<Attached>> {
    // The kernel runs at most 64 programs at a hook (`BPF_MPROG_MAX`).
    let mut programs = [0_u32; 64];
    let mut links = [0_u32; 64];
    let mut query = Query {
        target_ifindex: ifindex.0,
        attach_type: BPF_TCX_INGRESS,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: address(programs.as_mut_ptr()),
        count: 64,
        padding: 0,
        prog_attach_flags: 0,
        link_ids: address(links.as_mut_ptr()),
        link_attach_flags: 0,
        revision: 0,
    };
    // SAFETY: the layout is that of `query`, and both arrays hold as many numbers as `count` says
    // and outlive the call.
    unsafe { bpf(BPF_PROG_QUERY, &mut query)? };
    let attached = programs.iter().zip(&links);
    Ok(attached
        .take(query.count as usize)
        .map(|(&program, &link)| Attached { program, link })
        .collect())
}

/// The link with this id.
pub(super) fn link_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attributes = Id {
        id,
        next_id: 0,
        open_flags: 0,
    };
    // SAFETY: the layout is that of `link_id`, `next_id` and `open_flags`; there is no address in it.
    let fd = unsafe { bpf(BPF_LINK_GET_FD_BY_ID, &mut attributes)? };
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The interface to which a link attaches an XDP program; 0 if the interface is gone.
pub(super) fn xdp_link_interface(link: impl AsFd) -> io::Result<IfIndex> {
    let mut info = XdpLinkInfo::default();
    let mut attributes = GetInfo {
        fd: number(&link)?,
        info_len: u32::try_from(size_of::<XdpLinkInfo>()).map_err(io::Error::other)?,
        info: (&raw mut info).expose_provenance() as u64,
    };
    // SAFETY: the layout is that of `info`; the kernel writes at most `info_len` bytes to memory that
    // is as long and outlives the call.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)? };
    Ok(IfIndex(info.ifindex))
}

/// Detaches what a link attaches, at once and whoever else holds the link.
pub(super) fn detach_link(link: impl AsFd) -> io::Result<()> {
    let mut attributes = Fd { fd: number(&link)? };
    // SAFETY: the layout is that of `link_detach`; there is no address in it.
    unsafe { bpf(BPF_LINK_DETACH, &mut attributes) }.map(drop)
}

/// Pins a link.
pub(super) fn pin_link(link: impl AsFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Pin {
        pathname: address(path.as_ptr()),
        fd: number(&link)?,
        file_flags: 0,
    };
    // SAFETY: the layout is that of the pinning commands, and the path ends with a NUL byte and
    // outlives the call.
    unsafe { bpf(BPF_OBJ_PIN, &mut attributes) }.map(drop)
}

fn number(fd: &impl AsFd) -> io::Result<u32> {
    u32::try_from(fd.as_fd().as_raw_fd()).map_err(io::Error::other)
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}
