//! The worker process. Without arguments it trains the trials that standard input asks for. With a command it answers
//! one question on standard output and exits:
//!
//! - `describe`: the workloads and training functions that it can train, with their hyperparameters;
//! - `devices`: the version of libtorch and the GPUs that it finds;
//! - `smoke NAME`: whether a workload can be trained for two steps;
//! - `probe`: measurements of steps, as the request on standard input says ([`tunebook_study::probe`]);
//! - `final`: the metrics on the test set of the trial that the request on standard input names.

mod loaded_data;
mod serve;

pub(crate) use loaded_data::{load as load_data, place_data};

use crate::catalogue::Catalogue;
use crate::libtorch::{load_cuda, version};
use crate::{panics, probe, smoke, test_set};
use std::process::ExitCode;
use tch::Device;

/// The main function of a worker. `crate_folder` is the folder of the crate that was made of a `%%workload` cell, or
/// None for the built-in workloads. With it, the message of a panic names the line of the cell.
pub fn main(catalogue: Catalogue, crate_folder: Option<&'static str>) -> ExitCode {
    load_cuda();
    panics::install(crate_folder);
    tch::set_num_threads(1);
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => serve::serve(catalogue),
        (Some("describe"), _) => print(&catalogue.descriptions()),
        (Some("devices"), _) => print_devices(),
        (Some("smoke"), Some(name)) => print(&smoke::try_out(&catalogue, &name)),
        (Some("probe"), _) => probe::main(&catalogue),
        (Some("final"), _) => {
            print(&test_set::evaluate(&catalogue, &std::io::read_to_string(std::io::stdin()).unwrap_or_default()))
        }
        (Some(other), _) => {
            eprintln!(
                "tunebook-worker: there is no command `{other}`; there are `describe`, `devices`, `smoke NAME`, \
                 `probe` and `final`"
            );
            ExitCode::FAILURE
        }
    }
}

/// Prints the GPUs that libtorch finds. Their real names and their memory come from the driver, which the kernel asks.
fn print_devices() -> ExitCode {
    let gpus = (0..tch::Cuda::device_count().max(0)).filter(|_| Device::cuda_if_available().is_cuda());
    let devices: Vec<_> = gpus
        .map(|i| serde_json::json!({ "id": format!("cuda:{i}"), "kind": "cuda", "name": format!("CUDA device {i}") }))
        .collect();
    print(
        &serde_json::json!({ "libtorch": version(), "libtorch_folder": env!("TUNEBOOK_LIBTORCH"), "devices": devices }),
    )
}

fn print(answer: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string(answer) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tunebook-worker: {error}");
            ExitCode::FAILURE
        }
    }
}
