//! Steps of a set-up. Each is announced before it begins, and its failure says what to do.

use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

/// Announces a step.
pub fn say(what: &str) {
    println!("\x1b[1;34m==>\x1b[0m {what}");
}

/// Runs a command whose output the user sees. `advice` is the sentence that tells what to do if it fails.
pub fn run(command: &mut Command, advice: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("`{}` cannot be started. {advice}", shown(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}. {advice}", shown(command));
    }
    Ok(())
}

/// Runs a command and returns its standard output. If it fails, the error holds the last lines of its standard error.
pub fn output_of(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("`{}` cannot be started", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let tail: Vec<&str> = said.lines().rev().take(12).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!("`{}` ended with {}:\n{}", shown(command), output.status, tail.join("\n"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let text = words.join(" ");
    if text.len() > 200 { format!("{} …", text.chars().take(200).collect::<String>()) } else { text }
}
