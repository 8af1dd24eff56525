//! Two namespaces joined in the ways that are compared.

use std::net::{IpAddr, SocketAddr};

use integration::lab::{Bowline, Namespace, eventually, ping, veth};

/// A way to join two namespaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A veth pair from one to the other: nothing can be faster.
    Veth,
    /// A Linux bridge on the host.
    Bridge,
    /// Bowline.
    Bowline,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Veth, Self::Bridge, Self::Bowline];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Veth => "bare veth",
            Self::Bridge => "Linux bridge",
            Self::Bowline => "bowline",
        }
    }
}

/// Three namespaces: a host, and two workloads that are joined.
pub(crate) struct Site {
    pub(crate) host: Namespace,
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
}

/// The address of the server.
pub(crate) const SERVER: &str = "10.77.0.20";

pub(crate) const TOPOLOGY: &str = r#"
version: 1
name: bench
networks:
  front: [10.77.0.0/24, "fd00:77::/64"]
workloads:
  web: { netns: @web, ports: [{ network: front, addresses: [10.77.0.10, "fd00:77::10"] }] }
  db: { netns: @db, ports: [{ network: front, addresses: [10.77.0.20, "fd00:77::20"] }] }
"#;

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            host: Namespace::new("host"),
            client: Namespace::new("web"),
            server: Namespace::new("db"),
        }
    }

    pub(crate) fn bowline(&self) -> Bowline<'_> {
        self.bowline_of(TOPOLOGY)
    }

    /// Joins the two by a topology, in which they are `@web` and `@db`.
    pub(crate) fn bowline_of(&self, topology: &str) -> Bowline<'_> {
        let bowline = Bowline::new(env!("CARGO_BIN_EXE_lab-bowline"), &self.host);
        let text = topology
            .replace("@web", self.client.name())
            .replace("@db", self.server.name());
        bowline.load(&text);
        self.wait();
        bowline
    }

    /// Joins the two by a veth pair or a bridge.
    pub(crate) fn join(&self, way: Way) {
        let (host, client, server) = (&self.host, &self.client, &self.server);
        if way == Way::Veth {
            veth((client, "eth0"), (server, "eth0"));
        } else {
            host.ip(&["link", "add", "br0", "type", "bridge"]);
            host.ip(&["link", "set", "br0", "up"]);
            for (end, space) in [("left", client), ("right", server)] {
                veth((host, end), (space, "eth0"));
                host.ip(&["link", "set", end, "master", "br0"]);
            }
        }
        for (space, last) in [(client, "10"), (server, "20")] {
            space.ip(&[
                "address",
                "add",
                &format!("10.77.0.{last}/24"),
                "dev",
                "eth0",
            ]);
        }
        self.wait();
    }

    fn wait(&self) {
        let server: IpAddr = SERVER.parse().expect("an address");
        eventually("the server is reached", || ping(&self.client, server));
    }
}

/// Measures something in each of the ways, in turns; calls `measure` with the way, the client and the
/// server, and collects what it says by way and round.
pub(crate) fn in_turns<T>(
    rounds: usize,
    mut measure: impl FnMut(Way, &Namespace, &Namespace) -> T,
) -> [Vec<T>; 3] {
    let sites = [Site::new(), Site::new(), Site::new()];
    let _bowline = sites[2].bowline();
    sites[0].join(Way::Veth);
    sites[1].join(Way::Bridge);
    let mut results = [const { Vec::new() }; 3];
    // The first round warms everything up and is thrown away.
    for round in 0..=rounds {
        for ((way, site), results) in Way::ALL.into_iter().zip(&sites).zip(&mut results) {
            let result = measure(way, &site.client, &site.server);
            if round > 0 {
                results.push(result);
            }
        }
    }
    results
}

/// A socket address of the server.
pub(crate) fn server(port: u16) -> SocketAddr {
    SocketAddr::new(SERVER.parse().expect("an address"), port)
}
