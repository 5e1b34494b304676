//! Signals by which a scheduler announces the end of a job. They reach all processes of the job, that is, the slot and
//! the program of its trial. The program may see one first, and end before the slot knows why.

use super::Outcome;
use super::process::end_everything;
use nix::sys::signal::Signal;
use signal_hook::consts::{SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use signal_hook::iterator::Signals as Arriving;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tunebook_study::TrialState;

/// How much later than a program the slot may see a signal.
const LATE: Duration = Duration::from_millis(300);
/// The same after a program that ended well. Each trial waits so long, so it is short: what sends the signals sends
/// them one directly after the other.
const LATE_AFTER_SUCCESS: Duration = Duration::from_millis(10);

/// What the slot was told by signals.
pub(super) struct Signals {
    /// It must end.
    ending: Arc<AtomicBool>,
    /// The last signal that said that the end of the job is near, or 0.
    warning: Arc<AtomicUsize>,
}

impl Signals {
    /// Ends everything after SIGTERM, and no trial from then on. If that cannot be arranged, SIGTERM ends the slot
    /// alone, and its worker with its standard input.
    pub(super) fn watch() -> Self {
        let (ending, warning) = (Arc::new(AtomicBool::new(false)), catch_warnings());
        if let Ok(mut arriving) = Arriving::new([SIGTERM]) {
            let _ = flag::register(SIGTERM, ending.clone());
            std::thread::spawn(move || {
                if arriving.forever().next().is_some() {
                    say(Signal::SIGTERM);
                    end_everything();
                }
            });
        }
        Self { ending, warning }
    }

    /// A trial begins.
    pub(super) fn begin(&self) {
        self.warning.store(0, Ordering::Release);
    }

    /// Ends the slot if a signal may have ended the trial that ended so. Then the trial has no end yet, and runs again.
    pub(super) fn end_if_they_ended(&self, outcome: &Outcome) {
        if outcome.by_itself {
            let late = if outcome.state == TrialState::Complete { LATE_AFTER_SUCCESS } else { LATE };
            std::thread::sleep((outcome.ended + late).saturating_duration_since(Instant::now()));
        }
        if self.ending.load(Ordering::Acquire) {
            end_everything();
        }
        let warning = i32::try_from(self.warning.load(Ordering::Acquire)).map(Signal::try_from);
        if let Ok(Ok(signal)) = warning
            && outcome.by_itself
            && outcome.state == TrialState::Failed
        {
            say(signal);
            end_everything();
        }
    }
}

/// Lets the signals that only warn of the end of a job end this process no more. They are not ignored, because the
/// programs that this process starts would inherit that. Returns where the last one is kept.
pub(crate) fn catch_warnings() -> Arc<AtomicUsize> {
    let last = Arc::new(AtomicUsize::new(0));
    for signal in [SIGUSR1, SIGUSR2] {
        let _ = flag::register_usize(signal, last.clone(), signal as usize);
    }
    last
}

/// Says on standard error why the slot ends. The pool looks for this sentence.
fn say(signal: Signal) {
    let _ = writeln!(std::io::stderr(), "tunebook slot: ended by {signal}");
}
