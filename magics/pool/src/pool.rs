//! The pool: trials go to free slots, what they report comes back in one channel.

use crate::Environment;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};
use tunebook_study::protocol::{Event, Request, TrialId, TrialRequest, VERSION};

/// Where a slot runs and how it is started.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotSpec {
    /// `cpu:0`, `cuda:1`, ….
    pub device: String,
    /// The command that leads to `tunebook slot`.
    pub command: Vec<String>,
    /// What it and its trials have beside the environment of this process.
    pub environment: Environment,
    /// The folder in which its programs run; `None`: the current one.
    pub folder: Option<PathBuf>,
}

/// What a slot said, or that it is gone.
#[derive(Clone, Debug, PartialEq)]
pub enum PoolEvent {
    /// A message about a trial.
    Trial(Event),
    /// The slot ended by itself in the middle of this trial; the trial may run again elsewhere.
    SlotLost {
        /// The trial that it ran.
        trial: TrialId,
        /// What is known of it.
        reason: String,
    },
}

/// A slot that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Its command cannot be started.
    #[error("the slot `{command}` cannot be started: {source}")]
    Start { command: String, source: std::io::Error },
    /// It does not answer as a slot does.
    #[error("the slot `{command}` did not answer as a Tunebook slot of this version: {seen}")]
    NoSlot { command: String, seen: String },
    /// All slots are taken.
    #[error("all slots are taken")]
    Full,
}

/// What a slot's reader passes on: which slot (by its start), and a message or its end.
type FromSlot = (u64, Option<Event>);

struct Slot {
    spec: SlotSpec,
    running: Option<RunningSlot>,
    trial: Option<TrialId>,
}

struct RunningSlot {
    id: u64,
    child: Child,
    stdin: ChildStdin,
}

/// Slots that stay warm until the pool is dropped; dropping it ends all their processes.
pub struct Pool {
    slots: Vec<Slot>,
    sender: Sender<FromSlot>,
    events: Receiver<FromSlot>,
    started: u64,
}

impl Pool {
    /// A pool of these slots; each is started with its first trial.
    pub fn new(specs: Vec<SlotSpec>) -> Self {
        let (sender, events) = unbounded();
        let slots = specs.into_iter().map(|spec| Slot { spec, running: None, trial: None }).collect();
        Self { slots, sender, events, started: 0 }
    }

    /// The slots as they were asked for.
    pub fn specs(&self) -> Vec<SlotSpec> {
        self.slots.iter().map(|slot| slot.spec.clone()).collect()
    }

    /// Whether a trial can be handed over now.
    pub fn has_free_slot(&self) -> bool {
        self.slots.iter().any(|slot| slot.trial.is_none())
    }

    /// Trials that run now.
    pub fn running(&self) -> impl Iterator<Item = &TrialId> {
        self.slots.iter().filter_map(|slot| slot.trial.as_ref())
    }

    /// Hands a trial to a free slot, a warm one first.
    pub fn run(&mut self, request: TrialRequest) -> Result<(), PoolError> {
        let free = |slot: &Slot| slot.trial.is_none();
        let warm = self.slots.iter().position(|slot| free(slot) && slot.running.is_some());
        let index = warm.or_else(|| self.slots.iter().position(free)).ok_or(PoolError::Full)?;
        let trial = request.trial.clone();
        let request = Request::Run { trials: vec![request] };
        if !self.slots[index].say(&request) {
            self.started += 1;
            let running = start(&self.slots[index].spec, self.started, self.sender.clone())?;
            self.slots[index].running = Some(running);
            self.slots[index].say(&request);
        }
        self.slots[index].trial = Some(trial);
        Ok(())
    }

    /// The channel that wakes when a slot has something to say; take it with [`Pool::accept`].
    pub fn channel(&self) -> &Receiver<(u64, Option<Event>)> {
        &self.events
    }

    /// Turns what came out of the channel into an event; `None` for what concerns nobody any more.
    pub fn accept(&mut self, (id, event): (u64, Option<Event>)) -> Option<PoolEvent> {
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

    /// Asks for the end of all running trials and waits for it, at most `patience`; slots that do not answer are ended.
    pub fn cancel_all(&mut self, patience: Duration) {
        for slot in &mut self.slots {
            if let Some(trial) = slot.trial.clone() {
                slot.say(&Request::Cancel { trial });
            }
        }
        let deadline = Instant::now() + patience;
        while self.running().next().is_some() {
            match self.events.recv_deadline(deadline) {
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
    /// Sends a request; false where the slot is not there (any more).
    fn say(&mut self, request: &Request) -> bool {
        let Some(running) = &mut self.running else { return false };
        let Ok(mut line) = serde_json::to_vec(request) else { return false };
        line.push(b'\n');
        let sent = running.stdin.write_all(&line).and_then(|()| running.stdin.flush()).is_ok();
        if !sent {
            self.end();
        }
        sent
    }

    fn end(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        // A closed standard input makes the slot end what it started; only one that hangs is killed.
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

/// Starts a slot and waits for its hello.
fn start(spec: &SlotSpec, id: u64, sender: Sender<FromSlot>) -> Result<RunningSlot, PoolError> {
    let shown = spec.command.join(" ");
    let Some((program, arguments)) = spec.command.split_first() else {
        return Err(PoolError::NoSlot { command: shown, seen: "the command is empty".into() });
    };
    let mut command = Command::new(program);
    // A slot on the CPU must not see the GPUs; one on a GPU sees all and is told which is its own.
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
        // Ctrl-C at a terminal reaches the kernel alone.
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
                let seen = format!("it speaks version {protocol} of the protocol, this kernel {VERSION}");
                return Err(PoolError::NoSlot { command: shown, seen });
            }
            // Banners of ssh and the like.
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
    Ok(RunningSlot { id, child, stdin })
}
