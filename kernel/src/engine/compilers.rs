//! Ends the compilers that build a cell. evcxr waits for cargo and has no way to stop it, so an interrupt kills cargo.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::HashMap;

/// Kills cargo and rustc below this process, and everything that they have started: build scripts, C compilers,
/// linkers.
pub fn end() {
    let all = processes();
    let own = std::process::id();
    let is_compiling = |mut pid: u32| {
        let mut compiles = false;
        while let Some((parent, name)) = all.get(&pid) {
            compiles |= ["cargo", "rustc"].contains(&name.as_str());
            if *parent == own {
                return compiles;
            }
            pid = *parent;
        }
        false
    };
    for pid in all.keys() {
        if is_compiling(*pid) {
            let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL);
        }
    }
}

/// The parent and the name of each process of the machine, by process id.
#[cfg(target_os = "linux")]
fn processes() -> HashMap<u32, (u32, String)> {
    let stat = |pid: u32| -> Option<(u32, String)> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, tail) = text.rsplit_once(')')?;
        let parent = tail.split_whitespace().nth(1)?.parse().ok()?;
        Some((parent, head.split_once('(')?.1.to_string()))
    };
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

#[cfg(not(target_os = "linux"))]
fn processes() -> HashMap<u32, (u32, String)> {
    let listed = std::process::Command::new("ps").args(["-A", "-o", "pid=,ppid=,comm="]).output();
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let process = |line: &str| {
        let mut words = line.split_whitespace();
        let (pid, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((pid, (parent, words.next()?.rsplit('/').next()?.to_string())))
    };
    text.lines().filter_map(process).collect()
}
