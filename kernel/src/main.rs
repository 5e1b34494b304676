//! The executable `tunebook`: the Jupyter kernel, and the processes that it starts from the same executable.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tunebook_kernel::notebook::{self, DiffOptions, Parameter, RunOptions};
use tunebook_kernel::{engine, kernel, prepare};

/// What stands below the list of commands.
const AFTER: &str = "To begin:\n  tunebook run NOTEBOOK.ipynb       runs a notebook, here without Jupyter\n  \
    tunebook sweep FILE               trains the trials of a study that FILE declares\n  \
    tunebook insight STUDY            says what the study found\n  \
    tunebook COMMAND --help           explains a command\n\n\
    The studies are kept in .tunebook/studies.db in the current folder. In Jupyter, choose the kernel Rust (Tunebook).";

/// Tunes the hyperparameters of deep learning models: plans, runs, records and explains studies, in notebooks with
/// cells in Rust or with these commands on a terminal.
#[derive(Parser)]
#[command(name = "tunebook", version, after_help = AFTER)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve one Jupyter session. Jupyter calls this.
    Kernel {
        /// The connection file that the front end wrote.
        #[arg(short = 'f', long)]
        connection_file: PathBuf,
    },
    /// Run a notebook from its first cell to its last. The exit status is 0 if every cell ran, 1 if one failed.
    Run {
        /// The notebook, which stays as it is.
        notebook: PathBuf,
        /// A parameter, as papermill has them: the cell after the one with the tag `parameters` sets it.
        #[arg(short = 'p', long = "parameter", value_name = "NAME=VALUE")]
        parameters: Vec<Parameter>,
        /// Where the executed notebook goes: a file that ends in .ipynb or .html. After an error it holds what ran.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// The time limit of a cell: 30s, 30m, 2h.
        #[arg(long, value_parser = tunebook_magics::duration)]
        timeout: Option<Duration>,
        /// The current folder of the cells (default: that of the notebook).
        #[arg(long, value_name = "FOLDER")]
        cwd: Option<PathBuf>,
    },
    /// Compare the results that two notebooks hold. The exit status is 0 if they are the same, 1 if they differ.
    Diff {
        a: PathBuf,
        b: PathBuf,
        /// Numbers with at most this relative difference are the same.
        #[arg(long, default_value_t = 0.0)]
        tolerance: f64,
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
    #[command(hide = true)]
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
    let matches = match Arguments::command().subcommands(notebook::magics()).try_get_matches() {
        Ok(matches) => matches,
        Err(usage) => return notebook::show_usage(&usage),
    };
    if let Some((name, words)) = matches.subcommand()
        && notebook::magics().any(|magic| magic.get_name() == name)
    {
        let words: Vec<String> = words.get_many::<String>("words").into_iter().flatten().cloned().collect();
        return notebook::run_magic(name, &words);
    }
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match arguments.command {
        Command::Kernel { connection_file } => kernel::main(&connection_file),
        Command::Run { notebook, parameters, to, timeout, cwd } => {
            notebook::run(&RunOptions { notebook, parameters, to, timeout, folder: cwd })
        }
        Command::Diff { a, b, tolerance } => notebook::diff(&DiffOptions { a, b, tolerance }),
        Command::Prepare => prepare::main(),
        Command::PrepareCells { tunebook, libtorch } => prepare::cells(&tunebook, &libtorch),
        Command::Slot { worker } => tunebook_pool::slot::main(worker),
        Command::Guard => tunebook_pool::guard::main(),
    }
}
