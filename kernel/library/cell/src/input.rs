//! Questions to the user.

use crate::channel::ask;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

/// Asks the user for a line of text.
///
/// # Errors
///
/// `NoInput` if nobody can be asked: the front end has no way to ask, or standard input has ended.
///
/// ```no_run
/// # use tunebook_cell as tunebook;
/// let name = tunebook::input("Your name: ")?;
/// # Ok::<(), tunebook::Error>(())
/// ```
pub fn input(prompt: &str) -> Result<String> {
    answer(prompt, false)
}

/// Asks the user for a line that is not shown while it is typed. Errors are those of [`input`].
pub fn password(prompt: &str) -> Result<String> {
    answer(prompt, true)
}

fn answer(prompt: &str, password: bool) -> Result<String> {
    match ask(&json!({ "input": { "prompt": prompt, "password": password } })) {
        Ok(Value::String(line)) => Ok(line),
        Ok(other) => Err(Error::new("KernelGone", format!("the kernel answered {other} instead of a line"))),
        Err(error) if error.name() == "NoKernel" => on_terminal(prompt, password),
        Err(error) => Err(error),
    }
}

fn on_terminal(prompt: &str, password: bool) -> Result<String> {
    print!("{prompt}");
    let _ = std::io::stdout().flush();
    let hidden = password && std::io::stdin().is_terminal();
    if hidden && !echo(false) {
        return Err(Error::new("NoInput", "this terminal would show the password: `stty -echo` does not work on it"));
    }
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    if hidden {
        echo(true);
        println!();
    }
    match read {
        Ok(0) => Err(Error::new("NoInput", "standard input is at its end")),
        Ok(_) => Ok(line.trim_end_matches(['\r', '\n']).into()),
        Err(error) => Err(Error::new("NoInput", format!("standard input cannot be read: {error}"))),
    }
}

/// Sets whether the terminal shows what is typed, and returns whether this was possible.
fn echo(shown: bool) -> bool {
    let setting = if shown { "echo" } else { "-echo" };
    let set = Command::new("stty").arg(setting).stdin(Stdio::inherit()).status();
    set.is_ok_and(|status| status.success())
}
