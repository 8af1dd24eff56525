//! Numbers that a case file knows by name: ports and identifiers that the datapath chooses.
//!
//! A name means the number that was there when it was seen first, and from then on that one. Names that
//! differ mean numbers that differ.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// A port or an identifier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Number {
    /// It is known.
    Given(u16),
    /// It is the one that has this name.
    Named(String),
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;

        impl Visitor<'_> for Word {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number below 65536, or a name for one")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
                let number = u16::try_from(number).map_err(E::custom)?;
                Ok(Number::Given(number))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Number, E> {
                Ok(Number::Named(name.to_owned()))
            }
        }

        deserializer.deserialize_any(Word)
    }
}

/// The numbers that names mean so far.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Numbers(BTreeMap<String, u16>);

impl Numbers {
    /// What a word of a case file means.
    ///
    /// # Errors
    /// The name was not seen yet.
    pub fn of(&self, number: &Number) -> Result<u16> {
        match number {
            Number::Given(number) => Ok(*number),
            Number::Named(name) => {
                let known = self.0.get(name).copied();
                known.with_context(|| format!("nobody has chosen `{name}` yet"))
            }
        }
    }

    /// The name of a number that is not known yet.
    #[must_use]
    pub fn open<'a>(&self, number: &'a Number) -> Option<&'a str> {
        match number {
            Number::Named(name) if !self.0.contains_key(name) => Some(name),
            Number::Given(_) | Number::Named(_) => None,
        }
    }

    /// As these, with something in place of a number that is not known yet.
    #[must_use]
    pub fn supposing(&self, name: &str) -> Self {
        let mut numbers = self.clone();
        numbers.0.insert(name.to_owned(), 0);
        numbers
    }

    /// Notes which number was chosen.
    ///
    /// # Errors
    /// It is one of those that services have (RFC 6335 section 6), or has another name.
    pub fn learn(&mut self, name: &str, number: u16) -> Result<()> {
        ensure!(number >= 1024, "`{name}` is {number}, a service's");
        let other = self.0.iter().find(|(_, known)| **known == number);
        ensure!(other.is_none(), "`{name}` is {number}, and so is {other:?}");
        self.0.insert(name.to_owned(), number);
        Ok(())
    }
}
