//! An instance is one "host" in bowline's sense: what it keeps on disk, pins in the kernel and calls
//! its interfaces follows from its name alone, so that several of them (the namespaces of a lab, the
//! engines of a test) live on one machine without meeting.

use std::path::{Path, PathBuf};

use maps_schema::{PortId, SCHEMA_VERSION};

use crate::fnv::fnv1a_64;
use crate::topology::PortName;

/// Where every instance keeps what must survive a reboot, unless [`STATE_DIR_VARIABLE`] says
/// otherwise.
const STATE_ROOT: &str = "/var/lib/bowline";
/// Where every instance keeps what a reboot may take, unless its state is elsewhere, too.
const RUN_ROOT: &str = "/run/bowline";
/// Environment variable that names another root for the state of all instances, for tests.
pub const STATE_DIR_VARIABLE: &str = "BOWLINE_STATE_DIR";
/// Where every instance pins its maps, programs and links.
pub const BPFFS_ROOT: &str = "/sys/fs/bpf/bowline";
/// What the names of the two ends of a link begin with that Docker asked for, instead of `bl`.
const ENDPOINT_HOST: &str = "bd";
const ENDPOINT_INSIDE: &str = "bc";
/// How many digits of an endpoint's id are in such a name, which may have 15 bytes.
const ENDPOINT_DIGITS: usize = 9;
/// Where Docker looks for drivers (moby, `pkg/plugins/discovery.go`).
const PLUGIN_DIR: &str = "/run/docker/plugins";
/// The first word of the alias of every interface that is ours.
const ALIAS_OWNER: &str = "bowline";

/// One instance, by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    name: String,
    state_root: PathBuf,
    run_root: PathBuf,
}

/// The name given for an instance is not one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` cannot name an instance: 1 to 32 lower-case letters, digits and hyphens can, \
     for example `lab-2`"
)]
pub struct InvalidName(String);

impl Instance {
    /// The instance that is meant when none is named.
    pub const DEFAULT: &'static str = "default";

    /// The instance of this name, or the default one.
    ///
    /// # Errors
    ///
    /// The name does not consist of 1 to 32 characters of `a-z`, `0-9` and `-`: it becomes part of
    /// paths and of interface aliases.
    pub fn new(name: Option<&str>) -> Result<Self, InvalidName> {
        let name = name.unwrap_or(Self::DEFAULT);
        let fits = (1..=32).contains(&name.len())
            && name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !fits {
            return Err(InvalidName(name.to_owned()));
        }
        let instance = Self {
            name: name.to_owned(),
            state_root: PathBuf::from(STATE_ROOT),
            run_root: PathBuf::from(RUN_ROOT),
        };
        let given = std::env::var_os(STATE_DIR_VARIABLE).filter(|root| !root.is_empty());
        Ok(match given {
            Some(root) => instance.with_state_root(root),
            None => instance,
        })
    }

    /// The same instance with its state under another root.
    #[must_use]
    pub fn with_state_root(self, state_root: impl Into<PathBuf>) -> Self {
        let state_root = state_root.into();
        Self {
            // No instance can have this name.
            run_root: state_root.join(".run"),
            state_root,
            ..self
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder of what must survive a reboot.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.state_root.join(&self.name)
    }

    /// The folder of what a reboot may take.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.run_root.join(&self.name)
    }

    /// Where Docker finds the driver: it takes the name of the socket for the driver's. Docker looks in
    /// one folder only.
    #[must_use]
    pub fn plugin_socket(&self) -> PathBuf {
        let name = if self.name == Self::DEFAULT {
            "bowline.sock".to_owned()
        } else {
            format!("bowline-{}.sock", self.name)
        };
        // Instances with their state elsewhere are tests', of which Docker should hear only if told so.
        if self.state_root == Path::new(STATE_ROOT) {
            Path::new(PLUGIN_DIR).join(name)
        } else {
            self.run_root.join(name)
        }
    }

    /// Where the agent tells the command line what it knows of Docker's side.
    #[must_use]
    pub fn driver_socket(&self) -> PathBuf {
        self.run_dir().join("agent.sock")
    }

    /// What is recorded of Docker's side.
    #[must_use]
    pub fn driver_store(&self) -> PathBuf {
        self.state_dir().join("docker.redb")
    }

