//! The steps of a case file as they are written. What a frame is, and what must become of it, may depend
//! on numbers that were chosen before.

use anyhow::{Context, Result, anyhow, bail, ensure};
use bowline::topology::{self, PortName, Topology};
use maps_schema::{DropReason, Mac, Vni};
use serde::Deserialize;

use super::underlay::{self, Through};
use super::{Fate, HERE, Outcome, Peer, Receiver, Send, Step, routed};
use crate::cast::Cast;
use crate::frame::Description;
use crate::number::Numbers;

/// A frame as a case file describes it, and what must become of it.
#[derive(Debug)]
pub struct Draft {
    from: Sender,
    through: Option<Through>,
    send: Description,
    expect: Expectation,
}

/// Who sends a frame.
#[derive(Debug)]
enum Sender {
    Workload(PortName),
    /// Somebody outside, for the uplink of this router.
    Outside(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    from: Option<String>,
    through: Option<Through>,
    send: Option<Description>,
    expect: Option<Expectation>,
    wait: Option<f64>,
    unplug: Option<String>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
enum Expectation {
    Deliver(String),
    Mark(Mark),
    Pass(Host),
    Flood(Vec<String>),
    Consume(String),
    Drop(String),
    Reply(Box<Description>),
    Forward(routed::Forward),
    Error(routed::Error),
    Reset(routed::Reset),
    Ask(routed::Ask),
    Arrive(Box<Arrive>),
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
enum Host {
    Host,
}

/// The frame is delivered with what the outer header said about congestion.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Mark {
    to: String,
    class: u8,
}

/// The frame arrives as another one.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Arrive {
    /// Where.
    at: String,
    /// Who sends it there, if it does not leave by an uplink: a router's port, or a station.
    by: Option<String>,
    /// Whether its host only takes it as an answer, which the sender's MAC address says.
    #[serde(default)]
    answering: bool,
    /// The frame; its MAC addresses follow from the other two.
    #[serde(rename = "as")]
    frame: Description,
}

impl Arrive {
    fn bytes(&self, topology: &Topology, cast: &Cast, numbers: &Numbers) -> Result<Vec<u8>> {
        let mut wire = self.frame.bytes(cast, numbers)?;
        let macs = match &self.by {
            Some(by) => {
                let to = port(topology, &self.at, None)?;
                let from = if self.answering {
                    Mac::ANSWERING
                } else {
                    cast.mac(by)?
                };
                [topology.ports[&to].mac.octets(), from.octets()]
            }
            None => [[0; 6]; 2],
        };
        wire[..12].copy_from_slice(macs.as_flattened());
        Ok(wire)
    }
}

/// Reads the steps of a case file.
///
/// # Errors
/// They are none.
pub(super) fn read(topology: &Topology, text: &str) -> Result<Vec<Step>> {
    let raw: Vec<RawStep> = serde_saphyr::from_str(text)
        .map_err(|error| anyhow!("the steps cannot be read: {error}"))?;
    (1..)
        .zip(raw)
        .map(|(number, raw)| step(topology, raw).with_context(|| format!("step {number}")))
        .collect()
}

fn step(topology: &Topology, raw: RawStep) -> Result<Step> {
    match raw {
        RawStep {
            from: Some(from),
            through,
            send: Some(send),
            expect: Some(expect),
            wait: None,
            unplug: None,
        } => {
            let from = match uplink(topology, &from) {
                Some(router) => Sender::Outside(router),
                None => Sender::Workload(port(topology, &from, None)?),
            };
            Ok(Step::Send(Box::new(Draft {
                from,
                through,
                send,
                expect,
            })))
        }
        RawStep {
            from: None,
            through: None,
            send: None,
            expect: None,
            wait: Some(seconds),
            unplug: None,
        } => Ok(Step::Wait(std::time::Duration::try_from_secs_f64(seconds)?)),
        RawStep {
            from: None,
            through: None,
            send: None,
            expect: None,
            wait: None,
            unplug: Some(name),
        } => Ok(Step::Unplug(port(topology, &name, None)?)),
        _ => bail!("a step is `from`, `send` and `expect` together, or `wait`, or `unplug`"),
    }
}

impl Draft {
    /// The frame, and what must become of it, by the numbers that are known. One that is to be chosen for
    /// this frame is [`Send::open`].
    ///
    /// # Errors
    /// Something is named that is not there, or a number that was not chosen yet.
    pub fn send(&self, topology: &Topology, numbers: &Numbers) -> Result<Send> {
        let cast = self.cast(topology);
        let frame = self.send.bytes(&cast, numbers)?;
        let (origin, wire) = self.arrival(topology, &frame)?;
        let open = match &self.expect {
            Expectation::Arrive(arrive) => arrive.frame.open(numbers)?,
            _ => None,
        };
        let numbers = match open {
            Some((name, _)) => &numbers.supposing(name),
            None => numbers,
        };
        Ok(Send {
            exit: self.exit(topology, &origin),
            vni: self.vni(topology)?,
            expect: self.fate(topology, &cast, &frame, numbers)?,
            open: open.map(|(name, at)| (name.to_owned(), at)),
            origin,
            wire,
            frame,
        })
    }

