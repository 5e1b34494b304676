//! Runs a command many times beside busy loops, and counts how often it fails. A test that fails once in twenty runs
//! has a fault, or the code that it tests has one.
//!
//! ```text
//! cargo run -p tunebook-tests --bin stress -- 20 cargo verify --test product protocol::interrupt
//! cargo run -p tunebook-tests --bin stress -- --loops 8 20 cargo verify --test product wire::
//! ```
//!
//! `cargo verify` sets the environment that the tests need and hands its arguments to `cargo test`. Without `--loops`
//! there are two busy loops for each processor; `--loops 0` only repeats the command. The output of a run that fails
//! is printed.

use anyhow::{Context, Result, bail, ensure};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;
use tunebook_tests::BusyLoops;

/// What to do.
#[derive(Debug, PartialEq)]
struct Plan {
    /// The number of busy loops, or None for two for each processor.
    loops: Option<usize>,
    runs: usize,
    command: Vec<String>,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Self> {
        const USAGE: &str = "usage: stress [--loops N] RUNS COMMAND [ARGUMENT …]";
        let (loops, rest) = match arguments {
            [option, count, rest @ ..] if option == "--loops" => (Some(count.parse().context(USAGE)?), rest),
            all => (None, all),
        };
        let [runs, command @ ..] = rest else { bail!(USAGE) };
        let runs = runs.parse().context(USAGE)?;
        ensure!(runs > 0 && !command.is_empty(), USAGE);
        Ok(Self { loops, runs, command: command.to_vec() })
    }
}

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plan = Plan::parse(&arguments)?;
    let (program, arguments) = plan.command.split_first().context("a command")?;
    // The first run may have to compile, which needs no busy loops.
    println!("a run without busy loops …");
    let mut failed = usize::from(!succeeds(Command::new(program).args(arguments))?);
    let _busy = match plan.loops {
        Some(count) => BusyLoops::start(count)?,
        None => BusyLoops::for_each_processor(2)?,
    };
    for run in 1..=plan.runs {
        let started = Instant::now();
        let ok = succeeds(Command::new(program).args(arguments))?;
        failed += usize::from(!ok);
        let outcome = if ok { "ok" } else { "FAILED" };
        println!("run {run} of {}: {outcome}, {:.1} s", plan.runs, started.elapsed().as_secs_f64());
    }
    println!("{failed} of {} runs failed", plan.runs + 1);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a command and returns whether it succeeds. Prints its output if it does not.
fn succeeds(command: &mut Command) -> Result<bool> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} does not start"))?;
    if !output.status.success() {
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_the_command_stay_with_the_command() {
        let parsed = |text: &str| Plan::parse(&text.split_whitespace().map(String::from).collect::<Vec<_>>());
        let plan = |loops, runs, command: &str| Plan {
            loops,
            runs,
            command: command.split_whitespace().map(String::from).collect(),
        };
        assert_eq!(parsed("20 cargo test --loops 3").unwrap(), plan(None, 20, "cargo test --loops 3"));
        assert_eq!(parsed("--loops 0 5 true").unwrap(), plan(Some(0), 5, "true"));
        for wrong in ["", "20", "cargo test", "--loops x 20 true", "0 true"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
