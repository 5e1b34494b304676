//! The environment that a study records: the machine and the versions with which it ran (Playbook H11).

use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Returns the versions, the machine, and the folder of the kernel with its git commit, as JSON.
///
/// `slots` are the devices of the slots, `pools` the pools beyond this machine. What cannot be found out is null.
pub fn environment(libtorch: Option<&str>, slots: &[String], pools: Value) -> Value {
    json!({
        "tunebook": env!("CARGO_PKG_VERSION"),
        "libtorch": libtorch,
        "slots": slots,
        "pools": pools,
        "processor": field_of("/proc/cpuinfo", "model name"),
        "instruction_set": std::env::consts::ARCH,
        "operating_system": std::env::consts::OS,
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_string()),
        "folder": std::env::current_dir().ok().map(|folder| folder.display().to_string()),
        "git": git(),
        // The convention decides what a tuned ε means (Playbook I15).
        "epsilon": "of adam, adamw and nadam: outside of the bias correction (ε-hat); of rmsprop: inside the root",
    })
}

fn field_of(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new(file)).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// Returns the commit of the current folder, and whether there are changes that are not committed. Returns None outside
/// of a repository, or if git is not installed.
fn git() -> Option<Value> {
    let run = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).stdin(std::process::Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let commit = run(&["rev-parse", "HEAD"])?;
    let dirty = run(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    Some(json!({ "commit": commit, "dirty": dirty }))
}
