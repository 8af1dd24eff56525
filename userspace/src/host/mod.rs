//! A document's journey carried out on this host: what is recorded and what is asked for are compiled
//! together, compared with what the kernel holds, and the difference is applied.
//!
//! This is where the pure stages meet the edges. Everything here runs in the network namespace of the
//! calling thread, which is the host.

pub mod apply;
pub mod places;
mod undo;
mod whereabouts;

use std::collections::BTreeMap;
use std::env;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;
use maps_schema::IfIndex;

use apply::Applied;
pub use apply::Summary;
use places::Places;
use whereabouts::{Name, Whereabouts};

use crate::diff::Diff;
use crate::document::{self, Draft};
use crate::driver;
use crate::exchange;
use crate::holdings::{HeldUplink, HeldXdp, Holdings, XdpState};
use crate::instance::Instance;
use crate::kernel::bpffs;
use crate::kernel::capability::{check_capabilities, check_kernel};
use crate::kernel::clock;
use crate::kernel::datapath::{self, Datapath};
use crate::kernel::link::Links;
use crate::kernel::netns::Netns;
use crate::kernel::object::Object;
use crate::kernel::underlay::{Interfaces, Underlay};
use crate::ledger::{Ledger, Locked, Source};
use crate::plan::{Plan, Situation, Uplink};
use crate::problem::{Problem, Problems};
use crate::program::Program;
use crate::topology::{self, Topology};
use crate::verdicts::Verdicts;

/// The next hops on the ways to addresses.
type NextHops = BTreeMap<IpAddr, IpAddr>;

/// An instance on this host.
#[derive(Debug)]
pub struct Host {
    instance: Instance,
    links: Links,
    underlay: Underlay,
    /// The name that the user gives it among the hosts of the topology.
    name: Option<String>,
}

/// What is asked for, compared with what is there.
#[derive(Debug)]
pub struct Outlook {
    /// Everything that the sources describe together.
    pub topology: Topology,
    /// What this host is in it.
    pub situation: Situation,
    /// What is consistent and yet hardly meant, in the files or on this host.
    pub warnings: Vec<Problem>,
    /// Where the workloads of this host are.
    pub places: Places,
    /// What the kernel must contain.
    pub plan: Plan,
    /// What the kernel contains.
    pub holdings: Holdings,
    /// What must change.
    pub diff: Diff,
    object: Object,
    requested: Option<Requested>,
    /// Nothing is recorded as loaded, and nothing is asked for.
    vacant: bool,
}

/// A topology file that is to be loaded.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path as the user gave it, for messages.
    pub path: String,
    /// The path to be recorded: it must be understood in any folder.
    pub absolute_path: String,
    /// The text.
    pub text: String,
}

/// A request, and the name of the source that it turned out to be.
#[derive(Debug)]
struct Requested {
    name: String,
    request: Request,
}

impl Outlook {
    /// The host that a workload is on; nothing in a topology without hosts.
    #[must_use]
    pub fn host_of(&self, workload: &str) -> Option<&str> {
        let declared = self.topology.workloads.get(workload);
        let declared = declared.and_then(|workload| workload.host.as_deref());
        declared.or(self.situation.host.as_deref())
    }

    /// Whether a workload that is missing keeps what it has, because nobody could say whether it is
    /// there.
    #[must_use]
    pub fn keeps(&self, workload: &str) -> bool {
        let mut planned = self.plan.links.values();
        self.places.missing().contains_key(workload)
            && planned.any(|planned| planned.name.workload == workload)
    }
}

impl Host {
    /// The instance on this host. Nothing is changed yet.
    ///
    /// # Errors
    ///
    /// The kernel is too old, capabilities are missing, or no tokio runtime is running.
    pub fn new(instance: &Instance) -> Result<Self> {
        check_kernel()?;
        check_capabilities()?;
        Ok(Self {
            instance: instance.clone(),
            links: Links::new(instance)?,
            underlay: Underlay::new(&Netns::current()?)?,
            name: None,
        })
    }

