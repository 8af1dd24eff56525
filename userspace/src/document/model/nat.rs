//! What a topology file may say about the way to the outside.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::document::read::Located;
use crate::document::schema;
use crate::source::Origin;
use crate::topology::{Pool, PortRange};

pub(in crate::document) const UPLINK_KEYS: &[&str] = &["hosts"];

/// A router's way to the outside, through the own routing of hosts. Short form: `true`, for all hosts.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, transform = schema::or_a_switch)]
pub struct Uplink {
    /// Where it is given.
    #[schemars(skip)]
    pub origin: Origin,
    /// The hosts whose uplinks are gateways, one or a list. All unless given.
    #[schemars(with = "Option<Vec<String>>", length(min = 1), transform = schema::or_one)]
    pub hosts: Option<Vec<Located<String>>>,
}

pub(in crate::document) const NAT_KEYS: &[&str] = &["masquerade", "snat", "floating", "to"];

/// How a router changes addresses at its uplink.
#[derive(Clone, Debug)]
pub struct Nat {
    /// Where it is given.
    pub origin: Origin,
    /// What becomes of which addresses.
    pub translation: Translation,
}

/// What becomes of which addresses.
#[derive(Clone, Debug)]
pub enum Translation {
    /// The address of the host, for the IPv4 subnets of all the router's ports.
    MasqueradeAll,
    /// The address of the host, for these sources: one at least.
    Masquerade(Vec<Located<IpNet>>),
    /// An address of the pool, for these sources: one at least.
    Source(Vec<Located<IpNet>>, Located<Pool>),
    /// One address for one other, in both directions.
    Floating {
        /// The one by which it is known outside.
        outside: Located<IpAddr>,
        /// The station's own.
        inside: Located<IpAddr>,
    },
}

impl JsonSchema for Nat {
    fn schema_name() -> Cow<'static, str> {
        "Nat".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let prefix = json_schema!({ "type": "string" });
        let prefixes = json_schema!({ "type": "array", "items": prefix, "minItems": 1 });
        json_schema!({
            "description": "How a router changes addresses of what goes through its uplink. It has one of \
                `masquerade`, `snat` and `floating`.",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "masquerade": {
                    "description": "The sources, one prefix or a list, that get the address of the host \
                        whose uplink they take. `true` for the IPv4 subnets of the router's own ports.",
                    "anyOf": [{ "const": true }, prefix, prefixes],
                },
                "snat": {
                    "description": "The sources, one prefix or a list, that get an address of the pool \
                        behind `to`.",
                    "anyOf": [prefix, prefixes],
                },
                "floating": {
                    "description": "An address by which the station behind `to` is known outside, in both \
                        directions.",
                    "type": "string",
                },
                "to": {
                    "description": "For `snat` an address, a prefix, or a first and a last address with a \
                        hyphen between them; for `floating` the station's address.",
                    "type": "string",
                },
            },
            "oneOf": [
                { "required": ["masquerade"] },
                { "required": ["snat", "to"] },
                { "required": ["floating", "to"] },
            ],
            "not": { "anyOf": [
                { "required": ["masquerade", "to"] },
                { "required": ["snat", "floating"] },
            ] },
        })
    }
}

/// Ports of a workload that are reached by ports of its host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publish {
    /// The host's address, where one is given.
    pub address: Option<IpAddr>,
    /// The host's ports.
    pub host_ports: PortRange,
    /// The workload's ports, as many.
    pub ports: PortRange,
    /// TCP, UDP or SCTP, by its number.
    pub protocol: u8,
}
