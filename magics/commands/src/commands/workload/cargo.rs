//! Calls of cargo: watched, interruptible, and with the compiler's messages in the terms of the cell.

use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::process::{Ended, Line, run};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The user's file inside the crate that is made of a cell.
const USER_FILE: &str = "src/lib.rs";
/// Variables that would make cargo build something else than what is prebuilt, or elsewhere.
const FOREIGN: [&str; 8] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_BUILD_DIR",
    "CARGO_BUILD_TARGET",
    "RUSTC_WRAPPER",
    "LIBTORCH",
];

/// What a watched process is doing.
pub enum Progress<'a> {
    /// Cargo compiles this crate.
    Compiling(&'a str),
    /// Time passes.
    Tick,
}

/// Builds the crate in a folder; with what is there if that is enough, or else with crates that cargo downloads.
pub fn build(krate: &Path, target: &Path, interrupt: &Interrupt, watch: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
    match build_once(krate, target, true, interrupt, watch) {
        Err(error) if error.name.as_str() == "BuildError" => build_once(krate, target, false, interrupt, watch),
        done => done,
    }
}

fn build_once(
    krate: &Path,
    target: &Path,
    offline: bool,
    interrupt: &Interrupt,
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--bins", "--message-format=json-diagnostic-rendered-ansi"]);
    command.args(offline.then_some("--offline"));
    command.arg("--target-dir").arg(target).current_dir(krate);
    for name in FOREIGN {
        command.env_remove(name);
    }
    let mut errors: Vec<(String, String)> = vec![];
    let mut log: Vec<String> = vec![];
    let done = run(command, "", interrupt, None, &mut |line| match line {
        Some(Line::Out(line)) => {
            let message: Value = serde_json::from_str(&line).unwrap_or_default();
            let message = &message["message"];
            if message["level"].as_str().is_some_and(|level| level.starts_with("error")) {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
                errors.push((summary(message), text(&message["rendered"])));
            }
        }
        Some(Line::Error(line)) => {
            if let Some(name) = line.trim_start().strip_prefix("Compiling ") {
                watch(Progress::Compiling(name.split(' ').next().unwrap_or(name)));
            }
            log.push(line);
        }
        None => watch(Progress::Tick),
    })
    .map_err(|error| match error {
        Ended::Interrupted => MagicError::interrupted("the build was interrupted; what was built is kept"),
        Ended::TimedOut => MagicError::new(ErrorName::BuildError, "cargo took too long", None),
        Ended::CouldNot(error) => MagicError::new(
            ErrorName::NoToolchain,
            format!("a %%workload is built with `cargo`, which could not be started: {error}"),
            Some("install Rust (rustup.rs) and restart the kernel".into()),
        ),
    })?;
    if done.success() {
        return Ok(());
    }
    // The last one only counts the others.
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

/// A compiler's message in one line, with its code and the line of the cell.
fn summary(message: &Value) -> String {
    let text = message["message"].as_str().unwrap_or_default().lines().next().unwrap_or_default();
    let code = message["code"]["code"].as_str().map_or(String::new(), |code| format!("{code}: "));
    let mut spans = message["spans"].as_array().into_iter().flatten();
    let line = spans.find(|span| span["file_name"] == USER_FILE && span["is_primary"] == true);
    let line = line.and_then(|span| span["line_start"].as_u64()).map_or(String::new(), |n| format!(" (line {n})"));
    format!("{code}{text}{line}")
}

/// The crate's file is the cell.
fn in_cell(rendered: &str) -> Vec<String> {
    rendered.replace(USER_FILE, "cell").trim_end().lines().map(String::from).collect()
}
