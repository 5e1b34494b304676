//! `cargo verify`: all tests, in the one build profile that the product is built in.

use crate::demo::{build, note_on_rust_sources, private_place};
use crate::places::cargo;
use crate::steps::say;
use crate::{carry, fashion, python};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// Sets up what the tests need and runs them; `rest` goes to `cargo test`.
pub fn run(rest: &[String]) -> Result<()> {
    let mut tests = prepared(cargo())?;
    carry::fetch_releases()?;
    say("running all tests");
    tests.args(["test", "--release", "--workspace"]).args(rest);
    crate::steps::run(&mut tests, "The failed test stands above")
}

/// A command with the product built, installed privately, and named in its environment.
pub fn prepared(mut command: Command) -> Result<Command> {
    let built = build()?;
    let place = private_place()?;
    place.install(&built)?;
    let python = python::environment_of("venv-tests", "tests.txt")?;
    note_on_rust_sources();
    command
        .env("TUNEBOOK_BIN", built.join("tunebook"))
        .env("TUNEBOOK_WORKER", built.join("tunebook-worker"))
        .env("TUNEBOOK_PYTHON", python)
        .env("TUNEBOOK_JUPYTER_PATH", place.jupyter_path());
    if let Some(folder) = fashion::folder()? {
        command.env("TUNEBOOK_FASHION_MNIST", folder);
    }
    match chromium() {
        Some(path) => drop(command.env("TUNEBOOK_CHROMIUM", path)),
        None => println!(
            "note: there is no Chromium on the PATH; the browser test will say so and fail. Debian: apt install chromium"
        ),
    }
    Ok(command)
}

fn chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|path| path.exists()))
}
