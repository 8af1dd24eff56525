//! Asks every other host, once in every interval, and writes down what came of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use maps_schema::PortId;
use maps_schema::record::PeerState;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::echo::{self, Echo};
use super::liveness::{Liveness, State};
use super::path_mtu::PathMtu;
use super::{Event, Scene, Settings, Target, notify};
use crate::instance::Instance;
use crate::kernel::clock;
use crate::kernel::datapath::Datapath;
use crate::kernel::echo::{EchoSocket, Sent};
use crate::topology::Tunnel;
use crate::verdicts::{Verdict, Verdicts};

/// After how long everything that was found about paths is looked for anew (RFC 8899 section 5.1.1,
/// `PMTU_RAISE_TIMER`).
const RAISE: Duration = Duration::from_secs(600);

pub(super) struct Prober<'a> {
    instance: &'a Instance,
    settings: &'a Settings,
    scene: watch::Receiver<Arc<Scene>>,
    found: watch::Sender<Arc<Verdicts>>,
    say: &'a dyn Fn(&Event),
    sockets: Option<Sockets>,
    peers: BTreeMap<String, Peer>,
    /// The number of the last echo that was sent, to whomever.
    sequence: u32,
    raised: Instant,
    /// What went wrong last.
    trouble: Option<String>,
}

/// A host that is asked.
struct Peer {
    target: Target,
    liveness: Liveness,
    path: PathMtu,
    rtt_ns: Option<u64>,
    /// What the datapath had noted when it was asked last; nothing if it was not asked yet.
    before: Option<PeerState>,
}

impl<'a> Prober<'a> {
    pub(super) fn new(
        instance: &'a Instance,
        settings: &'a Settings,
        scene: watch::Receiver<Arc<Scene>>,
        found: watch::Sender<Arc<Verdicts>>,
        say: &'a dyn Fn(&Event),
    ) -> Self {
        Self {
            instance,
            settings,
            scene,
            found,
            say,
            sockets: None,
            peers: BTreeMap::new(),
            // Answers to what another process asked do not look like answers to this one.
            sequence: clock::precise_ns() as u32,
            raised: Instant::now(),
            trouble: None,
        }
    }

