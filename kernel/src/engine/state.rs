//! The state of the engine of Rust cells: whether it can run a cell, whether it runs one, and whether that cell is
//! interrupted.
//!
//! ```text
//!   Starting ──ready──► Idle ──begin──► Running
//!      │                  ▲                │
//!      └─missing─► Missing└──────end───────┘
//! ```
//!
//! A cell may begin while the engine is still being created. It then waits in `Starting`, and runs as soon as the
//! engine is ready, unless it is interrupted before.
//!
//! All of this is in one mutex, so that no interrupt is lost between two changes:
//!
//! - An interrupt belongs to the cell that has begun. One that comes before any cell has begun changes nothing here.
//!   The caller of [`EngineState::begin`] has the `Interrupt` of its cell, which was raised first, and so learns of it.
//! - A cell that is interrupted while it waits never runs, even if the engine becomes ready at the same moment.
//! - A cell ends when its [`CellRun`] is dropped: also by a panic, and if the thread of the engine is gone.

use super::errors::CellError;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tunebook_magics::{ErrorName, Interrupt};

/// Whether Rust cells can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The engine is being created. A cell waits for it.
    Starting,
    /// A cell runs at once.
    Ready,
    /// No cell can run in this session: there is no toolchain.
    Missing,
}

/// The state, shared by the engine's thread, the callers who run cells, and whoever interrupts.
#[derive(Clone)]
pub(super) struct EngineState {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    phase: Phase,
    /// The number of the next cell.
    next: u64,
}

enum Phase {
    Starting {
        /// The cell that waits for the engine.
        waiting: Option<Run>,
    },
    Missing {
        /// What is missing and what to do about it.
        reason: String,
    },
    Idle {
        since: Instant,
    },
    Running(Run),
}

/// A cell that has begun and has not ended.
struct Run {
    number: u64,
    interrupted: bool,
}

/// What an interrupt can do for a cell at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interruptible {
    /// Wait: the engine is being created, and must not be disturbed. Whoever runs the cell gives it up.
    NotYet,
    /// End what the cell does.
    Now,
    /// Nothing: the cell has ended.
    NoLonger,
}

impl EngineState {
    /// The state of an engine that is being created.
    pub(super) fn starting() -> Self {
        let phase = Phase::Starting { waiting: None };
        Self { shared: Arc::new(Mutex::new(Shared { phase, next: 0 })) }
    }

    /// The engine was created. A cell that waits runs now.
    pub(super) fn ready(&self) {
        let mut shared = self.shared.lock();
        if let Phase::Starting { waiting } = &mut shared.phase {
            shared.phase = match waiting.take() {
                Some(run) => Phase::Running(run),
                None => Phase::Idle { since: Instant::now() },
            };
        }
    }

    /// The engine cannot be created.
    pub(super) fn missing(&self, reason: String) {
        self.shared.lock().phase = Phase::Missing { reason };
    }

    /// Begins a cell. The cell ends when the result is dropped.
    ///
    /// # Errors
    ///
    /// `Busy` while another cell runs or waits, `Interrupted` if the cell was interrupted already, `NoToolchain` if
    /// there is no engine.
    pub(super) fn begin(&self, interrupt: &Interrupt) -> Result<CellRun, CellError> {
        let mut shared = self.shared.lock();
        let number = shared.next;
        let run = Run { number, interrupted: false };
        match &mut shared.phase {
            Phase::Starting { waiting: waiting @ None } => *waiting = Some(run),
            Phase::Idle { .. } => shared.phase = Phase::Running(run),
            Phase::Starting { waiting: Some(_) } | Phase::Running(_) => return Err(CellError::busy()),
            Phase::Missing { reason } => return Err(CellError::no_toolchain(reason)),
        }
        shared.next += 1;
        drop(shared);
        let begun = CellRun { state: self.clone(), number };
        // Checked after the cell has begun: an interrupt that comes from here on finds the cell.
        match interrupt.is_raised() {
            true => Err(CellError::interrupted_before_it_ran()),
            false => Ok(begun),
        }
    }

