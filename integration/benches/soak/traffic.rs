//! The load: connections that go on from beginning to end, and packets that are counted one by one while
//! something happens.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use integration::lab::{Numbered, Pings, Talk};

use crate::site::{FAR, NEAR, Site};

/// Whom `web` speaks with, and under which address.
const PARTNERS: [(&str, &str); 2] = [("cache", NEAR), ("db", FAR)];
/// How many UDP packets each flow sends at least while something happens.
const PACKETS: u64 = 30;

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

/// A TCP connection with each partner.
pub(crate) struct Talks([Talk; 2]);

impl Talks {
    pub(crate) fn start(site: &Site) -> Self {
        Self(PARTNERS.map(|(name, address)| {
            let to = at(address, 5000);
            let listener = site.workload(name).run(|| TcpListener::bind(to));
            let listener = listener.expect("a listener");
            Talk::start(site.workload("web"), to, &[listener])
        }))
    }

    /// Both go on.
    pub(crate) fn go_on(&mut self) {
        for talk in &mut self.0 {
            talk.go_on(1);
        }
    }

    /// Nothing was missing in either.
    pub(crate) fn finish(self) {
        self.0.into_iter().for_each(Talk::finish);
    }
}

/// What was sent and did not arrive.
#[derive(Clone, Copy, Default)]
pub(crate) struct Loss {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
}

/// Packets to both partners.
pub(crate) struct Traffic {
    numbered: Numbered,
    pings: [Pings; 2],
}

impl Traffic {
    pub(crate) fn start(site: &Site) -> Self {
        let web = site.workload("web");
        let receivers = PARTNERS.map(|(name, address)| {
            let bind = || UdpSocket::bind(at(address, 6000));
            site.workload(name).run(bind).expect("a receiver")
        });
        let senders = PARTNERS.map(|(_, address)| {
            let bind = || UdpSocket::bind("10.1.0.10:0");
            let sender = web.run(bind).expect("a sender");
            sender.connect(at(address, 6000)).expect("a destination");
            sender
        });
        let ping = |(_, address): (_, &str)| {
            let to: IpAddr = address.parse().expect("an address");
            Pings::start(web, to)
        };
        let numbered = Numbered::start(senders.into(), receivers.into());
        Self {
            numbered,
            pings: PARTNERS.map(ping),
        }
    }

    /// Ends it; what was lost on the way to each partner.
    pub(crate) fn finish(self) -> [Loss; 2] {
        self.numbered.go_on(PACKETS);
        let flows = self.numbered.finish();
        let mut losses = [Loss::default(); 2];
        for ((loss, flow), pings) in losses.iter_mut().zip(flows).zip(self.pings) {
            let (sent, answered) = pings.finish();
            assert_eq!(flow.repeated(), 0, "a packet came twice");
            loss.sent = flow.sent() + sent;
            loss.lost = flow.lost() + sent - answered;
        }
        losses
    }
}
