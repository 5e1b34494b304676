//! `tunebook-worker`: the worker process that trains the built-in workloads.

use std::process::ExitCode;

fn main() -> ExitCode {
    tunebook_training::worker::main(tunebook_training::workloads::builtin(), None)
}
