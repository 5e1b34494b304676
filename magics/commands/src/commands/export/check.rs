//! Formats an exported program and checks that it compiles.

use super::krate::{Destination, manifest};
use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::process::{self, Line, ProcessError};
use std::path::Path;
use std::process::Command;

/// Formats a program with rustfmt. If this fails, the program is returned unchanged.
pub fn formatted(program: String, interrupt: &Interrupt) -> String {
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--edition", "2024", "--quiet"]);
    let mut text = String::new();
    let mut on_line = |line: Option<Line>| {
        if let Some(Line::Stdout(line)) = line {
            text += &line;
            text.push('\n');
        }
    };
    match process::run(rustfmt, &program, interrupt, None, &mut on_line) {
        Ok(status) if status.success() && !text.is_empty() => text,
        _ => program,
    }
}

/// Runs `cargo check` on an exported program. `target` is the target folder of cargo.
pub fn check(
    destination: &Destination,
    dependencies: &[(String, String)],
    target: &Path,
    interrupt: &Interrupt,
) -> Result<()> {
    let not_run = |error: std::io::Error| {
        MagicError::advising(
            ErrorName::CheckFailed,
            format!("`cargo check` cannot be run: {error}"),
            "check whether `cargo` is installed",
        )
    };
    let mut cargo = Command::new("cargo");
    cargo.args(["check", "--quiet", "--color", "always"]).env("CARGO_TARGET_DIR", target);
    // A single file is checked as the binary of a temporary crate.
    let folder = tempfile::tempdir().map_err(not_run)?;
    match destination {
        Destination::Folder(path) => cargo.current_dir(path),
        Destination::File(path) => {
            let name = destination.name();
            let full = std::path::absolute(path).map_err(not_run)?;
            let binary = format!("\n[[bin]]\nname = \"{name}\"\npath = {:?}\n", full.to_string_lossy());
            std::fs::write(folder.path().join("Cargo.toml"), manifest(&name, dependencies)? + &binary)
                .map_err(not_run)?;
            cargo.current_dir(folder.path())
        }
    };
    let mut messages = vec![];
    let mut on_line = |line: Option<Line>| {
        if let Some(Line::Stdout(line) | Line::Stderr(line)) = line {
            messages.push(line);
        }
    };
    match process::run(cargo, "", interrupt, None, &mut on_line) {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            let message = "the exported program does not compile; it was written nevertheless";
            Err(MagicError::new(ErrorName::CheckFailed, message, None).with_details(messages))
        }
        Err(ProcessError::Io(error)) => Err(not_run(error)),
        Err(_) => Err(MagicError::interrupted("the check was interrupted; the program is written")),
    }
}
