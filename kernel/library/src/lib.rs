//! The crate that Rust cells use as `tunebook`: displays, progress bars, questions to the user, magics and studies.
//! With the feature `tensors` it also has `tch`, the display of tensors, and the models that studies have trained.
//!
//! The kernel adds this crate to a cell that names it. It turns on `tensors` for a cell that names `tch`, an item that
//! needs tensors, or the crate of a `%%workload`. Everything that works without tensors is in the crate
//! `tunebook-cell`, so that its types, and with them the variables of cells, stay the same when tensors are turned on.
//!
//! ```no_run
//! let study = tunebook::study("depth")?;
//! tunebook::display(&tunebook::Markdown(format!("**{}** trials", study.trials.len())));
//! # Ok::<(), tunebook::Error>(())
//! ```

#[cfg(feature = "tensors")]
mod picture;
#[cfg(feature = "tensors")]
mod show;
#[cfg(feature = "tensors")]
mod trained;

pub use tunebook_cell::*;

#[cfg(feature = "tensors")]
pub use {tch, tunebook_training};

#[cfg(feature = "tensors")]
pub use picture::{Picture, picture};
#[cfg(feature = "tensors")]
pub use show::ShowTensor;
#[cfg(feature = "tensors")]
pub use trained::{Checkpoint, Trained, checkpoint, model, model_of};
#[cfg(feature = "tensors")]
pub use tunebook_training::libtorch::best_device as device;

/// Traits for `use tunebook::prelude::*`. Once a cell has used tensors, the kernel imports them in every cell.
pub mod prelude {
    #[cfg(feature = "tensors")]
    pub use crate::ShowTensor;
    pub use crate::ToBundle;
}
