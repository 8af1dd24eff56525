//! Reading a node as what it should be: every mistake is noted with its place, and reading goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use super::yaml::{Kind, Node, Value};
use crate::problem::Problem;
use crate::similar::closest;
use crate::source::{Origin, SourceFile};

/// A value and the place in the file where it is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it is given.
    pub origin: Origin,
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Collects the problems of one file while it is read.
///
/// Every `what` below is the path of the node in the document, such as `networks.front.mtu`.
pub(super) struct Reader {
    file: Arc<SourceFile>,
    pub(super) problems: Vec<Problem>,
}

/// The entries of a map whose keys are fixed words.
pub(super) struct Fields<'a> {
    what: String,
    origin: Origin,
    entries: BTreeMap<&'a str, &'a Node>,
    /// Keys that an unknown key was probably meant to be: they are not missing as well.
    meant: BTreeSet<&'static str>,
}

/// One entry of a map whose keys are names that the user chooses.
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) origin: Origin,
    pub(super) node: &'a Node,
}

impl Reader {
    pub(super) fn new(file: Arc<SourceFile>) -> Self {
        Self {
            file,
            problems: Vec::new(),
        }
    }

    /// The node's place.
    pub(super) fn origin(&self, node: &Node) -> Origin {
        Origin {
            file: Arc::clone(&self.file),
            offset: node.spot.offset,
            len: node.spot.len,
            line: node.spot.line,
            column: node.spot.column,
        }
    }

    /// Notes that a node is not what it should be. Returns `None` for the caller to pass on.
    pub(super) fn wrong<T>(&mut self, node: &Node, what: &str, expected: &str) -> Option<T> {
        let problem = self.mismatch(node, what, expected);
        self.problems.push(problem);
        None
    }

    /// The same with advice on how to write it.
    pub(super) fn wrong_with_help<T>(
        &mut self,
        node: &Node,
        what: &str,
        expected: &str,
        help: impl Into<String>,
    ) -> Option<T> {
        let problem = self.mismatch(node, what, expected).help(help);
        self.problems.push(problem);
        None
    }

    fn mismatch(&self, node: &Node, what: &str, expected: &str) -> Problem {
        let subject = if what.is_empty() { "the file" } else { what };
        Problem::new(format!("{subject} must be {expected}"))
            .at(&self.origin(node), format!("this is {}", describe(node)))
    }