    /// Marks the cell that has begun as interrupted, and returns its number. None if there is no such cell.
    pub(super) fn interrupt(&self) -> Option<u64> {
        let mut shared = self.shared.lock();
        match &mut shared.phase {
            Phase::Starting { waiting: Some(run) } | Phase::Running(run) => {
                run.interrupted = true;
                Some(run.number)
            }
            _ => None,
        }
    }

    /// What the interrupt of a cell can do now.
    pub(super) fn interruptible(&self, number: u64) -> Interruptible {
        match &self.shared.lock().phase {
            Phase::Starting { waiting: Some(run) } if run.number == number => Interruptible::NotYet,
            Phase::Running(run) if run.number == number => Interruptible::Now,
            _ => Interruptible::NoLonger,
        }
    }

    /// Ends a cell that was interrupted while it waits for the engine, and returns whether there was such a cell.
    pub(super) fn give_up(&self, number: u64) -> bool {
        let mut shared = self.shared.lock();
        match &mut shared.phase {
            Phase::Starting { waiting }
                if waiting.as_ref().is_some_and(|run| run.number == number && run.interrupted) =>
            {
                *waiting = None;
                true
            }
            _ => false,
        }
    }

    /// Whether cells can run.
    pub(super) fn readiness(&self) -> Readiness {
        match self.shared.lock().phase {
            Phase::Starting { .. } => Readiness::Starting,
            Phase::Missing { .. } => Readiness::Missing,
            Phase::Idle { .. } | Phase::Running(_) => Readiness::Ready,
        }
    }

    /// Whether a cell has begun and has not ended.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.shared.lock().phase, Phase::Starting { waiting: Some(_) } | Phase::Running(_))
    }

    /// How long no cell has run. None while one runs and while there is no engine.
    pub(super) fn idle(&self) -> Option<Duration> {
        match self.shared.lock().phase {
            Phase::Idle { since } => Some(since.elapsed()),
            _ => None,
        }
    }

    /// Why no cell can run: the toolchain is missing, or the thread of the engine has ended.
    pub(super) fn unavailable(&self) -> CellError {
        match &self.shared.lock().phase {
            Phase::Missing { reason } => CellError::no_toolchain(reason),
            _ => CellError::new(ErrorName::EngineError, "the engine of Rust cells is not there; restart the kernel"),
        }
    }

    fn end(&self, number: u64) {
        let mut shared = self.shared.lock();
        match &mut shared.phase {
            Phase::Starting { waiting } if waiting.as_ref().is_some_and(|run| run.number == number) => *waiting = None,
            Phase::Running(run) if run.number == number => shared.phase = Phase::Idle { since: Instant::now() },
            _ => {}
        }
    }
}

/// A cell that has begun. It ends when this is dropped.
pub(super) struct CellRun {
    state: EngineState,
    number: u64,
}

impl CellRun {
    /// The number of the cell, which no other cell of this engine has.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether the cell may run now: it was neither interrupted nor given up.
    pub(super) fn may_run(&self) -> bool {
        self.is_running_and(|run| !run.interrupted)
    }

    /// Whether the cell runs and was interrupted.
    pub(super) fn is_interrupted(&self) -> bool {
        self.is_running_and(|run| run.interrupted)
    }

    fn is_running_and(&self, test: impl FnOnce(&Run) -> bool) -> bool {
        match &self.state.shared.lock().phase {
            Phase::Running(run) if run.number == self.number => test(run),
            _ => false,
        }
    }
}

