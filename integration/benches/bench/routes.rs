//! What finding a route takes, among few and among many.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use aya::sys::{Stats, enable_stats};
use bowline::kernel::datapath::Datapath;
use integration::program::{Subject, bytes, topology};
use maps_schema::Ip;
use maps_schema::map::{MapName, Route, RouteKey};
use maps_schema::plain::{bytes_of, from_bytes};

use crate::report::Report;
use crate::routers::line;
use crate::site::{SERVER, Site};

/// How many routes the router has, besides those of the topology.
const ROUTES: [u32; 3] = [10, 10_000, 1_000_000];
/// How long writing them may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// To how many destinations frames go, so that they do not all find the same route in the processor's
/// cache.
const DESTINATIONS: u32 = 1000;

pub(crate) fn run(report: &mut Report) {
    report.begin(
        "routes",
        "What `port_ingress` takes for the first packet of a flow through one router, to a thousand destinations, by \
         how many routes the router has. Each frame is given to it by itself (`BPF_PROG_TEST_RUN`).",
    );
    let site = Site::new();
    let text = line(1);
    let bowline = site.bowline(&text);
    let subject = Subject::port(&site.host, &bowline);
    let topology = topology(&text);
    let datapath = Datapath::open(bowline.instance()).expect("the datapath");
    let mut datapath = datapath.expect("it is loaded");
    let (key, route) = back(&datapath);
    let route = Route {
        via: ip(SERVER.parse().expect("an address")),
        ..route
    };
    let _stats = enable_stats(Stats::RunTime).expect("run-time statistics");
    let mut written = 0;
    let mut time = Duration::ZERO;
    for wanted in ROUTES {
        let begin = Instant::now();
        while written < wanted && time + begin.elapsed() < PATIENCE {
            let bits = RouteKey::MAPPED_BITS + 24;
            let key = RouteKey::new(key.router, ip(network(written)), bits);
            let (key, route) = (bytes_of(&key), bytes_of(&route));
            let result = datapath.write(MapName::Routes, key, route);
            result.expect("there is room for the route");
            written += 1;
        }
        time += begin.elapsed();
        let step = (written / DESTINATIONS).max(1) as usize;
        let frames = (0..written).step_by(step).map(|number| {
            let to = Ipv4Addr::from_bits(network(number).to_bits() + 1);
            let frame = format!("{{ ipv4: {{ to: {to} }}, udp: [7, 7], len: 64 }}");
            bytes(&topology, &frame)
        });
        let frames: Vec<_> = frames.collect();
        for frame in &frames {
            subject.result(frame);
        }
        let values = (0..report.rounds()).map(|round| subject.time_first(&frames, round));
        let seconds = time.as_secs_f64();
        let name = format!("{written} routes, written in {seconds:.1} s");
        report.add(&name, "ns", None, values.collect());
        if written < wanted {
            // There was no time for the rest.
            break;
        }
    }
}

/// The router's own route to the network of the server.
fn back(datapath: &Datapath) -> (RouteKey, Route) {
    let rows = datapath.rows(MapName::Routes).expect("the routes");
    let network = ip(Ipv4Addr::new(10, 77, 0, 0));
    let rows = rows.iter().filter_map(|(key, route)| {
        let key: RouteKey = from_bytes(key)?;
        Some((key, from_bytes(route)?))
    });
    let mut fitting = rows.filter(|(key, _)| key.ip == network);
    fitting.next().expect("the route to the server's network")
}

/// The network of this number, of a million and a few; they follow one another in no order.
fn network(number: u32) -> Ipv4Addr {
    // An odd factor takes all numbers of twenty bits to different ones.
    let mixed = number.wrapping_mul(0x9e37_79b1) & 0xf_ffff;
    Ipv4Addr::from_bits(0x1000_0000 | mixed << 8)
}

fn ip(address: Ipv4Addr) -> Ip {
    Ip::from_octets(address.to_ipv6_mapped().octets())
}
