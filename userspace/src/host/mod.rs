//! A document's journey carried out on this host: what is recorded and what is asked for are compiled
//! together, compared with what the kernel holds, and the difference is applied.
//!
//! This is where the pure stages meet the edges. Everything here runs in the network namespace of the
//! calling thread, which is the host.

pub mod apply;
pub mod places;

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Context, Result};
use maps_schema::IfIndex;
use maps_schema::map::MapName;

pub use apply::Summary;
use places::Places;

use crate::diff::{Diff, Holdings};
use crate::document::{self, Draft};
use crate::instance::Instance;
use crate::kernel::bpffs;
use crate::kernel::capability::{check_capabilities, check_kernel};
use crate::kernel::datapath::Datapath;
use crate::kernel::link::Links;
use crate::kernel::netns::Netns;
use crate::kernel::object::Object;
use crate::ledger::{Ledger, Locked, Source};
use crate::plan::Plan;
use crate::problem::Problems;
use crate::topology::{self, Topology};

/// An instance on this host.
#[derive(Debug)]
pub struct Host {
    instance: Instance,
    links: Links,
}

/// What is asked for, compared with what is there.
#[derive(Debug)]
pub struct Outlook {
    /// Everything that the sources describe together.
    pub topology: Topology,
    /// Where the workloads are.
    pub places: Places,
    /// What the kernel must contain.
    pub plan: Plan,
    /// What the kernel contains.
    pub holdings: Holdings,
    /// What must change.
    pub diff: Diff,
    object: Object,
}

/// A topology file that is to be loaded.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path as the user gave it.
    pub path: String,
    /// The text.
    pub text: String,
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
        })
    }

    /// Compares what is recorded, with `request` in place of the source of the same name, with what
    /// the kernel holds.
    ///
    /// # Errors
    ///
    /// [`Problems`] in the files, a workload of `request` that is not there, or the kernel does not
    /// say what it holds.
    pub async fn look(&self, request: Option<&Request>) -> Result<Outlook> {
        let requested = request.map(|request| document::draft(&request.path, &request.text));
        let name = requested
            .as_ref()
            .map(|draft| draft.document.name.value.clone());
        let mut drafts = self.recorded(name.as_deref())?;
        drafts.extend(requested);
        let topology = topology::compile_drafts(drafts).map_err(Problems)?;
        let places = Places::resolve(&topology, &Netns::current()?).await;
        if let Some(name) = name {
            places.require(&topology, &name)?;
        }
        self.compare(topology, places).await
    }

    /// The recorded sources but `except`.
    fn recorded(&self, except: Option<&str>) -> Result<Vec<Draft>> {
        let sources = Ledger::new(&self.instance).sources()?;
        Ok(sources
            .iter()
            .filter(|(name, _)| Some(name.as_str()) != except)
            .map(|(_, source)| document::draft(&source.path, &source.text))
            .collect())
    }

    async fn compare(&self, topology: Topology, places: Places) -> Result<Outlook> {
        let object = Object::embedded()?;
        let plan = Plan::new(&topology, &self.instance, &places.absent());
        let holdings = self.observe(&places.by_host_end(&plan)).await?;
        let diff = Diff::new(&plan, &object.fingerprint(plan.drop_events), &holdings);
        Ok(Outlook {
            topology,
            places,
            plan,
            holdings,
            diff,
            object,
        })
    }

    /// What the kernel holds of this instance. `netns` says, by the name of the host's end, where the
    /// other end of a link should be.
    ///
    /// # Errors
    ///
    /// The kernel does not say it.
    pub async fn observe(&self, netns: &BTreeMap<String, &Netns>) -> Result<Holdings> {
        let links = self.links.observe(netns).await?;
        let Some(datapath) = Datapath::open(&self.instance)? else {
            return Ok(Holdings {
                links,
                ..Holdings::default()
            });
        };
        let interfaces: BTreeMap<IfIndex, String> = links
            .iter()
            .map(|(name, link)| (link.ifindex, name.clone()))
            .collect();
        let mut tables = BTreeMap::new();
        for &map in MapName::ALL {
            tables.insert(map, datapath.rows(map)?);
        }
        Ok(Holdings {
            attached: datapath.attached(&interfaces)?,
            fingerprint: Some(datapath.fingerprint().to_owned()),
            links,
            tables,
        })
    }

    /// Applies what [`Host::look`] found. The request is recorded first, so that whatever happens,
    /// the next `load` and `unload` know of it; if the kernel refuses, both are as before.
    ///
    /// # Errors
    ///
    /// A step failed; what was done before it is undone.
    pub async fn load(
        &self,
        lock: &Locked,
        request: Option<&Request>,
        outlook: &Outlook,
    ) -> Result<Summary> {
        let name = request.map(|request| {
            document::draft(&request.path, &request.text)
                .document
                .name
                .value
        });
        let former = match &name {
            Some(name) => lock.ledger().sources()?.remove(name),
            None => None,
        };
        if let (Some(name), Some(request)) = (&name, request)
            && former
                .as_ref()
                .is_none_or(|former| former.text != request.text || former.path != request.path)
        {
            let loaded = SystemTime::now();
            let source = Source {
                path: request.path.clone(),
                text: request.text.clone(),
                loaded,
            };
            lock.put(name, &source)?;
        }
        let result = self.apply(outlook).await;
        if let (Err(_), Some(name)) = (&result, &name) {
            match &former {
                Some(former) => lock.put(name, former),
                None => lock.remove(name),
            }
            .context("take the source out of the record again")?;
        }
        result
    }

    async fn apply(&self, outlook: &Outlook) -> Result<Summary> {
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
        let topology =
            topology::compile_drafts(self.recorded(Some(name))?).map_err(|problems| {
                anyhow::Error::new(Problems(problems)).context(format!(
                    "what else is loaded does not hold without `{name}`"
                ))
            })?;
        let others = lock.ledger().sources()?.keys().any(|source| source != name);
        if others {
            let places = Places::resolve(&topology, &Netns::current()?).await;
            let outlook = self.compare(topology, places).await?;
            let summary = self.apply(&outlook).await?;
            lock.remove(name)?;
            return Ok(summary);
        }
        let holdings = self.observe(&BTreeMap::new()).await?;
        let summary = apply::remove_everything(&self.instance, &self.links, &holdings).await?;
        lock.remove(name)?;
        lock.remove_if_empty()?;
        Ok(summary)
    }
}
