//! Policies: which rule of a list decides about a packet.
//!
//! How a list is kept is in [`maps_schema::map::Policy`] and beside it.

use core::ops::ControlFlow;

use maps_schema::map::{
    Identity, IdentityKey, IdentityPrefixKey, MatchKey, Matches, PrefixKey, RULES_MAX, Rule,
    RuleKey, ServiceKey,
};
use maps_schema::{GroupId, Ip, PolicyList, RuleId};

use crate::frame::{Frame, Step};
use crate::tables::Tables;

#[cfg(test)]
mod tests;

/// What a packet is judged by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    /// Where it comes from.
    pub source: Ip,
    /// Where it goes to.
    pub destination: Ip,
    /// The IP protocol number.
    pub protocol: u8,
    /// The destination port, or `type << 8 | code` of an ICMP message, in host byte order; 0 where
    /// there is none, as in the later fragments of a packet.
    pub port: u16,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It is dropped, and nobody is told.
    Deny,
    /// It is dropped, and its sender is told.
    Reject,
    /// It may pass.
    Allow,
}

/// What a list says about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ruling {
    /// What becomes of the packet.
    pub action: Action,
    /// The rule that says so; [`RuleId::NONE`] where there are no rules, or the list was removed while
    /// the packet was on its way.
    pub rule: RuleId,
}

/// Working memory for one search. Memory of zeros is a valid value of it.
pub struct Workspace {
    /// What matches in all properties that were looked at, in one chunk.
    matched: Matches,
    /// What matches one end of the conversation.
    end: Matches,
    source: Identity,
    destination: Identity,
    source_class: u32,
    destination_class: u32,
    service_class: u32,
    /// The rule from which on the search goes on.
    cursor: u32,
    ruling: Ruling,
}

impl Workspace {
    /// Memory that nothing was searched in yet.
    pub const NEW: Self = Self {
        matched: Matches::NONE,
        end: Matches::NONE,
        source: Identity::NONE,
        destination: Identity::NONE,
        source_class: 0,
        destination_class: 0,
        service_class: 0,
        cursor: 0,
        ruling: Ruling::LOST,
    };
}

impl Ruling {
    /// There are no rules.
    pub const OPEN: Self = Self {
        action: Action::Allow,
        rule: RuleId::NONE,
    };
    /// There should be rules, but they are not found.
    const LOST: Self = Self {
        action: Action::Deny,
        rule: RuleId::NONE,
    };
}

/// What the rules of `list` say about a packet: the first one that matches decides, which is counted.
#[inline(always)]
pub fn judge<F: Frame, T: Tables>(
    tables: &T,
    workspace: &mut Workspace,
    list: PolicyList,
    subject: &Subject,
) -> Ruling {
    if list == PolicyList::NONE {
        return Ruling::OPEN;
    }
    let Some(policy) = tables.policy(list) else {
        return Ruling::LOST;
    };
    identify(tables, policy.part, subject.source, &mut workspace.source);
    identify(
        tables,
        policy.part,
        subject.destination,
        &mut workspace.destination,
    );
    workspace.source_class = prefix_class(tables, list, subject.source);
    workspace.destination_class = prefix_class(tables, list, subject.destination);
    let key = ServiceKey::lookup(list, subject.protocol, subject.port);
    workspace.service_class = match tables.service(&key) {
        Some(class) => class.number,
        None => 0,
    };
    workspace.cursor = 0;
    workspace.ruling = Ruling::LOST;
    // Every turn comes to the end of a chunk or to a rule that was not met before.
    let turns = policy.rules.min(RULES_MAX) + RULES_MAX / Matches::RULES;
    let mut search = Search {
        tables,
        workspace,
        list,
    };
    F::repeat(turns, &mut search);
    let ruling = search.workspace.ruling;
    tables.ruled(ruling);
    ruling
}

/// Finds out which groups an address is in.
#[inline(always)]
fn identify<T: Tables>(tables: &T, part: u32, ip: Ip, identity: &mut Identity) {
    *identity = match tables.identity(&IdentityKey { part, ip }) {
        Some(found) => found,
        None => match tables.identity_prefix(&IdentityPrefixKey::lookup(ip)) {
            Some(found) => found,
            None => Identity::NONE,
        },
    };
}

