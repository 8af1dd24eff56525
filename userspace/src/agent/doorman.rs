//! Lets the host itself in to what is published on it: it listens at the host's own addresses, and carries
//! what comes over to a socket that was made inside the workload's namespace.
//!
//! What comes from outside never gets here: the datapath takes it before the host does, and what comes in by
//! other interfaces finds nobody listening. Where a program of the host has the port already, it keeps it, and
//! when it gives it up the door opens.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use maps_schema::IfIndex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::following::Following;
use super::indoors::Sandboxes;
use super::{Event, Scene};
use crate::doorways::{DOORWAYS_MAX, Doorway, Inside, Protocol, no_room, within};
use crate::kernel::doors;
use crate::kernel::netns::Netns;
use crate::kernel::underlay::{Interfaces, Underlay};

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// After what silence two who exchange datagrams are forgotten.
const SILENCE: Duration = Duration::from_secs(60);
/// How many may be inside at a time: for each doorway, and in all. Each of them takes one or two sockets.
const VISITORS: usize = 1024;
const ALL_VISITORS: usize = 4096;
/// Of the file descriptors that the agent may have, one of so many is for a doorway, and one for a visitor.
const SHARE: usize = 4;
/// The longest datagram.
const DATAGRAM_MAX: usize = 65_535;

pub(super) struct Doorman<'a> {
    scene: watch::Receiver<Arc<Scene>>,
    sandboxes: watch::Receiver<Sandboxes>,
    say: &'a dyn Fn(&Event),
    underlay: Underlay,
    /// How many doorways there may be.
    doorways_max: usize,
    /// How many may come in yet.
    places: Cell<usize>,
}

/// A place of a visitor.
struct Visit<'a>(&'a Cell<usize>);