    /// The same with the name that it has among the hosts of the topology, which [`Host::load`]
    /// records. Without one it is the recorded name, else the host whose address is here.
    #[must_use]
    pub fn called(self, name: Option<String>) -> Self {
        Self { name, ..self }
    }

    /// Compares what is recorded, with `request` in place of the source of the same name, with what
    /// the kernel holds.
    ///
    /// # Errors
    ///
    /// [`Problems`] in the files, or it is not clear which of their hosts this one is; a workload of
    /// `request` that is not there; or the kernel does not say what it holds.
    pub async fn look(&self, request: Option<&Request>) -> Result<Outlook> {
        self.look_at(request, true).await
    }

    /// Compares what is recorded with what the kernel holds, without asking the Docker engine for
    /// anything: containers of files keep what they have.
    ///
    /// # Errors
    ///
    /// As for [`Host::look`].
    pub async fn look_aside(&self) -> Result<Outlook> {
        self.look_at(None, false).await
    }

    async fn look_at(&self, request: Option<&Request>, may_ask: bool) -> Result<Outlook> {
        let draft = request.map(|request| document::draft(&request.path, &request.text));
        let requested = request
            .zip(draft.as_ref())
            .map(|(request, draft)| Requested {
                name: draft.document.name.value.clone(),
                request: request.clone(),
            });
        let name = requested.as_ref().map(|requested| requested.name.as_str());
        if let Some(draft) = &draft
            && (name == Some(driver::source::NAME)
                || name.is_some_and(|it| it.starts_with(document::OF_HOST)))
        {
            return Err(Problems(vec![reserved(draft)]).into());
        }
        let mut drafts = self.recorded(name)?;
        drafts.extend(draft);
        let vacant = drafts.is_empty();
        let others = Ledger::new(&self.instance).others()?;
        let topology = exchange::compile_with(drafts, &others).map_err(Problems)?;
        let mut outlook = self.compare(topology, name, may_ask).await?;
        outlook.requested = requested;
        outlook.vacant = vacant;
        if vacant {
            outlook.diff = Diff::removal(&outlook.holdings);
        }
        Ok(outlook)
    }

    /// The recorded sources but `except`.
    fn recorded(&self, except: Option<&str>) -> Result<Vec<Draft>> {
        let sources = Ledger::new(&self.instance).sources()?;
        Ok(sources
            .iter()
            .filter(|(name, _)| Some(name.as_str()) != except)
            .map(|(_, source)| document::draft(from_here(&source.path), &source.text))
            .collect())
    }

    /// Compares a topology with what the kernel holds. The workloads of the source `required` must be
    /// there.
    async fn compare(
        &self,
        topology: Topology,
        required: Option<&str>,
        may_ask: bool,
    ) -> Result<Outlook> {
        let object = Object::embedded()?;
        let interfaces = self.underlay.interfaces().await?;
        let (here, next_hops) = self.whereabouts(&topology, &interfaces).await?;
        let places =
            Places::resolve(&topology, here.host.as_deref(), &Netns::current()?, may_ask).await;
        if let Some(source) = required {
            places.require(&topology, source)?;
        }
        // Which links there are comes before where they should lead.
        let held = self.links.observe(&BTreeMap::new()).await?;
        let mut situation = Situation {
            host: here.host,
            uplink: here.uplink,
            absent: places.absent(&topology, &self.instance, &held),
            next_hops,
            ..Situation::default()
        };
        if let Some(verdicts) = Verdicts::fresh(&self.instance, clock::precise_ns()) {
            verdicts.apply(&topology, &mut situation);
        }
        let plan = Plan::new(&topology, &self.instance, &situation);
        let netns = places.by_host_end(&self.instance, &plan, &held);
        let mut holdings = self.observe(&netns, &interfaces).await?;
        // What Docker asked for is made and taken away when Docker says so, and not when a file is loaded
        // meanwhile that knows nothing of it yet or any more.
        holdings.links.retain(|name, _| {
            plan.links.contains_key(name) || !self.instance.is_endpoint_end(name)
        });
        let diff = Diff::new(&plan, &object.fingerprint(&plan.settings), &holdings);
        let mut warnings = topology.warnings.clone();
        warnings.extend(here.warnings);
        warnings.extend(occupied(&plan, &holdings));
        Ok(Outlook {
            topology,
            situation,
            warnings,
            places,
            plan,
            holdings,
            diff,
            object,
            requested: None,
            vacant: false,
        })
    }

