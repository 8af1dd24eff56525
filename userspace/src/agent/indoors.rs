//! What workloads find inside their own namespaces, at a link-local address: a resolver that knows the
//! names of their networks, and the conditions of these.
//!
//! The kernel gives nobody all addresses of a port that somebody has at one of them. So conditions are told at
//! a port that no workload wants, and TCP port 53 is open only after an answer that was too long for UDP. A
//! DNS server gets UDP port 53 nevertheless if it shares it (`SO_REUSEADDR`), or when it was there first.
//!
//! No packet of it leaves a namespace. The sockets are this process's, so a container cannot have them
//! closed, and they end with it. A socket keeps its namespace alive: that is why it is looked again and
//! again whether the namespaces are still those that the workloads are in.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::following::Following;
use super::http::{Question, Reply, converse};
use super::upstream;
use super::{Event, Scene};
use crate::dns::{self, ADDRESS, PORT, Transport, Verdict};
use crate::exchange;
use crate::instance::Instance;
use crate::kernel::datapath::Datapath;
use crate::kernel::indoors::{leave, listen, receive, settle};
use crate::kernel::netns::{Netns, NetnsId};
use crate::verdicts::Verdicts;

/// Where conditions are told: the port of agents, below those that ordinary programs may have.
const CONDITIONS_PORT: u16 = exchange::PORT;
/// How long TCP port 53 is open for who was told to come again.
const OPEN: Duration = Duration::from_secs(10);
/// How often it is looked whether namespaces are still there.
const LOOK: Duration = Duration::from_secs(1);
/// How long a namespace keeps the address when the agent has died.
const LIFETIME: Duration = Duration::from_secs(300);
/// How often it is given it anew.
const RENEWAL: Duration = Duration::from_secs(60);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// How long somebody may be silent on a connection.
const SILENCE: Duration = Duration::from_secs(10);
/// The longest message in UDP.
const MESSAGE_MAX: usize = 4096;
/// How many questions of one namespace may wait for the host's resolvers, and how many connections it may
/// have.
const WAITING: usize = 128;
const CONNECTIONS: usize = 32;
/// How many questions of one namespace are read in a second: the agent has other things to do, too.
const PER_SECOND: u32 = 2000;

/// Where the namespaces are of the containers that Docker has plugged in, by the endpoints' ids.
pub(super) type Sandboxes = BTreeMap<String, String>;

/// How a workload of this host is found again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Residence {
    /// The namespace of this name.
    Netns(String),
    /// That of this process.
    Pid(u32),
    /// Where Docker has brought this endpoint.
    Endpoint(String),
}

impl Residence {
    /// The namespace, if it is there.
    pub(super) fn open(&self, sandboxes: &Sandboxes) -> Option<Netns> {
        match self {
            Self::Netns(name) => Netns::by_name(name).ok(),
            Self::Pid(pid) => Netns::by_pid(*pid).ok(),
            Self::Endpoint(id) => Netns::by_path(Path::new(sandboxes.get(id)?)).ok(),
        }
    }
}

pub(super) struct Indoors<'a> {
    instance: &'a Instance,
    scene: watch::Receiver<Arc<Scene>>,
    sandboxes: watch::Receiver<Sandboxes>,
    verdicts: watch::Receiver<Arc<Verdicts>>,
    say: &'a dyn Fn(&Event),
    /// The namespaces that have the address, and since when they were to have it for so long.
    settled: RefCell<BTreeMap<NetnsId, (Arc<Netns>, Instant)>>,
}

/// A namespace, and what is offered there.
type Room = (NetnsId, Services);

/// What is offered in a namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Services {
    names: bool,
    conditions: bool,
}

/// A namespace that somebody lives in.
struct Home {
    netns: Netns,
    services: Services,
    residents: BTreeSet<String>,
}

/// The sockets in a namespace.
struct Sockets {
    netns: Arc<Netns>,
    names: Option<UdpSocket>,
    conditions: Option<TcpListener>,
}

type Residents = watch::Receiver<BTreeSet<String>>;

impl<'a> Indoors<'a> {
    pub(super) fn new(
        instance: &'a Instance,
        scene: watch::Receiver<Arc<Scene>>,
        sandboxes: watch::Receiver<Sandboxes>,
        verdicts: watch::Receiver<Arc<Verdicts>>,
        say: &'a dyn Fn(&Event),
    ) -> Self {
        Self {
            instance,
            scene,
            sandboxes,
            verdicts,
            say,
            settled: RefCell::default(),
        }
    }