impl Drop for CellRun {
    fn drop(&mut self) {
        self.state.end(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(state: &EngineState) -> CellRun {
        state.begin(&Interrupt::default()).unwrap()
    }

    fn refused(state: &EngineState) -> ErrorName {
        state.begin(&Interrupt::default()).err().unwrap().name
    }

    fn ready() -> EngineState {
        let state = EngineState::starting();
        state.ready();
        state
    }

    #[test]
    fn one_cell_runs_at_a_time() {
        let state = ready();
        assert!(state.idle().is_some() && !state.is_busy());
        let run = begin(&state);
        assert!(run.may_run() && state.is_busy() && state.idle().is_none());
        assert_eq!(refused(&state), ErrorName::Busy);
        drop(run);
        assert!(state.idle().is_some() && !state.is_busy());
        assert!(begin(&state).may_run());
    }

    #[test]
    fn a_cell_that_begins_while_the_engine_starts_runs_once_it_is_ready() {
        let state = EngineState::starting();
        let run = begin(&state);
        assert!(!run.may_run() && state.is_busy());
        assert_eq!((state.readiness(), refused(&state).as_str()), (Readiness::Starting, "Busy"));
        state.ready();
        assert!(run.may_run());
        assert_eq!(state.readiness(), Readiness::Ready);
    }

    #[test]
    fn an_interrupt_is_for_the_cell_that_runs_and_for_no_later_one() {
        let state = ready();
        assert_eq!(state.interrupt(), None);
        let run = begin(&state);
        assert!(run.may_run() && !run.is_interrupted());
        let number = run.number();
        assert_eq!(state.interrupt(), Some(number));
        assert!(run.is_interrupted() && !run.may_run());
        assert_eq!(state.interruptible(number), Interruptible::Now);
        drop(run);
        assert_eq!(state.interruptible(number), Interruptible::NoLonger);
        let next = begin(&state);
        assert!(next.may_run());
        assert_eq!(state.interruptible(number), Interruptible::NoLonger);
    }

    #[test]
    fn a_cell_whose_interrupt_was_raised_before_it_began_does_not_begin() {
        let (state, interrupt) = (ready(), Interrupt::default());
        interrupt.raise();
        assert_eq!(state.interrupt(), None);
        assert_eq!(state.begin(&interrupt).err().unwrap().name, ErrorName::Interrupted);
        assert!(!state.is_busy());
    }

    #[test]
    fn a_waiting_cell_that_is_interrupted_is_given_up_and_never_runs() {
        let state = EngineState::starting();
        let run = begin(&state);
        let number = run.number();
        assert!(!state.give_up(number), "it was not interrupted");
        state.interrupt();
        assert_eq!(state.interruptible(number), Interruptible::NotYet, "the compilers that create the engine go on");
        assert!(state.give_up(number));
        assert!(!state.is_busy());
        // Another cell waits in its place. The first is dropped by the engine's thread later, and ends only itself.
        let next = begin(&state);
        state.ready();
        assert!(!run.may_run());
        drop(run);
        assert!(next.may_run() && state.is_busy());
    }

    #[test]
    fn a_waiting_cell_that_is_interrupted_as_the_engine_becomes_ready_does_not_run() {
        let state = EngineState::starting();
        let run = begin(&state);
        state.interrupt();
        state.ready();
        assert!(!state.give_up(run.number()), "whoever runs it waits for the answer of the engine's thread");
        assert!(!run.may_run() && run.is_interrupted());
        drop(run);
        assert!(!state.is_busy());
    }

    #[test]
    fn a_panic_ends_the_cell() {
        let state = ready();
        let run = begin(&state);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _run = run;
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err() && !state.is_busy());
        assert!(begin(&state).may_run());
    }

    #[test]
    fn without_a_toolchain_every_cell_learns_the_reason() {
        let state = EngineState::starting();
        let run = begin(&state);
        assert_eq!(state.unavailable().name, ErrorName::EngineError);
        state.missing("no cargo".into());
        assert!(!run.may_run());
        drop(run);
        assert_eq!((state.readiness(), refused(&state).as_str()), (Readiness::Missing, "NoToolchain"));
        assert_eq!(state.unavailable().message, "no cargo");
        assert!(state.interrupt().is_none() && state.idle().is_none() && !state.is_busy());
    }
}
