//! How results are printed: tables for people, JSON and YAML for programs.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::titles::Titles;
use crate::document;
use crate::instance::Instance;

/// Docker's names, for whatever is printed from now on.
static TITLES: OnceLock<Titles> = OnceLock::new();

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs; keys do not change
    Json,
    /// The same as YAML
    Yaml,
}

/// Terminal sequences; `anstream` takes them out where they do not belong.
pub(super) const RED: &str = "\x1b[1;31m";
pub(super) const GREEN: &str = "\x1b[32m";
pub(super) const YELLOW: &str = "\x1b[33m";
pub(super) const DIM: &str = "\x1b[2m";
pub(super) const RESET: &str = "\x1b[0m";

/// Whether messages may be coloured: on a terminal, unless `NO_COLOR` is set.
pub(super) fn colored() -> bool {
    !matches!(
        anstream::stderr().current_choice(),
        anstream::ColorChoice::Never
    )
}

/// Whether the output goes to a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Lets results speak of what Docker has by the names that it has there; returns these.
pub(super) fn entitle(instance: &Instance) -> &'static Titles {
    TITLES.get_or_init(|| Titles::of(instance))
}

/// A result as people know it.
fn entitled(text: &str) -> String {
    TITLES
        .get()
        .map_or_else(|| text.to_owned(), |titles| titles.translate(text))
}

/// Prints a value for programs.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn print_value(format: Format, value: &impl Serialize) -> Result<()> {
    let value = serde_json::to_value(value)?;
    let text = match format {
        Format::Table | Format::Json => serde_json::to_string_pretty(&value)? + "\n",
        Format::Yaml => document::to_yaml(&value)?,
    };
    Ok(io::stdout().lock().write_all(entitled(&text).as_bytes())?)
}

/// Prints a line for people.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn print_line(line: impl AsRef<str>) -> Result<()> {
    let line = entitled(line.as_ref());
    Ok(writeln!(anstream::stdout().lock(), "{line}")?)
}

/// A warning beside the result.
pub(super) fn warn(text: impl AsRef<str>) {
    anstream::eprintln!("{YELLOW}warning{RESET}: {}", text.as_ref());
}

/// Prints a table: in columns on a terminal, tab-separated and complete in a pipe.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn print_table(header: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let mut out = io::stdout().lock();
    if !is_terminal() {
        writeln!(out, "{}", header.join("\t"))?;
        for row in rows {
            writeln!(out, "{}", entitled(&row.join("\t")))?;
        }
        return Ok(());
    }
    let mut table = Table::new();
    // A serial console does not know its width and says 0.
    let arrangement = match table.width() {
        None | Some(0) => ContentArrangement::Disabled,
        Some(_) => ContentArrangement::Dynamic,
    };
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(arrangement)
        .set_header(header.iter())
        .add_rows(rows.iter().map(|row| row.iter().map(|cell| entitled(cell))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
