//! Tells other hosts which containers are plugged in here, and hears which are there.
//!
//! Whoever wants a host's list asks for one with another tag than that of the list which it has, and the
//! host answers as soon as there is one, or after a while that there is none (RFC 7240 calls that `wait`).
//! So a change is heard of at once, and a partition is noticed and got over without anybody's doing. What
//! was heard last is on the disk before it counts, and holds however long the host is silent: whether it
//! can be reached is the prober's business.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::http::{Question, Reply, converse};
use super::{Event, Scene};
use crate::exchange::{LIST_MAX, List, PATH, PORT};
use crate::instance::Instance;
use crate::kernel::clock;
use crate::ledger::Ledger;

/// How long a host that has nothing new waits with its answer.
const WAIT: Duration = Duration::from_secs(5);
/// The longest wait that may be asked for.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How much later than that the answer may come.
const GRACE: Duration = Duration::from_secs(3);
/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(2);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it fails before somebody is told: hosts are not started at the same moment.
const PATIENCE: u32 = 5;
/// How many conversations there may be at a time.
const CONVERSATIONS: usize = 1024;
/// Ports that only root may use, and that nobody behind an address translation gets.
const RESERVED: std::ops::Range<u16> = 600..1024;

pub(super) struct Exchange<'a> {
    ledger: Ledger,
    scene: watch::Receiver<Arc<Scene>>,
    own: watch::Receiver<List>,
    heard: watch::Sender<u64>,
    say: &'a dyn Fn(&Event),
}

/// Another host: its address and ours.
type Way = (IpAddr, IpAddr);

impl<'a> Exchange<'a> {
    /// What other hosts are told is `own`; that something was heard is noted in `heard`.
    pub(super) fn new(
        instance: &Instance,
        scene: watch::Receiver<Arc<Scene>>,
        own: watch::Receiver<List>,
        heard: watch::Sender<u64>,
        say: &'a dyn Fn(&Event),
    ) -> Self {
        Self {
            ledger: Ledger::new(instance),
            scene,
            own,
            heard,
            say,
        }
    }

