//! What hosts tell one another of the containers that Docker, or the agent, has plugged in.
//!
//! Each host is the only one who says what Docker has there: it tells its whole list with a tag that
//! follows from it, and whoever has the list of this tag need not hear it again. So it makes no
//! difference which answers got lost, or who began anew: what counts is the list that was heard last.
//!
//! What another host says is one more source of the topology. It is not believed more than a file, and
//! files are believed first: it can name networks of files only, and it takes nothing that a file or this
//! host's own Docker has. What does not fit is left out and told, and everything else holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use maps_schema::Mac;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::document::{self, Document, Draft, OF_HOST};
use crate::driver::member::Member;
use crate::driver::range::{Range, blocks};
use crate::driver::source;
use crate::fnv::fnv1a_64;
use crate::problem::Problem;
use crate::topology::{Topology, compile, compile_drafts};

/// The TCP port at which a host tells its list, at its underlay address. As it is below 1024, nobody but
/// root can stand in for an agent that does not run.
pub const PORT: u16 = 947;
/// What is asked for. Another form of list gets another path.
pub const PATH: &str = "v1/members";
/// The longest list, in bytes.
pub const LIST_MAX: usize = 8 << 20;
/// The longest text in it, in bytes, and how many names, addresses or groups a container may have.
const TEXT_MAX: usize = 253;
const EACH_MAX: usize = 256;
/// How many ranges of published ports it may have.
const RANGES_MAX: usize = 4096;
/// The longest name that people are shown, in characters.
const TITLE_MAX: usize = 64;
/// How many times what a host says is divided to find what of it does not fit. Each time costs two
/// compilations, and the agent has other things to do, too.
const DIVISIONS: usize = 24;

/// What other hosts have said last, by their names.
pub type Others = BTreeMap<String, List>;

/// The containers on networks of files on one host.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct List {
    /// Whoever made the list gives another one another tag.
    pub tag: String,
    /// The containers.
    pub members: Vec<Told>,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Told {
    /// It has the form of one.
    Member(Member),
    /// It has another form, of an agent of another version perhaps.
    Strange(Value),
}

/// Why a list cannot be used at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    /// It has another form.
    #[error("its list has another form: {0}")]
    Form(String),
    /// Nobody could ask for the next one.
    #[error("its list has no tag")]
    Tag,
}

impl List {
    /// The list of these containers, with a tag that follows from them.
    #[must_use]
    pub fn of(members: Vec<Member>) -> Self {
        // Texts, numbers and lists can always be written.
        let text = serde_json::to_string(&members).unwrap_or_default();
        let tag = format!("{:016x}", fnv1a_64([text.as_bytes()]));
        let members = members.into_iter().map(Told::Member).collect();
        Self { tag, members }
    }

    /// The list as it is told.
    #[must_use]
    pub fn body(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads another host's list.
    ///
    /// # Errors
    ///
    /// [`Unreadable`]: the whole list counts for nothing then.
    pub fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let list: Self =
            serde_json::from_slice(body).map_err(|error| Unreadable::Form(error.to_string()))?;
        // It becomes a part of the next question.
        let is_tag = list.tag.bytes().all(|it| it.is_ascii_alphanumeric());
        if !is_tag || list.tag.len() > TEXT_MAX {
            return Err(Unreadable::Tag);
        }
        Ok(list)
    }
}

/// What is wrong with a container, whatever there is besides it.
fn flaw(member: &Member) -> Option<String> {
    let id = &member.endpoint;
    if !(16..=64).contains(&id.len()) || !id.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Some("no endpoint has such an id".to_owned());
    }
    let lists = [&member.names, &member.groups, &member.publish];
    let mut texts = lists.into_iter().flatten();
    if !texts.all(|text| (1..=TEXT_MAX).contains(&text.len())) {
        return Some(format!("a text is empty or longer than {TEXT_MAX} bytes"));
    }
    let counts = [
        (member.names.len(), EACH_MAX, "names"),
        (member.groups.len(), EACH_MAX, "groups"),
        (member.addresses.len(), EACH_MAX, "addresses"),
        (
            member.publish.len(),
            RANGES_MAX,
            "ranges of published ports",
        ),
    ];
    let too_many = counts.into_iter().find(|(count, max, _)| count > max);
    too_many.map(|(count, max, what)| format!("it has {count} {what}, and {max} are taken"))
}

