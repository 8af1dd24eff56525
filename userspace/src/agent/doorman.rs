//! Lets the host itself in to what is published on it: it listens at the host's own addresses, and carries
//! what comes over to a socket that was made inside the workload's namespace.
//!
//! What comes from outside never gets here: the datapath takes it before the host does. Where a program of the
//! host has the port already, it keeps it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::indoors::Sandboxes;
use super::{Event, Scene};
use crate::doorways::{Doorway, Inside, Protocol};
use crate::kernel::netns::Netns;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// After what silence two who exchange datagrams are forgotten.
const SILENCE: Duration = Duration::from_secs(60);
/// How many may be inside at a time, for each doorway.
const VISITORS: usize = 1024;
/// The longest datagram.
const DATAGRAM_MAX: usize = 65_535;

pub(super) struct Doorman<'a> {
    scene: watch::Receiver<Arc<Scene>>,
    sandboxes: watch::Receiver<Sandboxes>,
    say: &'a dyn Fn(&Event),
}

/// Where somebody listens.
enum Door {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl<'a> Doorman<'a> {
    pub(super) fn new(
        scene: watch::Receiver<Arc<Scene>>,
        sandboxes: watch::Receiver<Sandboxes>,
        say: &'a dyn Fn(&Event),
    ) -> Self {
        Self {
            scene,
            sandboxes,
            say,
        }
    }

    /// Lets in for as long as it is polled.
    pub(super) async fn run(&self) {
        let mut scene = self.scene.clone();
        let mut serving = FuturesUnordered::new();
        // What is served there ends with the sender.
        let mut open: BTreeMap<Doorway, (Inside, watch::Sender<()>)> = BTreeMap::new();
        let mut refused: BTreeSet<Doorway> = BTreeSet::new();
        loop {
            let wanted = scene.borrow_and_update().doorways.clone();
            open.retain(|doorway, (inside, _)| wanted.get(doorway) == Some(inside));
            refused.retain(|doorway| wanted.contains_key(doorway));
            // Doors are closed before others are opened at the same place.
            while let Some(Some(())) = futures_util::FutureExt::now_or_never(serving.next()) {}
            for (doorway, inside) in wanted {
                if open.contains_key(&doorway) || refused.contains(&doorway) {
                    continue;
                }
                match listen(&doorway).await {
                    Ok(door) => {
                        let (sender, end) = watch::channel(());
                        serving.push(self.serve(door, inside.clone(), end));
                        open.insert(doorway, (inside, sender));
                    }
                    Err(error) => {
                        refused.insert(doorway);
                        (self.say)(&Event::Failed(format!(
                            "this host does not reach {} by {}: {error}",
                            inside.workload, doorway.at
                        )));
                    }
                }
            }
            tokio::select! {
                changed = scene.changed() => if changed.is_err() {
                    std::future::pending().await
                },
                Some(()) = serving.next() => {}
            }
        }
    }

    async fn serve(&self, door: Door, inside: Inside, mut end: watch::Receiver<()>) {
        let closed = async { while end.changed().await.is_ok() {} };
        let open = async {
            match door {
                Door::Tcp(listener) => self.lead_streams(&listener, &inside).await,
                Door::Udp(socket) => self.lead_datagrams(&socket, &inside).await,
            }
        };
        tokio::select! {
            () = closed => {}
            () = open => {}
        }
    }

    async fn lead_streams(&self, listener: &TcpListener, inside: &Inside) {
        let mut visits = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) if visits.len() < VISITORS => visits.push(self.visit(stream, inside)),
                    Ok(_) => {}
                    Err(_) => sleep(PAUSE).await,
                },
                // Who finds nobody in is hung up on, as by anybody who does not listen.
                Some(_) = visits.next() => {}
            }
        }
    }

    async fn visit(&self, mut stream: TcpStream, inside: &Inside) -> Result<()> {
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
                None => match self.enter(inside).await {
                    Ok(other) => {
                        let other = Rc::new(other);
                        visitors.borrow_mut().insert(from, Rc::clone(&other));
                        visits.push(bring_back(socket, from, Rc::clone(&other)));
                        other
                    }
                    Err(_) => continue,
                },
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
async fn bring_back(socket: &UdpSocket, to: SocketAddr, from: Rc<UdpSocket>) -> SocketAddr {
    let mut buffer = vec![0; DATAGRAM_MAX];
    // An error says that nobody listens there, and the visitor may hear as much by silence.
    while let Ok(Ok(len)) = timeout(SILENCE, from.recv(&mut buffer)).await {
        let _lost = socket.send_to(&buffer[..len], to).await;
    }
    to
}

async fn listen(doorway: &Doorway) -> io::Result<Door> {
    Ok(match doorway.protocol {
        Protocol::Tcp => Door::Tcp(TcpListener::bind(doorway.at).await?),
        Protocol::Udp => Door::Udp(UdpSocket::bind(doorway.at).await?),
    })
}
