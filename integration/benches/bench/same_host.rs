//! One host: bowline against a bare veth pair, a Linux bridge, and Docker's.

use integration::lab::{Engine, Namespace};

use crate::docker::{container, docker};
use crate::lane::{Lane, Metric, measure};
use crate::report::Report;
use crate::rules;
use crate::site::{SERVER, Site, TOPOLOGY, reach};

pub(crate) fn run(report: &mut Report) {
    report.begin(
        "same-host",
        "Two workloads of one host, on one network. \"policy\" means that connections are followed and only \
         those to the measured ports may begin: by nftables with connection tracking, and by a policy of bowline's. \
         Docker's bridge has the rules that its engine makes by itself.",
    );
    let [cable, bridge, guarded, plain, policed] = std::array::from_fn(|_| Site::new());
    cable.veth();
    bridge.bridge(None);
    guarded.bridge(Some(&rules::nftables(0)));
    let _plain = plain.bowline(TOPOLOGY);
    let _policed = policed.bowline(&rules::topology(0));
    let engine = Containers::new()
        .inspect_err(|error| report.note(&format!("Docker's bridge was not measured: {error:#}")))
        .ok();
    let mut lanes = vec![
        bridge.lane("Linux bridge"),
        guarded.lane("Linux bridge, policy"),
        plain.lane("bowline"),
        policed.lane("bowline, policy"),
        // What sending and receiving take by themselves.
        cable.cable("bare veth"),
    ];
    if let Some(Containers {
        client,
        server,
        host,
        ..
    }) = &engine
    {
        lanes.insert(2, Lane::new("Docker bridge", client, host, server, SERVER));
    }
    measure(report, "", &lanes, Metric::ALL);
}

/// Two containers on a network of Docker's own bridge driver.
struct Containers {
    client: Namespace,
    server: Namespace,
    host: Namespace,
    _engine: Engine,
}

impl Containers {
    fn new() -> anyhow::Result<Self> {
        let engine = Engine::start_with_rules()?;
        docker(&engine, "network create --subnet 10.77.0.0/24 front")?;
        let client = container(&engine, "web", "10.77.0.10", &[])?;
        let server = container(&engine, "db", SERVER, &[])?;
        reach(&client, SERVER);
        Ok(Self {
            client,
            server,
            host: engine.namespace(),
            _engine: engine,
        })
    }
}