    /// What the kernel says now of this host's place in the underlay: the uplink, and the next hops on
    /// the way to hosts that no tunnel leads to.
    ///
    /// # Errors
    ///
    /// [`Problems`]: it is not clear any more which host this is; or the kernel does not tell.
    pub async fn underlay_of(&self, topology: &Topology) -> Result<(Option<Uplink>, NextHops)> {
        let interfaces = self.underlay.interfaces().await?;
        let (here, next_hops) = self.whereabouts(topology, &interfaces).await?;
        Ok((here.uplink, next_hops))
    }

    async fn whereabouts(
        &self,
        topology: &Topology,
        interfaces: &Interfaces,
    ) -> Result<(Whereabouts, NextHops)> {
        let name = self.name()?;
        let mut here = Whereabouts::find(topology, interfaces, name.as_ref())
            .map_err(|problem| Problems(vec![problem]))?;
        here.find_outside(topology, interfaces, &self.underlay)
            .await?;
        let next_hops = here.next_hops(topology, &self.underlay).await?;
        Ok((here, next_hops))
    }

    /// What this host is called, if anybody has said so.
    fn name(&self) -> Result<Option<Name>> {
        Ok(match &self.name {
            Some(name) => Some(Name::Given(name.clone())),
            None => Ledger::new(&self.instance).host()?.map(Name::Recorded),
        })
    }

    /// What the kernel holds of this instance. `netns` says, by the name of the host's end, where the
    /// other end of a link should be.
    ///
    /// # Errors
    ///
    /// The kernel does not say it.
    async fn observe(
        &self,
        netns: &BTreeMap<String, &Netns>,
        interfaces: &Interfaces,
    ) -> Result<Holdings> {
        let links = self.links.observe(netns).await?;
        let possible_uplinks = self.possible_uplinks(interfaces);
        let xdp = xdp(&self.instance, &possible_uplinks)?;
        let Some(datapath) = Datapath::open(&self.instance)? else {
            return Ok(Holdings {
                links,
                xdp,
                ..Holdings::default()
            });
        };
        let host_ends: BTreeMap<IfIndex, String> = links
            .iter()
            .map(|(name, link)| (link.ifindex, name.clone()))
            .collect();
        Ok(Holdings {
            attached: datapath.attached(Program::PortIngress, &host_ends)?,
            uplinks: uplinks(&datapath, &possible_uplinks)?,
            xdp,
            fingerprint: Some(datapath.fingerprint().to_owned()),
            links,
            tables: datapath.tables()?,
        })
    }

    /// Applies what [`Host::look`] found. The request is recorded first, so that whatever happens,
    /// the next `load` and `unload` know of it; if the kernel refuses, both are as before. When nothing
    /// is recorded and nothing requested, nothing of the instance is left in the kernel.
    ///
    /// # Errors
    ///
    /// A step failed, and what was done before it is undone; or everything is in force and recorded,
    /// but something old could not be removed.
    pub async fn load(&self, lock: &Locked, outlook: &Outlook) -> Result<Summary> {
        if outlook.vacant {
            return self.remove_everything().await;
        }
        let record = Record::write(lock, self.name.as_deref(), outlook.requested.as_ref())?;
        match self.apply(outlook).await {
            Ok(applied) => applied.finish(),
            Err(error) => Err(match record.take_back(lock) {
                Ok(()) => error,
                Err(more) => error.context(format!("what was asked for stays recorded: {more:#}")),
            }),
        }
    }

