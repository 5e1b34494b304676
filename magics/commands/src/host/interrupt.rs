//! The user's wish to stop, seen from inside a magic.

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

/// Raised once; can be waited for together with other channels.
pub struct Interrupt {
    raise: Mutex<Option<Sender<()>>>,
    raised: Receiver<()>,
}

impl Default for Interrupt {
    fn default() -> Self {
        let (sender, raised) = bounded(0);
        Self { raise: Mutex::new(Some(sender)), raised }
    }
}

impl Interrupt {
    /// Tells the magic to end. Raising it twice is the same as once.
    pub fn raise(&self) {
        // Dropping the sender disconnects the channel: every receiver wakes, now and later.
        self.raise.lock().take();
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        matches!(self.raised.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
    }

    /// A channel that becomes ready (disconnected) when it is raised; for `select!`.
    pub fn channel(&self) -> &Receiver<()> {
        &self.raised
    }
}