/// Compiles sources together with what other hosts have said, as far as that fits. What is left out is
/// among the warnings.
///
/// # Errors
///
/// What is wrong with the sources themselves.
pub fn compile_with(drafts: Vec<Draft>, others: &Others) -> Result<Topology, Vec<Problem>> {
    let is_alone = others.values().all(|it| it.members.is_empty());
    if is_alone || drafts.iter().any(|draft| !draft.problems.is_empty()) {
        return compile_drafts(drafts);
    }
    let mut documents: Vec<Document> = drafts.into_iter().map(|it| it.document).collect();
    let own = compile(&documents)?;
    let (accepted, mut warnings) = accept(&own, others);
    let plain = documents.len();
    let told = accepted.iter().filter_map(|(host, members)| {
        let members: Vec<Member> = members.iter().map(|it| (*it).clone()).collect();
        source_of(host, &members).ok()
    });
    documents.extend(told);
    let is_whole = documents.len() == plain + accepted.len();
    let mut topology = match compile(&documents) {
        Ok(topology) if is_whole => topology,
        // What is wrong with one container must not keep out another one.
        _ => {
            documents.truncate(plain);
            let mut gathering = Gathering {
                documents,
                whole: own,
                warnings: Vec::new(),
            };
            for (host, members) in &accepted {
                gathering.add_host(host, members);
            }
            warnings.extend(gathering.warnings);
            gathering.whole
        }
    };
    topology.warnings.extend(warnings);
    Ok(topology)
}

/// Documents that are consistent, while what hosts say is added to them.
struct Gathering {
    documents: Vec<Document>,
    /// What they are together with what was added last.
    whole: Topology,
    warnings: Vec<Problem>,
}

impl Gathering {
    /// Adds as much of what a host says as fits.
    fn add_host(&mut self, host: &str, members: &[&Member]) {
        let (mut kept, mut divisions) = (Vec::new(), DIVISIONS);
        self.add(host, &mut kept, members, &mut divisions);
        self.documents.extend(source_of(host, &kept));
    }

    /// Adds all of these, or those of each half which fit; if it must be, without what they publish.
    fn add(&mut self, host: &str, kept: &mut Vec<Member>, more: &[&Member], divisions: &mut usize) {
        let whole = more.iter().map(|it| (*it).clone());
        let Err(why) = self.attempt(host, kept, whole) else {
            return;
        };
        if more.len() > 1 && *divisions > 0 {
            *divisions -= 1;
            let (one, other) = more.split_at(more.len() / 2);
            self.add(host, kept, one, divisions);
            self.add(host, kept, other, divisions);
            return;
        }
        let what = match more {
            [only] => title(only),
            _ => format!("{} containers", more.len()),
        };
        let private = more.iter().map(|it| Member {
            publish: Vec::new(),
            ..(*it).clone()
        });
        let what = match self.attempt(host, kept, private) {
            Ok(()) => format!("what {what} of host {host} publishes"),
            Err(_) => format!("{what} of host {host}"),
        };
        self.warnings
            .push(Problem::new(format!("{what} is left out: {why}")));
    }

    /// Adds all of these, or none of them and says why.
    fn attempt(
        &mut self,
        host: &str,
        kept: &mut Vec<Member>,
        more: impl Iterator<Item = Member>,
    ) -> Result<(), String> {
        let before = kept.len();
        kept.extend(more);
        let result = source_of(host, kept).and_then(|document| {
            self.documents.push(document);
            let result = compile(&self.documents);
            self.documents.pop();
            result.map_err(|problems| first(&problems))
        });
        match result {
            Ok(whole) => self.whole = whole,
            Err(why) => {
                kept.truncate(before);
                return Err(why);
            }
        }
        Ok(())
    }
}

fn first(problems: &[Problem]) -> String {
    let first = problems.first();
    first.map_or_else(String::new, |it| it.message.clone())
}

/// What a host says as a source, or why it has not the form of one.
fn source_of(host: &str, members: &[Member]) -> Result<Document, String> {
    let name = format!("{OF_HOST}{host}");
    let workloads = members
        .iter()
        .map(|it| (it.name(), it.workload(Some(host))));
    let workloads: Map<String, Value> = workloads.collect();
    let file = json!({ "version": 1, "name": name, "workloads": workloads });
    // A tree of texts, numbers and lists can always be written.
    let text = document::to_yaml(&file).unwrap_or_default();
    let draft = document::draft(&name, &text);
    if draft.problems.is_empty() {
        Ok(draft.document)
    } else {
        Err(first(&draft.problems))
    }
}

