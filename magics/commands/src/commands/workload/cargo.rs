//! Runs cargo, and translates the messages of the compiler to the lines of the cell.

use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::process::{Line, ProcessError, run};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The file with the user's code in the crate that is generated from a cell.
const USER_FILE: &str = "src/lib.rs";
/// Environment variables that are removed. With them, cargo would not reuse what is built already, or would build in
/// another folder.
const REMOVED_VARIABLES: [&str; 8] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_BUILD_DIR",
    "CARGO_BUILD_TARGET",
    "RUSTC_WRAPPER",
    "LIBTORCH",
];

/// What is reported while cargo runs.
pub enum BuildEvent<'a> {
    /// Cargo has begun to compile the crate with this name.
    Compiling(&'a str),
    /// Half a second passed without output.
    Tick,
}

/// Builds the crate in a folder, in release. First it tries to do so offline. If that fails, cargo may download crates.
/// If `locked`, the `Cargo.lock` stays as it is. Errors of the user's code are `CompilationError`, others are
/// `BuildError`.
pub fn build(
    krate: &Path,
    target: &Path,
    locked: bool,
    interrupt: &Interrupt,
    watch: &mut dyn FnMut(BuildEvent<'_>),
) -> Result<()> {
    let locked = locked.then_some("--locked");
    match build_once(krate, target, &mut locked.into_iter().chain(["--offline"]), interrupt, watch) {
        Err(error) if error.name == ErrorName::BuildError => {
            build_once(krate, target, &mut locked.into_iter(), interrupt, watch)
        }
        done => done,
    }
}

/// Whether a build failed because the `Cargo.lock` would have to change.
pub fn needs_another_lock(error: &MagicError) -> bool {
    error.name == ErrorName::BuildError && error.message.contains("--locked was passed")
}

fn build_once(
    krate: &Path,
    target: &Path,
    options: &mut dyn Iterator<Item = &str>,
    interrupt: &Interrupt,
    watch: &mut dyn FnMut(BuildEvent<'_>),
) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--bins", "--message-format=json-diagnostic-rendered-ansi"]);
    command.args(options);
    command.arg("--target-dir").arg(target).current_dir(krate);
    for name in REMOVED_VARIABLES {
        command.env_remove(name);
    }
    let mut errors: Vec<(String, String)> = vec![];
    let mut log: Vec<String> = vec![];
    let done = run(command, "", interrupt, None, &mut |line| match line {
        Some(Line::Stdout(line)) => {
            let message: Value = serde_json::from_str(&line).unwrap_or_default();
            let message = &message["message"];
            if message["level"].as_str().is_some_and(|level| level.starts_with("error")) {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
                errors.push((summary(message), text(&message["rendered"])));
            }
        }
        Some(Line::Stderr(line)) => {
            if let Some(name) = line.trim_start().strip_prefix("Compiling ") {
                watch(BuildEvent::Compiling(name.split(' ').next().unwrap_or(name)));
            }
            log.push(line);
        }
        None => watch(BuildEvent::Tick),
    })
    .map_err(|error| match error {
        ProcessError::Interrupted => {
            MagicError::interrupted("the build was interrupted; what is already built is kept")
        }
        ProcessError::TimedOut => MagicError::new(ErrorName::BuildError, "cargo took too long", None),
        ProcessError::Io(error) => MagicError::new(
            ErrorName::NoToolchain,
            format!("a %%workload is built with `cargo`, which could not be started: {error}"),
            Some("install Rust (rustup.rs) and restart the kernel".into()),
        ),
    })?;
    if done.success() {
        return Ok(());
    }
    // The last message only says how many errors there are.
    errors.retain(|(message, _)| !message.starts_with("aborting due to"));
    let Some((first, _)) = errors.first() else {
        let about = log.iter().position(|line| line.starts_with("error")).unwrap_or(log.len().saturating_sub(10));
        let message = log.get(about).map_or("cargo failed", String::as_str).to_string();
        let error = MagicError::new(ErrorName::BuildError, message, None);
        return Err(error.with_details(log.drain(about..).skip(1).take(40)));
    };
    let lines = errors.iter().flat_map(|(_, rendered)| in_cell(rendered)).collect();
    Err(MagicError::drawn(ErrorName::CompilationError, first.clone(), lines))
}

/// A message of the compiler in one line, with its code and the line of the cell: `E0308: mismatched types (line 4)`.
fn summary(message: &Value) -> String {
    let text = message["message"].as_str().unwrap_or_default().lines().next().unwrap_or_default();
    let code = message["code"]["code"].as_str().map_or(String::new(), |code| format!("{code}: "));
    let mut spans = message["spans"].as_array().into_iter().flatten();
    let line = spans.find(|span| span["file_name"] == USER_FILE && span["is_primary"] == true);
    let line = line.and_then(|span| span["line_start"].as_u64()).map_or(String::new(), |n| format!(" (line {n})"));
    format!("{code}{text}{line}")
}

/// The lines of a rendered message, in which the file is called `cell`.
fn in_cell(rendered: &str) -> Vec<String> {
    rendered.replace(USER_FILE, "cell").trim_end().lines().map(String::from).collect()
}
