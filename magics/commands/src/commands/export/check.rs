//! Whether an exported program compiles, and its formatting.

use super::krate::{Place, manifest};
use crate::error::{ErrorName, MagicError, Result};
use crate::host::Interrupt;
use crate::process::{self, Ended, Line};
use std::path::Path;
use std::process::Command;

/// Formats a program, where there is a rustfmt that can.
pub fn formatted(program: String, interrupt: &Interrupt) -> String {
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--edition", "2024", "--quiet"]);
    let mut text = String::new();
    let mut take = |line: Option<Line>| {
        if let Some(Line::Out(line)) = line {
            text += &line;
            text.push('\n');
        }
    };
    match process::run(rustfmt, &program, interrupt, None, &mut take) {
        Ok(status) if status.success() && !text.is_empty() => text,
        _ => program,
    }
}

/// Runs `cargo check` on what was exported. `target`: where it builds.
pub fn check(place: &Place, dependencies: &[(String, String)], target: &Path, interrupt: &Interrupt) -> Result<()> {
    let cannot = |error: std::io::Error| {
        MagicError::advising(
            ErrorName::CheckFailed,
            format!("`cargo check` cannot be run: {error}"),
            "is there a cargo?",
        )
    };
    let mut cargo = Command::new("cargo");
    cargo.args(["check", "--quiet", "--color", "always"]).env("CARGO_TARGET_DIR", target);
    // A file is checked in a crate that lasts as long as that takes.
    let folder = tempfile::tempdir().map_err(cannot)?;
    match place {
        Place::Folder(path) => cargo.current_dir(path),
        Place::File(path) => {
            let name = place.name();
            let full = std::path::absolute(path).map_err(cannot)?;
            let binary = format!("\n[[bin]]\nname = \"{name}\"\npath = {:?}\n", full.to_string_lossy());
            std::fs::write(folder.path().join("Cargo.toml"), manifest(&name, dependencies)? + &binary)
                .map_err(cannot)?;
            cargo.current_dir(folder.path())
        }
    };
    let mut said = vec![];
    let mut take = |line: Option<Line>| {
        if let Some(Line::Out(line) | Line::Error(line)) = line {
            said.push(line);
        }
    };
    match process::run(cargo, "", interrupt, None, &mut take) {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            let message = "what was exported does not compile; it is written all the same";
            Err(MagicError::new(ErrorName::CheckFailed, message, None).with_details(said))
        }
        Err(Ended::CouldNot(error)) => Err(cannot(error)),
        Err(_) => Err(MagicError::interrupted("the check was interrupted; the export is written")),
    }
}
