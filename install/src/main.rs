//! The project's commands `cargo demo`, `cargo verify`, `cargo measure` and `cargo carry`. Each does the set-up that it
//! needs; what an earlier command has set up is used again.

mod cargo_test;
mod carry;
mod debian;
mod demo;
mod fashion;
mod kernelspec;
mod libtorch;
mod measure;
mod places;
mod python;
mod rust_sources;
mod steps;
mod times;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Sets Tunebook up and runs its demonstration, its tests or its benchmarks.
#[derive(Parser)]
#[command(name = "tunebook-install", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sets everything up and runs the first notebook. With an option: installs or removes the kernel.
    Demo(demo::Options),
    /// Sets everything up, runs all tests and shows how long each part took.
    Verify {
        /// Arguments for `cargo test`. Or the part `notebooks`, which takes long: it runs every notebook with nbclient,
        /// papermill, `tunebook run` and JupyterLab, and says whether all have the same results. Its options are
        /// `--only 1,4` for some of the notebooks, and `--by nbclient,run` for some of nbclient, papermill, run and
        /// jupyterlab.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Installs the peers, which are other programs that do the same work, and runs the benchmarks against them.
    Measure {
        /// The parts to run. By default: kernels, store, training, cells, rust, noise, scaling and sweep. Five more
        /// take minutes and run only if they are named: large-study (a study of 100,000 trials), slots (a thousand
        /// slots at once), defaults (the error that each built-in workload reaches with its defaults), busy
        /// (%throughput while other processes use all processors) and conclusions (what is concluded from simulated
        /// studies with a known truth, beside what Optuna says of them; `conclusions --studies 200` simulates more
        /// studies of each kind than 40). One takes up to hours: samplers (regret on known functions against Optuna's
        /// samplers; `samplers --seeds 5 --functions branin,dl4` takes fewer seeds than 20, or some of the functions;
        /// others than the nine of the whole run are camel, ackley5, rosenbrock4, styblinski-tang5 and the 24 of BBOB,
        /// such as bbob-f2).
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        parts: Vec<String>,
    },
    /// Applies the patches of the published crates that are carried with changes.
    Carry(carry::Options),
}

/// The arguments of this program, without the `--` after the name of the command: `cargo demo -- --lab` arrives as
/// `demo -- --lab`, because the alias already contains the `--` that separates cargo's own arguments.
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
