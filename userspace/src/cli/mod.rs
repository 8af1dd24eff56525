//! The command line: one verb per file. This is where text is printed and exit codes are chosen;
//! everything else is in the library's stages.

mod agent;
mod attach;
mod completions;
mod doctor;
mod drops;
mod flows;
mod ipam;
mod load;
mod output;
mod plan;
mod ports;
mod records;
mod repair;
mod schema;
mod show;
mod stats;
mod subnet;
mod titles;
mod trace;
mod unload;
mod validate;
mod wait;

use std::io::{self, Read};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::host::Request;
use crate::instance::Instance;
use crate::problem::{Problem, Problems, Report};

use output::Format;

/// Virtual networks for Docker containers, evaluated in the kernel.
///
/// A YAML file describes virtual networks and what is plugged into them; `bowline load` puts it into
/// the kernel, where eBPF programs carry it out. No process stays behind, unless you want one: `bowline
/// agent` watches the other hosts.
#[derive(Parser, Debug)]
#[command(name = "bowline", version, max_term_width = 100, after_help = EXIT_CODES)]
#[command(
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed, nothing was changed unless the message says so; 2 wrong usage;
10 `plan` found differences, or `trace` found that the frame does not arrive;
11 `doctor` found something that does not work.

Topology files are explained in the README; `bowline schema` prints their JSON schema.";

/// What every verb takes.
#[derive(Args, Debug)]
struct Global {
    /// Which bowline of this machine: instances do not meet
    #[arg(long, global = true, env = "BOWLINE_INSTANCE", value_name = "NAME")]
    instance: Option<String>,
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    output: Format,
}

impl Global {
    fn instance(&self) -> Result<Instance> {
        Ok(Instance::new(self.instance.as_deref())?)
    }
}

#[derive(Subcommand, Debug)]
enum Verb {
    Validate(validate::Validate),
    Plan(plan::Plan),
    Load(load::Load),
    Unload(unload::Unload),
    Show(show::Show),
    Stats(stats::Stats),
    Trace(trace::Trace),
    Drops(drops::Drops),
    Flows(flows::Flows),
    Agent(agent::Agent),
    Attach(attach::Attach),
    Detach(attach::Detach),
    Doctor(doctor::Doctor),
    Ipam(ipam::Ipam),
    Ports(ports::Ports),
    Repair(repair::Repair),
    Subnet(subnet::Subnet),
    Wait(wait::Wait),
    Schema(schema::Schema),
    Completions(completions::Completions),
    Man(completions::Man),
}

/// The exit code for "there are differences" and "it does not arrive".
const DIFFERS: u8 = 10;

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let global = cli.global;
    match cli.verb {
        Verb::Validate(verb) => verb.run(&global),
        Verb::Plan(verb) => block_on(verb.run(&global)),
        Verb::Load(verb) => block_on(verb.run(&global)),
        Verb::Unload(verb) => block_on(verb.run(&global)),
        Verb::Show(verb) => block_on(verb.run(&global)),
        Verb::Stats(verb) => block_on(verb.run(&global)),
        Verb::Trace(verb) => block_on(verb.run(&global)),
        Verb::Drops(verb) => block_on(verb.run(&global)),
        Verb::Flows(verb) => block_on(verb.run(&global)),
        Verb::Agent(verb) => block_on(verb.run(&global)),
        Verb::Attach(verb) => verb.run(&global),
        Verb::Detach(verb) => verb.run(&global),
        Verb::Wait(verb) => verb.run(),
        Verb::Doctor(verb) => block_on(verb.run(&global)),
        Verb::Ipam(verb) => verb.run(&global),
        Verb::Ports(verb) => verb.run(&global),
        Verb::Repair(verb) => verb.run(&global),
        Verb::Subnet(verb) => block_on(verb.run(&global)),
        Verb::Schema(verb) => verb.run(),
        Verb::Completions(verb) => verb.run(),
        Verb::Man(verb) => verb.run(),
    }
}

/// One thread: everything happens in the network namespace that the program was started in, and
/// namespaces belong to threads.
fn block_on(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?
        .block_on(work)
}

/// Whether the reader of the output went away, as `head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints an error. Problems in files are drawn with the lines concerned.
fn report(error: &anyhow::Error) {
    let Some(Problems(problems)) = error.downcast_ref() else {
        anstream::eprintln!("{}error{}: {error:#}", output::RED, output::RESET);
        return;
    };
    let context: Vec<String> = error
        .chain()
        .take_while(|cause| !cause.is::<Problems>())
        .map(ToString::to_string)
        .collect();
    // With context, the chain begins with it; `Problems` itself prints all of its text.
    for text in context {
        anstream::eprintln!("{}error{}: {text}", output::RED, output::RESET);
    }
    for problem in problems {
        draw(problem, Report::from(problem.clone()));
    }
    let count = problems.len();
    if count > 1 {
        anstream::eprintln!("{}error{}: {count} problems", output::RED, output::RESET);
    }
}

/// Draws what is consistent in files and yet hardly meant.
fn warn_of(warnings: &[Problem]) {
    for warning in warnings {
        draw(warning, Report::warning(warning.clone()));
    }
}

/// Draws one problem with the lines concerned.
fn draw(problem: &Problem, report: Report) {
    let theme = if output::colored() {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .with_word_separator(textwrap::WordSeparator::AsciiSpace);
    let mut drawn = String::new();
    if handler.render_report(&mut drawn, &report).is_err() {
        drawn = format!("{problem}\n");
    }
    anstream::eprint!("{drawn}");
}

/// Reads a topology file; `-` is the standard input.
fn read(path: &str) -> Result<Request> {
    let text = if path == "-" {
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .context("read the standard input")?;
        text
    } else {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?
    };
    let (path, absolute_path) = if path == "-" {
        ("<stdin>", "<stdin>".to_owned())
    } else {
        let absolute = std::path::absolute(path).with_context(|| format!("locate {path}"))?;
        (path, absolute.display().to_string())
    };
    Ok(Request {
        path: path.to_owned(),
        absolute_path,
        text,
    })
}
