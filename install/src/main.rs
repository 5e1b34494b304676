//! The project's commands: `cargo demo`, `cargo verify`, `cargo measure` and `cargo carry`. Each does the set-up that
//! it needs, once.

mod carry;
mod demo;
mod fashion;
mod kernelspec;
mod libtorch;
mod measure;
mod places;
mod python;
mod steps;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Set-up, demonstration, tests and benchmarks of Tunebook.
#[derive(Parser)]
#[command(name = "tunebook-install", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sets everything up and runs the first notebook; with an option installs or removes the kernel.
    Demo(demo::Options),
    /// Sets up what the tests need and runs all of them.
    Verify {
        /// Passed on to `cargo test`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Installs the peers and runs the benchmarks against them.
    Measure {
        /// The parts to run: kernels, store, training, cells, noise, scaling, sweep (default: these), defaults (what the built-in
        /// workloads reach; minutes), busy (%throughput beside processes that take the cores; minutes).
        parts: Vec<String>,
    },
    /// Applies the patches of the published crates that are carried with changes.
    Carry(carry::Options),
}

/// `cargo demo -- --lab` arrives as `demo -- --lab`: the alias has used up cargo's own `--` already.
fn arguments() -> impl Iterator<Item = String> {
    std::env::args().enumerate().filter(|(i, argument)| !(*i == 2 && argument == "--")).map(|(_, argument)| argument)
}

fn main() -> ExitCode {
    let done = match Arguments::parse_from(arguments()).command {
        Command::Demo(options) => demo::run(&options),
        Command::Verify { rest } => verify::run(&rest),
        Command::Measure { parts } => measure::run(&parts),
        Command::Carry(options) => carry::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
