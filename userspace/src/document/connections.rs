//! Reads what is said of the connections that a host remembers.

use super::model::{CONNECTIONS_KEYS, Connections, TIMEOUTS_KEYS, Timeouts};
use super::read::Reader;
use super::scalar;
use super::yaml::{Node, Value};

/// A section whose keys are all commented out is an empty section.
pub(super) fn connections(reader: &mut Reader, node: &Node, what: &str) -> Option<Connections> {
    if matches!(node.value, Value::Null) {
        return Some(Connections::default());
    }
    let fields = reader.fields(node, what, CONNECTIONS_KEYS)?;
    let timeouts = fields.optional(reader, "timeouts", timeouts);
    Some(Connections {
        established: fields.optional(reader, "established", Reader::number),
        opening: fields.optional(reader, "opening", Reader::number),
        timeouts: timeouts.unwrap_or_default(),
    })
}

fn timeouts(reader: &mut Reader, node: &Node, what: &str) -> Option<Timeouts> {
    if matches!(node.value, Value::Null) {
        return Some(Timeouts::default());
    }
    let fields = reader.fields(node, what, TIMEOUTS_KEYS)?;
    let mut timeout = |key| fields.optional(reader, key, scalar::duration);
    Some(Timeouts {
        opening: timeout("opening"),
        tcp: timeout("tcp"),
        tcp_half_closed: timeout("tcp_half_closed"),
        tcp_closed: timeout("tcp_closed"),
        tcp_reset: timeout("tcp_reset"),
        udp: timeout("udp"),
        icmp: timeout("icmp"),
        other: timeout("other"),
    })
}
