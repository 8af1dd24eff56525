//! How far it goes: what many workloads, routes and hosts take, in time and in memory.
//!
//! What needs no kernel is done by a process of its own for each size, so that the memory of one is not
//! counted for the next. What needs one is done as a user does it, by `bowline load`.

mod kernel;
mod page;
mod stages;
mod topologies;

use std::path::PathBuf;
use std::process::ExitCode;

use integration::lab::is_usable;

use topologies::Kind;

const USAGE: &str = "Usage: scale [--write FILE | --up-to N]\n";

/// How many there are of what is counted, by kind.
const SIZES: &[(Kind, &[u32])] = &[
    (Kind::Stations, &[10, 1000, 10_000, 100_000]),
    (Kind::Routes, &[10, 1000, 10_000, 100_000, 1_000_000]),
    (Kind::Hosts, &[10, 100, 1000]),
];
/// How many workloads with interfaces of their own a host is given.
const LINKS: [u32; 3] = [10, 100, 300];
/// Loads of more than this take longer than there is patience for here.
const LOADED: u32 = 100_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "--bench")
        .collect();
    let (file, most): (Option<PathBuf>, u32) = match words.as_slice() {
        [] => (None, u32::MAX),
        ["--write", file] => (Some(file.into()), u32::MAX),
        ["--up-to", number] => match number.parse() {
            Ok(number) => (None, number),
            Err(_) => {
                eprint!("{USAGE}");
                return ExitCode::from(2);
            }
        },
        // The processes that this one starts.
        ["--stages", kind, size] => return stages::child(kind, size),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if !is_usable() {
        return ExitCode::FAILURE;
    }
    let mut page = page::Page::default();
    for &(kind, sizes) in SIZES {
        for &size in sizes.iter().filter(|size| **size <= most) {
            eprintln!("{size} {}", kind.name());
            let stages = stages::measure(kind, size);
            let loads = (kind != Kind::Hosts && size <= LOADED).then(|| kernel::load(kind, size));
            if let Some([known, first]) = loads.as_ref().and_then(|loads| loads.frames) {
                eprintln!(
                    "  a frame of a known flow {known:.0} ns, the first of a flow {first:.0} ns"
                );
            }
            page.add(kind, size, &stages, loads.as_ref());
        }
    }
    for links in LINKS.into_iter().filter(|links| *links <= most) {
        eprintln!("{links} links");
        page.add_links(links, &kernel::links(links));
    }
    let text = page.text();
    match file {
        None => print!("{text}"),
        Some(file) => {
            if let Err(error) = std::fs::write(&file, text) {
                eprintln!("{}: {error}", file.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