    /// What was chosen for a frame is known from what became of it, and with that all of its bytes.
    ///
    /// # Errors
    /// What was chosen is nothing that may be.
    pub fn settle(
        &self,
        topology: &Topology,
        numbers: &mut Numbers,
        send: Send,
        outcome: &Outcome,
    ) -> Result<Send> {
        let Some((name, at)) = &send.open else {
            return Ok(send);
        };
        // A tunnel's headers are before the frame.
        let wire = outcome.wire.as_deref().context("nobody saw the frame")?;
        let at = (wire.len() + at).checked_sub(send.frame.len());
        let chosen = at.and_then(|at| wire.get(at..at + 2));
        let &[high, low] = chosen.context("the frame is too short")? else {
            bail!("two bytes are two");
        };
        numbers.learn(name, u16::from_be_bytes([high, low]))?;
        self.send(topology, numbers)
    }

    fn cast(&self, topology: &Topology) -> Cast {
        match &self.from {
            Sender::Workload(port) => Cast::of(topology, port),
            Sender::Outside(_) => Cast::outside(topology, HERE),
        }
    }

    /// Where the frame comes in, and in which bytes.
    fn arrival(&self, topology: &Topology, frame: &[u8]) -> Result<(Receiver, Vec<u8>)> {
        let through = self.through.clone().unwrap_or_default();
        let (direct, host, vni) = match &self.from {
            Sender::Workload(port) => (
                Receiver::Port(port.clone()),
                underlay::host_of(topology, port),
                topology.networks[&topology.ports[port].network].vni,
            ),
            Sender::Outside(router) => (Receiver::Outside(router.clone()), None, Vni::OUTSIDE),
        };
        let Some(name) = through.peer.as_deref().or(host) else {
            return Ok((direct, frame.to_vec()));
        };
        let peer = Peer::named(topology, name);
        let peer = peer.with_context(|| format!("no peer is called {name}"))?;
        let wire = through.packet(topology, &peer, vni.number(), frame)?;
        Ok((Receiver::Peer(name.to_owned()), wire))
    }

    /// The uplink by which the frame comes in, if another gateway brings it.
    fn exit(&self, topology: &Topology, origin: &Receiver) -> Option<maps_schema::PortId> {
        match (&self.from, origin) {
            (Sender::Outside(router), Receiver::Peer(_)) => {
                Some(Receiver::Outside(router.clone()).id(topology))
            }
            _ => None,
        }
    }

    /// The network that the frame ends in: that of a router's port which sends it, or its sender's.
    fn vni(&self, topology: &Topology) -> Result<u32> {
        let by = match &self.expect {
            Expectation::Forward(forward) => Some(&forward.by),
            Expectation::Ask(ask) => Some(&ask.by),
            Expectation::Arrive(arrive) => arrive.by.as_ref(),
            _ => None,
        };
        let router_port = |by: &String| {
            let (router, port) = by.split_once('/')?;
            topology.routers.get(router)?.ports.get(port)
        };
        let network = match (by.and_then(router_port), &self.from) {
            (Some(port), _) => &port.network,
            (None, Sender::Workload(from)) => &topology.ports[from].network,
            (None, Sender::Outside(_)) => return Ok(Vni::OUTSIDE.number()),
        };
        Ok(topology.networks[network].vni.number())
    }