    /// Reads a map with these keys and no others.
    pub(super) fn fields<'a>(
        &mut self,
        node: &'a Node,
        what: &str,
        keys: &[&'static str],
    ) -> Option<Fields<'a>> {
        let Value::Map(entries) = &node.value else {
            let expected = format!("a map with the keys {}", keys.join(", "));
            return self.wrong(node, what, &expected);
        };
        let mut fields = Fields {
            what: what.to_owned(),
            origin: self.origin(node),
            entries: BTreeMap::new(),
            meant: BTreeSet::new(),
        };
        let mut seen = BTreeMap::new();
        for (key, value) in entries {
            let Some(name) = self.key(key, what) else {
                continue;
            };
            if !keys.contains(&name) {
                let meant = self.unknown_key(key, name, what, keys);
                fields.meant.extend(meant);
            } else if self.first(&mut seen, key, name, what) {
                fields.entries.insert(name, value);
            }
        }
        Some(fields)
    }

    /// Reads a map whose keys are names; the names themselves are judged by the caller.
    pub(super) fn named<'a>(
        &mut self,
        node: &'a Node,
        what: &str,
        of: &str,
    ) -> Option<Vec<Named<'a>>> {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            // A section whose entries are all commented out is an empty section.
            Value::Null => return Some(Vec::new()),
            _ => return self.wrong(node, what, &format!("a map from names to {of}")),
        };
        let mut seen = BTreeMap::new();
        let mut named = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            let Some(name) = self.key(key, what) else {
                continue;
            };
            if self.first(&mut seen, key, name, what) {
                let origin = self.origin(key);
                named.push(Named { name, origin, node });
            }
        }
        Some(named)
    }

    fn key<'a>(&mut self, key: &'a Node, what: &str) -> Option<&'a str> {
        match &key.value {
            Value::Scalar(_, text) => Some(text),
            _ => {
                let what = if what.is_empty() { "the file" } else { what };
                self.wrong(key, &format!("a key in {what}"), "a single word")
            }
        }
    }

    /// Whether the key has not occurred in this map yet; notes the problem if it has.
    fn first<'a>(
        &mut self,
        seen: &mut BTreeMap<&'a str, &'a Node>,
        key: &'a Node,
        name: &'a str,
        what: &str,
    ) -> bool {
        let Some(earlier) = seen.get(name) else {
            seen.insert(name, key);
            return true;
        };
        self.problems.push(
            Problem::new(format!("key `{name}` is given twice{}", within(what)))
                .at(&self.origin(key), "given again here")
                .at(&self.origin(earlier), "first given here")
                .help("keep one of the two"),
        );
        false
    }

    /// Notes that a key is not known, and returns the one that was probably meant.
    fn unknown_key(
        &mut self,
        key: &Node,
        name: &str,
        what: &str,
        keys: &[&'static str],
    ) -> Option<&'static str> {
        let meant = closest(name, keys.iter().copied());
        let help = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known keys here: {}", keys.join(", ")),
        };
        self.problems.push(
            Problem::new(format!("unknown key `{name}`{}", within(what)))
                .at(&self.origin(key), "this key is not known")
                .help(help),
        );
        meant
    }

    /// Reads a scalar as text, whatever YAML takes it for.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<Located<String>> {
        match &node.value {
            Value::Scalar(_, text) if !text.is_empty() => Some(self.located(node, text.clone())),
            _ => self.wrong(node, what, "a text"),
        }
    }

    /// Reads a whole number from 0 up.
    pub(super) fn number(&mut self, node: &Node, what: &str) -> Option<Located<u64>> {
        let expected = "a whole number";
        match &node.value {
            Value::Scalar(kind, text) => match (text.parse(), kind) {
                (Ok(number), Kind::Number) => Some(self.located(node, number)),
                (Ok(_), _) => self.wrong_with_help(node, what, expected, "write it without quotes"),
                _ => self.wrong(node, what, expected),
            },
            _ => self.wrong(node, what, expected),
        }
    }

    /// Reads `true` or `false`.
    pub(super) fn switch(&mut self, node: &Node, what: &str) -> Option<Located<bool>> {
        let expected = "true or false";
        let Value::Scalar(kind, text) = &node.value else {
            return self.wrong(node, what, expected);
        };
        if *kind == Kind::Bool {
            let on = text.eq_ignore_ascii_case("true");
            return Some(self.located(node, on));
        }
        // What YAML 1.1 took for truth values, and many still write.
        match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "1" => self.wrong_with_help(node, what, expected, "write `true`"),
            "no" | "off" | "n" | "0" => self.wrong_with_help(node, what, expected, "write `false`"),
            _ => self.wrong(node, what, expected),
        }
    }

    /// Reads one of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        words: &[(&'static str, T)],
    ) -> Option<Located<T>> {
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let expected = match quoted.split_last() {
            Some((last, others)) if !others.is_empty() => {
                format!("{} or {last}", others.join(", "))
            }
            _ => quoted.concat(),
        };
        let Value::Scalar(_, text) = &node.value else {
            return self.wrong(node, what, &expected);
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
            return Some(self.located(node, *value));
        }
        match closest(text, words.iter().map(|(word, _)| *word)) {
            Some(close) => {
                let help = format!("did you mean `{close}`?");
                self.wrong_with_help(node, what, &expected, help)
            }
            None => self.wrong(node, what, &expected),
        }
    }

    /// Reads a list, or the one item that stands for a list of it.
    pub(super) fn one_or_many<T>(
        &mut self,
        node: &Node,
        what: &str,
        mut item: impl FnMut(&mut Self, &Node, &str) -> Option<T>,
    ) -> Vec<T> {
        match &node.value {
            Value::List(items) => {
                let numbered = items.iter().enumerate();
                let read = numbered.filter_map(|(i, node)| item(self, node, &at(what, i)));
                read.collect()
            }
            _ => item(self, node, what).into_iter().collect(),
        }
    }

    /// The items of a list.
    pub(super) fn list<'a>(&mut self, node: &'a Node, what: &str, of: &str) -> Option<&'a [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => self.wrong(node, what, &format!("a list of {of}")),
        }
    }

    /// Puts the node's place to what was read from it.
    pub(super) fn located<T>(&self, node: &Node, value: T) -> Located<T> {
        let origin = self.origin(node);
        Located { value, origin }
    }
}

impl<'a> Fields<'a> {
    /// The value of a key that need not be there, read by `read`.
    pub(super) fn optional<T>(
        &self,
        reader: &mut Reader,
        key: &str,
        read: impl FnOnce(&mut Reader, &'a Node, &str) -> Option<T>,
    ) -> Option<T> {
        let node = self.entries.get(key)?;
        read(reader, node, &self.path(key))
    }

    /// The value of a key that must be there, read by `read`.
    pub(super) fn required<T>(
        &self,
        reader: &mut Reader,
        key: &str,
        help: &str,
        read: impl FnOnce(&mut Reader, &'a Node, &str) -> Option<T>,
    ) -> Option<T> {
        if self.entries.contains_key(key) {
            return self.optional(reader, key, read);
        }
        if self.meant.contains(key) {
            return None;
        }
        let subject = if self.what.is_empty() {
            "the file"
        } else {
            &self.what
        };
        reader.problems.push(
            Problem::new(format!("{subject} has no `{key}`"))
                .at(&self.origin, format!("`{key}` is missing here"))
                .help(help),
        );
        None
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether an unknown key was probably meant to be this one.
    pub(super) fn is_meant(&self, key: &str) -> bool {
        self.meant.contains(key)
    }

    fn path(&self, key: &str) -> String {
        if self.what.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.what)
        }
    }
}

/// The path of a list's item.
pub(super) fn at(what: &str, index: usize) -> String {
    format!("{what}[{index}]")
}

fn within(what: &str) -> String {
    if what.is_empty() {
        String::new()
    } else {
        format!(" in {what}")
    }
}

/// What a node is, for the label of a message.
fn describe(node: &Node) -> String {
    match &node.value {
        Value::Null => "empty".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
        Value::Scalar(Kind::Text, text) => format!("the text {}", shown(text)),
        Value::Scalar(Kind::Bool, text) => format!("the truth value {text}"),
        Value::Scalar(Kind::Number, text) => format!("the number {text}"),
    }
}

/// A text in quotes, cut where it would fill the screen.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    let mut shown: String = text.chars().take(MOST).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    format!("{shown:?}")
}
