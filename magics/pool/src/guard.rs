//! Ends the commands that lead to other machines, and the programs of slots, once the process that started them is
//! gone.
//!
//! A slot that runs ends when its standard input closes. A command that still waits for a machine (`srun` in the queue)
//! does not read its standard input, and would go on after the death of a kernel. So a process of its own, the guard,
//! knows all of them. It ends them when its standard input closes. Each slot has a guard too, because a slot that is
//! killed cannot end its program. That one also ends what has left the process group of the program: it knows it by a
//! variable of its environment.
//!
//! Some commands leave something behind when they are ended: `kubectl run` leaves its pod, which would take a GPU once
//! the cluster has one. What removes that is an errand. The guard knows it too, and runs it after it has ended all
//! commands.

use crate::Environment;
use crate::slot::signals::catch_warnings;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the commands have to end by themselves, and again after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(2);

/// The line to a guard that kills at once.
const AT_ONCE: &str = "!";
/// How the lines begin that tell a guard of an errand, and that the errand was run.
const AT_END: &str = "*";
const DONE: &str = "=";
/// How the line begins that tells a guard the mark of its slot.
const HAS_MARK: &str = "@";

/// The variable of the environment that holds the mark of a slot, in all processes that its trials start.
pub(crate) const MARK: &str = "TUNEBOOK_SLOT";

/// So many errands run at a time.
const ERRANDS: usize = 8;

/// A command that removes what another one has left behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Errand {
    /// What distinguishes it from others.
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
    pub(crate) environment: Vec<(String, Option<String>)>,
}

impl Errand {
    fn start(&self) -> std::io::Result<Child> {
        let (program, arguments) = self.words.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        Environment(self.environment.clone()).give(&mut command);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn()
    }

    /// Runs it to its end. Returns whether it succeeded.
    pub(crate) fn run(&self) -> bool {
        self.start().and_then(|mut child| child.wait()).is_ok_and(|status| status.success())
    }
}

/// A running guard. When it is dropped, it ends the commands that it knows.
pub(crate) struct Guard {
    child: Option<Child>,
    line: GuardLine,
}

/// Tells a guard what it guards. A guard that was killed is not told.
#[derive(Clone, Default)]
pub(crate) struct GuardLine(Arc<Mutex<Option<ChildStdin>>>);

impl GuardLine {
    /// Tells about a process group that runs now, or that has ended.
    pub(crate) fn tell(&self, group: Pid, runs: bool) {
        if let Some(stdin) = self.0.lock().as_mut() {
            let _ = writeln!(stdin, "{}{group}", if runs { '+' } else { '-' });
        }
    }

    /// Tells about an errand that is to be run at the end.
    pub(crate) fn at_end(&self, errand: &Errand) {
        if let (Some(stdin), Ok(line)) = (self.0.lock().as_mut(), serde_json::to_string(errand)) {
            let _ = writeln!(stdin, "{AT_END}{line}");
        }
    }

    /// Tells that an errand was run.
    pub(crate) fn done(&self, errand: &Errand) {
        if let Some(stdin) = self.0.lock().as_mut() {
            let _ = writeln!(stdin, "{DONE}{}", errand.name);
        }
    }

    /// Tells about the mark of processes that are to be killed at the end.
    pub(crate) fn knows_mark(&self, mark: &str) {
        if let Some(stdin) = self.0.lock().as_mut() {
            let _ = writeln!(stdin, "{HAS_MARK}{mark}");
        }
    }

    /// Lets the guard kill the groups at once: nobody is left who ends them, or for whom they could end.
    pub(crate) fn be_impatient(&self) {
        if let Some(stdin) = self.0.lock().as_mut() {
            let _ = writeln!(stdin, "{AT_ONCE}");
        }
    }
}

impl Guard {
    pub(crate) fn start(words: &[String]) -> std::io::Result<Self> {
        let (program, arguments) = words.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn()?;
        let line = GuardLine(Arc::new(Mutex::new(child.stdin.take())));
        Ok(Self { child: Some(child), line })
    }

    /// The process of the guard. None if there is none.
    pub(crate) fn id(&self) -> Option<Pid> {
        self.child.as_ref().map(|child| Pid::from_raw(child.id() as i32))
    }

    /// What tells it, also after its end.
    pub(crate) fn line(&self) -> GuardLine {
        self.line.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        *self.line.0.lock() = None;
        if let Some(mut child) = self.child.take() {
            // It may need seconds, which nobody waits for.
            std::thread::spawn(move || drop(child.wait()));
        }
    }
}

/// Runs the guard: `tunebook guard`.
pub fn main() -> ExitCode {
    // The guard of a slot is a process of its job too.
    catch_warnings();
    let (mut groups, mut errands, mut at_once, mut mark) = (BTreeSet::new(), BTreeMap::new(), false, None);
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        at_once |= line == AT_ONCE;
        if let Some(errand) = line.strip_prefix(AT_END) {
            if let Ok(errand) = serde_json::from_str::<Errand>(errand) {
                errands.insert(errand.name.clone(), errand);
            }
        } else if let Some(name) = line.strip_prefix(DONE) {
            errands.remove(name);
        } else if let Some(of_slot) = line.strip_prefix(HAS_MARK) {
            mark = Some(of_slot.to_string());
        } else if let Some(Ok(group)) = line.get(1..).map(str::parse::<i32>) {
            let _ = if line.starts_with('+') { groups.insert(group) } else { groups.remove(&group) };
        }
    }
    if at_once {
        for group in &groups {
            let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
        }
        if let Some(mark) = mark {
            end_marked(&mark);
        }
        return ExitCode::SUCCESS;
    }
    let alive = |group: &i32| killpg(Pid::from_raw(*group), None).is_ok();
    for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
        if let Some(signal) = signal {
            for group in groups.iter().filter(|group| alive(group)) {
                let _ = killpg(Pid::from_raw(*group), signal);
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while groups.iter().any(alive) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    for errands in errands.into_values().collect::<Vec<_>>().chunks(ERRANDS) {
        let started: Vec<Child> = errands.iter().filter_map(|errand| errand.start().ok()).collect();
        started.into_iter().for_each(|mut child| drop(child.wait()));
    }
    ExitCode::SUCCESS
}

/// Kills the processes that have the mark of a slot, and what they start meanwhile.
fn end_marked(mark: &str) {
    let entry = format!("{MARK}={mark}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = with_entry(entry.as_bytes());
        for id in &found {
            let _ = kill(*id, Signal::SIGKILL);
        }
        if found.is_empty() || Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes that were started with this entry of the environment. None where there is no `/proc`.
fn with_entry(entry: &[u8]) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    let has_entry = |id: &i32| {
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|one| one == entry)
    };
    ids.filter(has_entry).map(Pid::from_raw).collect()
}