    /// Answers for as long as it is polled.
    pub(super) async fn run(&self) {
        let (mut scene, mut sandboxes) = (self.scene.clone(), self.sandboxes.clone());
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut following: Following<'_, Room, BTreeSet<String>> = Following::new();
        loop {
            let found = self.find();
            let wanted = found.iter();
            let wanted = wanted.map(|(id, home)| ((*id, home.services), home.residents.clone()));
            following.keep(&wanted.collect());
            self.leave_all_but(&found).await;
            self.renew().await;
            for (id, home) in found {
                let room = (id, home.services);
                if !following.lacks(&room) {
                    continue;
                }
                match self.open(home.netns, home.services).await {
                    Ok(sockets) => {
                        following.begin(room, home.residents, |who| self.serve(sockets, who));
                    }
                    Err(error) => {
                        let why = format!("{error:#}");
                        let names: Vec<String> = home.residents.into_iter().collect();
                        let names = names.join(", ");
                        let text = format!("inside {names} nothing is told: {why}");
                        if following.refuse(room, why) {
                            (self.say)(&Event::Failed(text));
                        }
                    }
                }
            }
            tokio::select! {
                Ok(()) = scene.changed() => {}
                Ok(()) = sandboxes.changed() => {}
                () = following.serve() => {}
                _ = looks.tick() => {}
            }
        }
    }

    /// Leaves all namespaces as they were.
    pub(super) async fn finish(self) {
        self.leave_all_but(&BTreeMap::new()).await;
    }

    /// Leaves the namespaces as they were that nobody lives in any more.
    async fn leave_all_but(&self, homes: &BTreeMap<NetnsId, Home>) {
        let mut gone = Vec::new();
        self.settled.borrow_mut().retain(|id, (netns, _)| {
            let stays = homes.contains_key(id);
            if !stays {
                gone.push(Arc::clone(netns));
            }
            stays
        });
        for netns in gone {
            // It may be gone itself.
            let _gone = leave(&netns, ADDRESS).await;
        }
    }

    /// Lets namespaces keep the address that would lose it soon.
    async fn renew(&self) {
        let mut due = Vec::new();
        for (netns, since) in self.settled.borrow_mut().values_mut() {
            if since.elapsed() >= RENEWAL {
                *since = Instant::now();
                due.push(Arc::clone(netns));
            }
        }
        for netns in due {
            // It may be gone; if not, it is asked again before the address goes.
            let _kept = settle(&netns, ADDRESS, LIFETIME).await;
        }
    }

    async fn open(&self, netns: Netns, services: Services) -> Result<Sockets> {
        let netns = Arc::new(netns);
        settle(&netns, ADDRESS, LIFETIME).await?;
        self.settled
            .borrow_mut()
            .insert(netns.id(), (Arc::clone(&netns), Instant::now()));
        let names = || UdpSocket::from_std(receive(&netns, at(PORT))?).map_err(anyhow::Error::from);
        let conditions = || {
            let listener = listen(&netns, at(CONDITIONS_PORT))?;
            TcpListener::from_std(listener).map_err(anyhow::Error::from)
        };
        Ok(Sockets {
            names: services.names.then(names).transpose()?,
            conditions: services.conditions.then(conditions).transpose()?,
            netns,
        })
    }

    /// The namespaces that workloads are in.
    fn find(&self) -> BTreeMap<NetnsId, Home> {
        let scene = Arc::clone(&self.scene.borrow());
        let sandboxes = self.sandboxes.borrow();
        let own = Netns::current().map(|netns| netns.id()).ok();
        let mut found: BTreeMap<NetnsId, Home> = BTreeMap::new();
        for (name, residence) in &scene.residences {
            let services = Services {
                names: scene.directory.serves(name),
                conditions: scene.surroundings.serves(name),
            };
            if services == Services::default() {
                continue;
            }
            let netns = residence.open(&sandboxes);
            let Some(netns) = netns.filter(|it| Some(it.id()) != own) else {
                continue;
            };
            let home = found.entry(netns.id()).or_insert(Home {
                netns,
                services: Services::default(),
                residents: BTreeSet::new(),
            });
            home.residents.insert(name.clone());
            home.services.names |= services.names;
            home.services.conditions |= services.conditions;
        }
        found
    }

