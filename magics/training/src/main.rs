//! `tunebook-worker`: trains trials that come in on standard input. With a word it answers a question and exits:
//! `describe` lists the workloads, `devices` the GPUs that libtorch finds.

use std::process::ExitCode;

fn main() -> ExitCode {
    tunebook_training::libtorch::load_cuda();
    match std::env::args().nth(1).as_deref() {
        None => tunebook_training::worker::main(),
        Some("describe") => tunebook_training::worker::print_descriptions(),
        Some("devices") => tunebook_training::worker::print_devices(),
        Some(other) => {
            eprintln!("tunebook-worker: `{other}` is no question; known are `describe` and `devices`");
            ExitCode::FAILURE
        }
    }
}
