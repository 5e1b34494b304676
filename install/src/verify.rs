//! `cargo verify`: sets up what the tests need and runs all of them, in the build profile of the product. `cargo verify
//! -- notebooks` is a part of its own, because it takes long.

use crate::demo::{build, private_location};
use crate::places::cargo;
use crate::steps::say;
use crate::times::Times;
use crate::{cargo_test, carry, fashion, python, rust_sources};
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// A command of cargo whose environment names everything that tests and benchmarks use.
pub struct Prepared {
    pub command: Command,
    /// What this machine lacks. The tests that need it are left out.
    lacks: Vec<Lack>,
}

/// Something optional that this machine does not have.
struct Lack {
    /// Its name in `TUNEBOOK_LACKS`, where the tests read it.
    name: &'static str,
    /// What it means for the tests, and how to get it.
    note: String,
}

/// The part that compares the notebooks.
const NOTEBOOKS: &str = "notebooks";

/// Runs the tests. `arguments` go to `cargo test`, or to the part that the first of them names.
pub fn run(arguments: &[String]) -> Result<()> {
    let mut times = Times::start();
    let mut lacks = Vec::new();
    let done = match arguments.split_first() {
        Some((part, options)) if part == NOTEBOOKS => compare_notebooks(&mut times, &mut lacks, options),
        _ => set_up_and_test(&mut times, &mut lacks, arguments),
    };
    println!("\n{times}");
    for Lack { note, .. } in lacks {
        println!("note: {note}");
    }
    if arguments.is_empty() {
        println!(
            "not run: every notebook with nbclient, papermill, `tunebook run` and JupyterLab, and whether all have the \
             same results (about half an hour on two processors). `cargo verify -- {NOTEBOOKS}` runs this part."
        );
    }
    done
}

/// Executes the notebooks with everything that executes notebooks, and compares the results.
fn compare_notebooks(times: &mut Times, lacks: &mut Vec<Lack>, options: &[String]) -> Result<()> {
    let mut prepared = prepare(times)?;
    lacks.extend(prepared.lacks.into_iter().filter(|lack| lack.name == "chromium"));
    check_ci(lacks)?;
    say("Running the notebooks");
    prepared.command.args(["run", "--release", "--quiet", "--package", "tunebook-tests", "--bin", NOTEBOOKS, "--"]);
    prepared.command.args(options);
    let advice = "What stands above says why";
    times.part("running the notebooks", || crate::steps::run(&mut prepared.command, advice))
}

fn set_up_and_test(times: &mut Times, lacks: &mut Vec<Lack>, arguments: &[String]) -> Result<()> {
    let sources = times.part("preparing Rust's sources", rust_sources::for_tests)?;
    let mut prepared = prepare(times)?;
    if let Some(folder) = sources {
        prepared.command.env("RUST_SRC_PATH", folder);
    }
    *lacks = prepared.lacks;
    check_ci(lacks)?;
    times.part("fetching carried crates", carry::fetch_releases)?;
    say("Running all tests");
    cargo_test::run(times, prepared.command.args(["test", "--release", "--workspace"]), arguments)
}

/// An error if something is lacking where no test may be left out.
fn check_ci(lacks: &[Lack]) -> Result<()> {
    match lacks.first() {
        Some(Lack { note, .. }) if std::env::var_os("CI").is_some() => {
            bail!("{note} The variable CI is set, so no test may be left out")
        }
        _ => Ok(()),
    }
}

/// Builds the product, installs it privately, and prepares everything else that tests and benchmarks use.
pub fn prepare(times: &mut Times) -> Result<Prepared> {
    let built = build(times)?;
    let location = private_location()?;
    location.install(&built)?;
    let python =
        times.part("installing Python packages", || python::environment_with_papermill("venv-tests", "tests.txt"))?;
    let mut command = cargo();
    command
        .env("TUNEBOOK_BIN", built.join("tunebook"))
        .env("TUNEBOOK_WORKER", built.join("tunebook-worker"))
        .env("TUNEBOOK_PYTHON", python)
        .env("TUNEBOOK_JUPYTER_PATH", location.jupyter_path());
    let mut lacks = Vec::new();
    match times.part("preparing Fashion-MNIST", fashion::folder) {
        Ok(folder) => drop(command.env("TUNEBOOK_FASHION_MNIST", folder)),
        Err(error) => lacks.push(Lack {
            name: "fashion-mnist",
            note: format!(
                "Fashion-MNIST could not be downloaded, so models of clothes are not tested ({error:#}). Debian: apt \
                 install dataset-fashion-mnist. Elsewhere: set TUNEBOOK_FASHION_MNIST to a folder with its four files."
            ),
        }),
    }
    match chromium() {
        Some(path) => drop(command.env("TUNEBOOK_CHROMIUM", path)),
        None => lacks.push(Lack {
            name: "chromium",
            note: "There is no Chromium on the PATH, so JupyterLab in a browser is not tested. Debian: apt install \
                   chromium."
                .into(),
        }),
    }
    // Debian's packages put the daemons into a folder that only the administrator has on the PATH.
    if !["munged", "slurmctld", "slurmd", "srun", "sbatch"].iter().all(|name| on_path(name, &["/usr/sbin", "/sbin"])) {
        lacks.push(Lack {
            name: "slurm",
            note: "Slurm is not installed, so pools on a cluster are not tested (tests/tests/slurm.rs). Debian: apt \
                   install slurmctld slurmd slurm-client munge."
                .into(),
        });
    }
    for Lack { note, .. } in &lacks {
        println!("note: {note}");
    }
    let names: Vec<&str> = lacks.iter().map(|lack| lack.name).collect();
    command.env("TUNEBOOK_LACKS", names.join(" "));
    Ok(Prepared { command, lacks })
}

/// Whether there is a program of this name on the PATH or in one of these folders.
fn on_path(name: &str, also: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(also.iter().map(PathBuf::from)).any(|folder| folder.join(name).exists())
}

fn chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|path| path.exists()))
}
