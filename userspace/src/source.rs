//! A topology file as text, and places in it: what every object remembers, so that an error, a
//! trace or a listing can point at the line that is behind it.

use std::fmt;
use std::sync::Arc;

/// The place in a file that an object comes from.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Where the object begins, in bytes from the start of the file.
    pub offset: usize,
    /// How many bytes to point at.
    pub len: usize,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A topology file that was read.
#[derive(PartialEq, Eq)]
pub struct SourceFile {
    /// The source's name: `name:` in the file, or empty where the file has no usable one.
    pub name: String,
    /// The path as the user gave it.
    pub path: String,
    /// The text, without a byte order mark.
    pub text: String,
}

impl Origin {
    /// Whether both places are in the same file.
    #[must_use]
    pub fn same_file(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

impl SourceFile {
    /// What to call the source in a message: its name, or the path of a file without one.
    #[must_use]
    pub fn title(&self) -> &str {
        if self.name.is_empty() {
            &self.path
        } else {
            &self.name
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.path, self.line, self.column)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path, self.name)
    }
}
