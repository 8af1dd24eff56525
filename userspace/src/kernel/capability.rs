//! What the process and the kernel are able to do, checked before anything is changed.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};

/// The oldest kernel that bowline runs on.
pub const OLDEST: KernelVersion = KernelVersion(6, 1);
/// The first kernel with TCX links (commit e420bed02507).
const TCX: KernelVersion = KernelVersion(6, 6);

/// The process lacks rights.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("bowline needs {}: run as root, e.g. with sudo", .0.join(", "))]
pub struct MissingCapabilities(Vec<&'static str>);

/// The kernel is older than [`OLDEST`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "this kernel is Linux {0}, and bowline needs {OLDEST} or newer \
     (its BPF verifier and bpf_loop are the reasons)"
)]
pub struct KernelTooOld(KernelVersion);

/// A kernel's version: its first two numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KernelVersion(pub u32, pub u32);

/// Capabilities by their bit in `CapEff` (`linux/capability.h`).
const NEEDED: &[(&str, u32)] = &[
    ("CAP_NET_ADMIN", 12),
    ("CAP_SYS_ADMIN", CAP_SYS_ADMIN),
    ("CAP_PERFMON", 38),
    ("CAP_BPF", 39),
];
const CAP_SYS_ADMIN: u32 = 21;
/// What `CAP_SYS_ADMIN` includes (`bpf_capable` and `perfmon_capable`).
const IMPLIED_BY_SYS_ADMIN: &[&str] = &["CAP_PERFMON", "CAP_BPF"];

/// Whether the process may change links, load programs and enter namespaces.
///
/// # Errors
///
/// [`MissingCapabilities`] names all that are missing; else `/proc` cannot be read.
pub fn check_capabilities() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let effective = effective(&status).context("find CapEff in /proc/self/status")?;
    Ok(check_effective(effective)?)
}

fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn check_effective(effective: u64) -> Result<(), MissingCapabilities> {
    let has = |bit: u32| effective >> bit & 1 == 1;
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|&&(name, bit)| {
            let implied = has(CAP_SYS_ADMIN) && IMPLIED_BY_SYS_ADMIN.contains(&name);
            !(has(bit) || implied)
        })
        .map(|&(name, _)| name)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(MissingCapabilities(missing))
    }
}

impl KernelVersion {
    /// The version of the running kernel.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read or says something strange.
    pub fn running() -> Result<Self> {
        let path = "/proc/sys/kernel/osrelease";
        let release = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
        Self::parse(&release).with_context(|| format!("understand the version `{release}`"))
    }

    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map(str::parse::<u32>);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// Whether programs are attached to interfaces by links of their own (TCX); below that they are
    /// filters of a `clsact` qdisc.
    #[must_use]
    pub fn has_tcx(self) -> bool {
        self >= TCX
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The version of the running kernel, if bowline can run on it.
///
/// # Errors
///
/// [`KernelTooOld`]; else `/proc` cannot be read.
pub fn check_kernel() -> Result<KernelVersion> {
    Ok(check_version(KernelVersion::running()?)?)
}

fn check_version(running: KernelVersion) -> Result<KernelVersion, KernelTooOld> {
    if running < OLDEST {
        return Err(KernelTooOld(running));
    }
    Ok(running)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_missing_capabilities_are_named_at_once() {
        let user = effective("Name:\tbowline\nCapPrm:\tff\nCapEff:\t0000000000000000\n").unwrap();
        assert_eq!(
            check_effective(user).unwrap_err().to_string(),
            "bowline needs CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF: \
             run as root, e.g. with sudo"
        );
        assert_eq!(check_effective(0x0000_01ff_ffff_ffff), Ok(()));
        assert_eq!(check_effective(1 << 12 | 1 << 21), Ok(()));
        let no_admin = check_effective(1 << 12 | 1 << 38 | 1 << 39).unwrap_err();
        assert_eq!(no_admin, MissingCapabilities(vec!["CAP_SYS_ADMIN"]));
    }

    #[test]
    fn a_kernel_that_is_too_old_is_told_what_it_lacks() {
        let error = check_version(KernelVersion(5, 15)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this kernel is Linux 5.15, and bowline needs 6.1 or newer \
             (its BPF verifier and bpf_loop are the reasons)"
        );
        assert_eq!(check_version(OLDEST), Ok(OLDEST));
    }

    #[test]
    fn versions_are_numbers_not_text() {
        let parse = |release| KernelVersion::parse(release).unwrap();
        assert_eq!(parse("6.1.0-44-cloud-amd64\n"), KernelVersion(6, 1));
        assert_eq!(parse("6.12-rc1"), KernelVersion(6, 12));
        assert!(parse("6.12.3").has_tcx() && parse("6.6").has_tcx() && parse("7.0").has_tcx());
        assert!(!parse("6.5.9").has_tcx());
        assert!(parse("5.15") < OLDEST && parse("6.18.1") > OLDEST);
        assert_eq!(KernelVersion::parse("linux"), None);
    }
}
