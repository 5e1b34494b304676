//! The pool gives trials to free slots. What all slots report arrives in one channel.
//!
//! A slot on this machine starts with its first trial. A slot elsewhere starts when trials wait, and gets one only once
//! it has answered: a command that waits in the queue of a scheduler holds no trial.

use crate::guard::Guard;
use crate::node::{FromSlot, Needs};
use crate::pool_slot::{ANSWER, NoHope, Process, Slot};
use crate::queue::Queue;
use crate::slot_process::{Said, SlotMessage, SlotProcess, other_version};
use crate::spec::{SlotSpec, SlotStatus};
use crate::usage::{LastUsage, Usage};
use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tunebook_study::protocol::{Event, Request, TrialId, TrialRequest, VERSION};

/// A slot elsewhere that says nothing for so long is lost. One that lives says so every few seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// After a longer pause between two looks, this process was stopped. What slots have said meanwhile is not read yet.
const STOPPED: Duration = Duration::from_secs(5);
/// Slots elsewhere are looked after this often, or when the number of waiting trials changes.
const TEND: Duration = Duration::from_millis(100);
/// How long slots have to end after their standard input was closed.
const END: Duration = Duration::from_millis(400);

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
        /// The last lines that its command printed on standard error. The reason shows only some of them.
        said: Vec<String>,
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

/// Slots whose processes stay ready from one trial to the next. Dropping the pool ends all of them.
pub struct Pool {
    slots: Vec<Slot>,
    sender: Sender<SlotMessage>,
    messages: Receiver<SlotMessage>,
    /// How many processes were started so far.
    started: u64,
    /// At most so many trials run at a time.
    limit: usize,
    /// The slots that may get to work, by their names, and how many of each. None if all may.
    granted: Option<BTreeMap<String, usize>>,
    usage: LastUsage,
    /// What slots elsewhere must find on their machine, or get there, by the names of their pools.
    needs: BTreeMap<String, Arc<Needs>>,
    /// The words of the command that runs a guard, and the guard once a slot elsewhere was started.
    guard: (Vec<String>, Option<Guard>),
    queue: Queue,
    /// When slots elsewhere were last looked after, and how many trials waited then.
    tended: (Instant, usize),
}

impl Pool {
    /// A pool of slots on this machine.
    pub fn new(specs: Vec<SlotSpec>) -> Self {
        let (sender, messages) = unbounded();
        let slots = specs.into_iter().map(Slot::new).collect();
        let (guard, queue, tended) = ((vec![], None), Queue::default(), (Instant::now(), 0));
        Self {
            slots,
            sender,
            messages,
            started: 0,
            limit: usize::MAX,
            granted: None,
            usage: LastUsage::default(),
            needs: BTreeMap::new(),
            guard,
            queue,
            tended,
        }
    }

    /// The slots on this machine, as the pool was made of them.
    pub fn specs(&self) -> Vec<SlotSpec> {
        self.slots.iter().filter(|slot| slot.spec.far.is_none()).map(|slot| slot.spec.clone()).collect()
    }

