//! All measurements with short settings, one after the other, each as a process of its own: one that fails takes none of the
//! others with it.
//!
//! What they measure it does not know; it hands on what they print.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Map, Value};

/// Each measurement as one calls it.
pub const SET: &[&[&str]] = &[
    &["kernels", "--times", "3"],
    &["letters", "--times", "3"],
    &["large", "--rounds", "3"],
    &["empty-round", "--rounds", "50"],
    &["big-round", "--rounds", "3"],
    &["blobs", "--mib", "64", "--runs", "3"],
    &["tasks", "--tasks", "2000", "--runs", "3", "--alone", "50"],
];

/// Runs them all and shows what they say; fails in the end if one has.
pub fn run(json: bool) -> anyhow::Result<()> {
    let (mut found, mut failed) = (Map::new(), Vec::new());
    for (place, arguments) in SET.iter().enumerate() {
        let name = arguments[0];
        eprintln!("[{} of {}] convoke-bench {}", place + 1, SET.len(), arguments.join(" "));
        match measure(arguments, json) {
            Ok(printed) if json => drop(found.insert(name.to_owned(), serde_json::from_str(&printed)?)),
            Ok(printed) => println!("{}", section(place, arguments, &printed)),
            Err(error) => {
                eprintln!("{name}: {error:#}");
                failed.push(name);
            }
        }
    }
    if json {
        println!("{}", Value::Object(found));
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// What a measurement printed.
fn measure(arguments: &[&str], json: bool) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.args(arguments).args(json.then_some("--json")).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().context("cannot run this program")?;
    ensure!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).context("what it printed is not UTF-8")
}

fn section(place: usize, arguments: &[&str], printed: &str) -> String {
    let blank = if place == 0 { "" } else { "\n" };
    format!("{blank}== {}\n{}", arguments.join(" "), printed.trim_end())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Cli;

    #[test]
    fn all_of_them_are_measurements() {
        for arguments in SET {
            let line = ["convoke-bench"].iter().chain(arguments.iter());
            let cli = Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            assert!(cli.measurement.is_some());
        }
    }

    #[test]
    fn each_has_a_heading() {
        assert_eq!(section(0, &["a", "--b", "1"], "x\ny\n"), "== a --b 1\nx\ny");
        assert_eq!(section(1, &["a"], "x"), "\n== a\nx");
    }
}
