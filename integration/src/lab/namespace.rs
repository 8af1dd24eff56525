//! Network namespaces of a test's own.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use ::bowline::kernel::netns::Netns;
use serde_json::Value;

/// A network namespace with a name, gone when it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    quiet: bool,
}

impl Namespace {
    /// A new namespace whose loopback interface is up. `what` becomes part of its name.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn new(what: &str) -> Self {
        Self::make(what, false)
    }

    /// A namespace in which the kernel says nothing by itself: there is no IPv6, which would look
    /// for routers and group members on every interface.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn quiet(what: &str) -> Self {
        Self::make(what, true)
    }

    /// A namespace that is there already, by a name of its own. `file` is one that stands for it, such
    /// as `/proc/PID/ns/net`. The name is gone when it is dropped.
    ///
    /// # Panics
    /// It cannot be given a name.
    #[must_use]
    pub fn of_file(what: &str, file: &Path) -> Self {
        let name = Self::unused_name(what);
        let point = Path::new("/run/netns").join(&name);
        fs::create_dir_all("/run/netns").expect("the folder of namespaces");
        fs::File::create(&point).expect("a file for the namespace");
        let space = Self { name, quiet: false };
        succeed(Command::new("mount").arg("--bind").args([file, &point]));
        space
    }

    fn make(what: &str, quiet: bool) -> Self {
        let name = Self::unused_name(what);
        let space = Self { name, quiet };
        space.create();
        space
    }

    fn unused_name(what: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        format!("bllab-{}-{count}-{what}", std::process::id())
    }

    /// Makes the namespace again, empty, after [`Namespace::destroy`].
    ///
    /// # Panics
    /// It cannot be made.
    pub fn create(&self) {
        succeed(Command::new("ip").args(["netns", "add", &self.name]));
        if self.quiet {
            self.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
            self.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        }
        self.ip(&["link", "set", "lo", "up"]);
    }

    /// Removes the namespace with all that is in it, as the end of a container does.
    ///
    /// # Panics
    /// There is none.
    pub fn destroy(&self) {
        succeed(Command::new("ip").args(["netns", "delete", &self.name]));
    }

    /// The name, under which `ip netns` knows it too.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace itself.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn open(&self) -> Netns {
        Netns::by_name(&self.name).expect("the lab's namespace is there")
    }

    /// Runs something inside, on a thread of its own.
    ///
    /// # Panics
    /// The namespace cannot be entered, or what is run panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.open().run(work).expect("enter the lab's namespace")
    }

    /// A command that runs inside. It is entered without `ip netns exec`, which would mount a new
    /// `/sys` and so hide the BPF file system.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name));
        command.arg(program);
        command
    }

    /// What `ip` says inside.
    ///
    /// # Panics
    /// It fails.
    pub fn ip(&self, arguments: &[&str]) -> String {
        let output = succeed(self.command("ip").args(arguments));
        String::from_utf8(output.stdout).expect("ip speaks UTF-8")
    }

    /// Gives it rules of nftables, as `nft -f` reads them.
    ///
    /// # Panics
    /// There is no `nft`, or it refuses them.
    pub fn nft(&self, rules: &str) {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), rules).expect("write the rules");
        succeed(self.command("nft").arg("-f").arg(file.path()));
    }

    /// The MAC address of an interface.
    ///
    /// # Panics
    /// There is no such interface.
    #[must_use]
    pub fn mac(&self, interface: &str) -> [u8; 6] {
        let links = self.ip(&["-j", "link", "show", "dev", interface]);
        let links: Value = serde_json::from_str(&links).expect("ip prints JSON");
        octets(links[0]["address"].as_str().expect("an address"))
    }

    /// Sets a network setting, by its path below `/proc/sys`.
    ///
    /// # Panics
    /// There is no such setting.
    pub fn sysctl(&self, path: &str, value: &str) {
        let path = format!("/proc/sys/{path}");
        self.run(|| fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It may be gone already, and there is nobody to tell.
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .output();
    }
}

/// A veth pair between two namespaces, both ends up.
///
/// # Panics
/// It cannot be made.
pub fn veth(here: (&Namespace, &str), there: (&Namespace, &str)) {
    let (space, name) = here;
    let (peer_space, peer) = there;
    space.ip(&[
        "link",
        "add",
        name,
        "type",
        "veth",
        "peer",
        "name",
        peer,
        "netns",
        &peer_space.name,
    ]);
    space.ip(&["link", "set", name, "up"]);
    peer_space.ip(&["link", "set", peer, "up"]);
}

/// Runs a command that must succeed.
#[track_caller]
pub(super) fn succeed(command: &mut Command) -> Output {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A MAC address as `ip` writes it.
///
/// # Panics
/// It has another form.
#[must_use]
pub fn octets(mac: &str) -> [u8; 6] {
    let octets = mac.split(':').map(|octet| u8::from_str_radix(octet, 16));
    let octets: Result<Vec<u8>, _> = octets.collect();
    octets
        .ok()
        .and_then(|octets| octets.try_into().ok())
        .unwrap_or_else(|| panic!("{mac} is no MAC address"))
}
