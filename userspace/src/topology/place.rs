//! The rules for where a workload is found.

use std::collections::BTreeMap;

use super::merge::{Merged, across};
use super::{Place, Workload, hosts};
use crate::document;
use crate::problem::Problem;
use crate::source::Origin;

/// The largest process id that the kernel can be set to give (`PID_MAX_LIMIT`).
const LARGEST_PID: u64 = 4_194_304;

/// Checks all workloads' places. Two workloads in one namespace would fight over its interfaces; on
/// different hosts, places of the same name are different ones.
pub(super) fn resolve(
    merged: &Merged<'_>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Workload> {
    let mut in_file_order: Vec<(&str, &document::Workload)> = merged
        .workloads
        .iter()
        .map(|(name, workload)| (*name, *workload))
        .collect();
    in_file_order.sort_by_key(|(_, workload)| merged.rank(&workload.origin));
    let mut taken: BTreeMap<(Place, Option<&str>), (&str, Origin)> = BTreeMap::new();
    let mut workloads = BTreeMap::new();
    for (name, workload) in in_file_order {
        let Some((place, origin)) = place(name, workload, problems) else {
            continue;
        };
        let key = (place.clone(), merged.host_of(name));
        if let Some((other, first)) = taken.get(&key) {
            let other = across(&format!("workload {other}"), first, &origin);
            let this = across(&format!("workload {name}"), &origin, first);
            problems.push(
                Problem::new(format!("{other} and {this} are both {place}"))
                    .at(&origin, "the same place again")
                    .at(first, "first taken here")
                    .help("declare the place once, with the ports of both"),
            );
        } else {
            taken.insert(key, (name, origin.clone()));
        }
        let declared = Workload {
            host: host(name, workload, merged, problems),
            place,
            names: workload.names.iter().map(|it| it.value.clone()).collect(),
            origin: workload.origin.clone(),
            place_origin: origin,
        };
        workloads.insert(name.to_owned(), declared);
    }
    workloads
}

/// The host that a workload is on.
fn host(
    name: &str,
    workload: &document::Workload,
    merged: &Merged<'_>,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let host = merged.host_of(name);
    match (&workload.host, host) {
        (Some(given), _) if !merged.hosts.contains_key(given.as_str()) => {
            let subject = format!("workload {name} is on");
            problems.extend(hosts::unknown(&subject, given, merged));
        }
        (None, None) if !workload.incomplete => {
            let choice = merged.hosts_beside(&workload.origin);
            if let Some((first, _)) = choice.first_key_value() {
                let known: Vec<&str> = choice.keys().take(8).map(String::as_str).collect();
                let origin = workload.origin.clone();
                problems.push(
                    Problem::new(format!("workload {name} does not say which host it is on"))
                        .at(&origin, "`host` is missing here")
                        .help(format!(
                            "add `host: {first}`; the file's hosts: {}",
                            known.join(", ")
                        )),
                );
            }
        }
        _ => {}
    }
    host.map(str::to_owned)
}

/// The workload's place and where it is said.
fn place(
    name: &str,
    workload: &document::Workload,
    problems: &mut Vec<Problem>,
) -> Option<(Place, Origin)> {
    let mut given: Vec<(&str, Option<Place>, &Origin)> = Vec::new();
    if let Some(container) = &workload.container {
        let place = container_place(name, container, problems);
        given.push(("container", place, &container.origin));
    }
    if let Some(netns) = &workload.netns {
        given.push(("netns", netns_place(name, netns, problems), &netns.origin));
    }
    if let Some(pid) = &workload.pid {
        given.push(("pid", pid_place(name, pid, problems), &pid.origin));
    }
    if let Some(endpoint) = &workload.endpoint {
        let place = endpoint_place(name, endpoint, problems);
        given.push(("endpoint", place, &endpoint.origin));
    }
    if let Some(host) = workload.host_network.as_ref()
        && host.value
    {
        given.push(("host_network", Some(Place::Host), &host.origin));
    }
    given.sort_by_key(|(_, _, origin)| origin.offset);
    if let [(first, _, here), (second, _, there), ..] = given.as_slice() {
        problems.push(
            Problem::new(format!("workload {name} has both a {first} and a {second}"))
                .at(there, "a second place")
                .at(here, "the first place")
                .help("a workload is in one place: keep one of the two"),
        );
    }
    match given.into_iter().next() {
        Some((_, place, origin)) => Some((place?, origin.clone())),
        // A place that could not be read has been reported, and is not the container of this name.
        None if workload.incomplete => None,
        None => Some((Place::Container(name.to_owned()), workload.origin.clone())),
    }
}

fn container_place(
    workload: &str,
    given: &document::Located<String>,
    problems: &mut Vec<Problem>,
) -> Option<Place> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = given
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && given.bytes().all(legal) {
        return Some(Place::Container(given.value.clone()));
    }
    problems.push(
        Problem::new(format!(
            "workload {workload}: {:?} cannot be the name of a container",
            given.value
        ))
        .at(&given.origin, "this name")
        .help("Docker's names are of letters, digits, `_`, `.` and `-`, without a leading slash"),
    );
    None
}

fn netns_place(
    workload: &str,
    given: &document::Located<String>,
    problems: &mut Vec<Problem>,
) -> Option<Place> {
    // It is the name of a file in /run/netns.
    let file_name = !matches!(given.as_str(), "" | "." | "..")
        && given.len() <= 255
        && !given.contains(['/', '\0']);
    if file_name {
        return Some(Place::Netns(given.value.clone()));
    }
    problems.push(
        Problem::new(format!(
            "workload {workload}: {:?} cannot be the name of a network namespace",
            given.value
        ))
        .at(&given.origin, "this name")
        .help("write the name that `ip netns list` shows, not a path"),
    );
    None
}

/// Names of interfaces are made of it.
fn endpoint_place(
    workload: &str,
    given: &document::Located<String>,
    problems: &mut Vec<Problem>,
) -> Option<Place> {
    let is_id = (16..=64).contains(&given.len()) && given.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id {
        return Some(Place::Endpoint(given.value.clone()));
    }
    problems.push(
        Problem::new(format!(
            "workload {workload}: {:?} cannot be the id of an endpoint",
            given.value
        ))
        .at(&given.origin, "not 16 to 64 hexadecimal digits")
        .help(
            "`bowline agent` writes what Docker plugs in; for a container write `container: NAME`",
        ),
    );
    None
}

fn pid_place(
    workload: &str,
    given: &document::Located<u64>,
    problems: &mut Vec<Problem>,
) -> Option<Place> {
    let pid = u32::try_from(given.value).ok();
    if (1..=LARGEST_PID).contains(&given.value)
        && let Some(pid) = pid
    {
        return Some(Place::Pid(pid));
    }
    problems.push(
        Problem::new(format!("the pid of workload {workload} is {}", given.value))
            .at(&given.origin, "out of range")
            .help(format!("a process id is between 1 and {LARGEST_PID}")),
    );
    None
}
