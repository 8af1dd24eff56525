//! What the agent has found out about other hosts, for those who show it and those who plan by it.
//!
//! It is one file, written anew with every echo, in the folder of what need not survive a reboot. It is
//! replaced as a whole, and says when it was written: what a process says that has ended, or hangs, is
//! not believed for long.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::agent::liveness::State;
use crate::instance::Instance;
use crate::plan::Situation;
use crate::topology::Topology;

/// What is believed beyond three intervals: the machine may be busy.
const GRACE: Duration = Duration::from_secs(2);

/// What the agent has found out.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Verdicts {
    /// The agent's process.
    pub pid: u32,
    /// When this was written, in nanoseconds of `CLOCK_MONOTONIC`; 0 if the agent has ended.
    pub written_ns: u64,
    /// How often it writes, in milliseconds.
    pub interval_ms: u64,
    /// The other hosts, by name.
    pub peers: BTreeMap<String, Verdict>,
}

/// What the agent has found out about one host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Its underlay address, at which it was asked.
    pub address: IpAddr,
    /// Whether it answers.
    pub state: State,
    /// How long the last answer took, in nanoseconds; nothing if none came.
    pub rtt_ns: Option<u64>,
    /// How many echoes were sent to it and judged.
    pub sent: u64,
    /// How many of them came back.
    pub answered: u64,
    /// How many of the last echoes did not, and how many echoes these are.
    pub lost: (u32, u32),
    /// The largest IP packet of the underlay that gets there and back, in bytes, if it is known.
    pub path_mtu: Option<u32>,
}