    /// Tells and hears for as long as it is polled.
    pub(super) async fn run(&self) {
        let mut scene = self.scene.clone();
        loop {
            let ways = ways(&scene.borrow_and_update());
            let same = async |scene: &mut watch::Receiver<Arc<Scene>>| {
                let other = scene.wait_for(|scene| self::ways(scene) != ways).await;
                if other.is_err() {
                    future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = same(&mut scene) => {}
                () = self.tell(&ways) => {}
                () = self.hear(&ways) => {}
            }
        }
    }

    /// Answers at this host's underlay address.
    async fn tell(&self, ways: &BTreeMap<String, Way>) {
        let Some((_, local)) = ways.values().next() else {
            return future::pending().await;
        };
        let mut is_told = false;
        let listener = loop {
            match TcpListener::bind((*local, PORT)).await {
                Ok(listener) => break listener,
                Err(error) if !is_told => {
                    is_told = true;
                    (self.say)(&Event::Failed(format!(
                        "other hosts cannot be told what Docker has here: listen at TCP port {PORT} of \
                         {local}: {error}"
                    )));
                }
                Err(_) => {}
            }
            sleep(PAUSE).await;
        };
        let answer = async |question: Question| self.answer(&question).await;
        let mut conversations = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) if may_ask(from, ways) && conversations.len() < CONVERSATIONS => {
                        conversations.push(converse(stream, &answer));
                    }
                    Ok(_) => {}
                    // There are no more file descriptors, for example.
                    Err(_) => sleep(PAUSE).await,
                },
                Some(()) = conversations.next() => {}
            }
        }
    }

    async fn answer(&self, question: &Question) -> Reply {
        let reply = |status, body| Reply {
            status,
            content_type: "application/json",
            body,
        };
        if question.path != PATH {
            return reply(StatusCode::NOT_FOUND, String::new());
        }
        if question.method != Method::GET {
            return reply(StatusCode::METHOD_NOT_ALLOWED, String::new());
        }
        let said = |key: &str| {
            let mut pairs = question
                .query
                .split('&')
                .filter_map(|it| it.split_once('='));
            pairs
                .find(|(found, _)| *found == key)
                .map(|(_, value)| value)
        };
        let since = said("since").unwrap_or_default();
        let seconds = said("wait").and_then(|text| text.parse().ok());
        let wait = Duration::from_secs(seconds.unwrap_or(0)).min(WAIT_MAX);
        let mut own = self.own.clone();
        let news = own.wait_for(|list| list.tag != since);
        match timeout(wait, news).await {
            Ok(Ok(list)) => reply(StatusCode::OK, list.body()),
            _ => reply(StatusCode::NOT_MODIFIED, String::new()),
        }
    }

    /// Follows the lists of all others.
    async fn hear(&self, ways: &BTreeMap<String, Way>) {
        // Without any, no file may have been read yet.
        if !ways.is_empty()
            && let Err(error) = self.forget_strangers(ways)
        {
            (self.say)(&Event::Failed(format!("{error:#}")));
        }
        let all = ways.iter().map(|(host, way)| self.follow(host, *way));
        let mut all: FuturesUnordered<_> = all.collect();
        while all.next().await.is_some() {}
        future::pending().await
    }

    fn forget_strangers(&self, ways: &BTreeMap<String, Way>) -> Result<()> {
        for host in self.ledger.others()?.into_keys() {
            if !ways.contains_key(&host) {
                self.ledger.put_other(&host, None)?;
            }
        }
        Ok(())
    }

    async fn follow(&self, host: &str, way: Way) {
        let known = self.ledger.others().unwrap_or_default().remove(host);
        let mut tag = known.map(|list| list.tag).unwrap_or_default();
        let mut failures = 0;
        loop {
            let Err(error) = self.listen_to(host, way, &mut tag, &mut failures).await;
            failures += 1;
            if failures == PATIENCE {
                (self.say)(&Event::Failed(format!(
                    "host {host} does not tell what Docker has there (does `bowline agent` run, and may \
                     this host connect to TCP port {PORT}?): {error:#}"
                )));
            }
            sleep(PAUSE).await;
        }
    }

    /// Asks again and again over one connection.
    async fn listen_to(
        &self,
        host: &str,
        way: Way,
        tag: &mut String,
        failures: &mut u32,
    ) -> Result<Infallible> {
        let stream = timeout(CONNECT, connect(way)).await;
        let stream = stream.context("it does not answer")??;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let ask_on = async {
            loop {
                let asked = timeout(WAIT + GRACE, ask(&mut sender, way, tag)).await;
                if let Some(list) = asked.context("it does not answer any more")?? {
                    self.ledger.put_other(host, Some(&list))?;
                    self.heard.send_modify(|number| *number += 1);
                    (self.say)(&Event::Heard {
                        name: host.to_owned(),
                        members: list.members.len(),
                    });
                    *tag = list.tag;
                }
                *failures = 0;
            }
        };
        tokio::select! {
            result = ask_on => result,
            _ = connection => bail!("it has hung up"),
        }
    }
}

fn ways(scene: &Scene) -> BTreeMap<String, Way> {
    let targets = scene.targets.iter();
    targets
        .map(|(name, target)| (name.clone(), (target.address, target.local)))
        .collect()
}

/// Other hosts' agents may.
fn may_ask(from: SocketAddr, ways: &BTreeMap<String, Way>) -> bool {
    from.port() < RESERVED.end && ways.values().any(|(address, _)| *address == from.ip())
}

/// Asks for a list with another tag; nothing if there is none yet.
async fn ask(
    sender: &mut SendRequest<Empty<Bytes>>,
    (address, _): Way,
    tag: &str,
) -> Result<Option<List>> {
    let request = Request::get(format!("/{PATH}?since={tag}&wait={}", WAIT.as_secs()))
        .header(
            hyper::header::HOST,
            SocketAddr::new(address, PORT).to_string(),
        )
        .body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    ensure!(
        status != StatusCode::NOT_FOUND,
        "its agent is of another version, which knows no {PATH}"
    );
    ensure!(status == StatusCode::OK, "it answers with {status}");
    let body = Limited::new(response.into_body(), LIST_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("read its list: {error}"))?;
    Ok(Some(List::read(&body.to_bytes())?))
}

/// Connects from a port that only root has.
async fn connect((address, local): Way) -> Result<TcpStream> {
    let count = u32::from(RESERVED.end - RESERVED.start);
    let start = clock::precise_ns() as u32 % count;
    for i in 0..count {
        let port = (start + i) % count;
        let port = RESERVED.start + u16::try_from(port).unwrap_or_default();
        let socket = match local {
            IpAddr::V4(_) => TcpSocket::new_v4(),
            IpAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        if port == PORT {
            continue;
        }
        match socket.bind((local, port).into()) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => continue,
            bound => bound?,
        }
        match socket.connect((address, PORT).into()).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {}
            stream => return Ok(stream?),
        }
    }
    bail!(
        "all ports from {} to {} are in use",
        RESERVED.start,
        RESERVED.end - 1
    )
}
