//! What a topology file says of the connections that a host remembers.

use std::time::Duration;

use schemars::JsonSchema;

use crate::document::read::Located;
use crate::document::schema;

pub(in crate::document) const CONNECTIONS_KEYS: &[&str] = &["established", "opening", "timeouts"];

/// How many connections a host remembers, and for how long. All loaded files that say it say the same.
#[derive(Clone, Default, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Connections {
    /// How many that both sides take part in; of more than that, the least recently used go first. 65536
    /// unless given.
    #[schemars(with = "Option<u32>", range(min = 1024, max = 4_194_304))]
    pub established: Option<Located<u64>>,
    /// How many that may come to nothing, likewise. 32768 unless given.
    #[schemars(with = "Option<u32>", range(min = 1024, max = 4_194_304))]
    pub opening: Option<Located<u64>>,
    /// How long they may be silent.
    #[schemars(default, transform = schema::or_empty)]
    pub timeouts: Timeouts,
}

pub(in crate::document) const TIMEOUTS_KEYS: &[&str] = &[
    "opening",
    "tcp",
    "tcp_half_closed",
    "tcp_closed",
    "tcp_reset",
    "udp",
    "icmp",
    "other",
];

/// How long connections may be silent before they are forgotten: seconds, or numbers with the unit s, m, h
/// or d, from 10s to 365d.
#[derive(Clone, Default, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Timeouts {
    /// Those that were not answered, or only answered. 60s unless given.
    #[schemars(with = "Option<u64>", transform = schema::or_duration)]
    pub opening: Option<Located<Duration>>,
    /// TCP, while both sides go on. 5d unless given.
    #[schemars(with = "Option<u64>", transform = schema::or_duration)]
    pub tcp: Option<Located<Duration>>,
    /// TCP, when one side has nothing more to say. 1h unless given.
    #[schemars(with = "Option<u64>", transform = schema::or_duration)]
    pub tcp_half_closed: Option<Located<Duration>>,
    /// TCP, when neither side has. 2m unless given.
    #[schemars(with = "Option<u64>", transform = schema::or_duration)]
    pub tcp_closed: Option<Located<Duration>>,
    /// TCP, after a reset. 10s unless given.
    #[schemars(with = "Option<u64>", transform = schema::or_duration)]
    pub tcp_reset: Option<Located<Duration>>,
    /// UDP, once both sides have spoken and gone on. 3m unless given.
    #[schemars(with = "Option<u64>", transform = schema::or_duration)]
    pub udp: Option<Located<Duration>>,
    /// Echoes, likewise. 1m unless given.
    #[schemars(with = "Option<u64>", transform = schema::or_duration)]
    pub icmp: Option<Located<Duration>>,
    /// Other protocols, likewise. 10m unless given.
    #[schemars(with = "Option<u64>", transform = schema::or_duration)]
    pub other: Option<Located<Duration>>,
}
