//! A slot of a pool: its process, its trial, and what happens when it fails.

use crate::pool::PoolEvent;
use crate::queue::Queue;
use crate::slot_process::SlotProcess;
use crate::spec::{Scheduler, SlotSpec, SlotState, SlotStatus};
use std::time::{Duration, Instant};
use tunebook_study::protocol::{Request, TrialId};

/// A slot elsewhere that was started this many times in a row without any work is given up.
const STARTS: u32 = 5;
/// The pause after the first of these. Each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
/// A start without a scheduler that says nothing for so long has failed.
pub(crate) const ANSWER: Duration = Duration::from_secs(120);
/// A slot that was ended before it answered is worth a word only if it had so long.
const UNANSWERED: Duration = Duration::from_secs(10);

/// A slot of a pool.
pub(crate) struct Slot {
    pub(crate) spec: SlotSpec,
    pub(crate) process: Process,
    /// The trial that runs now.
    pub(crate) trial: Option<TrialId>,
    pub(crate) status: SlotStatus,
    /// Whether its pool was removed. The trial that runs in it goes on, and no other one starts.
    pub(crate) closed: bool,
    /// How often it was started in this sweep.
    pub(crate) starts: u32,
    /// How often in a row it was started without any work.
    pub(crate) failures: u32,
    /// Whether it has worked since it was started.
    pub(crate) worked: bool,
    /// How far the copying of files to it is, while it starts.
    pub(crate) copying: Option<String>,
    /// When something was last heard from it.
    pub(crate) heard: Instant,
}

/// Why no trial can start in a slot any more.
#[derive(PartialEq)]
pub(crate) enum NoHope {
    /// Its pool was removed.
    Removed(String),
    /// It was given up after so many starts, for this reason.
    GivenUp { reason: String, starts: u32 },
}

impl std::fmt::Display for NoHope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoHope::Removed(pool) => write!(f, "pool `{pool}` was removed"),
            NoHope::GivenUp { reason, .. } => f.write_str(reason),
        }
    }
}

/// The process of a slot.
pub(crate) enum Process {
    None,
    /// The command was started, but no machine has answered yet.
    Pending(SlotProcess),
    Ready(SlotProcess),
    /// It is not started before this time.
    Paused(Instant),
    GivenUp,
}

impl Process {
    pub(crate) fn started(&self) -> Option<&SlotProcess> {
        match self {
            Process::Pending(process) | Process::Ready(process) => Some(process),
            _ => None,
        }
    }

