//! What hosts tell one another of the containers that Docker has plugged in.
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
/// The longest text in it, in bytes, and how many names, addresses, groups or published ports a container
/// may have.
const TEXT_MAX: usize = 253;
const EACH_MAX: usize = 256;

/// What other hosts have said last, by their names.
pub type Others = BTreeMap<String, List>;

/// What Docker has plugged into networks of files on one host.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct List {
    /// Whoever made the list gives another one another tag.
    pub tag: String,
    /// The containers.
    pub members: Vec<Member>,
}

/// Why a list cannot be used at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    /// It has another form.
    #[error("its list has another form: {0}")]
    Form(String),
    /// It holds what no agent says.
    #[error("its list is not one of an agent: endpoint {0:?}")]
    Content(String),
}

impl List {
    /// The list of these containers, with a tag that follows from them.
    #[must_use]
    pub fn of(members: Vec<Member>) -> Self {
        // Texts, numbers and lists can always be written.
        let text = serde_json::to_string(&members).unwrap_or_default();
        let tag = format!("{:016x}", fnv1a_64([text.as_bytes()]));
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
            return Err(Unreadable::Form("it has no tag".to_owned()));
        }
        let mut ids = BTreeSet::new();
        for member in &list.members {
            let id = &member.endpoint;
            let is_id =
                (16..=64).contains(&id.len()) && id.bytes().all(|it| it.is_ascii_hexdigit());
            if !(is_id && ids.insert(id) && is_sized(member)) {
                return Err(Unreadable::Content(id.chars().take(TEXT_MAX).collect()));
            }
        }
        Ok(list)
    }
}

fn is_sized(member: &Member) -> bool {
    let lists = [&member.names, &member.groups, &member.publish];
    let counts = lists.iter().map(|list| list.len());
    let mut texts = lists.iter().flat_map(|list| list.iter());
    let is_short = |text: &String| (1..=TEXT_MAX).contains(&text.len());
    is_short(&member.network)
        && texts.all(is_short)
        && counts
            .chain([member.addresses.len()])
            .all(|it| it <= EACH_MAX)
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
    documents.extend(accepted.iter().filter_map(|(host, it)| source_of(host, it)));
    let mut topology = match compile(&documents) {
        Ok(topology) => topology,
        // What one host says must not keep out what another one says.
        Err(_) => {
            documents.truncate(plain);
            let mut whole = own;
            for (host, members) in &accepted {
                match one_more(&mut documents, host, members) {
                    Ok((more, warning)) => {
                        whole = more;
                        warnings.extend(warning);
                    }
                    Err(warning) => warnings.push(warning),
                }
            }
            whole
        }
    };
    topology.warnings.extend(warnings);
    Ok(topology)
}

/// Adds what a host says to documents that are consistent: if it must be, without the ports that are
/// published there.
fn one_more(
    documents: &mut Vec<Document>,
    host: &str,
    members: &[&Member],
) -> Result<(Topology, Option<Problem>), Problem> {
    let mut attempt = |members: &[&Member]| -> Result<Topology, Option<Problem>> {
        documents.push(source_of(host, members).ok_or(None)?);
        compile(documents).map_err(|problems| {
            documents.pop();
            problems.into_iter().next()
        })
    };
    let why = match attempt(members) {
        Ok(topology) => return Ok((topology, None)),
        Err(why) => why,
    };
    let told = |what: &str| {
        let why = why.as_ref().map_or("it has another form", |it| &it.message);
        Problem::new(format!("{what} of host {host} is left out: {why}"))
    };
    let private: Vec<Member> = members.iter().map(|it| without_publish(it)).collect();
    match attempt(&private.iter().collect::<Vec<_>>()) {
        Ok(topology) => Ok((topology, Some(told("what is published")))),
        Err(_) => Err(told("all that Docker has")),
    }
}

fn without_publish(member: &Member) -> Member {
    Member {
        publish: Vec::new(),
        ..member.clone()
    }
}

/// What a host says as a source; nothing if it has not the form of one.
fn source_of(host: &str, members: &[&Member]) -> Option<Document> {
    let name = format!("{OF_HOST}{host}");
    let workloads = members
        .iter()
        .map(|it| (it.name(), it.workload(Some(host))));
    let workloads: Map<String, Value> = workloads.collect();
    let file = json!({ "version": 1, "name": name, "workloads": workloads });
    // A tree of texts, numbers and lists can always be written.
    let text = document::to_yaml(&file).unwrap_or_default();
    let draft = document::draft(&name, &text);
    draft.problems.is_empty().then_some(draft.document)
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
    for (host, list) in others.iter().filter(|(host, _)| hosts.contains(*host)) {
        // Of a network that this host does not know it needs nothing, and Docker's own are its own.
        let known = list.members.iter().filter_map(|member| {
            let network = own.networks.get(&member.network)?;
            (network.origin.file.name != source::NAME).then_some((member, network))
        });
        for (member, network) in known {
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
    let mut warnings = Vec::new();
    for (_, host, member) in claims {
        match taken.add(own, host, member) {
            Ok(()) => accepted.entry(host).or_default().push(member),
            Err(why) => warnings.push(Problem::new(format!(
                "{} of host {host} is left out: {why}",
                title(member)
            ))),
        }
    }
    (accepted, warnings)
}

fn title(member: &Member) -> String {
    let name = member.names.first().cloned();
    format!("container {}", name.unwrap_or_else(|| member.name()))
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
