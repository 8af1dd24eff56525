//! Settings of the machine that bowline leaves as they are, and that may be in its way.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The scope of addresses that are good everywhere, in `/proc/net/if_inet6`.
const GLOBAL: &str = "00";
/// `IFA_F_TENTATIVE` of `linux/if_addr.h`.
const TENTATIVE: u8 = 0x40;

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

/// The interfaces of this thread's network namespace that are up and have an address that others can
/// reach, `lo` left out. It needs no rights (`Documentation/networking/proc_net_tcp.rst` and its neighbors).
#[must_use]
pub fn interfaces_in_use() -> BTreeSet<String> {
    let ipv4 = fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    let ipv6 = fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default();
    in_use(&ipv4, &ipv6)
}

/// An interface that is up has a route to its IPv4 subnet; IPv6 addresses are listed with scope and flags.
fn in_use(ipv4: &str, ipv6: &str) -> BTreeSet<String> {
    let routes = ipv4
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next());
    let addresses = ipv6.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[_, _, _, scope, flags, name] = fields.as_slice() else {
            return None;
        };
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (scope == GLOBAL && flags & TENTATIVE == 0).then_some(name)
    });
    let names = routes.chain(addresses).filter(|name| *name != "lo");
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_counts_when_others_can_reach_it() {
        let ipv4 = "Iface\tDestination\tGateway\n\
                    eth0\t00000000\t0100600A\neth0\t0000600A\t00000000\n";
        let ipv6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
                    fd000096000000000000000000000009 02 40 00 80     eth1\n\
                    fd000097000000000000000000000009 03 40 00 c0     eth2\n\
                    fe800000000000000000000000000009 04 40 20 80     eth3\n";
        let found: Vec<String> = in_use(ipv4, ipv6).into_iter().collect();
        assert_eq!(found, ["eth0", "eth1"]);
        assert_eq!(in_use("", ""), BTreeSet::new());
    }
}
