//! The part of the crate `tunebook` that works without tensors: displays, progress bars, questions to the user, magics
//! and studies from a Rust cell.
//!
//! Cells use this crate under the name `tunebook`, which adds tensors. It has few dependencies, so that the first cell
//! that uses it waits a second or two. Outside of a kernel the same code prints text, and asks on the terminal.
//!
//! ```no_run
//! use tunebook_cell as tunebook;
//!
//! tunebook::display(&tunebook::Markdown("Loss by **step**"));
//! let shown = tunebook::display_id("loss", &0.25);
//! for step in tunebook::progress(0..100).with_label("training") {
//!     shown.update(&(1.0 / (1 + step) as f64));
//! }
//! let result = tunebook::magic("%isolate depth hidden_layers")?;
//! println!("{}", result["points"][0]["objective"]);
//! let study = tunebook::study("depth")?;
//! let lr = study.best().and_then(|trial| trial.float("lr"));
//! # Ok::<(), tunebook::Error>(())
//! ```

mod bundle;
mod channel;
mod display;
mod error;
mod input;
mod kinds;
mod progress;
mod study;

pub use bundle::{Bundle, ToBundle};
pub use display::{DisplayHandle, clear_output, display, display_handle, display_id, update_display};
pub use error::{Error, Result};
pub use input::{input, password};
pub use kinds::{Html, Jpeg, Json, Latex, Markdown, Png, Svg, Text};
pub use progress::{Progress, ProgressIterator, progress};
pub use serde_json;
pub use study::{Direction, Study, Trial, TrialState, magic, study};