    /// Begins a sweep: nothing has ended in the slots on this machine yet, and all of them are open.
    pub fn begin(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.spec.far.is_none()) {
            (slot.status.trials, slot.status.lost, slot.closed) = (0, 0, false);
        }
        self.granted = None;
    }

    /// Replaces the slots elsewhere, and what those of each pool must find there. `guard` is the command that ends them
    /// when this process is gone.
    pub fn set_far(&mut self, specs: Vec<SlotSpec>, needs: BTreeMap<String, Needs>, guard: Vec<String>) {
        self.release_far();
        self.slots.retain(|slot| slot.spec.far.is_none());
        self.slots.extend(specs.into_iter().map(Slot::new));
        self.needs = needs.into_iter().map(|(pool, needs)| (pool, Arc::new(needs))).collect();
        self.guard.0 = guard;
        self.usage.forget();
    }

    /// Closes the slots of which `closed` is true, and opens the others. In a closed slot the trial that runs goes on,
    /// and no other one starts. Its process then ends.
    pub fn close(&mut self, closed: impl Fn(&SlotSpec) -> bool) {
        for slot in &mut self.slots {
            slot.closed = closed(&slot.spec);
        }
        self.end_closed();
    }

    /// Ends the processes of closed slots that run no trial.
    fn end_closed(&mut self) {
        let is_over = |slot: &&mut Slot| slot.closed && slot.trial.is_none();
        self.slots.iter_mut().filter(is_over).for_each(Slot::retire);
    }

    /// Sets how many trials run at a time at most. With 0, those that run go on and no other one starts.
    pub fn set_limit(&mut self, limit: Option<usize>) {
        self.limit = limit.unwrap_or(usize::MAX);
    }

    /// Names the slots that may get to work, and how many of each name: those on this machine take a trial, and those
    /// elsewhere are started. Slots elsewhere that were started already may take trials. None if all may.
    pub fn set_granted(&mut self, granted: Option<BTreeMap<String, usize>>) {
        self.granted = granted;
    }

    /// Ends these slots elsewhere if they run no trial, because others need them.
    pub fn give_back(&mut self, names: &[String]) {
        let is_one =
            |slot: &&mut Slot| slot.trial.is_none() && slot.spec.far.is_some() && names.contains(&slot.spec.device);
        self.slots.iter_mut().filter(is_one).for_each(Slot::retire);
    }

    /// Ends the processes that run no trial on the GPUs of this machine: they hold memory that the trials of others
    /// need.
    pub fn leave_devices(&mut self) {
        let is_one =
            |slot: &&mut Slot| slot.trial.is_none() && slot.spec.far.is_none() && !slot.spec.device.starts_with("cpu");
        self.slots.iter_mut().filter(is_one).for_each(Slot::retire);
    }

    fn is_granted(&self, slot: &Slot) -> bool {
        self.granted.as_ref().is_none_or(|granted| granted.get(&slot.spec.device).is_some_and(|left| *left > 0))
    }

    /// A slot with this name got to work.
    fn uses(&mut self, name: &str) {
        if let Some(left) = self.granted.as_mut().and_then(|granted| granted.get_mut(name)) {
            *left = left.saturating_sub(1);
        }
    }

    fn is_free(&self, slot: &Slot) -> bool {
        slot.is_free() && (slot.spec.far.is_some() || self.is_granted(slot))
    }

    /// Whether [`run`](Self::run) can take a trial now.
    pub fn has_free_slot(&self) -> bool {
        self.slots.iter().any(|slot| self.is_free(slot)) && self.running().count() < self.limit
    }

    /// The slot that takes the next trial. A process that runs already comes first.
    fn next_slot(&self) -> Option<usize> {
        let free = self.slots.iter().enumerate().filter(|(_, slot)| self.is_free(slot));
        free.min_by_key(|(_, slot)| !matches!(slot.process, Process::Ready(_))).map(|(index, _)| index)
    }

    /// Whether the next trial will read copies of files, because its slot shares no file system with this machine.
    pub fn next_reads_copies(&self) -> bool {
        self.next_slot().is_some_and(|index| self.slots[index].reads_copies())
    }

    /// Whether a trial that runs reads copies of files.
    pub fn reads_copies(&self, trial: &TrialId) -> bool {
        self.slots.iter().any(|slot| slot.trial.as_ref() == Some(trial) && slot.reads_copies())
    }

    /// The trials that run now.
    pub fn running(&self) -> impl Iterator<Item = &TrialId> {
        self.slots.iter().filter_map(|slot| slot.trial.as_ref())
    }

    /// What it does with its slots now.
    pub fn usage(&mut self) -> Arc<Usage> {
        self.usage.of(&self.slots)
    }

    /// What is known of each slot.
    pub fn status(&self) -> Vec<SlotStatus> {
        self.slots.iter().map(|slot| slot.status(&self.queue)).collect()
    }

    /// Gives a trial to a free slot, if possible to one whose process is running. Otherwise it starts a slot on this
    /// machine and waits until it is ready. Returns where the trial runs.
    pub fn run(&mut self, request: TrialRequest) -> Result<String, PoolError> {
        let trial = request.trial.clone();
        let request = Request::Run { trials: vec![request] };
        loop {
            let index = self.next_slot().ok_or(PoolError::Full)?;
            let slot = &mut self.slots[index];
            if !slot.send(&request) {
                if slot.spec.far.is_some() {
                    slot.retire();
                    slot.gone("it does not read any more");
                    continue;
                }
                self.started += 1;
                slot.process = Process::Ready(SlotProcess::start_here(&slot.spec, self.started, self.sender.clone())?);
                slot.send(&request);
            }
            slot.trial = Some(trial);
            let node = slot.status.node.as_ref().map_or(String::new(), |node| format!(" on {node}"));
            let (device, is_here) = (slot.spec.device.clone(), slot.spec.far.is_none());
            if is_here {
                self.uses(&device);
            }
            return Ok(device + &node);
        }
    }

    /// The channel of what the slots report. Each message goes to [`accept`](Self::accept).
    pub fn channel(&self) -> &Receiver<SlotMessage> {
        &self.messages
    }

    /// Starts slots elsewhere for trials that wait, ends those that are not needed any more, and finds those that are
    /// lost in silence. To be called about every half second.
    pub fn tend(&mut self, waiting: usize) -> Vec<PoolEvent> {
        self.tend_at(Instant::now(), waiting)
    }

    fn tend_at(&mut self, now: Instant, waiting: usize) -> Vec<PoolEvent> {
        let (tended, waited) = self.tended;
        if waited == waiting && now.duration_since(tended) < TEND {
            return vec![];
        }
        self.tended = (now, waiting);
        self.end_closed();
        let was_stopped = now.duration_since(tended) > STOPPED;
        let mut lost = vec![];
        for slot in self.slots.iter_mut().filter(|slot| slot.spec.far.is_some()) {
            if was_stopped {
                slot.heard = now;
            }
            match &slot.process {
                Process::Paused(until) if *until <= now => slot.process = Process::None,
                Process::Pending(process) if !slot.queues() && now.duration_since(slot.heard) > ANSWER => {
                    let said = process.said().map_or(String::new(), |said| format!(": {said}"));
                    slot.gone(&format!("it did not answer within {} s{said}", ANSWER.as_secs()));
                }
                Process::Pending(process) if slot.queues() => {
                    // From the time on from which its job runs, it has as long as any other.
                    let Some((job, since)) = self.queue.running(process) else { continue };
                    if now.saturating_duration_since(slot.heard.max(since)) > ANSWER {
                        let said = "its output does not arrive here";
                        slot.gone(&format!("job {job} runs, but did not answer within {} s: {said}", ANSWER.as_secs()));
                    }
                }
                Process::Ready(_) if now.duration_since(slot.heard) > SILENCE => {
                    lost.extend(slot.gone(&format!("it said nothing for {} s", SILENCE.as_secs())));
                }
                _ => {}
            }
        }
        let more = waiting.min(self.limit.saturating_sub(self.running().count()));
        let pools: BTreeSet<&str> = self.slots.iter().filter_map(Slot::pool).collect();
        for pool in pools.into_iter().map(String::from).collect::<Vec<_>>() {
            self.adjust(&pool, more);
        }
        let waits = |slot: &&Slot| matches!(slot.process, Process::Pending(_));
        let environment = self.slots.iter().find(waits).map(|slot| slot.spec.environment.clone());
        self.queue.ask(
            environment.unwrap_or_default(),
            self.slots.iter().filter_map(|slot| match &slot.process {
                Process::Pending(process) if slot.spec.far.is_some() => Some(process),
                _ => None,
            }),
        );
        lost
    }

    /// Starts slots of a pool for `more` trials, or ends those that are not needed. Each pool does so for itself: the
    /// slots of one can wait in a queue while those of another are there at once.
    fn adjust(&mut self, pool: &str, more: usize) {
        let of_pool: Vec<usize> = (0..self.slots.len()).filter(|i| self.slots[*i].pool() == Some(pool)).collect();
        let count = |counts: fn(&Slot) -> bool| of_pool.iter().filter(|i| counts(&self.slots[**i])).count();
        let alive = count(|slot| slot.process.started().is_some());
        let needed = count(|slot| slot.trial.is_some()) + more;
        let is_startable = |slot: &Slot| !slot.closed && matches!(slot.process, Process::None) && self.is_granted(slot);
        let startable = of_pool.iter().filter(|i| is_startable(&self.slots[**i]));
        for index in startable.take(needed.saturating_sub(alive)).copied().collect::<Vec<_>>() {
            self.start_far(index);
        }
        let mut surplus = alive.saturating_sub(needed);
        for pending in [true, false] {
            // Those that wait for a machine first, the last ones first.
            for index in of_pool.iter().rev() {
                let slot = &mut self.slots[*index];
                let is_pending = matches!(slot.process, Process::Pending(_));
                let is_surplus = slot.trial.is_none() && slot.process.started().is_some() && is_pending == pending;
                if surplus > 0 && is_surplus {
                    slot.retire();
                    surplus -= 1;
                }
            }
        }
    }

    fn start_far(&mut self, index: usize) {
        let name = self.slots[index].spec.device.clone();
        self.uses(&name);
        self.started += 1;
        if self.guard.1.is_none() {
            self.guard.1 = Guard::start(&self.guard.0).ok();
        }
        let guard = self.guard.1.as_ref().map(Guard::line).unwrap_or_default();
        let slot = &mut self.slots[index];
        (slot.worked, slot.heard, slot.copying, slot.status.job) = (false, Instant::now(), None, None);
        slot.starts += 1;
        let needs = slot.spec.far.as_ref().and_then(|far| self.needs.get(&far.pool)).cloned().unwrap_or_default();
        match SlotProcess::start_far(&slot.spec, &needs, self.started, self.sender.clone(), guard) {
            Ok(process) => {
                slot.process = Process::Pending(process);
            }
            Err(error) => drop(slot.gone(&error.to_string())),
        }
    }

    /// Brings the pool up to date with a message from its channel, and returns what it means. None if it means nothing
    /// to the caller: the message is a greeting, or comes from a process that the pool has ended.
    pub fn accept(&mut self, SlotMessage { process, said }: SlotMessage) -> Option<PoolEvent> {
        let of = |slot: &Slot| slot.process.started().is_some_and(|started| started.id == process);
        let slot = self.slots.iter_mut().find(|slot| of(slot))?;
        slot.heard = Instant::now();
        match said {
            Said::Event(Event::Hello { protocol, .. }) if protocol != VERSION && slot.spec.far.is_some() => {
                slot.retire();
                slot.gone(&other_version(protocol))
            }
            Said::Event(Event::Hello { .. }) => None,
            Said::Copying(words) => {
                slot.copying = Some(words);
                None
            }
            Said::Node(FromSlot::Waits) => {
                slot.copying = Some("waits until another slot has copied the files to this machine".into());
                None
            }
            Said::Event(event) => {
                (slot.worked, slot.failures) = (true, 0);
                if matches!(&event, Event::Ended { trial, .. } if Some(trial) == slot.trial.as_ref()) {
                    slot.trial = None;
                    slot.status.trials += 1;
                }
                Some(PoolEvent::Trial(event))
            }
            Said::Node(FromSlot::Ready { protocol, node, job, problem }) => {
                (slot.status.node, slot.status.job) = (Some(node), job);
                let problem = if protocol == VERSION { problem } else { Some(other_version(protocol)) };
                match problem {
                    Some(problem) => {
                        slot.retire();
                        slot.gone(&problem)
                    }
                    None => {
                        if let Some(process) = slot.process.take() {
                            process.forget_lines();
                            slot.process = Process::Ready(process);
                            (slot.status.reason, slot.status.unanswered) = (None, None);
                        }
                        None
                    }
                }
            }
            // Whoever copies files answers the others of these.
            Said::Node(_) => None,
            Said::Gone(how) => slot.gone(&how),
        }
    }

    /// Why no trial can start any more, as a sentence: each slot was given up or removed. None if one can.
    pub fn stuck(&self) -> Option<String> {
        let of_slots: Vec<NoHope> = self.slots.iter().map(Slot::without_hope).collect::<Option<_>>()?;
        if of_slots.is_empty() {
            return None;
        }
        let are_removed = of_slots.iter().all(|reason| matches!(reason, NoHope::Removed(_)));
        let mut reasons: Vec<(NoHope, usize)> = vec![];
        for reason in of_slots {
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((reason, 1)),
            }
        }
        let words = |(reason, count): (NoHope, usize)| {
            let starts = match &reason {
                NoHope::GivenUp { starts, .. } => Some(*starts),
                NoHope::Removed(_) => None,
            };
            match (count, starts) {
                (1, None) => reason.to_string(),
                (1, Some(starts)) => format!("{reason} (started {starts} times)"),
                (count, None) => format!("{reason} ({count} slots)"),
                (count, Some(starts)) => format!("{reason} ({count} slots, each started {starts} times)"),
            }
        };
        let reasons: Vec<String> = reasons.into_iter().map(words).collect();
        let begin = match are_removed {
            true => "no slot is left",
            false if self.slots.iter().any(|slot| slot.status.trials + slot.status.lost > 0) => "all slots have ended",
            false => "no slot can be started",
        };
        Some(format!("{begin}: {}", reasons.join("; ")))
    }

    /// Ends all slots elsewhere, so that they hold no machine.
    pub fn release_far(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.spec.far.is_some()) {
            slot.trial = None;
            slot.retire();
        }
    }

    /// Asks for the end of a running trial. It ends as cancelled, or as it would have if it is at its end already.
    pub fn cancel(&mut self, trial: &TrialId) {
        for slot in self.slots.iter_mut().filter(|slot| slot.trial.as_ref() == Some(trial)) {
            slot.send(&Request::Cancel { trial: trial.clone() });
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
        end(self.slots.iter_mut().filter(|slot| slot.trial.is_some()));
    }
}

/// Ends slots with all that they started.
fn end<'a>(slots: impl Iterator<Item = &'a mut Slot>) {
    let mut ending = vec![];
    for slot in slots {
        slot.trial = None;
        if slot.spec.far.is_some() {
            slot.retire();
        } else if let Some(mut process) = slot.process.take() {
            process.close();
            ending.push(process);
        }
    }
    let deadline = Instant::now() + END;
    for process in ending {
        // One that hangs is killed.
        if !process.ends_by(deadline) {
            process.signal(Signal::SIGKILL);
            process.ends_by(Instant::now() + END);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        end(self.slots.iter_mut());
    }
}

#[cfg(test)]
mod tests;
