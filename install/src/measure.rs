//! `cargo measure`: the benchmarks against the peers, which are installed first.

use crate::places::{cache, cargo};
use crate::python;
use crate::steps::say;
use crate::verify::prepared;
use anyhow::Result;

/// The peer of the kernel.
const EVCXR_JUPYTER: &str = "0.22.0";

/// Installs the peers and runs the benchmarks.
pub fn run(parts: &[String]) -> Result<()> {
    let mut measure = prepared(cargo())?;
    let python = python::environment_of("venv-measure", "measure.txt")?;
    let root = cache()?.join("evcxr");
    let peer = root.join("bin/evcxr_jupyter");
    if !peer.exists() && (parts.is_empty() || parts.iter().any(|part| part == "kernels" || part == "rust")) {
        say("installing evcxr_jupyter, the peer for Rust cells (about a quarter of an hour; once)");
        let mut install = cargo();
        install.args(["install", "evcxr_jupyter", "--version", EVCXR_JUPYTER, "--locked", "--root"]).arg(&root);
        crate::steps::run(&mut install, "The compiler's message stands above")?;
    }
    say("running the benchmarks; leave the machine alone meanwhile");
    measure.env("TUNEBOOK_MEASURE_PYTHON", python).env("EVCXR_JUPYTER", peer);
    measure.args(["run", "--release", "--quiet", "--package", "tunebook-tests", "--bin", "measure", "--"]);
    measure.args(parts);
    crate::steps::run(&mut measure, "The benchmark's message stands above")
}