    async fn apply(&self, outlook: &Outlook) -> Result<Applied> {
        bpffs::prepare(&self.instance)?;
        apply::apply(&self.instance, &self.links, outlook).await
    }

    /// Takes a source out of the record, and what only it asked for out of the kernel. When no source
    /// is left, nothing of the instance is.
    ///
    /// # Errors
    ///
    /// The sources that stay refer to this one, or a step failed.
    pub async fn unload(&self, lock: Locked, name: &str) -> Result<Summary> {
        let others = Ledger::new(&self.instance).others()?;
        let topology =
            exchange::compile_with(self.recorded(Some(name))?, &others).map_err(|problems| {
                anyhow::Error::new(Problems(problems)).context(format!(
                    "what else is loaded does not hold without `{name}`; `bowline unload --all` \
                     takes all of it out of force"
                ))
            })?;
        let mut sources = lock.ledger().sources()?.into_keys();
        if sources.any(|source| source != name) {
            let outlook = self.compare(topology, None, true).await?;
            // The source stays recorded until all of it is gone, so that this can be repeated.
            let summary = self.apply(&outlook).await?.finish()?;
            lock.remove(name)?;
            return Ok(summary);
        }
        self.unload_all(lock).await
    }

    /// Takes all sources but Docker's out of the record, whether they hold together or not, and what they
    /// asked for out of the kernel: everything of the instance, if Docker has nothing of it.
    ///
    /// # Errors
    ///
    /// Something could not be removed; the sources stay recorded, so that this can be repeated.
    pub async fn unload_all(&self, lock: Locked) -> Result<Summary> {
        let sources = lock.ledger().sources()?;
        let summary = match sources.get(driver::source::NAME) {
            // What Docker has, it has until it gives it back.
            Some(docker) => {
                let draft = document::draft(from_here(&docker.path), &docker.text);
                let topology = topology::compile_drafts([draft]).map_err(|problems| {
                    anyhow::Error::new(Problems(problems))
                        .context("Docker's networks need what is loaded: `docker network rm` first")
                })?;
                let outlook = self.compare(topology, None, true).await?;
                self.apply(&outlook).await?.finish()?
            }
            None => self.remove_everything().await?,
        };
        for name in sources.keys().filter(|name| *name != driver::source::NAME) {
            lock.remove(name)?;
        }
        lock.remove_if_empty()?;
        Ok(summary)
    }

    /// Removes everything of the instance from the kernel.
    async fn remove_everything(&self) -> Result<Summary> {
        let interfaces = self.underlay.interfaces().await?;
        let holdings = match self.observe(&BTreeMap::new(), &interfaces).await {
            Ok(holdings) => holdings,
            // What cannot be opened any more can still be removed.
            Err(_) => Holdings {
                links: self.links.observe(&BTreeMap::new()).await?,
                ..Holdings::default()
            },
        };
        let uplinks = self.possible_uplinks(&interfaces);
        apply::remove_everything(&self.instance, &self.links, &holdings, &uplinks).await
    }

    /// The interfaces that are not ours: at any of them a program of ours may run.
    fn possible_uplinks(&self, interfaces: &Interfaces) -> BTreeMap<IfIndex, String> {
        let others = interfaces.all.iter();
        others
            .filter(|it| {
                let own = &self.instance;
                !(own.is_host_end(&it.name)
                    || own.is_endpoint_end(&it.name)
                    || own.is_endpoint_inside(&it.name))
            })
            .map(|it| (it.ifindex, it.name.clone()))
            .collect()
    }
}

