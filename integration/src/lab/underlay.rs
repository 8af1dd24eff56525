//! Several hosts on one underlay: namespaces that a switch joins, with workloads' namespaces beside
//! them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::thread;

use super::namespace::succeed;
use super::{Bowline, Capture, Feature, Namespace, PacketSocket, veth};

/// The switch's bridge device.
const BRIDGE: &str = "switch";
/// What each host calls its interface to the switch.
pub const UPLINK: &str = "up0";

/// Which addresses the underlay has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// 192.0.2.0/24 (RFC 5737).
    V4,
    /// 2001:db8::/64 (RFC 3849).
    V6,
}

impl Family {
    /// The address of the station with this number, which is less than 100.
    #[must_use]
    pub fn address(self, number: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(192, 0, 2, 10 + number).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 10 + u16::from(number)).into(),
        }
    }

    const fn prefix_len(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }
}

/// A switch with hosts, which know one another as neighbors, and the workloads that they run.
#[derive(Debug)]
pub struct Underlay {
    family: Family,
    mtu: u32,
    switch: Namespace,
    hosts: BTreeMap<&'static str, Namespace>,
    addresses: BTreeMap<&'static str, IpAddr>,
    workloads: BTreeMap<&'static str, Namespace>,
}

impl Underlay {
    /// A switch with these hosts and an MTU in bytes, and workloads that are plugged in nowhere yet.
    /// Nothing if the kernel has no bridges; then the running test is counted as skipped.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn new(
        family: Family,
        mtu: u32,
        hosts: &[&'static str],
        workloads: &[&'static str],
    ) -> Option<Self> {
        if !super::is_usable() || !Feature::Bridge.is_there() {
            return None;
        }
        let switch = Namespace::quiet("switch");
        let bridge = [
            "link",
            "add",
            BRIDGE,
            "type",
            "bridge",
            "mcast_snooping",
            "0",
        ];
        switch.ip(&bridge);
        switch.ip(&["link", "set", BRIDGE, "mtu", &mtu.to_string(), "up"]);
        let mut underlay = Self {
            family,
            mtu,
            switch,
            hosts: BTreeMap::new(),
            addresses: BTreeMap::new(),
            workloads: BTreeMap::new(),
        };
        for host in hosts {
            underlay.plug(host);
        }
        let spaces = workloads.iter().map(|name| (*name, Namespace::new(name)));
        underlay.workloads = spaces.collect();
        Some(underlay)
    }

    /// Plugs one more host in.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn plug(&mut self, name: &'static str) {
        let host = match self.family {
            // What the kernel says by itself in IPv6 would be among what is captured.
            Family::V4 => Namespace::quiet(name),
            Family::V6 => Namespace::new(name),
        };
        self.join(name, &host);
        self.hosts.insert(name, host);
    }

    /// Plugs in a host that somebody else has made, and that no instance is made for here.
    ///
    /// # Panics
    /// It cannot be plugged in.
    pub fn join(&mut self, name: &'static str, host: &Namespace) {
        let number = u8::try_from(self.addresses.len() + 1).expect("some hosts");
        let address = self.family.address(number);
        let mtu = self.mtu.to_string();
        veth((host, UPLINK), (&self.switch, name));
        host.ip(&["link", "set", UPLINK, "mtu", &mtu]);
        self.switch.ip(&["link", "set", name, "mtu", &mtu]);
        let local = format!("{address}/{}", self.family.prefix_len());
        let mut add = vec!["address", "add", &local, "dev", UPLINK];
        if self.family == Family::V6 {
            add.push("nodad");
        }
        host.ip(&add);
        self.switch.ip(&["link", "set", name, "master", BRIDGE]);
        self.addresses.insert(name, address);
    }

    /// A host's namespace.
    ///
    /// # Panics
    /// There is no such host.
    #[must_use]
    pub fn host(&self, name: &str) -> &Namespace {
        &self.hosts[name]
    }