    /// Serves a namespace.
    async fn serve(&self, sockets: Sockets, residents: Residents) {
        let names = async {
            match &sockets.names {
                Some(socket) => {
                    self.answer_names(socket, &sockets.netns, &residents).await;
                }
                None => future::pending().await,
            }
        };
        let conditions = async {
            match &sockets.conditions {
                Some(listener) => self.tell_conditions(listener, &residents).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            () = names => {}
            () = conditions => {}
        }
    }

    async fn answer_names(&self, socket: &UdpSocket, netns: &Netns, residents: &Residents) {
        let mut waiting = FuturesUnordered::new();
        let mut talks = FuturesUnordered::new();
        let mut door: Option<TcpListener> = None;
        let mut closes = Instant::now();
        let mut buffer = vec![0; MESSAGE_MAX];
        let (mut second, mut count) = (Instant::now(), 0);
        loop {
            if second.elapsed() >= Duration::from_secs(1) {
                (second, count) = (Instant::now(), 0);
            }
            let (answer, to) = tokio::select! {
                () = sleep_until(second + Duration::from_secs(1)), if count >= PER_SECOND => continue,
                received = socket.recv_from(&mut buffer), if count < PER_SECOND => {
                    let Ok((len, from)) = received else {
                        sleep(PAUSE).await;
                        continue;
                    };
                    count += 1;
                    let message = &buffer[..len];
                    match self.judge(message, residents, Transport::Udp) {
                        Verdict::Answer(answer) => (answer, from),
                        Verdict::Forward if waiting.len() < WAITING => {
                            let message = message.to_vec();
                            waiting.push(async move {
                                (upstream::ask(&message, Transport::Udp).await, from)
                            });
                            continue;
                        }
                        Verdict::Forward | Verdict::Ignore => continue,
                    }
                }
                Some(answered) = waiting.next() => answered,
                stream = enter(door.as_ref()) => {
                    if talks.len() < CONNECTIONS {
                        talks.push(self.talk(stream, residents));
                    }
                    continue;
                }
                Some(_) = talks.next() => continue,
                () = sleep_until(closes), if door.is_some() => {
                    door = None;
                    continue;
                }
            };
            if dns::is_cut(&answer) {
                closes = Instant::now() + OPEN;
                // If somebody else has the port, a short answer is all there is.
                door = door.or_else(|| open_door(netns).ok());
            }
            // Who does not listen any more asks again if it matters.
            let _lost = socket.send_to(&answer, to).await;
        }
    }

    /// Answers the questions of a connection, each behind its length (RFC 1035 section 4.2.2).
    async fn talk(&self, mut stream: TcpStream, residents: &Residents) -> Result<()> {
        loop {
            let len = timeout(SILENCE, stream.read_u16()).await??;
            let mut message = vec![0; usize::from(len)];
            timeout(SILENCE, stream.read_exact(&mut message)).await??;
            let answer = match self.judge(&message, residents, Transport::Tcp) {
                Verdict::Answer(answer) => answer,
                Verdict::Forward => upstream::ask(&message, Transport::Tcp).await,
                Verdict::Ignore => return Ok(()),
            };
            stream.write_all(&upstream::framed(&answer)).await?;
        }
    }

    fn judge(&self, message: &[u8], residents: &Residents, transport: Transport) -> Verdict {
        let scene = Arc::clone(&self.scene.borrow());
        let residents = residents.borrow();
        dns::judge(message, &scene.directory.seen_by(&residents), transport)
    }

    async fn tell_conditions(&self, listener: &TcpListener, residents: &Residents) {
        let answer = async |question: Question| self.conditions(&question, residents);
        let mut conversations = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) if conversations.len() < CONNECTIONS => {
                        conversations.push(converse(stream, &answer));
                    }
                    Ok(_) => {}
                    Err(_) => sleep(PAUSE).await,
                },
                Some(()) = conversations.next() => {}
            }
        }
    }

    fn conditions(&self, question: &Question, residents: &Residents) -> Reply {
        let reply = |status, body| Reply {
            status,
            content_type: "application/json",
            body,
        };
        if question.method != Method::GET {
            return reply(StatusCode::METHOD_NOT_ALLOWED, String::new());
        }
        if !matches!(question.path.as_str(), "" | "v1/conditions") {
            return reply(StatusCode::NOT_FOUND, String::new());
        }
        let scene = Arc::clone(&self.scene.borrow());
        let verdicts = Arc::clone(&self.verdicts.borrow());
        let counters = || {
            let datapath = Datapath::open(self.instance)?;
            datapath.map_or(Ok(BTreeMap::new()), |it| it.counters())
        };
        let told = counters().and_then(|counters| {
            let residents = residents.borrow();
            let conditions = scene.surroundings.seen_by(&residents, &counters, &verdicts);
            Ok(serde_json::to_string_pretty(&conditions)?)
        });
        match told {
            Ok(text) => reply(StatusCode::OK, text + "\n"),
            Err(_) => reply(StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        }
    }
}

fn open_door(netns: &Netns) -> Result<TcpListener> {
    Ok(TcpListener::from_std(listen(netns, at(PORT))?)?)
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from(ADDRESS), port)
}

/// The next one who comes in, while there is a door.
async fn enter(door: Option<&TcpListener>) -> TcpStream {
    let Some(door) = door else {
        return future::pending().await;
    };
    loop {
        match door.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => sleep(PAUSE).await,
        }
    }
}