/// What of ours runs at interfaces that are not ours.
fn uplinks(
    datapath: &Datapath,
    interfaces: &BTreeMap<IfIndex, String>,
) -> Result<BTreeMap<IfIndex, HeldUplink>> {
    let attached = datapath.attached(Program::UplinkIngress, interfaces)?;
    let held = attached.into_iter().filter_map(|(ifindex, ingress)| {
        let interface = interfaces.get(&ifindex)?.clone();
        Some((ifindex, HeldUplink { interface, ingress }))
    });
    Ok(held.collect())
}

/// What XDP is at interfaces that are not ours.
fn xdp(
    instance: &Instance,
    interfaces: &BTreeMap<IfIndex, String>,
) -> Result<BTreeMap<IfIndex, HeldXdp>> {
    let states = datapath::xdp(instance, interfaces)?.into_iter();
    let held = states.filter_map(|(ifindex, state)| {
        let interface = interfaces.get(&ifindex)?.clone();
        Some((ifindex, HeldXdp { interface, state }))
    });
    Ok(held.collect())
}

/// Somebody else's XDP program is at the uplink, and ours is wanted there.
fn occupied(plan: &Plan, holdings: &Holdings) -> Option<Problem> {
    let uplink = plan.uplink.as_ref().filter(|uplink| uplink.xdp.is_some())?;
    let XdpState::Foreign(id) = holdings.xdp.get(&uplink.ifindex)?.state else {
        return None;
    };
    let message = format!(
        "the uplink {} runs without XDP: program {id}, which is not bowline's, is there and stays",
        uplink.interface
    );
    let help =
        "what cannot be from a peer is dropped a little later; `xdp: off` says that this is meant";
    Some(Problem::new(message).help(help))
}

/// The name of a file is the one by which Docker's own networks are known.
fn reserved(draft: &Draft) -> Problem {
    let name = &draft.document.name;
    Problem::new(format!(
        "the source {} is what Docker has of bowline",
        name.value
    ))
    .at(&name.origin, "no file can have this name")
    .help("give the file another name")
}

/// What was put into the record for a load, and what was there before.
struct Record<'a> {
    source: Option<(&'a str, Option<Source>)>,
    host: Option<Option<String>>,
}

impl<'a> Record<'a> {
    fn write(lock: &Locked, host: Option<&str>, requested: Option<&'a Requested>) -> Result<Self> {
        let mut record = Self {
            source: None,
            host: None,
        };
        if let Some(host) = host {
            let former = lock.ledger().host()?;
            lock.put_host(Some(host))?;
            record.host = Some(former);
        }
        if let Some(requested) = requested {
            let former = lock.ledger().sources()?.remove(&requested.name);
            requested.record(lock, former.as_ref())?;
            record.source = Some((&requested.name, former));
        }
        Ok(record)
    }

    /// Puts back what was there before.
    fn take_back(self, lock: &Locked) -> Result<()> {
        match self.source {
            Some((name, Some(former))) => lock.put(name, &former)?,
            Some((name, None)) => lock.remove(name)?,
            None => {}
        }
        match self.host {
            Some(former) => lock.put_host(former.as_deref()),
            None => Ok(()),
        }
    }
}

impl Requested {
    /// Puts the request into the record, unless it is there.
    fn record(&self, lock: &Locked, former: Option<&Source>) -> Result<()> {
        let Request {
            absolute_path,
            text,
            ..
        } = &self.request;
        if former.is_some_and(|it| it.text == *text && it.path == *absolute_path) {
            return Ok(());
        }
        let source = Source {
            path: absolute_path.clone(),
            text: text.clone(),
            loaded: SystemTime::now(),
        };
        lock.put(&self.name, &source)
    }
}

/// A recorded path, which is absolute, as somebody in the working folder would write it.
fn from_here(path: &str) -> &str {
    let Ok(folder) = env::current_dir() else {
        return path;
    };
    let inside = Path::new(path).strip_prefix(folder).ok();
    inside.and_then(Path::to_str).unwrap_or(path)
}
