//! The executable `tunebook`: the Jupyter kernel, and the processes that it starts from the same executable.

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
    /// Serve one Jupyter session. Front ends call this.
    Kernel {
        /// The connection file that the front end wrote.
        #[arg(short = 'f', long)]
        connection_file: PathBuf,
    },
    /// Build the crates that workloads and tensors in cells need, so that the first of them starts in seconds. Set-up
    /// calls this.
    Prepare,
    /// Build the crates of cells. `prepare` calls this with an environment of its own.
    #[command(hide = true)]
    PrepareCells {
        /// The folder of the crate for cells.
        tunebook: PathBuf,
        /// The folder of libtorch.
        libtorch: PathBuf,
    },
    /// Run trials that come in on standard input. The pool of a kernel calls this.
    Slot {
        /// The worker that trains built-in workloads.
        #[arg(long)]
        worker: PathBuf,
    },
    /// End commands that lead to slots elsewhere once standard input closes. The pool of a kernel calls this.
    #[command(hide = true)]
    Guard,
}

fn main() -> ExitCode {
    // This does not return if this process is to run cells, or to wrap rustc.
    engine::runner::hook();
    match Arguments::parse().command {
        Command::Kernel { connection_file } => kernel::main(&connection_file),
        Command::Prepare => prepare::main(),
        Command::PrepareCells { tunebook, libtorch } => prepare::cells(&tunebook, &libtorch),
        Command::Slot { worker } => tunebook_pool::slot::main(worker),
        Command::Guard => tunebook_pool::guard::main(),
    }
}
