//! Policies: which rule of a list decides about a packet.
//!
//! How a list is kept is in [`maps_schema::map::Policy`] and beside it.

use core::hint::black_box;
use core::ops::ControlFlow;

use maps_schema::map::{
    GROUPS_MAX, Identity, IdentityKey, IdentityPrefixKey, MatchKey, Matches, PrefixKey, RULES_MAX,
    Rule, RuleKey, ServiceKey,
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

/// How many selectors a packet has at most: its service, and two addresses with their groups; of each
/// also that it is anything at all.
const SELECTORS_MAX: usize = 2 + 2 * (2 + GROUPS_MAX);
/// Room for them in an array whose index is masked.
const SELECTORS_ROOM: usize = SELECTORS_MAX.next_power_of_two();

/// One property of a packet, by which a vector is found.
#[derive(Clone, Copy)]
struct Selector {
    /// As [`MatchKey::property`].
    property: u32,
    /// As [`MatchKey::class`].
    class: u32,
    /// Not 0 if it is the last one of the packet's service, of its source or of its destination: of
    /// each of them a rule has to match one property.
    is_last: u32,
}

/// Working memory for one search. Memory of zeros is a valid value of it.
pub struct Workspace {
    selectors: [Selector; SELECTORS_ROOM],
    /// How many of them there are.
    count: u32,
    /// The one that is next in this chunk.
    next: u32,
    /// The rule from which on the search goes on.
    cursor: u32,
    ruling: Ruling,
    /// Which rules of this chunk match in all that was looked at.
    matched: Matches,
    /// Which match one property of the service, source or destination that is being looked at.
    either: Matches,
    identity: Identity,
}

impl Workspace {
    /// Memory that nothing was searched in yet.
    pub const NEW: Self = Self {
        selectors: [Selector {
            property: 0,
            class: 0,
            is_last: 0,
        }; SELECTORS_ROOM],
        count: 0,
        next: 0,
        cursor: 0,
        ruling: Ruling::LOST,
        matched: Matches::NONE,
        either: Matches::NONE,
        identity: Identity::NONE,
    };

    #[inline(always)]
    fn select(&mut self, property: u32, class: u32, is_last: bool) {
        // The verifier must see that the index is within bounds.
        let idx = black_box(self.count) as usize & (SELECTORS_ROOM - 1);
        if let Some(selector) = self.selectors.get_mut(idx) {
            *selector = Selector {
                property,
                class,
                is_last: is_last.into(),
            };
            self.count += 1;
        }
    }

    /// Selects the rules for anything, and those for a class.
    #[inline(always)]
    fn select_class(&mut self, property: u32, class: u32) {
        self.select(property, 0, class == 0);
        if class != 0 {
            self.select(property, class, true);
        }
    }

    /// Goes on at a rule of a chunk that nothing was looked at in yet.
    #[inline(always)]
    fn enter_chunk(&mut self, cursor: u32) {
        self.cursor = cursor;
        self.next = 0;
        for word in &mut self.matched.words {
            *word = u64::MAX;
        }
        for word in &mut self.either.words {
            *word = 0;
        }
    }
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

/// What the rules of `list` say about a packet: the first one that matches decides.
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
    let rules = classify(tables, workspace, list, subject);
    if rules == 0 {
        return Ruling::LOST;
    }
    workspace.ruling = Ruling::LOST;
    search::<F, T>(tables, workspace, list, rules);
    workspace.ruling
}

/// Finds out what the rules of a list can know the packet by. Returns how many rules there are.
#[inline(never)]
fn classify<T: Tables>(
    tables: &T,
    workspace: &mut Workspace,
    list: PolicyList,
    subject: &Subject,
) -> u32 {
    let Some(policy) = tables.policy(list) else {
        return 0;
    };
    let key = ServiceKey::lookup(list, subject.protocol, subject.port);
    let service = match tables.service(&key) {
        Some(class) => class.number,
        None => 0,
    };
    workspace.count = 0;
    workspace.select_class(MatchKey::SERVICE, service);
    let place = (list, policy.part);
    let source = (MatchKey::SOURCE_PREFIX, MatchKey::SOURCE_GROUP);
    select_end(tables, workspace, place, subject.source, source);
    let destination = (MatchKey::DESTINATION_PREFIX, MatchKey::DESTINATION_GROUP);
    select_end(tables, workspace, place, subject.destination, destination);
    policy.rules
}

/// Looks for the first of so many rules that matches.
#[inline(never)]
fn search<F: Frame, T: Tables>(
    tables: &T,
    workspace: &mut Workspace,
    list: PolicyList,
    rules: u32,
) {
    workspace.enter_chunk(0);
    // Each chunk, and each rule that leads to another one, takes a turn for every selector and one more.
    let rounds = rules.min(RULES_MAX) + RULES_MAX / Matches::RULES;
    let mut search = Search {
        tables,
        workspace,
        list,
    };
    F::repeat(rounds * (SELECTORS_MAX as u32 + 1), &mut search);
}

/// Selects what is known of one end of a conversation: the list's prefix that it is in, and its groups.
#[inline(always)]
fn select_end<T: Tables>(
    tables: &T,
    workspace: &mut Workspace,
    (list, part): (PolicyList, u32),
    ip: Ip,
    (prefix, group): (u32, u32),
) {
    workspace.identity = match tables.identity(&IdentityKey { part, ip }) {
        Some(found) => found,
        None => match tables.identity_prefix(&IdentityPrefixKey::lookup(ip)) {
            Some(found) => found,
            None => Identity::NONE,
        },
    };
    for idx in 0..GROUPS_MAX {
        match workspace.identity.groups.get(idx) {
            Some(&id) if id != GroupId::NONE => workspace.select(group, id.0, false),
            _ => break,
        }
    }
    let class = match tables.prefix(&PrefixKey::lookup(list, ip)) {
        Some(class) => class.number,
        None => 0,
    };
    workspace.select_class(prefix, class);
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
        if self.workspace.next < self.workspace.count {
            if !self.narrow(chunk) {
                self.workspace.enter_chunk((chunk + 1) * Matches::RULES);
            }
            return ControlFlow::Continue(());
        }
        let Some(idx) = self.first(chunk) else {
            self.workspace.enter_chunk((chunk + 1) * Matches::RULES);
            return ControlFlow::Continue(());
        };
        let list = self.list;
        let Some(rule) = self.tables.rule(&RuleKey { list, idx }) else {
            return ControlFlow::Break(());
        };
        let action = match rule.action {
            Rule::GOTO => {
                if rule.target / Matches::RULES == chunk {
                    self.workspace.cursor = rule.target;
                } else {
                    self.workspace.enter_chunk(rule.target);
                }
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
    /// Leaves of the rules of a chunk those that match in the next property; whether any is left.
    #[inline(always)]
    fn narrow(&mut self, chunk: u32) -> bool {
        let workspace = &mut *self.workspace;
        let idx = black_box(workspace.next) as usize & (SELECTORS_ROOM - 1);
        let Some(&Selector {
            property,
            class,
            is_last,
        }) = workspace.selectors.get(idx)
        else {
            return false;
        };
        workspace.next += 1;
        let key = MatchKey {
            list: self.list,
            property,
            class,
            chunk,
        };
        if let Some(row) = self.tables.matches(&key) {
            for (word, more) in workspace.either.words.iter_mut().zip(&row.words) {
                *word |= *more;
            }
        }
        if is_last == 0 {
            return true;
        }
        let Workspace {
            matched, either, ..
        } = workspace;
        let mut left = 0;
        for (word, limit) in matched.words.iter_mut().zip(&mut either.words) {
            *word &= *limit;
            *limit = 0;
            left |= *word;
        }
        left != 0
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
