//! YAML text to a tree of nodes, each with its place. This is the only file that knows YAML; it
//! knows nothing of what a topology file may contain.
//!
//! A tree between text and types makes it possible to report every mistake of a file at once, with
//! messages of our own, and to allow short forms: deserializing the types directly stops at the
//! first mistake, and serde's untagged enums say neither where it is nor what would have been right.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Location, MessageFormatter, Spanned, UserMessageFormatter};

/// A place in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// In bytes from the start of the text.
    pub(super) offset: usize,
    /// In bytes.
    pub(super) len: usize,
    /// From 1.
    pub(super) line: u32,
    /// In characters, from 1.
    pub(super) column: u32,
}

/// One node of the document.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) spot: Spot,
}

impl Node {
    /// The number of entries of a map.
    pub(super) fn entries(&self) -> usize {
        match &self.value {
            Value::Map(entries) => entries.len(),
            _ => 0,
        }
    }
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar as it is written, without quotes.
    Scalar(Kind, String),
    /// A list.
    List(Vec<Node>),
    /// A map in the file's order; a key may occur more than once.
    Map(Vec<(Node, Node)>),
}

/// What YAML takes a scalar for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    Bool,
    Number,
}

/// Why a text is not YAML, and where.
#[derive(Debug)]
pub(super) struct NotYaml {
    pub(super) message: String,
    pub(super) spot: Spot,
}

/// Reads the one YAML document in `text`.
pub(super) fn read(text: &str) -> Result<Node, NotYaml> {
    let options = serde_saphyr::options! {
        // Both policies hand everything over, so that duplicates and `<<` are refused with the
        // places of both keys, together with all other mistakes.
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        // Only `true` and `false`: a container may be called `no` (YAML 1.2, section 10.3.2).
        strict_booleans: true,
        // A name that looks like an infinite number is a name.
        reject_non_finite_typeless_float: false,
        with_snippet: false,
        emit_comments: false,
        // What is written is as long as it is; only what aliases make of it needs a limit, and has one
        // of its own. A hundred thousand workloads are several million events.
        budget: serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
        },
    };
    let read = serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options);
    let text = Text::new(text);
    match read {
        // An empty document is found where the text ends; there is nothing to be seen there.
        Ok(root) if matches!(root.value, Raw::Null) => Ok(Node {
            value: Value::Null,
            spot: text.at(0, 0),
        }),
        Ok(root) => Ok(node(root, &text)),
        Err(error) => Err(not_yaml(&error, &text)),
    }
}

/// A node as serde hands it over.
enum Raw {
    Null,
    Text(String),
    Other(Kind),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Other(Kind::Bool))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Other(Kind::Number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Other(Kind::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Other(Kind::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

/// Gives a node its place and, where YAML took the scalar for something else than text, the
/// characters that are in the file: whether `0123` is a number or a name is not YAML's to say.
fn node(
    Spanned {
        value,
        referenced,
        defined,
    }: Spanned<Raw>,
    text: &Text<'_>,
) -> Node {
    let mut spot = text.spot(&referenced);
    let value = match value {
        Raw::Null => Value::Null,
        Raw::Text(scalar) => Value::Scalar(Kind::Text, as_written(scalar, &defined, text)),
        Raw::Other(kind) => Value::Scalar(kind, text.written(&defined).to_owned()),
        Raw::List(items) => {
            let items: Vec<Node> = items.into_iter().map(|item| node(item, text)).collect();
            widen(&mut spot, items.first());
            Value::List(items)
        }
        Raw::Map(entries) => {
            let mut map = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let key = node(key, text);
                let mut value = node(value, text);
                // Nothing can be pointed at where nothing is written; its key can.
                if value.spot.len == 0 && matches!(value.value, Value::Null) {
                    value.spot = key.spot;
                }
                map.push((key, value));
            }
            widen(&mut spot, map.first().map(|(key, _)| key));
            Value::Map(map)
        }
    };
    Node { value, spot }
}

/// A list or map in block style has no character of its own: its place is its first child's.
fn widen(spot: &mut Spot, child: Option<&Node>) {
    if let Some(child) = child.filter(|_| spot.len == 0) {
        *spot = child.spot;
    }
}

/// The parser writes what it takes for infinite in one way; a container's id may be `12e4567`.
fn as_written(scalar: String, defined: &Location, text: &Text<'_>) -> String {
    let written = match scalar.as_str() {
        ".inf" | "-.inf" | ".nan" => text.written(defined),
        _ => return scalar,
    };
    if written.is_empty() || written.starts_with(['"', '\'']) {
        scalar
    } else {
        written.to_owned()
    }
}

/// The text and where its lines begin. Line and column are counted here and not taken from the
/// parser, whose count is one off at the end of a text without a last line break.
struct Text<'a> {
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        // A line ends with a line feed, a carriage return or both (YAML 1.2, section 5.4).
        let ends = bytes.iter().zip(1..).filter(|&(&byte, next)| {
            byte == b'\n' || byte == b'\r' && bytes.get(next) != Some(&b'\n')
        });
        let lines = [0].into_iter().chain(ends.map(|(_, next)| next));
        let lines = lines.collect();
        Self { text, lines }
    }

    /// The parser's place as ours. Errors of its scanner carry an offset in characters only.
    fn spot(&self, location: &Location) -> Spot {
        let span = location.span();
        match (span.byte_offset(), span.byte_len()) {
            (Some(offset), Some(len)) => self.at(to_usize(offset), to_usize(len)),
            _ => {
                let mut offsets = self.text.char_indices().map(|(at, _)| at);
                let offset = offsets
                    .nth(to_usize(span.offset()))
                    .unwrap_or(self.text.len());
                let rest = self.text.get(offset..).unwrap_or("");
                self.at(offset, rest.chars().next().map_or(0, char::len_utf8))
            }
        }
    }

    /// The place of these bytes, kept within the text and between its characters whatever the
    /// parser said.
    fn at(&self, offset: usize, len: usize) -> Spot {
        let boundary = |at: usize| {
            let mut at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let end = boundary(offset.saturating_add(len));
        let offset = boundary(offset);
        let line = self.lines.partition_point(|&start| start <= offset);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or("");
        let from_one = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Spot {
            offset,
            len: end - offset,
            line: from_one(line),
            column: from_one(before.chars().count() + 1),
        }
    }

    /// The characters at a place.
    fn written(&self, location: &Location) -> &'a str {
        let Spot { offset, len, .. } = self.spot(location);
        self.text.get(offset..offset + len).unwrap_or("")
    }
}

