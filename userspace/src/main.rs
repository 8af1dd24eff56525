//! The `bowline` program. Everything is in the library; see `cli` for the verbs.

use std::process::ExitCode;

fn main() -> ExitCode {
    bowline::cli::main()
}
