//! Virtual routers as a user notices them.

mod complaining;
mod living;
mod neighboring;
mod reaching;
mod reloading;
mod showing;
mod sizing;
mod spreading;

use std::fmt::Write;
use std::net::IpAddr;

/// The last router's port: the gateway of `db`, whichever router is the last one.
const BACK: &str = "      back: [10.2.0.1, \"fd00:2::1\"]\n";

/// `web` and `db` with a line of routers between them, which all know the way to both. Each is a line
/// of the file, so that tests can change it.
fn line(routers: usize) -> String {
    let mut text = r#"
version: 1
name: line
networks:
  front: [10.1.0.0/24, "fd00:1::/64"]
  back: [10.2.0.0/24, "fd00:2::/64"]
workloads:
  web: { netns: @web, ports: [{ network: front, addresses: [10.1.0.10, "fd00:1::10"] }] }
  db: { netns: @db, ports: [{ network: back, addresses: [10.2.0.20, "fd00:2::20"] }] }
routers:
"#
    .to_owned();
    for n in 1..=routers {
        let _ = writeln!(text, "  r{n}:\n    ports:");
        if n == 1 {
            text += "      front: [10.1.0.1, \"fd00:1::1\"]\n";
        } else {
            text += &link("left", n - 1, n - 1, 2);
        }
        if n == routers {
            text += BACK;
        } else {
            text += &link("right", n + 1, n, 1);
        }
        text += "    routes:\n";
        let mut way = |via: &str, v4: &str, v6: &str| {
            for to in [v4, v6] {
                let _ = writeln!(text, "      - {{ to: \"{to}\", via: {via} }}");
            }
        };
        if n > 1 {
            way("left", "10.1.0.0/24", "fd00:1::/64");
        }
        if n < routers {
            way("right", "10.2.0.0/24", "fd00:2::/64");
        }
        for number in (1..routers).filter(|number| *number + 1 < n || *number > n) {
            let via = if number < n { "left" } else { "right" };
            let [v4, v6] = [
                format!("192.168.{number}.0/30"),
                format!("fd00:99:{number}::/64"),
            ];
            way(via, &v4, &v6);
        }
        // There is always one more, so that the list is never empty.
        text += "      - { to: 203.0.113.0/24, via: blackhole }\n";
    }
    text
}

/// A port to another router over the link of this number.
fn link(name: &str, peer: usize, number: usize, end: usize) -> String {
    format!(
        "      {name}: {{ peer: r{peer}, addresses: [192.168.{number}.{end}/30, \
         \"fd00:99:{number}::{end}/64\"] }}\n"
    )
}

/// The addresses of the line's routers on the side of `web`, in the order of the way from there.
fn near_sides(routers: usize) -> Vec<[IpAddr; 2]> {
    let mut sides = vec![[ip("10.1.0.1"), ip("fd00:1::1")]];
    for number in 1..routers {
        sides.push([
            ip(&format!("192.168.{number}.2")),
            ip(&format!("fd00:99:{number}::2")),
        ]);
    }
    sides
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