    fn fate(
        &self,
        topology: &Topology,
        cast: &Cast,
        wire: &[u8],
        numbers: &Numbers,
    ) -> Result<Fate> {
        let near = match &self.from {
            Sender::Workload(port) => Some(port),
            Sender::Outside(_) => None,
        };
        Ok(match &self.expect {
            Expectation::Deliver(to) => Fate::Deliver(receiver(topology, to, near)?),
            Expectation::Mark(Mark { to, class }) => {
                Fate::Forward(receiver(topology, to, None)?, routed::marked(wire, *class)?)
            }
            Expectation::Pass(Host::Host) => Fate::Pass,
            Expectation::Flood(to) => Fate::Flood(
                to.iter()
                    .map(|to| receiver(topology, to, near))
                    .collect::<Result<_>>()?,
            ),
            Expectation::Consume(by) => {
                let to = cast.mac(by)?;
                ensure!(
                    wire.starts_with(&to.octets()),
                    "{by} takes what is sent to it"
                );
                Fate::Consume
            }
            Expectation::Drop(name) => Fate::Drop(reason(name)?),
            Expectation::Reply(answer) => Fate::Reply(answer.bytes(cast, numbers)?),
            Expectation::Forward(forward) => {
                let to = port(topology, &forward.to, None)?;
                let mac = topology.ports[&to].mac;
                Fate::Forward(reached(topology, to), forward.bytes(cast, wire, mac)?)
            }
            Expectation::Error(error) => {
                Fate::Error(reason(&error.drop)?, error.bytes(cast, wire)?)
            }
            Expectation::Reset(reset) => {
                Fate::Error(reason(&reset.drop)?, reset.bytes(cast, wire)?)
            }
            Expectation::Ask(ask) => {
                let of = ask.of.iter().map(|of| receiver(topology, of, None));
                Fate::Ask(of.collect::<Result<_>>()?, ask.bytes(cast)?)
            }
            Expectation::Arrive(arrive) => Fate::Forward(
                receiver(topology, &arrive.at, None)?,
                arrive.bytes(topology, cast, numbers)?,
            ),
        })
    }
}

/// The router whose uplink a word names.
fn uplink(topology: &Topology, word: &str) -> Option<String> {
    let name = word.strip_suffix("/uplink")?;
    let router = topology.routers.get(name)?;
    router.uplink.as_ref().map(|_| name.to_owned())
}

fn reason(name: &str) -> Result<DropReason> {
    let mut reasons = DropReason::ALL.iter().copied();
    let reason = reasons.find(|reason| reason.name() == name);
    reason.with_context(|| format!("no reason is called `{name}`"))
}

/// Who gets what is sent to a word: the outside, a peer, or a port as [`port`] finds it.
fn receiver(topology: &Topology, word: &str, near: Option<&PortName>) -> Result<Receiver> {
    if let Some(router) = uplink(topology, word) {
        return Ok(Receiver::Outside(router));
    }
    if Peer::named(topology, word).is_some() {
        return Ok(Receiver::Peer(word.to_owned()));
    }
    Ok(reached(topology, port(topology, word, near)?))
}

/// Who gets what is sent to a port: the port, or the host that it is on.
fn reached(topology: &Topology, port: PortName) -> Receiver {
    match underlay::host_of(topology, &port) {
        Some(host) => Receiver::Peer(host.to_owned()),
        None => Receiver::Port(port),
    }
}

/// The port that a word names: `WORKLOAD/INTERFACE`, or a workload with one port in the network of
/// `near`, or at all.
fn port(topology: &Topology, word: &str, near: Option<&PortName>) -> Result<PortName> {
    let is_near = |port: &topology::Port| {
        near.is_none_or(|near| topology.ports[near].network == port.network)
    };
    let matches: Vec<_> = topology
        .ports
        .iter()
        .filter(|(name, port)| name.to_string() == word || name.workload == word && is_near(port))
        .collect();
    match matches.as_slice() {
        [(name, _)] => Ok((*name).clone()),
        [] => bail!("there is no port `{word}`"),
        _ => bail!("`{word}` has several ports: say which"),
    }
}
