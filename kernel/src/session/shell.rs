//! `!command`: a line for the shell, its output as it comes.

use super::output::CellOutput;
use crate::rust::CellError;
use crate::wire::iopub::Name;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use tunebook_magics::Interrupt;

/// Runs a command to its end, or until it is interrupted.
pub fn run(command: &str, output: &CellOutput, interrupt: &Interrupt) -> Result<(), CellError> {
    let failed = |error: std::io::Error| CellError::new("ShellError", format!("the shell cannot be started: {error}"));
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let forward = |pipe: Option<Box<dyn Read + Send>>, name: Name| {
        let output = output.clone();
        std::thread::spawn(move || {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = vec![0; 16 << 10];
            // What is cut in the middle of a character waits for the rest of it.
            let mut held: Vec<u8> = vec![];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                held.extend_from_slice(&buffer[..count]);
                let whole = match std::str::from_utf8(&held) {
                    Err(error) if error.error_len().is_none() => error.valid_up_to(),
                    _ => held.len(),
                };
                let rest = held.split_off(whole);
                output.text(name, &String::from_utf8_lossy(&held));
                held = rest;
            }
        })
    };
    let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    let forwarders = [forward(stdout, Name::Stdout), forward(stderr, Name::Stderr)];
    let group = nix::unistd::Pid::from_raw(child.id() as i32);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if interrupt.is_raised() => {
                let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
                let _ = child.wait();
                return Err(CellError::new("Interrupted", "the command was interrupted"));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(failed(error)),
        }
    };
    for forwarder in forwarders {
        let _ = forwarder.join();
    }
    if status.success() {
        return Ok(());
    }
    Err(CellError::new("ShellError", format!("the command ended with {status}")))
}
