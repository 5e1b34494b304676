//! Runs a magic for its output alone.

use crate::error::{MagicError, Source};
use crate::host::{Bundle, Interrupt, Output, RESULT_MIME, Stream};
use crate::magic::Context;
use parking_lot::Mutex;

/// An output that keeps the last display with a result.
#[derive(Default)]
struct Recording(Mutex<Option<Bundle>>);

impl Output for Recording {
    fn display(&self, bundle: Bundle, _: Option<&str>) {
        if bundle.contains_key(RESULT_MIME) {
            *self.0.lock() = Some(bundle);
        }
    }

    fn update(&self, bundle: Bundle, _: &str) {
        self.display(bundle, None);
    }

    fn print(&self, _: Stream, _: &str) {}

    fn page(&self, _: Bundle) {}

    fn cell(&self) -> Option<String> {
        None
    }
}

/// Returns what a magic shows.
pub fn shown(context: &Context, text: &str, interrupt: &Interrupt) -> Result<Bundle, MagicError> {
    let recording = Recording::default();
    context.catalogue.parse(&Source::new(text, 0))?.run(context, &recording, interrupt)?;
    Ok(recording.0.into_inner().unwrap_or_default())
}
