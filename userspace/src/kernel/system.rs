//! Settings of the machine that bowline leaves as they are, and that may be in its way.

use std::fs;
use std::path::Path;

/// The value of a setting (`net.core.bpf_jit_enable`), as the network namespace of this thread has it;
/// nothing if the kernel has no such setting.
#[must_use]
pub fn sysctl(name: &str) -> Option<String> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// Whether the kernel tells the types that it was built of, which programs are loaded by (BTF).
#[must_use]
pub fn has_btf() -> bool {
    Path::new("/sys/kernel/btf/vmlinux").exists()
}
