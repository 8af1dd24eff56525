//! The load: connections that go on from beginning to end, and packets that are counted one by one while
//! something happens.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use integration::lab::{Numbered, Pings, Talk};

use crate::site::{Partner, Site};

/// How many UDP packets each flow sends at least while something happens.
const PACKETS: u64 = 30;

/// A TCP connection with each partner.
pub(crate) struct Talks(Vec<Talk>);

impl Talks {
    pub(crate) fn start(site: &Site) -> Self {
        let partners = site.partners().into_iter();
        let talks = partners.map(|Partner { space, address, .. }| {
            let to = SocketAddr::new(address, 5000);
            let listener = space.run(|| TcpListener::bind(to));
            let listener = listener.expect("a listener");
            Talk::start(site.workload("web"), to, &[listener])
        });
        Self(talks.collect())
    }

    /// All go on.
    pub(crate) fn go_on(&mut self) {
        for talk in &mut self.0 {
            talk.go_on(1);
        }
    }

    /// Nothing was missing in any.
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

/// Packets to all partners.
pub(crate) struct Traffic<'a> {
    partners: Vec<Partner<'a>>,
    numbered: Numbered,
    pings: Vec<Pings>,
}

impl<'a> Traffic<'a> {
    pub(crate) fn start(site: &'a Site) -> Self {
        let web = site.workload("web");
        let partners = site.partners();
        let receivers = partners.iter().map(|partner| {
            let bind = || UdpSocket::bind((partner.address, 6000));
            partner.space.run(bind).expect("a receiver")
        });
        let senders = partners.iter().map(|partner| {
            let bind = || UdpSocket::bind("10.1.0.10:0");
            let sender = web.run(bind).expect("a sender");
            let connected = sender.connect((partner.address, 6000));
            connected.expect("a destination");
            sender
        });
        let numbered = Numbered::start(senders.collect(), receivers.collect());
        let pings = partners.iter().map(|it| Pings::start(web, it.address));
        Self {
            numbered,
            pings: pings.collect(),
            partners,
        }
    }

    /// Ends it; what was lost on the own host, and on the way to others.
    pub(crate) fn finish(self) -> [Loss; 2] {
        self.numbered.go_on(PACKETS);
        let flows = self.numbered.finish();
        let mut losses = [Loss::default(); 2];
        for ((partner, flow), pings) in self.partners.iter().zip(flows).zip(self.pings) {
            let (sent, answered) = pings.finish();
            assert_eq!(flow.repeated(), 0, "a packet came twice");
            let loss = &mut losses[usize::from(partner.is_far)];
            loss.sent += flow.sent() + sent;
            loss.lost += flow.lost() + sent - answered;
        }
        losses
    }
}
