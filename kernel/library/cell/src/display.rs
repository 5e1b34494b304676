//! Displays: as many in a cell as one likes, some of which can be replaced later.

use crate::channel::{tell, unique};
use crate::{Bundle, Text, ToBundle};
use serde_json::json;

/// Shows a value, at once, below what the cell has shown so far.
///
/// ```no_run
/// # use tunebook_cell as tunebook;
/// tunebook::display(&vec![1, 2]);
/// tunebook::display(&tunebook::Html("<b>bold</b>"));
/// ```
pub fn display<T: ToBundle + ?Sized>(value: &T) {
    send(value.to_bundle(), None, false);
}

/// Shows a value that can be replaced: by the handle, or from any later cell by the name.
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

/// Replaces what is shown under a name, wherever it is shown.
pub fn update_display<T: ToBundle + ?Sized>(id: &str, value: &T) {
    send(value.to_bundle(), Some(id), true);
}

/// Takes away what the cell has shown; `wait`: when the next thing is shown, so that nothing flickers.
pub fn clear_output(wait: bool) {
    // On a terminal nothing is taken away.
    tell(&json!({ "clear": { "wait": wait } }));
}

/// Something shown that can be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayHandle {
    id: String,
}

impl DisplayHandle {
    /// Shows another value in its place.
    pub fn update<T: ToBundle + ?Sized>(&self, value: &T) {
        update_display(&self.id, value);
    }

    /// Shows nothing in its place.
    pub fn clear(&self) {
        self.update(&Text(""));
    }

    /// The name under which it is shown.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A handle as the last expression of a cell is no value to be shown; evcxr calls this.
    pub fn evcxr_display(&self) {}
}

fn send(bundle: Bundle, id: Option<&str>, update: bool) {
    let text = bundle.plain();
    let (data, metadata) = bundle.parts();
    if !tell(&json!({ "display": { "data": data, "metadata": metadata, "id": id, "update": update } })) {
        println!("{text}");
    }
}