/// What of the lists fits what this host has, by host, and what is said of the rest. Where two hosts say
/// that they have the same, it is the one's whose block of addresses it is in: every host decides so.
fn accept<'a>(
    own: &Topology,
    others: &'a Others,
) -> (BTreeMap<&'a str, Vec<&'a Member>>, Vec<Problem>) {
    let mut taken = Taken::of(own);
    let hosts: BTreeSet<String> = own.hosts.keys().cloned().collect();
    let mut blocks_of: BTreeMap<(IpNet, &str), Vec<Range>> = BTreeMap::new();
    let mut claims: Vec<(bool, &str, &Member)> = Vec::new();
    let mut warnings = Vec::new();
    let mut leave_out = |host: &str, what: &str, why: &str| {
        let text = format!("{what} of host {host} is left out: {why}");
        warnings.push(Problem::new(text));
    };
    for (host, list) in others.iter().filter(|(host, _)| hosts.contains(*host)) {
        for told in &list.members {
            let member = match told {
                Told::Member(member) => member,
                Told::Strange(_) => {
                    leave_out(host, "a container", "what is said of it has another form");
                    continue;
                }
            };
            // Of a network that this host does not know it needs nothing, and Docker's own are its own.
            let network = own.networks.get(&member.network);
            let network = network.filter(|it| it.origin.file.name != source::NAME);
            let Some(network) = network else {
                continue;
            };
            if let Some(flaw) = flaw(member) {
                leave_out(host, &title(member), &flaw);
                continue;
            }
            let mut is_own = |address: IpAddr| {
                let mut subnets = network.subnets.iter();
                subnets.find(|it| it.contains(&address)).is_some_and(|it| {
                    let blocks = blocks_of
                        .entry((*it, host.as_str()))
                        .or_insert_with(|| blocks(*it, &hosts, host));
                    blocks.iter().any(|block| block.contains(address))
                })
            };
            let is_own = member.addresses.iter().all(|address| is_own(*address));
            claims.push((!is_own, host, member));
        }
    }
    claims.sort();
    let mut accepted: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
    for (_, host, member) in claims {
        match taken.add(own, host, member) {
            Ok(()) => accepted.entry(host).or_default().push(member),
            Err(why) => leave_out(host, &title(member), &why),
        }
    }
    (accepted, warnings)
}

fn title(member: &Member) -> String {
    let name = member.names.first().cloned();
    let name = name.unwrap_or_else(|| member.name());
    // Whoever says it may say anything, and it gets into terminals.
    let name: String = name.escape_debug().take(TITLE_MAX).collect();
    format!("container {name}")
}

/// Who has what.
struct Taken {
    addresses: BTreeMap<(String, IpAddr), String>,
    macs: BTreeMap<(String, Mac), String>,
    workloads: BTreeSet<String>,
}

impl Taken {
    fn of(topology: &Topology) -> Self {
        let mut taken = Self {
            addresses: BTreeMap::new(),
            macs: BTreeMap::new(),
            workloads: topology.workloads.keys().cloned().collect(),
        };
        for (name, router) in &topology.routers {
            for port in router.ports.values() {
                let addresses = port.addresses.iter().map(|it| it.addr());
                let holder = format!("router {name}");
                taken.note(&port.network, addresses, port.mac, &holder);
            }
        }
        for (name, port) in &topology.ports {
            let addresses = port.addresses.iter().map(|it| it.addr());
            let holder = format!("workload {}", name.workload);
            taken.note(&port.network, addresses, port.mac, &holder);
        }
        taken
    }

    fn note(
        &mut self,
        network: &str,
        addresses: impl Iterator<Item = IpAddr>,
        mac: Mac,
        holder: &str,
    ) {
        for address in addresses {
            let key = (network.to_owned(), address);
            self.addresses.insert(key, holder.to_owned());
        }
        let key = (network.to_owned(), mac);
        self.macs.insert(key, holder.to_owned());
    }

    /// Adds what a host says to have, or says why not.
    fn add(&mut self, own: &Topology, host: &str, member: &Member) -> Result<(), String> {
        let network = &member.network;
        let subnets = own.networks.get(network).map(|it| it.subnets.as_slice());
        let subnets = subnets.unwrap_or_default();
        for address in &member.addresses {
            let mut subnets = subnets.iter();
            let fits = subnets.any(|it| Range::of(*it).contains(*address));
            if !fits {
                return Err(format!("network {network} has no address {address}"));
            }
            if let Some(holder) = self.addresses.get(&(network.clone(), *address)) {
                return Err(format!("{holder} has {address} of network {network}"));
            }
        }
        if member.mac.is_group() || member.mac == Mac::ZERO {
            return Err(format!("no station can have {}", member.mac));
        }
        if let Some(holder) = self.macs.get(&(network.clone(), member.mac)) {
            return Err(format!("{holder} has {} of network {network}", member.mac));
        }
        if !self.workloads.insert(member.name()) {
            return Err(format!("there is another workload {}", member.name()));
        }
        let holder = format!("{} of host {host}", title(member));
        self.note(
            network,
            member.addresses.iter().copied(),
            member.mac,
            &holder,
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests;