    pub(crate) fn take(&mut self) -> Option<SlotProcess> {
        match std::mem::replace(self, Process::None) {
            Process::Pending(process) | Process::Ready(process) => Some(process),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Slot {
    pub(crate) fn new(spec: SlotSpec) -> Self {
        let status = SlotStatus {
            slot: spec.device.clone(),
            pool: spec.far.as_ref().map(|far| far.pool.clone()),
            pool_id: spec.far.as_ref().map(|far| far.id),
            state: SlotState::Idle,
            given_up: false,
            unanswered: None,
            node: None,
            job: None,
            reason: None,
            trials: 0,
            lost: 0,
        };
        Self {
            spec,
            process: Process::None,
            trial: None,
            status,
            closed: false,
            starts: 0,
            failures: 0,
            worked: false,
            copying: None,
            heard: Instant::now(),
        }
    }

    /// Whether it can take a trial: it is ready, or on this machine, where it starts with the trial.
    pub(crate) fn is_free(&self) -> bool {
        let ready = matches!(self.process, Process::Ready(_));
        self.trial.is_none() && !self.closed && (ready || self.spec.far.is_none())
    }

    /// The pool of a slot elsewhere.
    pub(crate) fn pool(&self) -> Option<&str> {
        self.spec.far.as_ref().map(|far| far.pool.as_str())
    }

    /// Whether a scheduler lets its command wait for a machine.
    pub(crate) fn queues(&self) -> bool {
        self.spec.far.as_ref().is_some_and(|far| far.scheduler != Scheduler::None)
    }

    /// That a command has not answered yet, `waited` after something was last heard from it.
    fn no_answer(&self, waited: Duration) -> String {
        match self.queues() {
            true => format!("no answer yet ({} s)", waited.as_secs()),
            false => format!("no answer yet ({} of {} s)", waited.as_secs(), ANSWER.as_secs()),
        }
    }

    /// Whether files are copied to its machine.
    pub(crate) fn reads_copies(&self) -> bool {
        self.spec.far.as_ref().is_some_and(|far| far.copies)
    }

    pub(crate) fn status(&self, queue: &Queue) -> SlotStatus {
        self.status_at(Instant::now(), queue)
    }

    pub(crate) fn status_at(&self, now: Instant, queue: &Queue) -> SlotStatus {
        let mut status = self.status.clone();
        status.given_up = matches!(self.process, Process::GivenUp);
        status.state = match &self.process {
            Process::None if self.failures > 0 => SlotState::Failed,
            Process::None => SlotState::Idle,
            Process::Pending(process) => {
                let before = status.reason.take().filter(|_| self.failures > 0);
                let again = before.map(|before| format!("start {} of {STARTS}, after: {before}", self.failures + 1));
                let waits = || queue.reason(process).or_else(|| process.said());
                let silent = || Some(self.no_answer(now.saturating_duration_since(self.heard)));
                status.reason = self.copying.clone().or_else(waits).or(again).or_else(silent);
                SlotState::Pending
            }
            // One on this machine stays warm between its trials.
            Process::Ready(_) if self.trial.is_none() && self.spec.far.is_none() => SlotState::Idle,
            Process::Ready(_) => SlotState::Running,
            Process::Paused(_) | Process::GivenUp => SlotState::Failed,
        };
        status
    }

    /// Sends a request. False if the slot has no process that is ready, or one that does not read any more.
    pub(crate) fn send(&mut self, request: &Request) -> bool {
        match &mut self.process {
            Process::Ready(process) => {
                if let Request::Run { trials } = request {
                    process.runs(trials.first().map_or(0, |trial| trial.trial.number));
                }
                process.send(request)
            }
            _ => false,
        }
    }

    /// Ends the process without waiting for it.
    pub(crate) fn retire(&mut self) {
        self.retire_at(Instant::now());
    }

    pub(crate) fn retire_at(&mut self, now: Instant) {
        let waited = now.saturating_duration_since(self.heard);
        // A command that waits in a queue is not expected to answer.
        if let Process::Pending(process) = &self.process
            && !self.queues()
            && self.copying.is_none()
            && waited >= UNANSWERED
        {
            let said = process.said().map_or(String::new(), |said| format!(": {said}"));
            self.status.unanswered = Some(format!("no answer within {} s{said}", waited.as_secs()));
        }
        let pending = matches!(self.process, Process::Pending(_));
        if let Some(process) = self.process.take() {
            process.retire(pending);
        }
    }

    /// Why no trial can start in it any more. None if one can.
    pub(crate) fn without_hope(&self) -> Option<NoHope> {
        if self.closed {
            return Some(NoHope::Removed(self.pool().unwrap_or("local").into()));
        }
        let reason = || self.status.reason.clone().unwrap_or("no reason is known".into());
        matches!(self.process, Process::GivenUp).then(|| NoHope::GivenUp { reason: reason(), starts: self.starts })
    }

    /// The process has ended by itself, could not be started, or is given up for this reason. Then it is ended. A slot
    /// whose pool was removed is not started again.
    pub(crate) fn gone(&mut self, how: &str) -> Option<PoolEvent> {
        let pending = matches!(self.process, Process::Pending(_));
        let process = self.process.take();
        let said = process.as_ref().map(SlotProcess::lines).unwrap_or_default();
        self.process = Process::None;
        // Its job is gone with it.
        self.status.job = None;
        if self.spec.far.is_some() {
            // It may have left something behind.
            process.into_iter().for_each(|process| process.retire(pending));
        }
        if self.spec.far.is_some() && !self.closed {
            self.status.reason = Some(how.into());
            self.failures = if self.worked { 0 } else { self.failures + 1 };
            self.process = match self.failures {
                0 => Process::None,
                STARTS.. => Process::GivenUp,
                failures => Process::Paused(Instant::now() + PAUSE * 2_u32.pow(failures - 1)),
            };
        }
        let trial = self.trial.take()?;
        self.status.lost += 1;
        let node = self.status.node.as_ref().map_or(String::new(), |node| format!(" on {node}"));
        let reason = format!("its slot on {}{node} was lost ({how})", self.spec.device);
        Some(PoolEvent::SlotLost { trial, reason, said })
    }
}
