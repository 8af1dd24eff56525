//! What some tests need of the kernel and not every kernel has.

use std::process::Command;

use ::bowline::kernel::capability::KernelVersion;

use super::{Namespace, skip};

/// A part of the kernel that may be missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Feature {
    /// Programs attached to interfaces by links of their own.
    Tcx,
    /// Devices of the module `bridge`.
    Bridge,
    /// Devices of the module `vxlan`.
    Vxlan,
    /// Devices of the module `geneve`.
    Geneve,
    /// Devices of the module `ip_gre`.
    Gre,
    /// Devices of the module `ip6_gre`.
    Ip6Gre,
    /// The queue of the module `sch_netem`, which delays, loses and reorders.
    Netem,
    /// Rules of nftables, with which the kernel translates addresses.
    Nftables,
}

impl Feature {
    /// What is in a module of its own.
    pub const MODULES: [Self; 7] = [
        Self::Bridge,
        Self::Vxlan,
        Self::Geneve,
        Self::Gre,
        Self::Ip6Gre,
        Self::Netem,
        Self::Nftables,
    ];

    /// Whether the kernel has it. If not, the running test is counted as skipped, and so should
    /// return. Modules are loaded as by anybody who uses them.
    ///
    /// # Panics
    /// There is no `ip`, no `tc` or no `nft`.
    #[must_use]
    pub fn is_there(self) -> bool {
        let obstacle = match self {
            Self::Tcx => tcx_obstacle(),
            Self::Bridge => obstacle("ip link add try type bridge"),
            Self::Vxlan => obstacle("ip link add try type vxlan id 1 dstport 4789"),
            Self::Geneve => obstacle("ip link add try type geneve id 1 remote 192.0.2.1"),
            Self::Gre => obstacle("ip link add try type gre remote 192.0.2.1 local 192.0.2.2"),
            Self::Ip6Gre => {
                obstacle("ip link add try type ip6gre remote 2001:db8::1 local 2001:db8::2")
            }
            Self::Netem => obstacle("tc qdisc add dev lo root netem"),
            Self::Nftables => obstacle(
                "nft add table ip try; add chain ip try out { type nat hook postrouting priority 100 ; }",
            ),
        };
        if let Some(reason) = &obstacle {
            skip(&format!("the kernel lacks {self:?}: {reason}"));
        }
        obstacle.is_none()
    }
}

fn tcx_obstacle() -> Option<String> {
    let kernel = KernelVersion::running().expect("the kernel has a version");
    (!kernel.has_tcx()).then(|| format!("it is Linux {kernel}"))
}

/// What the kernel answers to a command in a namespace of its own, unless it obeys.
fn obstacle(command: &str) -> Option<String> {
    let space = Namespace::new("try");
    let mut words = command.split(' ');
    let program = words.next().expect("a first word");
    let mut command: Command = space.command(program);
    let output = command.args(words).output().expect("start a program");
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    (!output.status.success()).then_some(said)
}