impl Verdicts {
    /// What was written last, if anything was and it can be read.
    #[must_use]
    pub fn read(instance: &Instance) -> Option<Self> {
        let bytes = fs::read(path(instance)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// What an agent says that runs. `now_ns` is the time, in nanoseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn fresh(instance: &Instance, now_ns: u64) -> Option<Self> {
        Self::read(instance).filter(|verdicts| verdicts.is_fresh(now_ns))
    }

    /// Whether the agent that wrote this still runs, as far as one can know.
    #[must_use]
    pub fn is_fresh(&self, now_ns: u64) -> bool {
        let age = Duration::from_nanos(now_ns.saturating_sub(self.written_ns));
        self.written_ns > 0 && age <= 3 * Duration::from_millis(self.interval_ms) + GRACE
    }

    /// Writes it in place of what was written before. A crash of the machine may lose it.
    ///
    /// # Errors
    ///
    /// The file system refuses.
    pub fn write(&self, instance: &Instance) -> Result<()> {
        let path = path(instance);
        let unfinished = path.with_extension("unfinished");
        let bytes = serde_json::to_vec(self)?;
        make_dir(instance)
            .and_then(|()| fs::write(&unfinished, bytes))
            .and_then(|()| fs::rename(&unfinished, &path))
            .with_context(|| format!("write {}", path.display()))
    }

    /// Puts what it means for a host into its situation: which others are dead, and the ways to others
    /// that are narrower than they should be. Nothing is said of hosts that have moved to another
    /// address meanwhile.
    pub fn apply(&self, topology: &Topology, situation: &mut Situation) {
        situation.dead = BTreeSet::new();
        situation.path_mtu = BTreeMap::new();
        for (name, verdict) in &self.peers {
            let host = topology.hosts.get(name);
            if host.is_none_or(|host| host.address != verdict.address) {
                continue;
            }
            if verdict.state == State::Down {
                situation.dead.insert(name.clone());
            }
            let promised = situation.promised_mtu(topology, name);
            if let (Some(found), Some(promised)) = (verdict.path_mtu, promised)
                && found < promised
            {
                situation.path_mtu.insert(name.clone(), found);
            }
        }
    }
}

/// The right to be an instance's agent; given back when it is dropped or the process ends.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

impl Claim {
    /// Takes it.
    ///
    /// # Errors
    ///
    /// Another agent of the instance runs, or the file system refuses.
    pub fn take(instance: &Instance) -> Result<Self> {
        let path = instance.run_dir().join("agent.lock");
        let open = || -> io::Result<File> {
            make_dir(instance)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(&path)
        };
        let mut lock = open().with_context(|| format!("open {}", path.display()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _unknown = lock.read_to_string(&mut pid);
                let pid = pid.trim().parse::<u32>().map(|pid| format!(" (pid {pid})"));
                bail!(
                    "an agent of instance {} runs already{}",
                    instance.name(),
                    pid.unwrap_or_default()
                );
            }
            result => result.with_context(|| format!("lock {}", path.display()))?,
        }
        lock.set_len(0)
            .and_then(|()| lock.write_all(std::process::id().to_string().as_bytes()))
            .with_context(|| format!("write {}", path.display()))?;
        Ok(Self { _lock: lock })
    }
}

fn path(instance: &Instance) -> PathBuf {
    instance.run_dir().join("peers.json")
}

fn make_dir(instance: &Instance) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(instance.run_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Uplink;
    use maps_schema::IfIndex;

    const SECOND: u64 = 1_000_000_000;

    fn verdict(address: &str, state: State, path_mtu: Option<u32>) -> Verdict {
        Verdict {
            address: address.parse().unwrap(),
            state,
            rtt_ns: Some(1000),
            sent: 10,
            answered: 9,
            lost: (1, 10),
            path_mtu,
        }
    }

    #[test]
    fn what_is_written_is_read_while_it_is_fresh() {
        let root = tempfile::tempdir().unwrap();
        let instance = Instance::new(Some("test")).unwrap();
        let instance = instance.with_state_root(root.path());
        assert_eq!(Verdicts::read(&instance), None);
        let peers = [("beta".to_owned(), verdict("192.0.2.12", State::Up, None))];
        let mut written = Verdicts {
            pid: 7,
            written_ns: 100 * SECOND,
            interval_ms: 1000,
            peers: peers.into(),
        };
        written.write(&instance).unwrap();
        let fresh = |now_ns| Verdicts::fresh(&instance, now_ns);
        assert_eq!(fresh(100 * SECOND).as_ref(), Some(&written));
        assert!(fresh(105 * SECOND).is_some());
        assert_eq!(fresh(106 * SECOND), None);
        written.written_ns = 0;
        written.write(&instance).unwrap();
        assert_eq!(fresh(1), None);
        assert_eq!(Verdicts::read(&instance), Some(written));
        fs::write(path(&instance), b"{\"pid\":").unwrap();
        assert_eq!(Verdicts::read(&instance), None);
    }

    #[test]
    fn there_is_one_agent_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let instance = Instance::new(Some("test")).unwrap();
        let instance = instance.with_state_root(root.path());
        let first = Claim::take(&instance).unwrap();
        let error = Claim::take(&instance).unwrap_err().to_string();
        let expected = format!(
            "an agent of instance test runs already (pid {})",
            std::process::id()
        );
        assert_eq!(error, expected);
        drop(first);
        Claim::take(&instance).unwrap();
    }

    #[test]
    fn the_dead_and_the_narrow_are_left_to_the_plan() {
        let topology = crate::plan::tests::topology(
            "hosts: { a: 192.0.2.1, b: 192.0.2.2, c: { address: 192.0.2.3, mtu: 1400 }, d: 192.0.2.4 }\n\
             networks: { front: [10.1.0.0/24] }\n",
        );
        let mut situation = Situation {
            host: Some("a".to_owned()),
            uplink: Some(Uplink {
                interface: "eth0".to_owned(),
                ifindex: IfIndex(2),
                mtu: 1500,
                driver: None,
                mac: maps_schema::Mac::new([2, 0, 0, 0, 0, 7]),
                addresses: Vec::new(),
                local_ports: (32768, 60999),
            }),
            ..Situation::default()
        };
        let verdicts = Verdicts {
            peers: [
                ("b", verdict("192.0.2.2", State::Down, Some(1499))),
                ("c", verdict("192.0.2.3", State::Up, Some(1400))),
                ("d", verdict("192.0.2.9", State::Down, Some(1000))),
                ("e", verdict("192.0.2.5", State::Down, None)),
            ]
            .map(|(name, verdict)| (name.to_owned(), verdict))
            .into(),
            ..Verdicts::default()
        };
        verdicts.apply(&topology, &mut situation);
        assert_eq!(situation.dead, BTreeSet::from(["b".to_owned()]));
        let narrow = BTreeMap::from([("b".to_owned(), 1499)]);
        assert_eq!(situation.path_mtu, narrow);
    }
}
