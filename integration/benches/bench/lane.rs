//! The ways that are compared, and measuring all of them in turns, so that whatever else the machine
//! does meets all of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use integration::lab::Namespace;

use crate::bulk::throughput;
use crate::connections::connections;
use crate::figure::percentile;
use crate::made::made;
use crate::packets::rate;
use crate::report::{Better, Report, Way};
use crate::round_trip::round_trips;

/// How long each measurement takes.
pub(crate) const TIME: Duration = Duration::from_millis(250);

/// The ports that measurements use. Where ports are published, these are.
pub(crate) const PORTS: [u16; 4] = [7000, 7001, 7002, 7003];

/// A way from a client to a server.
pub(crate) struct Lane<'a> {
    pub(crate) name: &'static str,
    pub(crate) client: &'a Namespace,
    pub(crate) server: &'a Namespace,
    /// Where the other end of the client's interface is.
    pub(crate) entry: &'a Namespace,
    /// What client and server call their interfaces.
    pub(crate) interfaces: [&'static str; 2],
    /// By which address the client knows the server.
    pub(crate) target: IpAddr,
    /// The server's own address, which is another one if something on the way translates it.
    pub(crate) own: IpAddr,
}

impl<'a> Lane<'a> {
    /// A way on which nothing is translated, between two interfaces `eth0`.
    pub(crate) fn new(
        name: &'static str,
        client: &'a Namespace,
        entry: &'a Namespace,
        server: &'a Namespace,
        target: &str,
    ) -> Self {
        let target = target.parse().expect("an address");
        Self {
            name,
            client,
            server,
            entry,
            interfaces: ["eth0"; 2],
            target,
            own: target,
        }
    }

    /// What the client calls.
    pub(crate) fn target(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.target, port)
    }

    /// A listener of the server.
    pub(crate) fn listener(&self, port: u16) -> TcpListener {
        let bind = || TcpListener::bind((self.own, port));
        self.server.run(bind).expect("a listener")
    }

    /// The same over UDP.
    pub(crate) fn sink(&self, port: u16) -> UdpSocket {
        let bind = || UdpSocket::bind((self.own, port));
        self.server.run(bind).expect("a server's socket")
    }

    /// A socket of the client that is connected to a port of the server.
    pub(crate) fn source(&self, port: u16) -> UdpSocket {
        let bind = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
        let socket = self.client.run(bind).expect("a client's socket");
        socket
            .connect(self.target(port))
            .expect("the server's address");
        socket
    }
}

/// Something that is measured of a lane.
#[derive(Clone, Copy)]
pub(crate) enum Metric {
    /// Small UDP packets that are answered, one after the other.
    RoundTrip,
    /// 64-byte UDP frames, as fast as one sender can.
    Packets,
    /// The same, made by the kernel itself.
    Made,
    /// TCP connections that are opened, answered and reset, one after the other.
    Connections,
    /// One TCP connection.
    Bulk,
}

impl Metric {
    pub(crate) const ALL: &[Self] = &[
        Self::RoundTrip,
        Self::Packets,
        Self::Made,
        Self::Connections,
        Self::Bulk,
    ];
    /// All but the last, which copying at both ends decides.
    pub(crate) const SMALL: &[Self] = &[
        Self::RoundTrip,
        Self::Packets,
        Self::Made,
        Self::Connections,
    ];

    /// The figures: what they are called, their unit, and which way is better.
    const fn figures(self) -> &'static [(&'static str, &'static str, Better)] {
        match self {
            Self::RoundTrip => &[
                ("round trip, median", "us", Better::Less),
                ("round trip, 99th percentile", "us", Better::Less),
            ],
            Self::Packets => &[
                ("64-byte frames sent", "k/s", Better::More),
                ("64-byte frames received", "k/s", Better::More),
                ("processor time per frame sent", "ns", Better::Less),
            ],
            Self::Made => &[(
                "64-byte frames made in the kernel, by one busy processor",
                "k/s",
                Better::More,
            )],
            Self::Connections => &[("new TCP connections", "k/s", Better::More)],
            Self::Bulk => &[("one TCP connection", "Gb/s", Better::More)],
        }
    }

    fn measure(self, lane: &Lane<'_>) -> Vec<f64> {
        match self {
            Self::RoundTrip => {
                let times = round_trips(lane);
                vec![percentile(&times, 50), percentile(&times, 99)]
            }
            Self::Packets => {
                let rate = rate(lane);
                vec![rate.sent, rate.received, rate.cost]
            }
            Self::Made => vec![made(lane)],
            Self::Connections => vec![connections(lane)],
            Self::Bulk => vec![throughput(lane)],
        }
    }
}

/// Measures all lanes in turns. `case` tells the comparisons of one scenario apart.
pub(crate) fn measure(report: &mut Report, case: &str, lanes: &[Lane<'_>], metrics: &[Metric]) {
    let rounds = report.rounds();
    for metric in metrics {
        // By lane and by figure, the values of all rounds.
        let mut values = vec![vec![Vec::new(); metric.figures().len()]; lanes.len()];
        // The first round warms everything up and is thrown away.
        for round in 0..=rounds {
            for (lane, values) in lanes.iter().zip(&mut values) {
                let measured = metric.measure(lane);
                if round > 0 {
                    for (values, value) in values.iter_mut().zip(measured) {
                        values.push(value);
                    }
                }
            }
        }
        for (index, (name, unit, better)) in metric.figures().iter().enumerate() {
            let ways = lanes.iter().zip(&mut values).map(|(lane, values)| Way {
                name: lane.name,
                values: std::mem::take(&mut values[index]),
            });
            report.compare(case, name, unit, *better, ways.collect());
        }
    }
}
