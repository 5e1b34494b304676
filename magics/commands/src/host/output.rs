//! Where a magic shows what it found. The kernel stands behind it with Jupyter messages; a test can stand in.

use super::session::Session;
use serde_json::{Map, Value, json};

/// A MIME bundle: representation by MIME type.
pub type Bundle = Map<String, Value>;

/// The MIME type of the result for programs.
pub const RESULT_MIME: &str = "application/vnd.tunebook.v1+json";

/// Which of the two text streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The display area of the cell that called a magic. It owns the parent of that cell and may outlive its
/// execution: a sweep in the background goes on updating the cell that started it.
pub trait Output: Send + Sync {
    /// Shows a bundle. With an id it can be replaced later.
    fn display(&self, bundle: Bundle, display_id: Option<&str>);
    /// Replaces what was displayed under the id.
    fn update(&self, bundle: Bundle, display_id: &str);
    /// Text as a program would print it.
    fn print(&self, stream: Stream, text: &str);
    /// Shows a bundle in the pager (`?`).
    fn page(&self, bundle: Bundle);
    /// The front end's id of the cell, where it sends one: output that a re-run of the cell wipes is tied to it.
    fn cell_id(&self) -> Option<String>;
    /// The session that the cell belongs to; `None` where there is none, as in a test of a magic that needs no Rust.
    fn session(&self) -> Option<&dyn Session> {
        None
    }
}

/// A bundle of plain text alone.
pub fn plain(text: impl Into<String>) -> Bundle {
    let mut bundle = Bundle::new();
    bundle.insert("text/plain".into(), json!(text.into()));
    bundle
}
