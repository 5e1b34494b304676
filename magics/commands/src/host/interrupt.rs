//! The interrupt of the user, as a magic sees it.

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

/// A flag that is raised once. It can be waited for together with other channels.
pub struct Interrupt {
    /// Dropped when the interrupt is raised, which disconnects the channel.
    sender: Mutex<Option<Sender<()>>>,
    raised: Receiver<()>,
}

impl Default for Interrupt {
    fn default() -> Self {
        let (sender, raised) = bounded(0);
        Self { sender: Mutex::new(Some(sender)), raised }
    }
}

impl Interrupt {
    /// Tells the magic to end. Raising it again has no effect.
    pub fn raise(&self) {
        self.sender.lock().take();
    }

    pub fn is_raised(&self) -> bool {
        matches!(self.raised.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
    }

    /// A channel for `select!`. It is disconnected, and so ready, once the interrupt is raised.
    pub fn channel(&self) -> &Receiver<()> {
        &self.raised
    }
}