impl<'a> Visit<'a> {
    /// The next place, if there is one.
    fn begin(places: &'a Cell<usize>) -> Option<Self> {
        places.set(places.get().checked_sub(1)?);
        Some(Self(places))
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A doorway, whom it leads to, and the interface that has its address: a socket stays bound to the one that
/// it was bound to.
type Place = (Doorway, Inside, Option<IfIndex>);

/// Where somebody listens.
enum Door {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl<'a> Doorman<'a> {
    /// `descriptors` is how many files the agent may have open.
    ///
    /// # Errors
    ///
    /// Netlink is not available.
    pub(super) fn new(
        scene: watch::Receiver<Arc<Scene>>,
        sandboxes: watch::Receiver<Sandboxes>,
        say: &'a dyn Fn(&Event),
        descriptors: usize,
    ) -> Result<Self> {
        Ok(Self {
            scene,
            sandboxes,
            say,
            underlay: Underlay::new(&Netns::current()?)?,
            doorways_max: DOORWAYS_MAX.min(descriptors / SHARE),
            places: Cell::new(ALL_VISITORS.min(descriptors / SHARE)),
        })
    }

    /// Lets in for as long as it is polled.
    pub(super) async fn run(&self) {
        let mut scene = self.scene.clone();
        let mut following = Following::new();
        let mut said = BTreeSet::new();
        loop {
            let wanted = scene.borrow_and_update().doorways.clone();
            let (wanted, outside) = within(wanted, self.doorways_max);
            let outside = outside.iter();
            let outside = outside.map(|(name, count)| no_room(name, *count, self.doorways_max));
            let outside: BTreeSet<String> = outside.collect();
            for text in outside.difference(&said) {
                (self.say)(&Event::Failed(text.clone()));
            }
            said = outside;
            let interfaces = self.underlay.interfaces().await.unwrap_or_default();
            let place = |(doorway, inside): (Doorway, Inside)| {
                let interface = interfaces.addresses.get(&doorway.at.ip()).copied();
                ((doorway, inside, interface), ())
            };
            let wanted: BTreeMap<Place, ()> = wanted.into_iter().map(place).collect();
            following.keep(&wanted);
            self.open(&interfaces, &mut following, wanted.into_keys());
            tokio::select! {
                changed = scene.changed() => if changed.is_err() {
                    std::future::pending().await
                },
                () = following.serve() => {}
            }
        }
    }

    /// Opens the doors that are still closed.
    fn open<'s>(
        &'s self,
        interfaces: &Interfaces,
        following: &mut Following<'s, Place, ()>,
        wanted: impl Iterator<Item = Place>,
    ) {
        let closed: Vec<_> = wanted.filter(|it| following.lacks(it)).collect();
        for (doorway, inside, interface) in closed {
            let key = (doorway, inside.clone(), interface);
            match open(interfaces, &doorway) {
                Ok(door) => following.begin(key, (), |_| self.serve(door, inside)),
                Err(error) => {
                    let text = format!(
                        "this host does not reach {} by {}: {error}",
                        inside.workload, doorway.at
                    );
                    if following.refuse(key, error.to_string()) {
                        (self.say)(&Event::Failed(text));
                    }
                }
            }
        }
    }

    async fn serve(&self, door: Door, inside: Inside) {
        match door {
            Door::Tcp(listener) => self.lead_streams(&listener, &inside).await,
            Door::Udp(socket) => self.lead_datagrams(&socket, &inside).await,
        }
    }

    async fn lead_streams(&self, listener: &TcpListener, inside: &Inside) {
        let mut visits = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) if visits.len() < VISITORS => {
                        if let Some(visit) = Visit::begin(&self.places) {
                            visits.push(self.visit(visit, stream, inside));
                        }
                    }
                    Ok(_) => {}
                    Err(_) => sleep(PAUSE).await,
                },
                // Who finds nobody in is hung up on, as by anybody who does not listen.
                Some(_) = visits.next() => {}
            }
        }
    }

    async fn visit(&self, _place: Visit<'_>, mut stream: TcpStream, inside: &Inside) -> Result<()> {
        let make = || match inside.at {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = self.netns(inside)?.run(make)??;
        let mut other = timeout(CONNECT, socket.connect(inside.at)).await??;
        copy_bidirectional(&mut stream, &mut other).await?;
        Ok(())
    }

    async fn lead_datagrams(&self, socket: &UdpSocket, inside: &Inside) {
        let visitors: RefCell<BTreeMap<SocketAddr, Rc<UdpSocket>>> = RefCell::default();
        let mut visits = FuturesUnordered::new();
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            let (len, from) = tokio::select! {
                received = socket.recv_from(&mut buffer) => match received {
                    Ok(received) => received,
                    Err(_) => {
                        sleep(PAUSE).await;
                        continue;
                    }
                },
                Some(left) = visits.next() => {
                    visitors.borrow_mut().remove(&left);
                    continue;
                }
            };
            let known = visitors.borrow().get(&from).cloned();
            let other = match known {
                Some(other) => other,
                None if visits.len() >= VISITORS => continue,
                None => {
                    let Some(visit) = Visit::begin(&self.places) else {
                        continue;
                    };
                    let Ok(other) = self.enter(inside).await else {
                        continue;
                    };
                    let other = Rc::new(other);
                    visitors.borrow_mut().insert(from, Rc::clone(&other));
                    visits.push(bring_back(visit, socket, from, Rc::clone(&other)));
                    other
                }
            };
            // Datagrams may be lost.
            let _lost = other.send(&buffer[..len]).await;
        }
    }

    /// A socket inside that speaks with a service there.
    async fn enter(&self, inside: &Inside) -> Result<UdpSocket> {
        let any = match inside.at {
            SocketAddr::V4(_) => "0.0.0.0:0",
            SocketAddr::V6(_) => "[::]:0",
        };
        let make = || -> io::Result<std::net::UdpSocket> {
            let socket = std::net::UdpSocket::bind(any)?;
            socket.connect(inside.at)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        Ok(UdpSocket::from_std(self.netns(inside)?.run(make)??)?)
    }

    fn netns(&self, inside: &Inside) -> Result<Netns> {
        let scene = Arc::clone(&self.scene.borrow());
        let residence = scene.residences.get(&inside.workload);
        let netns = residence.and_then(|it| it.open(&self.sandboxes.borrow()));
        netns.with_context(|| format!("workload {} is not there", inside.workload))
    }
}

/// Carries answers back, until there are none any more; returns to whom.
async fn bring_back(
    _place: Visit<'_>,
    socket: &UdpSocket,
    to: SocketAddr,
    from: Rc<UdpSocket>,
) -> SocketAddr {
    let mut buffer = vec![0; DATAGRAM_MAX];
    // An error says that nobody listens there, and the visitor may hear as much by silence.
    while let Ok(Ok(len)) = timeout(SILENCE, from.recv(&mut buffer)).await {
        let _lost = socket.send_to(&buffer[..len], to).await;
    }
    to
}

fn open(interfaces: &Interfaces, doorway: &Doorway) -> io::Result<Door> {
    Ok(match doorway.protocol {
        Protocol::Tcp => Door::Tcp(doors::listen(interfaces, doorway.at)?),
        Protocol::Udp => Door::Udp(doors::receive(interfaces, doorway.at)?),
    })
}
