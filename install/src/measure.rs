//! `cargo measure`: installs the programs that Tunebook is compared with (the peers) and runs the benchmarks.

use crate::places::{cache, cargo};
use crate::steps::say;
use crate::times::Times;
use crate::verify::prepare;
use crate::{python, rust_sources};
use anyhow::Result;

/// The version of evcxr_jupyter, the peer of the kernel.
const EVCXR_JUPYTER: &str = "0.22.0";

pub fn run(parts: &[String]) -> Result<()> {
    rust_sources::note_if_missing();
    let mut measure = prepare(&mut Times::start())?.command;
    let python = python::environment_of("venv-measure", "measure.txt")?;
    let root = cache()?.join("evcxr");
    let peer = root.join("bin/evcxr_jupyter");
    if !peer.exists() && (parts.is_empty() || parts.iter().any(|part| part == "kernels" || part == "rust")) {
        say("Installing evcxr_jupyter, the peer for Rust cells (about 15 minutes, once)");
        let mut install = cargo();
        install.args(["install", "evcxr_jupyter", "--version", EVCXR_JUPYTER, "--locked", "--root"]).arg(&root);
        crate::steps::run(&mut install, "The compiler's message stands above")?;
    }
    say("Running the benchmarks. Do not use the machine for anything else meanwhile");
    measure.env("TUNEBOOK_MEASURE_PYTHON", python).env("EVCXR_JUPYTER", peer);
    measure.args(["run", "--release", "--quiet", "--package", "tunebook-tests", "--bin", "measure", "--"]);
    measure.args(parts);
    crate::steps::run(&mut measure, "The benchmark's message stands above")
}
