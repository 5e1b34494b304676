//! The pool gives trials to free slots. What all slots report arrives in one channel.

use crate::Environment;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};
use tunebook_study::protocol::{Event, Request, TrialId, TrialRequest, VERSION};

/// How a slot is started, and on which device.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotSpec {
    /// `cpu:0`, `cuda:1` and so on.
    pub device: String,
    /// The words of the command that starts `tunebook slot`, on this machine or through `ssh` on another one.
    pub command: Vec<String>,
    /// The changes to the environment that the slot inherits from this process and passes on to its trials.
    pub environment: Environment,
    /// The folder in which its programs run. None is the current folder of this process.
    pub folder: Option<PathBuf>,
}

/// What a slot reported, or that it was lost.
#[derive(Clone, Debug, PartialEq)]
pub enum PoolEvent {
    /// A message about a trial.
    Trial(Event),
    /// The slot ended by itself while it ran this trial. The trial may run again in another slot.
    SlotLost {
        /// The trial that was lost with it.
        trial: TrialId,
        /// How the slot ended, as far as that is known.
        reason: String,
    },
}

/// Why a trial could not be given to a slot.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The command of the slot cannot be started.
    #[error("the slot `{command}` cannot be started: {source}")]
    Start { command: String, source: std::io::Error },
    /// What the command starts does not answer as a slot does.
    #[error("the slot `{command}` did not answer as a Tunebook slot of this version: {seen}")]
    NoSlot { command: String, seen: String },
    /// Each slot runs a trial already.
    #[error("all slots are taken")]
    Full,
}

/// A message from a process of a slot: the number of the process, counted by the pool, and an event. None if its output
/// has ended.
pub type SlotMessage = (u64, Option<Event>);

struct Slot {
    spec: SlotSpec,
    /// The process of the slot, once a trial was given to it.
    running: Option<SlotProcess>,
    /// The trial that runs now.
    trial: Option<TrialId>,
}

struct SlotProcess {
    /// The number of the process in [`SlotMessage`]; a slot whose process is started again gets a new one.
    id: u64,
    child: Child,
    stdin: ChildStdin,
}

/// Slots whose processes stay ready from one trial to the next. Dropping the pool ends all of them.
pub struct Pool {
    slots: Vec<Slot>,
    sender: Sender<SlotMessage>,
    messages: Receiver<SlotMessage>,
    /// How many processes were started so far.
    started: u64,
}

impl Pool {
    /// A pool of these slots. The process of a slot starts with its first trial.
    pub fn new(specs: Vec<SlotSpec>) -> Self {
        let (sender, messages) = unbounded();
        let slots = specs.into_iter().map(|spec| Slot { spec, running: None, trial: None }).collect();
        Self { slots, sender, messages, started: 0 }
    }

    /// What the pool was made of.
    pub fn specs(&self) -> Vec<SlotSpec> {
        self.slots.iter().map(|slot| slot.spec.clone()).collect()
    }

    /// Whether [`run`](Self::run) can take a trial now.
    pub fn has_free_slot(&self) -> bool {
        self.slots.iter().any(|slot| slot.trial.is_none())
    }

    /// The trials that run now.
    pub fn running(&self) -> impl Iterator<Item = &TrialId> {
        self.slots.iter().filter_map(|slot| slot.trial.as_ref())
    }

    /// Gives a trial to a free slot, if possible to one whose process is running. Waits until a new process is ready.
    pub fn run(&mut self, request: TrialRequest) -> Result<(), PoolError> {
        let free = |slot: &Slot| slot.trial.is_none();
        let ready = self.slots.iter().position(|slot| free(slot) && slot.running.is_some());
        let index = ready.or_else(|| self.slots.iter().position(free)).ok_or(PoolError::Full)?;
        let trial = request.trial.clone();
        let request = Request::Run { trials: vec![request] };
        if !self.slots[index].send(&request) {
            self.started += 1;
            let running = start(&self.slots[index].spec, self.started, self.sender.clone())?;
            self.slots[index].running = Some(running);
            self.slots[index].send(&request);
        }
        self.slots[index].trial = Some(trial);
        Ok(())
    }

    /// The channel of what the slots report. Each message goes to [`accept`](Self::accept).
    pub fn channel(&self) -> &Receiver<SlotMessage> {
        &self.messages
    }

