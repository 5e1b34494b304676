//! `cargo demo`: sets everything up, runs the first notebook, and installs or removes the kernel.

use crate::kernelspec::Location;
use crate::places::{cache, cargo, repository, target};
use crate::steps::say;
use crate::times::Times;
use crate::{libtorch, python, rust_sources};
use anyhow::{Context, Result};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to do beside or instead of running the notebook.
#[derive(Args)]
pub struct Options {
    /// Run the notebook and open it in JupyterLab.
    #[arg(long)]
    lab: bool,
    /// With --lab: print the address of JupyterLab instead of opening a browser.
    #[arg(long, requires = "lab")]
    no_browser: bool,
    /// Install the kernel for this user's Jupyter, and do not run the notebook.
    #[arg(long, group = "location")]
    user: bool,
    /// Install the kernel into the environment of the Python on the PATH.
    #[arg(long, group = "location")]
    sys_prefix: bool,
    /// Install the kernel below this folder.
    #[arg(long, group = "location", value_name = "FOLDER")]
    prefix: Option<PathBuf>,
    /// Install the package that lets papermill set the parameters of notebooks in Rust too, with papermill itself, for
    /// the Python on the PATH.
    #[arg(long, requires = "location", conflicts_with = "prefix")]
    papermill: bool,
    /// Remove the installed kernel from the place that --user, --sys-prefix or --prefix names, or else from all of
    /// them except --prefix.
    #[arg(long, conflicts_with = "lab")]
    uninstall: bool,
}

/// The location that the options name, if they name one.
fn named_location(options: &Options) -> Result<Option<Location>> {
    Ok(match options {
        Options { user: true, .. } => Some(Location::user()?),
        Options { sys_prefix: true, .. } => Some(Location::sys_prefix()?),
        Options { prefix: Some(prefix), .. } => Some(Location::prefix(&std::path::absolute(prefix)?)),
        _ => None,
    })
}

pub fn run(options: &Options) -> Result<()> {
    let named = named_location(options)?;
    if options.uninstall {
        return uninstall(named);
    }
    let built = build(&mut Times::start())?;
    if let Some(location) = named {
        location.install(&built)?;
        say(&format!(
            "The kernel is installed. \"Rust (Tunebook)\" starts {}",
            location.executable("tunebook").display()
        ));
        if options.papermill {
            python::install_papermill(options.user)?;
            say("papermill can set the parameters of notebooks in Rust: papermill IN.ipynb OUT.ipynb -p NAME VALUE");
        }
        return Ok(());
    }
    let location = private_location()?;
    location.install(&built)?;
    let python = python::environment_of("venv-demo", "demo.txt")?;
    rust_sources::note_if_missing();
    let folder = target()?.join("demo");
    let notebook = execute(&python, &location, &folder)?;
    if options.lab {
        return lab(&python, &location, &notebook, options.no_browser);
    }
    println!("\nThe executed notebook:  {}", notebook.display());
    println!("The same as a web page: {}", notebook.with_extension("html").display());
    println!("\n`cargo demo -- --lab` opens the notebook in JupyterLab.");
    println!("`cargo demo -- --user` installs the kernel for your own Jupyter.");
    Ok(())
}

/// Prepares libtorch, then builds the executables in release and the crates that every `%%workload` uses. Returns the
/// folder of the executables.
pub fn build(times: &mut Times) -> Result<PathBuf> {
    times.part("preparing libtorch", libtorch::prepare)?;
    say("Building Tunebook in release (about 15 minutes on two processors, the first time)");
    let advice = "Rust 1.95 or newer and a C++17 compiler are needed; the compiler's message stands above";
    let packages = ["build", "--release", "--package", "tunebook-kernel", "--package", "tunebook-training"];
    times.part("building Tunebook", || crate::steps::run(cargo().args(packages), advice))?;
    let built = target()?.join("release");
    say("Building the crates that models and tensors in cells need (some minutes, the first time)");
    let mut prepare = Command::new(built.join("tunebook"));
    times.part("building what cells need", || crate::steps::run(prepare.arg("prepare"), "The reason stands above"))?;
    Ok(built)
}