    /// The file that is locked while the instance is being changed.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.state_dir().join("lock")
    }

    /// The folder of everything that the instance has pinned, of any version of the map contract.
    #[must_use]
    pub fn bpffs_dir(&self) -> PathBuf {
        Path::new(BPFFS_ROOT).join(&self.name)
    }

    /// The folder of what this version of the map contract has pinned.
    #[must_use]
    pub fn pin_dir(&self) -> PathBuf {
        self.bpffs_dir().join(format!("v{SCHEMA_VERSION}"))
    }

    /// What the names of the instance's interfaces on the host begin with: `bl-` for the default
    /// instance, `bl` with three hex digits of the name's hash and a hyphen for another. Two
    /// instances with the same prefix (1 in 4096) still know their interfaces by the alias.
    #[must_use]
    pub fn interface_prefix(&self) -> String {
        if self.name == Self::DEFAULT {
            "bl-".to_owned()
        } else {
            format!("bl{:03x}-", fnv1a_64([self.name.as_bytes()]) & 0xfff)
        }
    }

    /// The name of the host's end of a port's link. It fits into the 15 bytes that an interface's
    /// name may have.
    #[must_use]
    pub fn host_end(&self, port: PortId) -> String {
        format!("{}{:08x}", self.interface_prefix(), port.0)
    }

    /// Whether [`Instance::host_end`] could have made this name.
    #[must_use]
    pub fn is_host_end(&self, interface: &str) -> bool {
        interface
            .strip_prefix(&self.interface_prefix())
            .is_some_and(|id| {
                id.len() == 8 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            })
    }

    /// The name of the host's end of a link that Docker asked for, by the endpoint's id.
    #[must_use]
    pub fn endpoint_end(&self, endpoint: &str) -> String {
        self.endpoint_name(ENDPOINT_HOST, endpoint)
    }

    /// What the container's end of such a link is called as long as it is on the host.
    #[must_use]
    pub fn endpoint_inside(&self, endpoint: &str) -> String {
        self.endpoint_name(ENDPOINT_INSIDE, endpoint)
    }

    /// Whether [`Instance::endpoint_end`] could have made this name.
    #[must_use]
    pub fn is_endpoint_end(&self, interface: &str) -> bool {
        self.is_endpoint_name(ENDPOINT_HOST, interface)
    }

    /// Whether [`Instance::endpoint_inside`] could have made this name.
    #[must_use]
    pub fn is_endpoint_inside(&self, interface: &str) -> bool {
        self.is_endpoint_name(ENDPOINT_INSIDE, interface)
    }

    /// Docker's ids are random: the beginning is enough to tell the endpoints of a host apart. It is
    /// known before the topology has given the port its id.
    fn endpoint_name(&self, kind: &str, endpoint: &str) -> String {
        let prefix = self.interface_prefix().replacen("bl", kind, 1);
        let id = endpoint.get(..ENDPOINT_DIGITS).unwrap_or(endpoint);
        format!("{prefix}{id}")
    }

    fn is_endpoint_name(&self, kind: &str, interface: &str) -> bool {
        let prefix = self.interface_prefix().replacen("bl", kind, 1);
        let id = interface.strip_prefix(&prefix);
        id.is_some_and(|id| {
            id.len() == ENDPOINT_DIGITS && id.bytes().all(|b| b.is_ascii_hexdigit())
        })
    }

    /// The alias of the host's end of a port's link: who owns it and which port it is.
    #[must_use]
    pub fn alias(&self, port: &PortName) -> String {
        format!("{ALIAS_OWNER}:{}:{port}", self.name)
    }

    /// The port that an alias names, if it is one of this instance.
    #[must_use]
    pub fn port_of_alias(&self, alias: &str) -> Option<PortName> {
        let port = alias
            .strip_prefix(ALIAS_OWNER)?
            .strip_prefix(':')?
            .strip_prefix(self.name.as_str())?
            .strip_prefix(':')?;
        let (workload, interface) = port.rsplit_once('/')?;
        (!workload.is_empty() && !interface.is_empty()).then(|| PortName {
            workload: workload.to_owned(),
            interface: interface.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str) -> Instance {
        Instance::new(Some(name)).unwrap()
    }

    #[test]
    fn only_short_lower_case_names_are_instances() {
        for name in ["a", "default", "lab-2", &"x".repeat(32)] {
            assert_eq!(instance(name).name(), name);
        }
        for name in ["", "A", "a_b", "a/b", "..", "a b", &"x".repeat(33), "ä"] {
            assert!(Instance::new(Some(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn paths_follow_from_the_name() {
        let lab = instance("lab").with_state_root("/somewhere");
        assert_eq!(lab.state_dir(), Path::new("/somewhere/lab"));
        assert_eq!(lab.lock_path(), Path::new("/somewhere/lab/lock"));
        assert_eq!(lab.run_dir(), Path::new("/somewhere/.run/lab"));
        assert_eq!(lab.bpffs_dir(), Path::new("/sys/fs/bpf/bowline/lab"));
        assert!(lab.pin_dir().starts_with(lab.bpffs_dir()));
    }

    #[test]
    fn interface_names_fit_and_are_recognized() {
        let port = PortId(0x00c0_ffee);
        let default = Instance::new(None).unwrap();
        assert_eq!(default.host_end(port), "bl-00c0ffee");
        let lab = instance("lab");
        let name = lab.host_end(port);
        assert_eq!(name.len(), 14);
        assert!(lab.is_host_end(&name));
        assert!(!default.is_host_end(&name));
        assert!(!lab.is_host_end(&default.host_end(port)));
        assert!(!default.is_host_end("bl-00C0FFEE"));
        assert!(!default.is_host_end("bl-c0ffee"));
    }

    #[test]
    fn an_alias_names_its_port_and_its_instance_only() {
        let port = PortName {
            workload: "web".to_owned(),
            interface: "eth0".to_owned(),
        };
        let lab = instance("lab");
        let alias = lab.alias(&port);
        assert_eq!(alias, "bowline:lab:web/eth0");
        assert_eq!(lab.port_of_alias(&alias), Some(port));
        assert_eq!(instance("la").port_of_alias(&alias), None);
        for other in [
            "",
            "uplink",
            "bowline:lab:",
            "bowline:lab:web",
            "bowline:lab:/eth0",
        ] {
            assert_eq!(lab.port_of_alias(other), None, "{other}");
        }
    }
}