    /// Brings the pool up to date with a message from its channel, and returns what it means. None if it means nothing
    /// to the caller: the message is a greeting, or comes from a process that the pool has ended.
    pub fn accept(&mut self, (id, event): SlotMessage) -> Option<PoolEvent> {
        let slot = self.slots.iter_mut().find(|slot| slot.running.as_ref().is_some_and(|running| running.id == id))?;
        match event {
            Some(Event::Hello { .. }) => None,
            Some(event) => {
                if matches!(&event, Event::Ended { trial, .. } if Some(trial) == slot.trial.as_ref()) {
                    slot.trial = None;
                }
                Some(PoolEvent::Trial(event))
            }
            None => {
                let status = slot.running.take().and_then(|mut running| running.child.wait().ok());
                let status = status.map_or("ended".into(), |status| status.to_string());
                let trial = slot.trial.take()?;
                let reason = format!("its slot on {} was lost ({status})", slot.spec.device);
                Some(PoolEvent::SlotLost { trial, reason })
            }
        }
    }

    /// Asks for the end of all running trials and waits for it, at most for `patience`. Ends the slots that do not
    /// answer by then.
    pub fn cancel_all(&mut self, patience: Duration) {
        for slot in &mut self.slots {
            if let Some(trial) = slot.trial.clone() {
                slot.send(&Request::Cancel { trial });
            }
        }
        let deadline = Instant::now() + patience;
        while self.running().next().is_some() {
            match self.messages.recv_deadline(deadline) {
                Ok(message) => drop(self.accept(message)),
                Err(_) => break,
            }
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.trial.is_some()) {
            slot.trial = None;
            slot.end();
        }
    }
}

impl Slot {
    /// Sends a request. False if the slot has no process, or one that does not read any more.
    fn send(&mut self, request: &Request) -> bool {
        let Some(running) = &mut self.running else { return false };
        let Ok(mut line) = serde_json::to_vec(request) else { return false };
        line.push(b'\n');
        let sent = running.stdin.write_all(&line).and_then(|()| running.stdin.flush()).is_ok();
        if !sent {
            self.end();
        }
        sent
    }

    /// Ends the process of the slot and all that it started.
    fn end(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        // When its standard input closes, a slot ends what it started, and then itself. One that hangs is killed.
        drop(running.stdin);
        let deadline = Instant::now() + Duration::from_millis(400);
        while Instant::now() < deadline {
            if !matches!(running.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = running.child.kill();
        let _ = running.child.wait();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            slot.end();
        }
    }
}

/// Starts the process of a slot and waits for its greeting.
fn start(spec: &SlotSpec, id: u64, sender: Sender<SlotMessage>) -> Result<SlotProcess, PoolError> {
    let shown = spec.command.join(" ");
    let Some((program, arguments)) = spec.command.split_first() else {
        return Err(PoolError::NoSlot { command: shown, seen: "the command is empty".into() });
    };
    let mut command = Command::new(program);
    // The worker in the slot trains on the device that TUNEBOOK_DEVICE names. The processors are one device to it.
    let device = if spec.device.starts_with("cpu") { "cpu" } else { spec.device.as_str() };
    spec.environment.give(&mut command);
    if let Some(folder) = &spec.folder {
        command.current_dir(folder);
    }
    let child = command
        .args(arguments)
        .env("TUNEBOOK_DEVICE", device)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // So that Ctrl-C at a terminal interrupts the kernel, but not the slot.
        .process_group(0)
        .spawn();
    let mut child = child.map_err(|source| PoolError::Start { command: shown.clone(), source })?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(PoolError::NoSlot { command: shown, seen: "it has no pipes".into() });
    };
    let mut lines = BufReader::new(stdout).lines();
    let mut seen = String::from("it printed nothing");
    loop {
        let Some(Ok(line)) = lines.next() else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(PoolError::NoSlot { command: shown, seen });
        };
        match serde_json::from_str::<Event>(&line) {
            Ok(Event::Hello { protocol, .. }) if protocol == VERSION => break,
            Ok(Event::Hello { protocol, .. }) => {
                let _ = child.kill();
                let _ = child.wait();
                let seen = format!("it uses version {protocol} of the protocol, and this kernel version {VERSION}");
                return Err(PoolError::NoSlot { command: shown, seen });
            }
            // A banner, of `ssh` for example.
            _ => seen = format!("its last line was `{}`", line.chars().take(200).collect::<String>()),
        }
    }
    std::thread::spawn(move || {
        for line in lines {
            let Ok(line) = line else { break };
            if let Ok(event) = serde_json::from_str::<Event>(&line)
                && sender.send((id, Some(event))).is_err()
            {
                return;
            }
        }
        let _ = sender.send((id, None));
    });
    Ok(SlotProcess { id, child, stdin })
}