    pub(super) async fn run(mut self) {
        // What was written down before stays until it is known who there is.
        if self.scene.changed().await.is_err() {
            return;
        }
        let mut ticks = interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let result = self.round();
            let trouble = result.err().map(|error| format!("{error:#}"));
            if trouble != self.trouble {
                if let Some(trouble) = &trouble {
                    (self.say)(&Event::Failed(trouble.clone()));
                }
                self.trouble = trouble;
            }
            notify::alive();
        }
    }

    fn round(&mut self) -> Result<()> {
        let scene = Arc::clone(&self.scene.borrow_and_update());
        self.meet(&scene);
        let datapath = Datapath::open(self.instance)?;
        let states = datapath.map_or(Ok(BTreeMap::new()), |it| it.peer_states())?;
        self.judge(&states);
        self.publish()?;
        if self.raised.elapsed() >= RAISE {
            self.raised = Instant::now();
            self.peers.values_mut().for_each(|peer| peer.path.restart());
        }
        self.ask(&states)
    }

    /// Comes to know the hosts that there are now.
    fn meet(&mut self, scene: &Scene) {
        self.peers
            .retain(|name, peer| scene.targets.get(name) == Some(&peer.target));
        let former = Arc::clone(&self.found.borrow());
        for (name, target) in &scene.targets {
            if self.peers.contains_key(name) {
                continue;
            }
            // Who was down goes on being down until it answers: this process may be a new one.
            let verdict = former.peers.get(name);
            let verdict = verdict.filter(|verdict| verdict.address == target.address);
            let floor = echo::smallest(target.tunnel, target.address);
            let path_mtu = verdict.and_then(|verdict| verdict.path_mtu);
            let peer = Peer {
                target: target.clone(),
                liveness: Liveness::new(verdict.map_or(State::Unknown, |it| it.state)),
                path: PathMtu::new(floor, target.uplink_mtu, path_mtu),
                rtt_ns: None,
                before: None,
            };
            self.peers.insert(name.clone(), peer);
        }
    }

    /// Judges by what came since the last round.
    fn judge(&mut self, states: &BTreeMap<PortId, PeerState>) {
        for (name, peer) in &mut self.peers {
            let Some(before) = peer.before else {
                continue;
            };
            let (state, found) = (peer.liveness.state(), peer.path.found());
            let now = states.get(&peer.target.port).unwrap_or(&PeerState::ZERO);
            let came_back = now.answers > 0 && now.answers != before.answers;
            peer.liveness.note(came_back, self.settings.missed);
            if came_back {
                peer.rtt_ns = Some(now.rtt_ns);
                peer.path.note(now.sequence);
            } else {
                peer.path.unheard();
            }
            if peer.liveness.state() != state {
                let state = peer.liveness.state();
                (self.say)(&Event::Peer {
                    name: name.clone(),
                    state,
                });
                // It may have become another way.
                peer.path.restart();
            }
            if let Some(found) = peer.path.found().filter(|it| found != Some(*it)) {
                (self.say)(&Event::PathMtu {
                    name: name.clone(),
                    found,
                    promised: peer.target.promised_mtu,
                });
            }
        }
    }

    fn publish(&self) -> Result<()> {
        let verdict = |peer: &Peer| Verdict {
            address: peer.target.address,
            state: peer.liveness.state(),
            rtt_ns: peer.rtt_ns,
            sent: peer.liveness.sent(),
            answered: peer.liveness.answered(),
            lost: peer.liveness.lost(),
            path_mtu: peer.path.found(),
        };
        let peers = self.peers.iter();
        let verdicts = Verdicts {
            pid: std::process::id(),
            written_ns: clock::precise_ns(),
            interval_ms: self.settings.interval.as_millis() as u64,
            peers: peers
                .map(|(name, peer)| (name.clone(), verdict(peer)))
                .collect(),
        };
        // First the file: who plans by it is told by what is published.
        let written = verdicts.write(self.instance);
        self.found.send_replace(Arc::new(verdicts));
        written
    }

    /// Sends an echo to everybody, and another one of the size that is to be tried.
    fn ask(&mut self, states: &BTreeMap<PortId, PeerState>) -> Result<()> {
        let Some(first) = self.peers.values().next() else {
            self.sockets = None;
            return Ok(());
        };
        let local = first.target.local;
        if self.sockets.as_ref().is_none_or(|it| it.local != local) {
            self.sockets = None;
            self.sockets = Some(Sockets::open(local)?);
        }
        let Some(sockets) = &self.sockets else {
            return Ok(());
        };
        for peer in self.peers.values_mut() {
            let target = &peer.target;
            let before = states.get(&target.port).unwrap_or(&PeerState::ZERO);
            peer.before = Some(*before);
            self.sequence = self.sequence.wrapping_add(1);
            let _missed = sockets.send(target, self.sequence, 0);
            if peer.liveness.state() != State::Up {
                continue;
            }
            let sequence = self.sequence.wrapping_add(1);
            if let Some(size) = peer.path.next(sequence) {
                self.sequence = sequence;
                if sockets.send(target, sequence, size) == Sent::TooLarge {
                    peer.path.refused();
                }
            }
        }
        Ok(())
    }
}

/// The sockets at this host's underlay address, one for every tunnel that echoes travel in.
struct Sockets {
    local: IpAddr,
    vxlan: EchoSocket,
    geneve: EchoSocket,
    gre: EchoSocket,
}

impl Sockets {
    fn open(local: IpAddr) -> Result<Self> {
        use datapath::parse::outer::{GENEVE_PORT, VXLAN_PORT};
        Ok(Self {
            local,
            vxlan: EchoSocket::udp(local, VXLAN_PORT)?,
            geneve: EchoSocket::udp(local, GENEVE_PORT)?,
            gre: EchoSocket::gre(local)?,
        })
    }

    fn send(&self, target: &Target, sequence: u32, len: u32) -> Sent {
        let socket = match echo::carrier(target.tunnel) {
            Tunnel::Vxlan | Tunnel::Direct => &self.vxlan,
            Tunnel::Geneve => &self.geneve,
            Tunnel::Gre => &self.gre,
        };
        let echo = Echo {
            sequence,
            sent_ns: clock::precise_ns(),
        };
        let payload = echo::write(echo, target.tunnel, target.local, len);
        socket.send(target.address, &payload)
    }
}
