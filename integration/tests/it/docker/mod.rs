//! bowline as a user of Docker meets it: a real engine, real containers, and the built binary.
//!
//! All tests share one engine; each has containers and a bowline instance of its own, so they can
//! run side by side. Where no
//! engine can run, they are skipped.

mod connection;
mod driver;
mod life;
mod refusal;
mod stage;

use stage::Stage;

/// A topology of one network and two containers, the first with addresses that end in 10, the
/// second in 20. The second container is declared in line 7, the first in line 6.
fn pair(first: &str, second: &str) -> String {
    format!(
        "version: 1
name: pair
networks:
  front: [10.1.0.0/24, \"fd00:1::/64\"]
workloads:
  {first}: {{ ports: [{{ network: front, addresses: [10.1.0.10, \"fd00:1::10\"] }}] }}
  {second}: {{ ports: [{{ network: front, addresses: [10.1.0.20, \"fd00:1::20\"] }}] }}
"
    )
}
