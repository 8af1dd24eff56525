//! What the loaded files and other hosts say, as far as Docker's side must fit it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;

use crate::document::{Draft, draft};
use crate::driver::Refusal;
use crate::driver::source;
use crate::driver::world::World;
use crate::exchange::{Others, compile_with};
use crate::ledger::{Ledger, Source};
use crate::problem::Problem;
use crate::topology::Topology;

/// The loaded files and what other hosts have said as they were read last, and what they declare.
#[derive(Debug, Default)]
pub(super) struct Files {
    sources: BTreeMap<String, Source>,
    others: Others,
    own: Option<String>,
    pub(super) world: World,
    /// Whether that is what they say now: they could be read.
    pub(super) is_read: bool,
    /// What they were together with Docker's side last, by the text of that.
    compiled: Option<(Option<String>, Arc<Topology>)>,
}

impl Files {
    /// Reads the files, if they have changed.
    pub(super) fn read(&mut self, ledger: &Ledger, own: Option<String>) -> Result<()> {
        self.is_read = false;
        let mut sources = ledger.sources()?;
        sources.remove(source::NAME);
        let others = ledger.others()?;
        if sources == self.sources && others == self.others && own == self.own {
            self.is_read = true;
            return Ok(());
        }
        let topology = compile_with(drafts(&sources).collect(), &others)
            .map_err(|problems| refusal(&problems))?;
        self.world = World::of(&topology, own.as_deref());
        self.sources = sources;
        self.others = others;
        self.own = own;
        self.compiled = None;
        self.is_read = true;
        Ok(())
    }

    /// What they are together with Docker's side.
    pub(super) fn with(&mut self, text: Option<&str>) -> Result<Arc<Topology>, Refusal> {
        // Docker asks several times of what has not changed meanwhile.
        if let Some((of, topology)) = &self.compiled
            && of.as_deref() == text
        {
            return Ok(Arc::clone(topology));
        }
        let topology = Arc::new(self.compile(text)?);
        self.compiled = Some((text.map(str::to_owned), Arc::clone(&topology)));
        Ok(topology)
    }

    /// Whether they hold together with Docker's side.
    pub(super) fn fit(&self, text: Option<&str>) -> Result<(), Refusal> {
        self.compile(text).map(drop)
    }

    fn compile(&self, text: Option<&str>) -> Result<Topology, Refusal> {
        let own = text.map(|text| draft(source::NAME, text));
        let all = drafts(&self.sources).chain(own).collect();
        compile_with(all, &self.others).map_err(|problems| refusal(&problems))
    }
}

fn drafts(sources: &BTreeMap<String, Source>) -> impl Iterator<Item = Draft> {
    let sources = sources.values();
    sources.map(|source| draft(&source.path, &source.text))
}

/// The first problem in one line.
fn refusal(problems: &[Problem]) -> Refusal {
    let Some(first) = problems.first() else {
        return Refusal("what is loaded does not hold".to_owned());
    };
    Refusal(match &first.help {
        Some(help) => format!("{}: {help}", first.message),
        None => first.message.clone(),
    })
}
