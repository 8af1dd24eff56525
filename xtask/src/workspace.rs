//! Where things are: the checkout, cargo's target folder, and the cache for tools that setup
//! builds once per user.

use crate::failure::{Context as _, Failure, Result};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout that this run works on.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the checkout from where cargo says the xtask is, else upwards from the current folder.
    pub(crate) fn find() -> Result<Self> {
        let here = env::current_dir().context(|| "cannot read the current folder".to_owned())?;
        let start = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| here.clone(), PathBuf::from);
        let root = start
            .ancestors()
            .find(|folder| folder.join("xtask/Cargo.toml").is_file())
            .ok_or_else(|| Failure::new("not inside a checkout of bowline: change to it first"))?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => here.join(folder),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// `cargo`, in the root of the checkout, with its target folder where the user wants it.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        self.prepare(&mut command);
        command
    }

    /// Makes any command run at the root, free of what `cargo run` told us about our own package.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command.current_dir(&self.root);
        for (key, _) in env::vars_os() {
            let own = key.to_str().is_some_and(|key| {
                key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_")
            });
            if own {
                command.env_remove(key);
            }
        }
        if env::var_os("CARGO_TARGET_DIR").is_some() {
            command.env("CARGO_TARGET_DIR", &self.target);
        }
    }

    /// The one place where the BPF object lies; the build script of `bowline` looks there too.
    pub(crate) fn object(&self) -> PathBuf {
        self.target.join("bpf/bowline-ebpf.o")
    }

    /// The release build of the `bowline` binary.
    pub(crate) fn binary(&self) -> PathBuf {
        self.target.join("release/bowline")
    }

    /// A path as the user would type it: relative when it is inside the checkout.
    pub(crate) fn shorten(&self, path: &Path) -> String {
        path.strip_prefix(&self.root)
            .unwrap_or(path)
            .display()
            .to_string()
    }
}

/// The folder that outlives checkouts and holds the tools that setup builds.
pub(crate) fn cache() -> Result<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("BOWLINE_CACHE")
        .or_else(|| Some(absolute("XDG_CACHE_HOME")?.join("bowline")))
        .or_else(|| Some(absolute("HOME")?.join(".cache/bowline")))
        .ok_or_else(|| Failure::new("no place for tools: set BOWLINE_CACHE to an absolute path"))
}
