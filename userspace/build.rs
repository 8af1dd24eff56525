//! Copies the datapath's object to where the crate embeds it from. Without one the crate still
//! builds, because most of it (and all of its tests) needs no datapath; loading then says so.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // The folder is made here and watched as a whole: cargo runs a build script again and again
    // while a file that it watches is missing.
    let dir = target_dir(&out).join("bpf");
    fs::create_dir_all(&dir)?;
    println!("cargo::rerun-if-changed={}", dir.display());
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");

    let object = dir.join("bowline-ebpf.o");
    let embedded = out.join("bowline-ebpf.o");
    if object.exists() {
        fs::copy(&object, &embedded).map(drop)
    } else {
        fs::write(&embedded, [])
    }
}

/// Cargo's target folder. Its place may come from a variable, a flag or a configuration file; what
/// is certain is that `OUT_DIR` is inside and that cargo marks it with a tag.
fn target_dir(out: &Path) -> PathBuf {
    out.ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists())
        .map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
            Path::to_path_buf,
        )
}
