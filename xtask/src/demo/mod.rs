//! `demo`: real containers on virtual networks of two hosts, in a lab that is taken away again.
//!
//! Three processes share the work. The first sets up and builds as the user; it becomes the
//! guard, as root. The guard starts the story, which does what the user sees, and takes the lab
//! away when the story has ended, in whatever way it did.

mod cast;
mod engine;
mod guard;
mod host;
mod lab;
mod snapshot;
mod stage;
mod story;

use crate::failure::{Context as _, Failure, Result};
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{binary, process, terminal};
use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

pub(crate) const HELP: &str = "\
See real containers on two hosts connected, then leave nothing behind.

Usage: cargo xtask demo [--hosts 1|2] [--keep | --clean]

Sets up what is missing, builds, and makes two hosts, which are network namespaces on a switch
of their own, each with a Docker engine of its own; nothing touches the machine's interfaces or
its own Docker. Where Docker cannot run, plain network namespaces take the place of the
containers. All of it is undone at the end, on failure, and on Ctrl-C.

  --hosts N  with 1: two containers on one host (default: 2)
  --keep     leave it running to play with, and say how to enter it
  --clean    take away what --keep, or a crash, left behind

Examples:
  cargo xtask demo
  cargo xtask demo --hosts 1
  cargo xtask demo --keep
  cargo xtask demo --clean
";

/// Which of the three processes this one is. The last two are not for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Prepare,
    Clean,
    Guard,
    Story,
}

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    role: Role,
    hosts: u8,
    keep: bool,
    /// Why there is no Docker engine, as far as the set-up can tell.
    no_docker: Option<String>,
}

const HOSTS: &str = "--hosts";
const GUARD: &str = "--guard";
const STORY: &str = "--story";
const NO_DOCKER: &str = "--no-docker";

/// Runs the demo, or the part of it that this process is.
pub(crate) fn demo(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let options = parse(arguments)?;
    match options.role {
        Role::Prepare => prepare(workspace, options),
        Role::Clean if process::is_root() => {
            lab::clean(workspace)?;
            terminal::say("nothing of the demo is left");
            Ok(())
        }
        Role::Clean => {
            process::stand_in(process::as_root(this_program()?)?.args(["demo", "--clean"]))
        }
        Role::Guard => guard::guard(workspace, &options),
        Role::Story => story::tell(workspace, &options),
    }
}

fn parse(arguments: &[OsString]) -> Result<Options> {
    let mut options = Options {
        role: Role::Prepare,
        hosts: 2,
        keep: false,
        no_docker: None,
    };
    let mut words = arguments
        .iter()
        .map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        match word.as_str() {
            HOSTS => options.hosts = hosts(words.next().as_deref())?,
            "--keep" => options.keep = true,
            "--clean" => options.role = Role::Clean,
            GUARD => options.role = Role::Guard,
            STORY => options.role = Role::Story,
            NO_DOCKER => options.no_docker = words.next(),
            _ => return Err(Failure::usage(format!("unexpected argument `{word}`"))),
        }
    }
    if options.keep && options.role == Role::Clean {
        return Err(Failure::usage("--keep and --clean exclude each other"));
    }
    Ok(options)
}

fn hosts(word: Option<&str>) -> Result<u8> {
    match word {
        Some("1") => Ok(1),
        Some("2") => Ok(2),
        _ => Err(Failure::usage("--hosts takes 1 or 2")),
    }
}

/// The arguments that make another process of this program continue with the same options.
fn continuation(role: &str, options: &Options) -> Vec<String> {
    let mut arguments = ["demo", role, HOSTS].map(str::to_owned).to_vec();
    arguments.push(options.hosts.to_string());
    if options.keep {
        arguments.push("--keep".to_owned());
    }
    if let Some(reason) = &options.no_docker {
        arguments.extend([NO_DOCKER.to_owned(), reason.clone()]);
    }
    arguments
}

fn prepare(workspace: &Workspace, mut options: Options) -> Result<()> {
    if lab::exists() {
        return Err(Failure::new(
            "a demo is there already, kept or left by a crash: `cargo xtask demo --clean` takes \
             it away",
        ));
    }
    setup::ensure(&[Purpose::Demo])?;
    if let Err(failure) = setup::ensure(&[Purpose::Engine]) {
        options.no_docker.get_or_insert_with(|| failure.to_string());
    }
    binary::build(workspace, &[])?;

    // Blocked signals stay pending, where the guard sees them; see `guard`. Only env can block
    // them for us, std cannot.
    let mut command = process::as_root("env")?;
    command
        .arg("--block-signal=INT,TERM,HUP")
        .arg(this_program()?);
    let error = command.args(continuation(GUARD, &options)).exec();
    Err(Failure::new(format!(
        "cannot start the demo through env and sudo: {error}"
    )))
}

fn this_program() -> Result<OsString> {
    let path = env::current_exe().context(|| "cannot find this program's own file".to_owned())?;
    Ok(path.into_os_string())
}

/// Says what comes next in the demo.
fn announce(text: &str) {
    terminal::say(format!("\n{}", terminal::heading(&format!("# {text}"))));
}