    /// The names of the hosts, in order.
    pub fn hosts(&self) -> impl Iterator<Item = &'static str> {
        self.hosts.keys().copied()
    }

    /// A host's underlay address.
    ///
    /// # Panics
    /// There is no such host.
    #[must_use]
    pub fn address(&self, name: &str) -> IpAddr {
        self.addresses[name]
    }

    /// A workload's namespace.
    ///
    /// # Panics
    /// There is no such workload.
    #[must_use]
    pub fn workload(&self, name: &str) -> &Namespace {
        &self.workloads[name]
    }

    /// Every namespace but the switch's.
    #[must_use]
    pub fn spaces(&self) -> Vec<&Namespace> {
        self.hosts.values().chain(self.workloads.values()).collect()
    }

    /// A topology in which `@hosts` stands for the hosts with their addresses, `@address NAME` for one
    /// of these, and `@NAME` for the namespace of a workload.
    #[must_use]
    pub fn topology(&self, text: &str) -> String {
        let mut hosts = "hosts:\n".to_owned();
        for (name, address) in &self.addresses {
            let _ = writeln!(hosts, "  {name}: \"{address}\"");
        }
        let mut text = text.replace("@hosts\n", &hosts);
        for (name, address) in &self.addresses {
            text = text.replace(&format!("@address {name}"), &format!("\"{address}\""));
        }
        // A name may begin with another one.
        for (name, space) in self.workloads.iter().rev() {
            text = text.replace(&format!("@{name}"), space.name());
        }
        text
    }

    /// An instance on every host. `program` is the binary, as for [`Bowline::new`].
    #[must_use]
    pub fn instances(&self, program: impl AsRef<Path>) -> Fleet<'_> {
        let program = program.as_ref();
        let instance = |(name, host): (&&'static str, _)| (*name, Bowline::new(program, host));
        Fleet(self.hosts.iter().map(instance).collect())
    }

    /// Captures what a host sends to the underlay from now on.
    ///
    /// # Panics
    /// There is no such host.
    #[must_use]
    pub fn sent_by(&self, host: &str) -> Capture {
        Capture::start(&self.switch, host)
    }

    /// A socket through which frames are sent to a host as if the switch had forwarded them.
    ///
    /// # Panics
    /// There is no such host.
    #[must_use]
    pub fn socket_to(&self, host: &str) -> PacketSocket {
        PacketSocket::new(&self.switch, host)
    }

    /// Takes the link to a host down, or up again.
    ///
    /// # Panics
    /// There is no such host.
    pub fn set_link(&self, host: &str, is_up: bool) {
        let state = if is_up { "up" } else { "down" };
        self.switch.ip(&["link", "set", host, state]);
    }

    /// Sets the MTU of the switch's link to a host, in bytes: larger packets are lost without a word.
    ///
    /// # Panics
    /// There is no such host.
    pub fn set_link_mtu(&self, host: &str, mtu: u32) {
        self.switch
            .ip(&["link", "set", host, "mtu", &mtu.to_string()]);
    }

    /// Lets what the switch sends to a host be delayed, lost or the like, in the words of `tc netem`.
    ///
    /// # Panics
    /// The kernel does not do that: ask [`Feature::Netem`] first.
    pub fn disturb(&self, host: &str, netem: &str) {
        let mut command = self.switch.command("tc");
        command.args(["qdisc", "replace", "dev", host, "root", "netem"]);
        succeed(command.args(netem.split(' ')));
    }

    /// Switches off what the uplinks of all hosts leave to devices, so that every packet is on the wire
    /// as a real device would send it.
    ///
    /// # Panics
    /// There is no `ethtool`.
    pub fn without_offloads(&self) {
        for host in self.hosts.values() {
            let mut command = host.command("ethtool");
            let offloads = "tso off gso off gro off tx off sg off";
            succeed(command.args(["-K", UPLINK]).args(offloads.split(' ')));
        }
    }
}

/// The instances of several hosts.
#[derive(Debug)]
pub struct Fleet<'a>(BTreeMap<&'static str, Bowline<'a>>);

impl<'a> Fleet<'a> {
    /// The instance on a host.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn on(&self, host: &str) -> &Bowline<'a> {
        &self.0[host]
    }

    /// The instances by their hosts' names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Bowline<'a>)> {
        self.0.iter().map(|(name, bowline)| (*name, bowline))
    }

    /// Loads the same topology on all hosts, which must succeed.
    ///
    /// # Panics
    /// It fails somewhere.
    pub fn load(&self, text: &str) {
        self.each(|bowline| {
            bowline.load(text);
        });
    }

    /// Unloads a source everywhere.
    ///
    /// # Panics
    /// It fails somewhere.
    pub fn unload(&self, name: &str) {
        self.each(|bowline| {
            bowline.succeed(&["unload", name]);
        });
    }

    /// Does something with every instance at the same time.
    fn each(&self, work: impl Fn(&Bowline<'a>) + Sync) {
        thread::scope(|scope| {
            for bowline in self.0.values() {
                let work = &work;
                scope.spawn(move || work(bowline));
            }
        });
    }
}
