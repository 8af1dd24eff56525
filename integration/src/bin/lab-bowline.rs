//! The `bowline` program once more, as a part of this package: cargo builds it before the tests and
//! benchmarks that run it, and tells them where it is.

use std::process::ExitCode;

fn main() -> ExitCode {
    bowline::cli::main()
}