/// An offset into a text that is in memory always fits.
fn to_usize(number: impl TryInto<usize>) -> usize {
    number.try_into().unwrap_or(usize::MAX)
}

/// What the parser says, in a user's words.
fn not_yaml(error: &serde_saphyr::Error, text: &Text<'_>) -> NotYaml {
    let location = error.location().unwrap_or(Location::UNKNOWN);
    let message = match error.without_snippet() {
        serde_saphyr::Error::MultipleDocuments { .. } => {
            "the file holds more than one YAML document".to_owned()
        }
        serde_saphyr::Error::UnknownAnchor { .. } => {
            "the file is not valid YAML: the alias refers to an anchor that is not there".to_owned()
        }
        serde_saphyr::Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "the file is not valid YAML: the alias refers to what it is part of".to_owned()
        }
        serde_saphyr::Error::Budget { .. } => {
            "the file is nested too deeply, or its aliases make too much of it".to_owned()
        }
        other => {
            let reason = UserMessageFormatter.format_message(other);
            format!("the file is not valid YAML: {reason}")
        }
    };
    NotYaml {
        message,
        spot: text.spot(&location),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_keep_what_is_written() {
        let node = read("[0123, 1e999, 10.10, no, true, ~, \"5\", 'it''s']").unwrap();
        let Value::List(items) = node.value else {
            panic!("a list was expected");
        };
        let seen: Vec<_> = items
            .iter()
            .map(|item| match &item.value {
                Value::Scalar(kind, text) => (Some(*kind), text.as_str()),
                _ => (None, ""),
            })
            .collect();
        assert_eq!(
            seen,
            [
                (Some(Kind::Number), "0123"),
                (Some(Kind::Text), "1e999"),
                (Some(Kind::Number), "10.10"),
                (Some(Kind::Text), "no"),
                (Some(Kind::Bool), "true"),
                (None, ""),
                (Some(Kind::Text), "5"),
                (Some(Kind::Text), "it's"),
            ]
        );
    }

    #[test]
    fn places_are_bytes_and_columns_are_characters() {
        let text = "ä: [ö, é]\n";
        let Value::Map(entries) = read(text).unwrap().value else {
            panic!("a map was expected");
        };
        let Value::List(items) = &entries[0].1.value else {
            panic!("a list was expected");
        };
        let spot = items[1].spot;
        assert_eq!(&text[spot.offset..spot.offset + spot.len], "é");
        assert_eq!((spot.line, spot.column), (1, 8));
    }

    #[test]
    fn places_are_kept_between_characters() {
        let text = Text::new("é\r\nb\rc\n");
        let place = |offset, len| {
            let spot = text.at(offset, len);
            (spot.offset, spot.len, spot.line, spot.column)
        };
        assert_eq!(place(1, 2), (0, 3, 1, 1));
        assert_eq!(place(4, 1), (4, 1, 2, 1));
        assert_eq!(place(6, 1), (6, 1, 3, 1));
        assert_eq!(place(8, 5), (8, 0, 4, 1));
        assert_eq!(place(usize::MAX, usize::MAX), (8, 0, 4, 1));
    }
}