#[inline(always)]
fn prefix_class<T: Tables>(tables: &T, list: PolicyList, ip: Ip) -> u32 {
    match tables.prefix(&PrefixKey::lookup(list, ip)) {
        Some(class) => class.number,
        None => 0,
    }
}

/// A search for the first rule that matches.
struct Search<'a, T> {
    tables: &'a T,
    workspace: &'a mut Workspace,
    list: PolicyList,
}

impl<T: Tables> Step for Search<'_, T> {
    #[inline(always)]
    fn step(&mut self, _idx: u32) -> ControlFlow<()> {
        let chunk = self.workspace.cursor / Matches::RULES;
        if self.match_chunk(chunk).is_none() {
            return ControlFlow::Break(());
        }
        let Some(idx) = self.first(chunk) else {
            self.workspace.cursor = (chunk + 1) * Matches::RULES;
            return ControlFlow::Continue(());
        };
        let list = self.list;
        let Some(rule) = self.tables.rule(&RuleKey { list, idx }) else {
            return ControlFlow::Break(());
        };
        let action = match rule.action {
            Rule::GOTO => {
                self.workspace.cursor = rule.target;
                return ControlFlow::Continue(());
            }
            Rule::ALLOW => Action::Allow,
            Rule::REJECT => Action::Reject,
            _ => Action::Deny,
        };
        let rule = rule.id;
        self.workspace.ruling = Ruling { action, rule };
        ControlFlow::Break(())
    }
}

impl<T: Tables> Search<'_, T> {
    /// Finds out which rules of a chunk match; `None` if the list was removed meanwhile.
    #[inline(always)]
    fn match_chunk(&mut self, chunk: u32) -> Option<()> {
        let service = self.key(MatchKey::SERVICE, self.workspace.service_class, chunk);
        self.workspace.matched = *self.tables.matches(&service)?;

        let source = self.key(MatchKey::SOURCE_PREFIX, self.workspace.source_class, chunk);
        self.workspace.end = *self.tables.matches(&source)?;
        for group in self.workspace.source.groups {
            if group == GroupId::NONE {
                break;
            }
            self.add_group(&self.key(MatchKey::SOURCE_GROUP, group.0, chunk));
        }
        self.narrow();

        let destination = self.workspace.destination_class;
        let destination = self.key(MatchKey::DESTINATION_PREFIX, destination, chunk);
        self.workspace.end = *self.tables.matches(&destination)?;
        for group in self.workspace.destination.groups {
            if group == GroupId::NONE {
                break;
            }
            self.add_group(&self.key(MatchKey::DESTINATION_GROUP, group.0, chunk));
        }
        self.narrow();
        Some(())
    }

    #[inline(always)]
    fn key(&self, property: u32, class: u32, chunk: u32) -> MatchKey {
        let list = self.list;
        MatchKey {
            list,
            property,
            class,
            chunk,
        }
    }

    /// Adds the rules that speak of a group.
    #[inline(always)]
    fn add_group(&mut self, key: &MatchKey) {
        if let Some(row) = self.tables.matches(key) {
            for (word, more) in self.workspace.end.words.iter_mut().zip(&row.words) {
                *word |= *more;
            }
        }
    }

    /// Leaves of what matched so far what matches this end of the conversation, too.
    #[inline(always)]
    fn narrow(&mut self) {
        let Workspace { matched, end, .. } = &mut *self.workspace;
        for (word, limit) in matched.words.iter_mut().zip(&end.words) {
            *word &= *limit;
        }
    }

    /// The first rule of a chunk that matches, from the cursor on.
    #[inline(always)]
    fn first(&self, chunk: u32) -> Option<u32> {
        let start = self.workspace.cursor % Matches::RULES;
        let (first, bit) = (start / u64::BITS, start % u64::BITS);
        for (idx, word) in (0..).zip(&self.workspace.matched.words) {
            let mask = if idx == first {
                u64::MAX << bit
            } else {
                u64::MAX
            };
            let word = *word & mask;
            if idx >= first && word != 0 {
                return Some(chunk * Matches::RULES + idx * u64::BITS + word.trailing_zeros());
            }
        }
        None
    }
}
