//! What a Rust cell can use: displays, progress, questions, magics and studies; with the feature `tensors` also `tch`,
//! tensors that show themselves, and the models that studies have trained.
//!
//! The kernel adds this crate to a cell that names it, with `tensors` to one that names `tch` or something that needs it, or
//! the crate of a `%%workload`. What there is without tensors stands in `tunebook-cell`, whose types stay the same when they
//! are added.
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

/// In scope in every cell once tensors are; others write `use tunebook::prelude::*`.
pub mod prelude {
    #[cfg(feature = "tensors")]
    pub use crate::ShowTensor;
    pub use crate::ToBundle;
}
