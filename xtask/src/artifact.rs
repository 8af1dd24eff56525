//! What cargo says it has built: the executables of tests and benchmarks.
//!
//! We run these ourselves, so that cargo works as the ordinary user and only the test runs as
//! root. Cargo's messages are one JSON object per line in a fixed form, of which three strings
//! matter here; that takes no JSON library.

use crate::failure::{Failure, Result};
use crate::workspace::Workspace;
use crate::{process, terminal};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// One executable with the target it was made from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    pub(crate) package: String,
    pub(crate) target: String,
    pub(crate) path: PathBuf,
    /// Cargo runs tests in the folder of their package, and so do we.
    pub(crate) folder: PathBuf,
}

/// Runs a cargo command that builds and does not run, and lists the test executables.
pub(crate) fn build(command: &mut Command) -> Result<Vec<Executable>> {
    command.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("cannot start cargo: {error}")))?;
    if !output.status.success() {
        let command = process::display(command);
        return Err(Failure::new(format!(
            "`{command}` {}",
            process::ending(output.status)
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(executable)
        .collect())
}

/// Builds the one test binary of everything that needs the kernel.
pub(crate) fn tests(workspace: &Workspace) -> Result<Executable> {
    terminal::step("building the tests");
    let mut command = workspace.cargo();
    // All of the workspace, so that its features are resolved as for every other test.
    command.args(["test", "--workspace", "--test", "it"]);
    let executables = build(&mut command)
        .map_err(|_| Failure::new("the tests do not build; cargo says why above"))?;
    let [tests]: [Executable; 1] = executables
        .try_into()
        .map_err(|_| Failure::new("there is not one test binary `it`"))?;
    Ok(tests)
}

fn executable(line: &str) -> Option<Executable> {
    if !line.contains(r#""reason":"compiler-artifact""#) || !is_test(line) {
        return None;
    }
    let path = PathBuf::from(string(line, "executable")?);
    let folder = PathBuf::from(string(line, "manifest_path")?)
        .parent()?
        .to_path_buf();
    let package = folder.file_name()?.to_str()?.to_owned();
    // The target's own name is the first one after its opening.
    let target = string(line.split_once(r#""target":{"#)?.1, "name")?;
    Some(Executable {
        package,
        target,
        path,
        folder,
    })
}

/// Whether it was built as a test: the profile says so. A program that tests may run is built beside
/// them, and that it could have tests is said of its target.
fn is_test(line: &str) -> bool {
    line.split_once(r#""profile":{"#)
        .and_then(|(_, rest)| rest.split_once('}'))
        .is_some_and(|(profile, _)| profile.contains(r#""test":true"#))
}

/// The first string under a key. Paths with quotes or backslashes do not occur in cargo's
/// target folders; one that did would not be found when it is run, and be named in the error.
fn string(json: &str, key: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{key}\":\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_is_read_from_its_message() {
        let line = concat!(
            r#"{"reason":"compiler-artifact","package_id":"path+file:///b/integration#0.1.0","#,
            r#""manifest_path":"/b/integration/Cargo.toml","target":{"kind":["test"],"#,
            r#""crate_types":["bin"],"name":"it","src_path":"/b/integration/tests/it/main.rs"},"#,
            r#""profile":{"opt_level":"0","test":true},"executable":"/t/debug/deps/it-1"}"#
        );
        let expected = Executable {
            package: "integration".to_owned(),
            target: "it".to_owned(),
            path: PathBuf::from("/t/debug/deps/it-1"),
            folder: PathBuf::from("/b/integration"),
        };
        assert_eq!(executable(line), Some(expected));
    }

    #[test]
    fn a_program_that_could_have_tests_is_none() {
        let line = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/b/integration/Cargo.toml","#,
            r#""target":{"kind":["bin"],"name":"lab-bowline","test":true},"#,
            r#""profile":{"opt_level":"0","test":false},"executable":"/t/debug/lab-bowline"}"#
        );
        assert_eq!(executable(line), None);
    }

    #[test]
    fn libraries_are_no_executables() {
        let line = r#"{"reason":"compiler-artifact","profile":{"test":false},"executable":null}"#;
        assert_eq!(executable(line), None);
    }
}
