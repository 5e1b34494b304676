//! Displays: a cell can show any number of values, and replace some of them later.

use crate::channel::{tell, unique};
use crate::{Bundle, Text, ToBundle};
use serde_json::json;

/// Shows a value at once, below what the cell has shown so far.
///
/// ```no_run
/// # use tunebook_cell as tunebook;
/// tunebook::display(&vec![1, 2]);
/// tunebook::display(&tunebook::Html("<b>bold</b>"));
/// ```
pub fn display<T: ToBundle + ?Sized>(value: &T) {
    send(value.to_bundle(), None, false);
}

/// Shows a value that can be replaced: by the handle, or by its id, which also works in later cells.
///
/// ```no_run
/// # use tunebook_cell as tunebook;
/// let shown = tunebook::display_id("loss", &0.5);
/// shown.update(&0.25);
/// tunebook::update_display("loss", &0.125);
/// ```
pub fn display_id<T: ToBundle + ?Sized>(id: impl Into<String>, value: &T) -> DisplayHandle {
    let handle = DisplayHandle { id: id.into() };
    send(value.to_bundle(), Some(&handle.id), false);
    handle
}

/// Shows a value that can be replaced by the handle.
pub fn display_handle<T: ToBundle + ?Sized>(value: &T) -> DisplayHandle {
    display_id(unique(), value)
}

/// Replaces the display with an id, in whatever cell it is.
pub fn update_display<T: ToBundle + ?Sized>(id: &str, value: &T) {
    send(value.to_bundle(), Some(id), true);
}

/// Removes what the cell has shown: now, or with `wait` when the next output comes, so that nothing flickers.
pub fn clear_output(wait: bool) {
    // On a terminal nothing is removed.
    tell(&json!({ "clear": { "wait": wait } }));
}

/// A display that can be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayHandle {
    id: String,
}

impl DisplayHandle {
    /// Replaces the display by another value.
    pub fn update<T: ToBundle + ?Sized>(&self, value: &T) {
        update_display(&self.id, value);
    }

    /// Replaces the display by nothing.
    pub fn clear(&self) {
        self.update(&Text(""));
    }

    /// The id of the display.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Shows nothing. evcxr calls this method if a handle is the last expression of a cell.
    pub fn evcxr_display(&self) {}
}

fn send(bundle: Bundle, id: Option<&str>, update: bool) {
    let text = bundle.plain();
    let (data, metadata) = bundle.parts();
    if !tell(&json!({ "display": { "data": data, "metadata": metadata, "id": id, "update": update } })) {
        println!("{text}");
    }
}
