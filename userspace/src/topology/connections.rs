//! The rules for what hosts remember of connections. Every file may say it, because all of them mean the
//! same hosts; none says otherwise than another one.

use std::ops::RangeInclusive;

use maps_schema::Timeouts;

use super::merge::Merged;
use crate::document::{self, Located};
use crate::problem::Problem;
use crate::program::Room;

/// How many connections a host may be told to remember: of fewer, the kernel spreads none over its
/// processors; of more, the tables take gigabytes.
const ROOM: RangeInclusive<u64> = 1024..=4_194_304;

/// A number that files give, which must be in a range and the same in all of them.
struct Said {
    what: &'static str,
    range: RangeInclusive<u64>,
}

/// Where a document says the number.
type Find = fn(&document::Connections) -> Option<Located<u64>>;

impl Said {
    /// What the first file says that says it.
    fn resolve(&self, merged: &Merged<'_>, find: Find, problems: &mut Vec<Problem>) -> Option<u32> {
        let connections = merged.documents.iter().map(|it| &it.defaults.connections);
        let mut said = connections.filter_map(find);
        let first = said.next()?;
        self.check(&first, problems);
        for other in said.filter(|other| other.value != first.value) {
            problems.push(
                Problem::new(format!(
                    "{} are {} in source {} and {} in source {}",
                    self.what,
                    first.value,
                    first.origin.file.title(),
                    other.value,
                    other.origin.file.title(),
                ))
                .at(&other.origin, "this one")
                .at(&first.origin, "differs from this one")
                .help("all loaded sources mean the same hosts: leave it out in one of them"),
            );
        }
        u32::try_from(first.value).ok()
    }

    fn check(&self, given: &Located<u64>, problems: &mut Vec<Problem>) {
        if self.range.contains(&given.value) {
            return;
        }
        let (least, most) = (self.range.start(), self.range.end());
        problems.push(
            Problem::new(format!("{} are {}", self.what, given.value))
                .at(&given.origin, "out of range")
                .help(format!("there are {least} to {most}")),
        );
    }
}

/// How many connections the hosts remember.
pub(super) fn room(merged: &Merged<'_>, problems: &mut Vec<Problem>) -> Room {
    let said = |what| Said { what, range: ROOM };
    let usual = Room::default();
    let established = said("the established connections that hosts remember");
    let opening = said("the opening connections that hosts remember");
    Room {
        established: established
            .resolve(merged, |it| it.established.clone(), problems)
            .unwrap_or(usual.established),
        opening: opening
            .resolve(merged, |it| it.opening.clone(), problems)
            .unwrap_or(usual.opening),
    }
}

/// For how long.
pub(super) fn timeouts(merged: &Merged<'_>, problems: &mut Vec<Problem>) -> Timeouts {
    /// A key, where documents have it, and where it is kept.
    type Timeout = (&'static str, Find, fn(&mut Timeouts) -> &mut u32);
    macro_rules! timeout {
        ($what:literal, $key:ident, $field:ident) => {
            (
                concat!("the seconds of `", $what, "`"),
                |it| {
                    let given = it.timeouts.$key.as_ref()?;
                    Some(Located {
                        value: given.as_secs(),
                        origin: given.origin.clone(),
                    })
                },
                |timeouts| &mut timeouts.$field,
            )
        };
    }
    let all: [Timeout; 8] = [
        timeout!("opening", opening, opening),
        timeout!("tcp", tcp, established),
        timeout!("tcp_half_closed", tcp_half_closed, half_closed),
        timeout!("tcp_closed", tcp_closed, closed),
        timeout!("tcp_reset", tcp_reset, reset),
        timeout!("udp", udp, datagrams),
        timeout!("icmp", icmp, echoes),
        timeout!("other", other, others),
    ];
    let mut timeouts = Timeouts::default();
    for (what, find, field) in all {
        let said = Said {
            what,
            range: u64::from(Timeouts::MIN)..=u64::from(Timeouts::MAX),
        };
        if let Some(seconds) = said.resolve(merged, find, problems) {
            *field(&mut timeouts) = seconds;
        }
    }
    timeouts
}
