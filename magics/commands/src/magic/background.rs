//! Sweeps that go on after their cell has ended.

use crate::error::{ErrorName, Result};
use crate::host::Interrupt;
use parking_lot::{Condvar, Mutex};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the end of the kernel waits for a sweep to record what runs.
const END: Duration = Duration::from_secs(2);

/// The sweeps of this session that run in the background, or have run there, in the order in which they began.
#[derive(Default)]
pub struct Background(Mutex<Vec<Arc<BackgroundSweep>>>);

/// A sweep in the background.
pub struct BackgroundSweep {
    pub study: String,
    /// The file of the store in which the study is.
    pub store: PathBuf,
    /// How many trials this run trains.
    pub to_train: usize,
    /// How many trials of the study will have ended when this run has trained all of them.
    pub wanted: usize,
    pub started: Instant,
    interrupt: Interrupt,
    end: Mutex<Option<Ended>>,
    ended: Condvar,
}

/// How a sweep in the background ended, and how long it ran.
#[derive(Clone, Debug)]
pub struct Ended {
    pub how: How,
    pub after: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// By itself. Its display says whether all trials ran.
    Finished,
    /// By `%sweep stop`, or with the kernel.
    Stopped,
    /// With an error, which has this message and this help.
    Failed(String),
}

impl Background {
    /// Runs `work` on a thread of its own, with the interrupt of the sweep. It trains `to_train` trials, after which
    /// `wanted` trials of the study have ended.
    pub fn start(
        &self,
        study: &str,
        store: PathBuf,
        [to_train, wanted]: [usize; 2],
        work: impl FnOnce(&Interrupt) -> Result<()> + Send + 'static,
    ) -> Arc<BackgroundSweep> {
        let sweep = Arc::new(BackgroundSweep {
            study: study.into(),
            store,
            to_train,
            wanted,
            started: Instant::now(),
            interrupt: Interrupt::default(),
            end: Mutex::default(),
            ended: Condvar::new(),
        });
        let mut all = self.0.lock();
        // A later run of a study replaces the earlier one in the list.
        all.retain(|earlier| earlier.study != sweep.study || earlier.store != sweep.store || earlier.is_running());
        all.push(sweep.clone());
        let running = sweep.clone();
        std::thread::spawn(move || {
            // This also records the end if `work` panics.
            let mut ending = Ending { sweep: &running, how: How::Failed("the kernel has a fault".into()) };
            ending.how = match work(&running.interrupt) {
                Ok(()) => How::Finished,
                Err(error) if error.name == ErrorName::Interrupted => How::Stopped,
                Err(error) => How::Failed(error.in_one_line()),
            };
        });
        sweep
    }

    /// All sweeps, those that have ended too.
    pub fn all(&self) -> Vec<Arc<BackgroundSweep>> {
        self.0.lock().clone()
    }

    /// Those that run.
    pub fn running(&self) -> Vec<Arc<BackgroundSweep>> {
        self.0.lock().iter().filter(|sweep| sweep.is_running()).cloned().collect()
    }

    /// The names of the studies that run.
    pub fn names(&self) -> Vec<String> {
        self.running().iter().map(|sweep| sweep.study.clone()).collect()
    }

    /// Stops all sweeps, and waits until they have recorded what ran.
    pub fn stop_all(&self) {
        let running = self.running();
        running.iter().for_each(|sweep| sweep.stop());
        let deadline = Instant::now() + END;
        running.iter().for_each(|sweep| drop(sweep.wait(deadline)));
    }
}

impl BackgroundSweep {
    pub fn is_running(&self) -> bool {
        self.end.lock().is_none()
    }

    /// How it ended. None while it runs.
    pub fn end(&self) -> Option<Ended> {
        self.end.lock().clone()
    }

    /// Tells it to end its trials, which are then recorded as cancelled.
    pub fn stop(&self) {
        self.interrupt.raise();
    }

    /// Waits for its end, at most until the deadline. None if it runs on.
    pub fn wait(&self, deadline: Instant) -> Option<Ended> {
        let mut end = self.end.lock();
        while end.is_none() && !self.ended.wait_until(&mut end, deadline).timed_out() {}
        end.clone()
    }
}

/// Records the end of a sweep when it is dropped.
struct Ending<'a> {
    sweep: &'a BackgroundSweep,
    how: How,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let after = self.sweep.started.elapsed();
        *self.sweep.end.lock() = Some(Ended { how: self.how.clone(), after });
        self.sweep.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::MagicError;

    #[test]
    fn each_end_is_known() {
        let background = Background::default();
        let start =
            |study: &str, work: fn(&Interrupt) -> Result<()>| background.start(study, "s.db".into(), [1, 1], work);
        let soon = || Instant::now() + Duration::from_secs(20);
        let how = |sweep: &BackgroundSweep| sweep.wait(soon()).unwrap().how;
        assert_eq!(how(&start("a", |_| Ok(()))), How::Finished);
        let failed = start("b", |_| Err(MagicError::new(ErrorName::StoreError, "the disk is full", None)));
        assert_eq!(how(&failed), How::Failed("the disk is full".into()));
        let advised = start("e", |_| Err(MagicError::advising(ErrorName::SlotError, "there is no slot", "add one")));
        assert_eq!(how(&advised), How::Failed("there is no slot; add one".into()));
        assert!(matches!(how(&start("c", |_| panic!("a fault"))), How::Failed(why) if why.contains("fault")));
        let waits = start("d", |interrupt| {
            let _ = interrupt.channel().recv();
            Err(MagicError::interrupted("stopped"))
        });
        assert!(waits.is_running() && waits.wait(Instant::now()).is_none());
        background.stop_all();
        assert_eq!(how(&waits), How::Stopped);
        // A study that runs again has one line.
        start("a", |_| Ok(()));
        let names: Vec<String> = background.all().iter().map(|sweep| sweep.study.clone()).collect();
        assert_eq!(names, ["b", "e", "c", "d", "a"]);
    }
}
