//! The output of a cell, to which a magic writes.

use super::session::Session;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A MIME bundle: representations of one result, by MIME type.
pub type Bundle = Map<String, Value>;

/// The MIME type of the JSON result for programs.
pub const RESULT_MIME: &str = "application/vnd.tunebook.v1+json";

/// One of the two text streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// The output of the cell that called a magic. It keeps the parent header of that cell, so it can still write there
/// after the cell has ended.
pub trait Output: Send + Sync {
    /// Shows a bundle. With a display id, it can be replaced later.
    fn display(&self, bundle: Bundle, display_id: Option<&str>);
    /// Replaces the display that has this id.
    fn update(&self, bundle: Bundle, display_id: &str);
    /// Writes text to a stream.
    fn print(&self, stream: Stream, text: &str);
    /// Shows a bundle in the pager, as `?` does.
    fn page(&self, bundle: Bundle);
    /// The cell, by a name that is the same when the cell runs again and its old output is removed. None if nothing of
    /// the cell is shown.
    fn cell(&self) -> Option<String>;
    /// The same output for a thread that goes on after the cell. It has no session. None if what is shown after the end
    /// of the cell would not be seen.
    fn detached(&self) -> Option<Arc<dyn Output>> {
        None
    }
    /// Whether a chart is shown as a PNG picture too, in its final state.
    fn wants_png(&self) -> bool {
        false
    }
    /// The session that the cell belongs to, or None if there is no session, as in tests of magics that need none.
    fn session(&self) -> Option<&dyn Session> {
        None
    }
}

/// A bundle with only `text/plain`.
pub fn plain(text: impl Into<String>) -> Bundle {
    let mut bundle = Bundle::new();
    bundle.insert("text/plain".into(), json!(text.into()));
    bundle
}