/// The location below cargo's target folder where `cargo demo`, `verify` and `measure` install the kernel for
/// themselves. The user's own Jupyter does not see it.
pub fn private_location() -> Result<Location> {
    Ok(Location::prefix(&target()?.join("prefix")))
}

/// Runs a copy of the notebook with nbconvert, which fills in its outputs, and writes it as a web page beside it.
fn execute(python: &Path, location: &Location, folder: &Path) -> Result<PathBuf> {
    let source = repository().join("notebooks/01-first-sweep.ipynb");
    let notebook = folder.join("01-first-sweep.ipynb");
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be created", folder.display()))?;
    say("Running notebooks/01-first-sweep.ipynb");
    let advice = "The message above names the cell that failed";
    start_afresh_if_changed(&source, folder)?;
    // The copy runs in its own folder: its studies are stored there, and a second run finds them again.
    fs::copy(&source, &notebook).with_context(|| format!("{} cannot be copied", source.display()))?;
    let mut jupyter = in_environment(python, location, folder);
    let execute = ["-m", "nbconvert", "--log-level", "WARN", "--to", "notebook", "--execute", "--inplace"];
    jupyter.args(execute).arg(&notebook);
    crate::steps::run(&mut jupyter, advice)?;
    let mut page = in_environment(python, location, folder);
    page.args(["-m", "nbconvert", "--log-level", "ERROR", "--to", "html"]).arg(&notebook);
    crate::steps::run(&mut page, advice)?;
    Ok(notebook)
}

/// Deletes the studies of an earlier run if the notebook has changed since: the new cells use the same study names, and
/// the kernel would refuse to change a recorded study.
fn start_afresh_if_changed(source: &Path, folder: &Path) -> Result<()> {
    let (stamp, text) = (folder.join("executed-source.ipynb"), fs::read(source)?);
    let studies = folder.join(".tunebook");
    if fs::read(&stamp).is_ok_and(|last| last == text) {
        return Ok(());
    }
    if studies.exists() {
        fs::remove_dir_all(&studies).with_context(|| format!("{} cannot be removed", studies.display()))?;
    }
    fs::write(&stamp, text).with_context(|| format!("{} cannot be written", stamp.display()))
}

/// A command of Python whose Jupyter finds the kernel, with this working folder.
fn in_environment(python: &Path, location: &Location, folder: &Path) -> Command {
    let mut command = Command::new(python);
    command.env("JUPYTER_PATH", location.jupyter_path()).current_dir(folder);
    command
}

fn lab(python: &Path, location: &Location, notebook: &Path, no_browser: bool) -> Result<()> {
    say("Opening JupyterLab (press Ctrl-C twice to end it)");
    let folder = notebook.parent().unwrap_or(notebook);
    let mut jupyter = in_environment(python, location, folder);
    jupyter.args(["-m", "jupyterlab", "--LabApp.news_url=None"]).arg(notebook);
    if no_browser {
        jupyter.arg("--no-browser");
    }
    // Many containers run everything as root, and Jupyter refuses to start as root without this option.
    if crate::steps::output_of(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0") {
        jupyter.arg("--allow-root");
    }
    crate::steps::run(&mut jupyter, "JupyterLab's message stands above")
}

fn uninstall(named: Option<Location>) -> Result<()> {
    let locations = match named {
        Some(location) => vec![location],
        None => [private_location(), Location::user(), Location::sys_prefix()].into_iter().flatten().collect(),
    };
    let mut found = false;
    for location in locations {
        found |= location.uninstall()?;
    }
    if !found {
        println!("No installed kernel was found.");
    }
    println!(
        "Downloads and builds are kept in {} and {}. You can delete both folders.",
        cache()?.display(),
        target()?.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_notebook_starts_without_studies_and_an_unchanged_one_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let (source, studies) = (folder.path().join("source"), folder.path().join(".tunebook"));
        fs::write(&source, "one").unwrap();
        start_afresh_if_changed(&source, folder.path()).unwrap();
        fs::create_dir(&studies).unwrap();
        start_afresh_if_changed(&source, folder.path()).unwrap();
        assert!(studies.exists());
        fs::write(&source, "two").unwrap();
        start_afresh_if_changed(&source, folder.path()).unwrap();
        assert!(!studies.exists());
    }
}
