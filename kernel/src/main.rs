//! `tunebook`: the Jupyter kernel, and the process that runs in a slot of its pool.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tunebook_kernel::{engine, kernel, prepare};

/// A Rust kernel for Jupyter with magics for tuning deep learning models.
#[derive(Parser)]
#[command(name = "tunebook", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve one Jupyter session; front ends call this.
    Kernel {
        /// The connection file that the front end wrote.
        #[arg(short = 'f', long)]
        connection_file: PathBuf,
    },
    /// Build ahead what a `%%workload` and tensors in cells need, so that the first ones are there in seconds; set-up calls this.
    Prepare,
    /// The part of `prepare` that needs an environment of its own.
    #[command(hide = true)]
    PrepareCells {
        /// The folder of the crate for cells.
        tunebook: PathBuf,
        /// The folder of libtorch.
        libtorch: PathBuf,
    },
    /// Run trials that come in on standard input; a kernel's pool calls this.
    Slot {
        /// The worker that trains built-in workloads.
        #[arg(long)]
        worker: PathBuf,
    },
}

fn main() -> ExitCode {
    // Does not return in the process that runs the user's cells, nor in the wrapper around rustc.
    engine::runner::hook();
    match Arguments::parse().command {
        Command::Kernel { connection_file } => kernel::main(&connection_file),
        Command::Prepare => prepare::main(),
        Command::PrepareCells { tunebook, libtorch } => prepare::cells(&tunebook, &libtorch),
        Command::Slot { worker } => tunebook_pool::slot::main(worker),
    }
}
