//! `cargo demo`: from a clean machine to a finished sweep in a notebook.

use crate::kernelspec::Place;
use crate::places::{cache, cargo, repository, target};
use crate::steps::say;
use crate::{libtorch, python};
use anyhow::{Context, Result};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to do instead of running the notebook.
#[derive(Args)]
pub struct Options {
    /// Open JupyterLab on the executed notebook.
    #[arg(long)]
    lab: bool,
    /// With --lab: print the address and open no browser.
    #[arg(long, requires = "lab")]
    no_browser: bool,
    /// Install the kernel for this user's Jupyter.
    #[arg(long, group = "place")]
    user: bool,
    /// Install the kernel into the environment of the Python on the PATH.
    #[arg(long, group = "place")]
    sys_prefix: bool,
    /// Install the kernel below this folder.
    #[arg(long, group = "place")]
    prefix: Option<PathBuf>,
    /// Take an installed kernel away again: of --user, --sys-prefix or --prefix, else of all places known.
    #[arg(long, conflicts_with = "lab")]
    uninstall: bool,
}

/// The place that the options name.
fn named_place(options: &Options) -> Result<Option<Place>> {
    Ok(match options {
        Options { user: true, .. } => Some(Place::user()?),
        Options { sys_prefix: true, .. } => Some(Place::sys_prefix()?),
        Options { prefix: Some(prefix), .. } => Some(Place::prefix(&std::path::absolute(prefix)?)),
        _ => None,
    })
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    let named = named_place(options)?;
    if options.uninstall {
        return uninstall(named);
    }
    let built = build()?;
    if let Some(place) = named {
        place.install(&built)?;
        say(&format!("installed: \"Rust (Tunebook)\" starts {}", place.executable("tunebook").display()));
        return Ok(());
    }
    let place = private_place()?;
    place.install(&built)?;
    let python = python::environment_of("venv-demo", "demo.txt")?;
    note_on_rust_sources();
    let folder = target()?.join("demo");
    let notebook = execute(&python, &place, &folder)?;
    if options.lab {
        return lab(&python, &place, &notebook, options.no_browser);
    }
    println!("\nThe executed notebook:  {}", notebook.display());
    println!("As a page of its own:   {}", notebook.with_extension("html").display());
    println!(
        "\n`cargo demo -- --lab` opens it in JupyterLab; `cargo demo -- --user` installs the kernel for your own Jupyter."
    );
    Ok(())
}

/// libtorch, the executables in release, and what `%%workload` builds upon; gives the folder of the executables.
pub fn build() -> Result<PathBuf> {
    libtorch::prepare()?;
    say("building in release (the first time takes about a quarter of an hour on two processors)");
    let advice = "A C++17 compiler and Rust 1.95 or newer are needed; the compiler's message stands above";
    let packages = ["build", "--release", "--package", "tunebook-kernel", "--package", "tunebook-training"];
    crate::steps::run(cargo().args(packages), advice)?;
    let built = target()?.join("release");
    say("building what workloads of your own need (the first time takes some minutes)");
    crate::steps::run(Command::new(built.join("tunebook")).arg("prepare"), "The reason stands above")?;
    Ok(built)
}

/// Where the commands of this project install the kernel for themselves.
pub fn private_place() -> Result<Place> {
    Ok(Place::prefix(&target()?.join("prefix")))
}

/// Runs the notebook through a real Jupyter client; writes it and a page beside it.
fn execute(python: &Path, place: &Place, folder: &Path) -> Result<PathBuf> {
    let source = repository().join("notebooks/01-first-sweep.ipynb");
    let notebook = folder.join("01-first-sweep.ipynb");
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    say("executing notebooks/01-first-sweep.ipynb");
    let advice = "The message above names the cell; run the command again, or `cargo demo -- --lab` to look at it";
    start_afresh_if_changed(&source, folder)?;
    // It runs where its copy lies, so that its studies are kept beside it and a second run finds them.
    fs::copy(&source, &notebook).with_context(|| format!("{} cannot be copied", source.display()))?;
    let mut jupyter = in_environment(python, place, folder);
    let execute = ["-m", "nbconvert", "--log-level", "WARN", "--to", "notebook", "--execute", "--inplace"];
    jupyter.args(execute).arg(&notebook);
    crate::steps::run(&mut jupyter, advice)?;
    let mut page = in_environment(python, place, folder);
    page.args(["-m", "nbconvert", "--log-level", "ERROR", "--to", "html"]).arg(&notebook);
    crate::steps::run(&mut page, advice)?;
    Ok(notebook)
}

/// Studies of an earlier version of the notebook bear the names of this one's: they are forgotten with it.
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

/// Python with the kernel in reach, in a folder.
fn in_environment(python: &Path, place: &Place, folder: &Path) -> Command {
    let mut command = Command::new(python);
    command.env("JUPYTER_PATH", place.jupyter_path()).current_dir(folder);
    command
}

fn lab(python: &Path, place: &Place, notebook: &Path, no_browser: bool) -> Result<()> {
    say("opening JupyterLab (Ctrl-C twice ends it)");
    let folder = notebook.parent().unwrap_or(notebook);
    let mut jupyter = in_environment(python, place, folder);
    jupyter.args(["-m", "jupyterlab", "--LabApp.news_url=None"]).arg(notebook);
    if no_browser {
        jupyter.arg("--no-browser");
    }
    // Jupyter refuses to run as root, as containers do, unless it is told to.
    if crate::steps::output_of(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0") {
        jupyter.arg("--allow-root");
    }
    crate::steps::run(&mut jupyter, "JupyterLab's message stands above")
}

fn uninstall(named: Option<Place>) -> Result<()> {
    let places = match named {
        Some(place) => vec![place],
        None => [private_place(), Place::user(), Place::sys_prefix()].into_iter().flatten().collect(),
    };
    let mut found = false;
    for place in places {
        found |= place.uninstall()?;
    }
    if !found {
        println!("No installed kernel was found.");
    }
    println!("What was fetched and built stays: {} and {} can be deleted.", cache()?.display(), target()?.display());
    Ok(())
}

/// Says what is missing for Rust cells; nothing is installed behind the user's back.
pub fn note_on_rust_sources() {
    let toolchain = crate::steps::output_of(Command::new("rustc").args(["--print", "sysroot"])).unwrap_or_default();
    let of_toolchain = Path::new(toolchain.trim()).join("lib/rustlib/src/rust/library");
    let named = std::env::var_os("RUST_SRC_PATH").map(PathBuf::from);
    let packaged = fs::read_dir("/usr/src").into_iter().flatten().flatten();
    let packaged = packaged.filter(|entry| entry.file_name().to_string_lossy().starts_with("rustc-"));
    let mut all = packaged.map(|entry| entry.path().join("library")).chain([of_toolchain]).chain(named);
    if !all.any(|path| path.join("core/src/lib.rs").exists()) {
        println!(
            "note: the sources of Rust's standard library are not installed, so some types of variables in cells cannot be \
             inferred and completion knows less. `rustup component add rust-src` (Debian: rust-web-src) brings them."
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_notebook_starts_with_no_studies_and_the_same_one_keeps_them() {
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
